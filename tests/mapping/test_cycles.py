"""Cycles of one macro operation: literal values, and the formula against its unfolded twin."""

import macros
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.mapping.cycles import op_cycles, op_cycles_unfolded, skipped_op_cycles

BASE = {"rows": 8, "columns": 16, "weight": {"bits": 2}, "input": {"bits": 3}, "columns_per_adc": 4}


def macro(**changes):
    return cimemu.Macro.model_validate({**BASE, **changes})


@pytest.mark.parametrize(
    ("changes", "rows", "columns", "cycles"),
    [
        # G*I*(drive + convert) + shift_add = 1*3*(2 + 4*5) + 1
        ({"adc": {"model": "linear", "bits": 5}}, 8, 16, 67),
        # only 3 of 4 columns of a converter used: 3*(2 + 3*5) + 1
        ({"adc": {"model": "linear", "bits": 5}}, 8, 3, 52),
        # ideal: one cycle a round: 3*(2 + 4) + 1
        ({}, 8, 16, 19),
        # flash: 3*(2 + 4*1) + 1
        ({"adc": {"model": "linear", "bits": 5, "circuit": "flash"}}, 8, 16, 19),
        # ramp: 2^3 - 1 = 7 cycles: 3*(2 + 4*7) + 1
        ({"adc": {"model": "linear", "bits": 3, "circuit": "ramp"}}, 8, 16, 91),
        # two groups of 4 (and a partial one of 5 rows is two): 2*3*(2 + 4*5) + 1
        ({"adc": {"model": "linear", "bits": 5}, "active_rows": 4}, 5, 16, 133),
        # overlap: drive + (G*I - 1)*max(drive, convert) + convert + shift_add = 2 + 2*20 + 20 + 1
        ({"adc": {"model": "linear", "bits": 5}, "timing": {"overlap": True}}, 8, 16, 63),
        # overlap with a slow drive (5 + 4 = 9 against 4): 9 + 2*9 + 4 + 1
        ({"timing": {"overlap": True, "wordline_cycles": 5, "sample_cycles": 4}}, 8, 16, 32),
        # 4-bit input in 2-bit pulses: I = 2, wordline_cycles times 3: 2*((3 + 1) + 4) + 1
        ({"input": {"bits": 4, "dac_bits": 2, "dac": "pulse"}}, 8, 16, 17),
        # 4-bit input, two bits at a time one by one, sampled once and twice: I = 2: 2*((2*1 + 3*1) + 4) + 1
        ({"input": {"bits": 4, "dac_bits": 2, "dac": "bits"}}, 8, 16, 19),
        # a cycle for each bit of a weight besides, of two: 3*(2 + 2 + 4) + 1
        ({"timing": {"weight_bit_cycles": 1}}, 8, 16, 25),
        # phases of three output bits, 1 + 2 + 4 = 7 cycles; more bits have theirs behind: 3*(2 + 4*7) + 1
        ({"adc": {"model": "linear", "bits": 3, "phases": [1, 2, 4, 8]}}, 8, 16, 91),
        # adc.cycles given, shift_add 0: 3*(2 + 4*2)
        ({"adc": {"model": "linear", "bits": 5, "cycles": 2}, "timing": {"shift_add_cycles": 0}}, 8, 16, 30),
        # nonlinear, a ramp by default, 2^2 - 1 = 3: 3*(2 + 4*3) + 1
        (
            {"adc": {"model": "nonlinear", "bits": 2, "thresholds": [1, 2, 3], "levels": [0, 1, 2, 3]}},
            8,
            16,
            43,
        ),
        # one column of a converter used: one round: 3*(2 + 1*5) + 1
        ({"adc": {"model": "linear", "bits": 5}}, 8, 1, 22),
        # five columns: the first converter has four of them: 3*(2 + 4*5) + 1
        ({"adc": {"model": "linear", "bits": 5}}, 8, 5, 67),
        # more columns a converter than columns: min(100, 16) rounds: 3*(2 + 16*5) + 1
        ({"adc": {"model": "linear", "bits": 5}, "columns_per_adc": 100}, 8, 16, 247),
        # an ideal converter of 3 cycles: 3*(2 + 4*3) + 1
        ({"adc": {"model": "ideal", "cycles": 3}}, 8, 16, 43),
        # a partial last group counts whole: ceil(7 / 3) = 3 groups: 3*3*(2 + 4) + 1
        ({"active_rows": 3}, 7, 16, 55),
        # 5 bits two at a time: I = 3: 3*(2 + 4) + 1
        ({"input": {"bits": 5, "dac_bits": 2}}, 8, 16, 19),
        # three-bit pulses with overlap: I = 1, drive 2*7 + 3 = 17, nothing to overlap with: 17 + 4 + 1
        (
            {
                "input": {"bits": 3, "dac_bits": 3, "dac": "pulse"},
                "timing": {"overlap": True, "wordline_cycles": 2, "sample_cycles": 3},
            },
            8,
            16,
            22,
        ),
        # the same in two groups: 17 + 1*max(17, 4) + 4 + 1
        (
            {
                "input": {"bits": 3, "dac_bits": 3, "dac": "pulse"},
                "active_rows": 4,
                "timing": {"overlap": True, "wordline_cycles": 2, "sample_cycles": 3},
            },
            8,
            16,
            39,
        ),
        # overlap, drive and conversion equally long, 2 groups: 4 + 5*4 + 4 + 1
        (
            {"active_rows": 4, "timing": {"overlap": True, "wordline_cycles": 4, "sample_cycles": 0}},
            8,
            16,
            29,
        ),
        # skipping allowed but nothing skipped: as without
        ({"timing": {"skip_zero_slices": True, "skip_cycles": 9}}, 8, 16, 19),
    ],
)
def test_an_operation_takes_what_the_formula_says(changes, rows, columns, cycles):
    assert op_cycles(macro(**changes), rows, columns) == cycles
    assert op_cycles_unfolded(macro(**changes), rows, columns) == cycles


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.data())
def test_the_formula_equals_its_unfolded_twin(seed, data):
    _, _, chip = macros.draw(seed)
    changed = {"overlap": data.draw(st.booleans()), "sample_cycles": data.draw(st.integers(1, 30))}
    chip = chip.model_copy(update={"timing": chip.timing.model_copy(update=changed)})
    rows, columns = data.draw(st.integers(1, chip.rows)), data.draw(st.integers(1, chip.columns))
    assert op_cycles(chip, rows, columns) == op_cycles_unfolded(chip, rows, columns)
    steps = (-(-rows // chip.raised_rows), chip.input_slices)
    nonzero = np.random.default_rng(seed).integers(0, 2, (4, *steps)).astype(bool)
    chip = chip.model_copy(update={"timing": chip.timing.model_copy(update={"skip_zero_slices": True})})
    walked = [op_cycles_unfolded(chip, rows, columns, row) for row in nonzero]
    assert skipped_op_cycles(chip, columns, nonzero).tolist() == walked


def test_skipped_steps_by_hand():
    # I = 3, the middle slice skipped; drive 2, convert 4, skip 1. Without overlap: (2 + 4) + 1 + (2 + 4) + 1 = 14.
    # With: C_0 = 2; D_1 = 2, C_1 = max(2 + 1, 2 + 4) = 6; D_2 = 6, C_2 = max(6 + 2, 6 + 0) = 8; 8 + 4 + 1 = 13.
    nonzero = np.array([[[True, False, True]]])
    plain = macro(timing={"skip_zero_slices": True})
    assert skipped_op_cycles(plain, 16, nonzero).tolist() == [14]
    overlapping = macro(timing={"skip_zero_slices": True, "overlap": True})
    assert skipped_op_cycles(overlapping, 16, nonzero).tolist() == [13]


def test_skipped_steps_with_a_slow_drive_by_hand():
    # I = 3, drive 5 + 4 = 9, convert 4, skip 2, the first and the last slice skipped.
    # Without overlap: 2 + (9 + 4) + 2 + 1 = 18.
    # With: C_0 = 2; D_1 = 2, C_1 = max(2 + 9, 2 + 0) = 11; D_2 = 11, C_2 = max(11 + 2, 11 + 4) = 15; 15 + 0 + 1 = 16.
    # All skipped: 3*2 + 1 = 7 both ways. skip_cycles 0: 0 + 1.
    nonzero = np.array([[[False, True, False]], [[False, False, False]]])
    slow = {"skip_zero_slices": True, "wordline_cycles": 5, "sample_cycles": 4, "skip_cycles": 2}
    assert skipped_op_cycles(macro(timing=slow), 16, nonzero).tolist() == [18, 7]
    overlapping = {**slow, "overlap": True}
    assert skipped_op_cycles(macro(timing=overlapping), 16, nonzero).tolist() == [16, 7]
    assert skipped_op_cycles(macro(timing={**overlapping, "skip_cycles": 0}), 16, nonzero).tolist()[1] == 1
    for p, cycles in enumerate([16, 7]):
        assert op_cycles_unfolded(macro(timing=overlapping), 8, 16, nonzero[p]) == cycles


def test_where_nothing_is_skipped_the_recurrence_is_the_formula():
    for overlap in (False, True):
        for rows in (1, 4, 5, 8):
            chip = macro(active_rows=3, timing={"skip_zero_slices": True, "overlap": overlap, "wordline_cycles": 3})
            nonzero = np.ones((1, -(-rows // 3), 3), dtype=bool)
            assert skipped_op_cycles(chip, 7, nonzero).tolist() == [op_cycles(chip, rows, 7)]


@pytest.mark.parametrize(("rows", "columns"), [(0, 1), (9, 1), (1, 0), (1, 17)])
def test_rows_and_columns_that_do_not_fit_are_refused(rows, columns):
    with pytest.raises(cimemu.MappingError):
        op_cycles(macro(), rows, columns)
