"""Nodal analysis of a crossbar from physical conductances: SciPy's sparse LU on all nodes, nothing of cimemu's."""

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import splu


def conductances(levels, top, on_ohm, ratio=np.inf):
    """Siemens of cells: 1 / on_ohm at the highest level, that over the ratio at level 0, linear between."""
    on, off = 1 / on_ohm, 1 / on_ohm / ratio
    return off + levels * (on - off) / top


def level_step(top, on_ohm, ratio=np.inf):
    """Siemens of one level."""
    return (1 / on_ohm - 1 / on_ohm / ratio) / top


def network(conductance, word_ohm, bit_ohm, first_column=0):
    """The solved nodes: a row's driver is `1 + first_column` wordline segments before column 0, the converter's 0 V one
    bitline segment before row 0."""
    rows, columns = conductance.shape
    word = np.arange(rows * columns).reshape(rows, columns)
    bit = word + word.size
    links = [(word[:, :-1], word[:, 1:], 1 / word_ohm), (bit[:-1], bit[1:], 1 / bit_ohm), (word, bit, conductance)]
    at, to, value = [], [], []
    for a, b, siemens in links:
        a, b, g = a.ravel(), b.ravel(), np.broadcast_to(siemens, a.shape).ravel()
        at += [a, b, a, b]
        to += [a, b, b, a]
        value += [g, g, -g, -g]
    ends = np.zeros(2 * word.size)
    ends[word[:, 0]] = 1 / (word_ohm * (1 + first_column))
    ends[bit[0]] = 1 / bit_ohm
    matrix = sparse.coo_matrix((np.concatenate(value), (np.concatenate(at), np.concatenate(to)))) + sparse.diags(ends)
    return splu(matrix.tocsc()), ends, word, bit


def grounded_currents(conductance, drives, word_ohm, bit_ohm, first_column=0):
    """Column currents [V, C] at row voltages [V, R]; a row at 0 is held there."""
    solver, ends, word, bit = network(conductance, word_ohm, bit_ohm, first_column)
    found = []
    for drive in drives:
        sources = np.zeros(len(ends))
        sources[word[:, 0]] = drive * ends[word[:, 0]]
        found.append(solver.solve(sources)[bit[0]] / bit_ohm)
    return np.array(found)


def gated_currents(conductance, drives, word_ohm, bit_ohm, first_column=0):
    """The same where the cells of rows at 0 are disconnected: an array of its own for every set of raised rows."""
    return np.concatenate(
        [
            grounded_currents(np.where(drive[:, None] != 0, conductance, 0.0), [drive], word_ohm, bit_ohm, first_column)
            for drive in np.asarray(drives, dtype=float)
        ]
    )
