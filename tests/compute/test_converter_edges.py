"""Edges of converters and of counted charge: where converters begin, what a step is, how charge is rounded."""

import numpy as np
import pytest

import cimemu
from cimemu.engines.programmed import program
from cimemu.events import Counter
from cimemu.macro.references import column_steps

SMALL = {
    "rows": 4,
    "columns": 6,
    "columns_per_adc": 4,
    "weight": {"bits": 1, "encoding": "binary"},
    "input": {"bits": 1},
}


def switches(steps):
    """Reference switches of one step of 12 outputs in two column blocks of 6, from the columns' steps."""
    macro = cimemu.Macro.model_validate({**SMALL, "adc": {"model": "linear", "bits": 2, "lsb": [steps]}})
    w = np.ones((4, 12), dtype=np.int64)
    counts = cimemu.mvm(np.ones((1, 4), dtype=np.int64), w, macro).counts[0]
    assert program(w, macro).matrix.switches == (counts[Counter.REFERENCE_SWITCHES],)
    return int(counts[Counter.REFERENCE_SWITCHES])


@pytest.mark.parametrize("change", range(1, 12))
def test_converters_start_afresh_at_every_column_block(change):
    """Converters serve columns 0-3, 4-5 | 6-9, 10-11: a change of references at column `change` is a switch inside one."""
    assert switches([1] * change + [2] * (12 - change)) == (0 if change in (4, 6, 10) else 1)


def test_every_neighbour_inside_a_converter_that_differs_switches():
    assert switches([1, 2] * 6) == 3 + 1 + 3 + 1


@pytest.mark.parametrize(
    ("thresholds", "step"), [([0, 1, 5, 6], 2.0), ([-3, 7], 10.0), ([4], 1.0), ([0, 0, 9], 4.5), ([1, 2, 3, 4, 5], 1.0)]
)
def test_the_step_of_a_nonlinear_converter_is_the_mean_distance_of_its_thresholds(thresholds, step):
    assert column_steps(np.array([thresholds, thresholds], dtype=np.float64), None).tolist() == [step, step]
    assert column_steps(np.array([thresholds], dtype=np.float64), np.array([0.25])).tolist() == [0.25]


@pytest.mark.parametrize("model", ["offset=0.8", "inl=0.7", "dnl=0.4", "offset=0.5,gain=0.05,noise=0.6"])
def test_errors_of_equal_thresholds_are_equal_however_they_were_given(model):
    """Thresholds of a linear converter of step 3, and the same ones as a table: errors in LSB move both alike."""
    levels = [3.0 * k for k in range(8)]
    thresholds = [3.0 * (k - 0.5) for k in range(1, 8)]
    x = np.random.default_rng(1).integers(0, 2, (40, 32))
    w = np.random.default_rng(2).choice([-1, 1], (32, 6))
    found = []
    for adc in (
        {"model": "linear", "bits": 3, "lsb": 3},
        {"model": "nonlinear", "circuit": "sar", "bits": 3, "thresholds": thresholds, "levels": levels},
    ):
        macro = cimemu.Macro.model_validate({**SMALL, "rows": 32, "adc": adc})
        found.append(cimemu.mvm(x, w, macro, True, vary=[f"converter:{model}"], seed=3).codes)
    assert np.array_equal(*found)
    ideal = cimemu.mvm(x, w, macro, True).codes
    assert (found[0] != ideal).mean() > 0.01


@pytest.mark.parametrize(
    ("level", "positions", "counted"),
    [(0.75, 1, 1), (0.5, 1, 0), (0.5, 3, 2), (0.5, 5, 2), (0.25, 3, 1), (0.25, 1, 0), (1.25, 2, 2), (1.25, 3, 4)],
)
def test_charge_of_effective_levels_is_rounded_once_half_to_even(level, positions, counted):
    macro = cimemu.Macro.model_validate({**SMALL, "rows": 1})
    x, w = np.ones((positions, 1), dtype=np.int64), np.ones((1, 1), dtype=np.int64)
    counts = cimemu.mvm(x, w, macro, cells=np.array([[level]])).counts[0]
    assert counts[Counter.CELL_LEVEL_PULSES] == counted
    assert counts[Counter.CELL_PULSES] == positions
