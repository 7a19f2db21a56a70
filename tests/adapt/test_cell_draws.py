"""Varied cells while training are those that a stress run would draw."""

import numpy as np
import pytest

from cimemu.adapt.cell_draws import CellDraws
from cimemu.arch.macro import Macro
from cimemu.errors import ArchError
from cimemu.kernels.read_noise import SIGMA_BITS
from cimemu.macro.program import write_matrix
from cimemu.macro.sites import own_macros
from cimemu.macro.vary import vary_matrix
from cimemu.variation.compose import compose

VARY = ("lognormal:sigma=0.2", "stuck_at:sa0=0.01,sa1=0.01")
ENCODINGS = {
    "offset": {"bits": 4},
    "differential": {"bits": 4, "encoding": "differential", "subtract": "analog"},
    "binary": {"bits": 1, "encoding": "binary"},
}


def macro(encoding: str) -> Macro:
    cell = {"bits": 1 if encoding == "binary" else 2}
    tree = {"rows": 36, "columns": 16, "cell": cell, "weight": ENCODINGS[encoding], "input": {"bits": 4}}
    return Macro.model_validate({**tree, "adc": {"model": "ideal"}})


def weights(encoding: str, shape=(72, 9)) -> np.ndarray:
    draws = np.random.default_rng(0)
    return 2 * draws.integers(0, 2, shape) - 1 if encoding == "binary" else draws.integers(-7, 8, shape)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_draws_are_those_of_stress(encoding):
    w, chip = weights(encoding), macro(encoding)
    found = CellDraws(VARY, chip, seed=5, first_macro=0).deviations(w, 9, step=3)
    ideal = write_matrix(w, chip)
    varied = vary_matrix(ideal, own_macros(ideal.layout), compose(VARY, seed=5, trial=3))
    expected = varied.seen / varied.unit - ideal.seen
    assert found.dtype == np.float32
    assert (found == expected).all()
    assert np.abs(found).max() > 0


def test_the_spread_of_reads_is_that_of_stress():
    w, chip = weights("differential"), macro("differential")
    vary = ("thermal:amplifier=0.3", "telegraph:amplitude=0.2,draw=normal")
    found, spread = CellDraws(vary, chip, seed=5, first_macro=0).drawn(w, 9, step=3)
    ideal = write_matrix(w, chip)
    varied = vary_matrix(ideal, own_macros(ideal.layout), compose(vary, seed=5, trial=3))
    assert (found == varied.seen / varied.unit - ideal.seen).all()
    sigma = np.sqrt(sum((source.sigma / (varied.unit * 2.0**SIGMA_BITS)) ** 2 for source in varied.noise))
    assert spread.shape == (2, 9 * chip.conversions_per_output)
    assert spread == pytest.approx(sigma)
    assert spread.min() > 0.3
    assert CellDraws(VARY, chip, seed=5, first_macro=0).drawn(w, 9, 3)[1] is None


def test_steps_and_layers_have_draws_of_their_own():
    w, chip = weights("offset"), macro("offset")
    first = CellDraws(VARY, chip, seed=5, first_macro=0)
    assert (first.deviations(w, 9, 1) == first.deviations(w, 9, 1)).all()
    assert (first.deviations(w, 9, 1) != first.deviations(w, 9, 2)).any()
    assert (first.deviations(w, 9, 1) != CellDraws(VARY, chip, seed=5, first_macro=9).deviations(w, 9, 1)).any()
    assert (CellDraws(("lognormal:sigma=0",), chip, seed=5, first_macro=0).deviations(w, 9, 1) == 0).all()


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("converter:noise=1", "--vary converter while training: only models of cells and reads"),
        ("telegraph:amplitude=0.1", "--vary telegraph while training: .* take draw=normal"),
        ("driver:inl=0.5", "--vary driver while training: the bow of drivers"),
        (
            "ir_drop:segment_ohm=1,rows=gated",
            "--vary ir_drop while training: rows = gated, solver = exact is no matrix",
        ),
        ("lognormal:sigma=-1", "sigma"),
        ("lognorm:sigma=1", "did you mean lognormal"),
    ],
)
def test_models_that_do_not_fit_are_one_line(vary, message):
    with pytest.raises(ArchError, match=message):
        CellDraws((vary,), macro("offset"), seed=0, first_macro=0)
