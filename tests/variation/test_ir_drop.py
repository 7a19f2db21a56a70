"""Effective cells of IR drop against an exact nodal solver: column currents within 2 % of full scale."""

import numpy as np
import pytest
import scipy.sparse as sparse
from scipy.sparse.linalg import splu

from cimemu.variation.parse import make_variation


def nodal_currents(conductance, ohm, inputs):
    """Column currents [V, C] of input voltages [V, R]: all 2 R C nodes at once. Row 0 is next to the converters."""
    rows, columns = conductance.shape
    wordline = np.arange(rows * columns).reshape(rows, columns)
    bitline = wordline + wordline.size
    links = [
        (wordline[:, :-1], wordline[:, 1:], 1 / ohm),
        (bitline[:-1], bitline[1:], 1 / ohm),
        (wordline, bitline, conductance),
    ]
    at, to, value = [], [], []
    for a, b, g in links:
        a, b, g = a.ravel(), b.ravel(), np.broadcast_to(g, a.shape).ravel()
        at += [a, b, a, b]
        to += [a, b, b, a]
        value += [g, g, -g, -g]
    grounded = np.zeros(2 * wordline.size)
    grounded[wordline[:, 0]] = grounded[bitline[0]] = 1 / ohm
    matrix = sparse.csc_matrix((np.concatenate(value), (np.concatenate(at), np.concatenate(to)))) + sparse.diags(
        grounded
    )
    solver = splu(matrix.tocsc())
    found = []
    for x in inputs:
        sources = np.zeros(2 * wordline.size)
        sources[wordline[:, 0]] = x / ohm
        found.append(solver.solve(sources)[bitline[0]] / ohm)
    return np.array(found)


def error_percent(size, ohm, on_ohm, off_ratio, seed):
    """Largest error over columns, random and all-on cells and inputs, in % of the current of `size` on cells."""
    rng = np.random.default_rng(seed)
    worst = 0.0
    for cells in (rng.integers(0, 2, (size, size)), np.ones((size, size), dtype=int)):
        levels = cells + 1 / (off_ratio - 1)
        inputs = np.stack([np.ones(size), *rng.integers(0, 2, (3, size)), np.arange(size) < size // 2])
        exact = nodal_currents(levels / on_ohm, ohm, inputs)
        made = make_variation({"model": "ir_drop", "segment_ohm": ohm, "on_ohm": on_ohm}).effective(levels, 1)
        worst = max(worst, 100 * np.abs(inputs @ made / on_ohm - exact).max() / (size / on_ohm))
    return worst


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("ohm", [1, 2.5, 5])
@pytest.mark.parametrize("on_ohm", [1e5, 1e4])
def test_column_currents_are_within_two_percent_of_full_scale(size, ohm, on_ohm):
    assert error_percent(size, ohm, on_ohm, off_ratio=10, seed=size) < 2


def test_lines_alone_are_exact():
    rng = np.random.default_rng(0)
    levels = rng.random((20, 30))
    tiny = 1e-6
    for wires in ({"wordline_ohm": 5, "bitline_ohm": 0}, {"wordline_ohm": 0, "bitline_ohm": 5}):
        made = make_variation({"model": "ir_drop", "segment_ohm": 0, "on_ohm": 1e3, **wires}).effective(levels, 1)
        near = {name: value or tiny for name, value in wires.items()}
        both = make_variation({"model": "ir_drop", "segment_ohm": 0, "on_ohm": 1e3, **near}).effective(levels, 1)
        assert np.allclose(made, both, rtol=1e-4)
        assert (made < levels).all()


def test_longer_wires_to_a_block_lose_more():
    model = make_variation("ir_drop:segment_ohm=5,on_ohm=1e4")
    near, far = (model.effective(np.ones((8, 8)), 1, first_column) for first_column in (0, 100))
    assert (far < near).all()
