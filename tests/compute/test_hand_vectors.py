"""Macro values worked out by hand; the arithmetic stands beside each. Every path must give them."""

import numpy as np
import pytest

import cimemu

ALL = ("auto", "serial", "fixed", "steps", "naive")


def macro(**changes):
    tree = {"rows": 4, "columns": 8, "columns_per_adc": 4, "weight": {"bits": 2}, "input": {"bits": 2}}
    return cimemu.Macro.model_validate({**tree, **changes})


def holds(x, w, chip, y, codes=None, conversions=None, **options):
    for path in (*ALL, "exact"):
        for ask in (True, False):
            try:
                r = cimemu.mvm(np.array(x), np.array(w), chip, codes=ask, path=path, **options)
            except cimemu.CimemuError:
                if path != "exact":
                    raise
                continue  # the exact path refuses where a psum may clip, or where codes are asked for
            assert r.y.tolist() == y, (path, ask)
            if conversions is not None:
                assert r.conversions == conversions, path
            if ask and codes is not None:
                assert r.codes.tolist() == codes, path
            if ask and chip.adc.model == "ideal":
                assert r.codes is None


def test_01_offset():
    # w = 1, -2 -> w + 2 = 3, 0: slices (LSB first) 11, 00. x = 3, 1: slices 1 1 and 1 0.
    # slice 0 (rows 0, 1): columns 1, 1; slice 1 (row 0): 1, 1. acc = 1*(1 + 2) + 2*(1 + 2) = 9; - 2 * (3 + 1) = 1.
    # 3 * 1 + 1 * -2 = 1. Conversions: 2 slices x 2 columns.
    holds([[3, 1]], [[1], [-2]], macro(adc={"model": "linear", "bits": 3}), [[1]], [[[[1, 1], [1, 1]]]], 4)


def test_02_twos_complement():
    # w = -1 -> 11 (last slice negative), w = 1 -> 10. x = 2, 3: slices 0 1 and 1 1.
    # slice 0 (row 1): columns 1, 0 -> 1*1 = 1; slice 1 (rows 0, 1): columns 2, 1 -> 2*(2*1 - 1*2) = 0. y = 1 = -2 + 3.
    chip = macro(weight={"bits": 2, "encoding": "twos_complement"}, adc={"model": "linear", "bits": 3})
    holds([[2, 3]], [[-1], [1]], chip, [[1]], [[[[1, 0], [2, 1]]]], 4)


def test_03_differential_subtracts_behind_the_converter():
    # bits 3: S = 2 slices each of max(w, 0), max(-w, 0). w = 3, -2: plus 11, 00; minus 00, 01. x = 1, 1 (slice 0 only).
    # columns: plus 1, 1; minus 0, 1 -> 1 + 2 - 2 = 1. 2 slices x 4 columns = 8 conversions.
    chip = macro(weight={"bits": 3, "encoding": "differential"}, adc={"model": "linear", "bits": 3})
    holds([[1, 1]], [[3], [-2]], chip, [[1]], [[[[1, 1, 0, 1], [0, 0, 0, 0]]]], 8)


def test_04_differential_subtracts_before_the_converter():
    # The same weights: pairs see 1 - 0 = 1 and 1 - 1 = 0. zero = -4: code = psum + 4. Values 1, 0: 1*1 + 2*0 = 1.
    chip = macro(
        weight={"bits": 3, "encoding": "differential", "subtract": "analog"},
        adc={"model": "linear", "bits": 3, "zero": -4},
    )
    holds([[1, 1]], [[3], [-2]], chip, [[1]], [[[[5, 4], [4, 4]]]], 4)


def test_05_binary():
    # w = 1, -1, 1 -> 1, 0, 1. x = 3, 2, 0: slice 0 row 0: 1; slice 1 rows 0, 1: 1. acc = 1 + 2 = 3. 2*3 - 5 = 1.
    chip = macro(weight={"bits": 1, "encoding": "binary"}, adc={"model": "linear", "bits": 2})
    holds([[3, 2, 0]], [[1], [-1], [1]], chip, [[1]], [[[[1], [1]]]], 2)


def test_06_two_bit_cells():
    # bits 4 offset 8: w = 5 -> 13 = 1 + 3*4, w = -8 -> 0. x = 1, 1 (input bits 1). psums 1, 3: 1 + 4*3 = 13; - 8*2 = -3.
    chip = macro(cell={"bits": 2}, weight={"bits": 4}, input={"bits": 1}, adc={"model": "linear", "bits": 4})
    holds([[1, 1]], [[5], [-8]], chip, [[-3]], [[[[1, 3]]]], 2)


def test_07_an_odd_number_of_input_slices():
    # input bits 5, dac bits 2: slices of 27 = 11 10 1 -> 3, 2, 1. w = 1 -> 3: columns 1, 1: psums 3, 3; 2, 2; 1, 1.
    # acc = 3*3 + 4*2*3 + 16*1*3 = 81; - 2*27 = 27.
    chip = macro(input={"bits": 5, "dac_bits": 2}, adc={"model": "linear", "bits": 3})
    holds([[27]], [[1]], chip, [[27]], [[[[3, 3], [2, 2], [1, 1]]]], 6)


def test_08_signed_inputs():
    # x = -3 (3 bits: 101): slices 1, 0, 1, the last counts -4. w = 1, two's complement 10: acc = 1 - 4 = -3.
    chip = macro(
        weight={"bits": 2, "encoding": "twos_complement"},
        input={"bits": 3, "signed": True},
        adc={"model": "linear", "bits": 1},
    )
    holds([[-3]], [[1]], chip, [[-3]], [[[[1, 0], [0, 0], [1, 0]]]], 6)


def test_09_a_tie_counts_up():
    # lsb 2: thresholds 1, 3, 5. psum 1 = t_1: code 1, value 2. psum 3 = t_2: code 2, value 4.
    chip = macro(
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2, "lsb": 2},
    )
    # two outputs: w = (1, 1, 1) and (1, -1, -1); x = 1, 1, 1: psums 3, 1 -> values 4, 2; 2*4 - 3 = 5, 2*2 - 3 = 1.
    holds([[1, 1, 1]], [[1, 1], [1, -1], [1, -1]], chip, [[5, 1]], [[[[2, 1]]]], 2)


def test_10_codes_clip_at_the_top():
    # 1 bit: codes 0, 1. Four ones: psum 4, code 1, value 1: 2*1 - 4 = -2.
    chip = macro(weight={"bits": 1, "encoding": "binary"}, input={"bits": 1}, adc={"model": "linear", "bits": 1})
    holds([[1, 1, 1, 1]], [[1], [1], [1], [1]], chip, [[-2]], [[[[1]]]], 1)


def test_11_codes_clip_at_the_bottom():
    # zero 2: thresholds 2.5 .. ; psum 1 -> code 0, value 2. 2*2 - 1 = 3.
    chip = macro(
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2, "zero": 2},
    )
    holds([[1]], [[1]], chip, [[3]], [[[[0]]]], 1)


def test_12_half_steps_give_floats():
    # lsb 0.5, 2 bits: t = 0.25, 0.75, 1.25; psum 1 -> code 2 (0.25, 0.75 <= 1), value 1.0; psum 2 -> code 3, value 1.5.
    chip = macro(
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2, "lsb": 0.5},
    )
    # psums 2 and 1: 2*1.5 - 2 = 1.0 and 2*1.0 - 2 = 0.0
    holds([[1, 1]], [[1, 1], [1, -1]], chip, [[1.0, 0.0]], [[[[3, 2]]]], 2)


def test_13_a_zero_that_is_no_code_adds_its_weights():
    # lsb 1, zero 0.25: t = 0.75, 1.75, 2.75; psum 2 -> code 2, value 2.25; slices 1 and 2: A = 2*1 + 0*2 (psum 0: code
    # 0, value 0.25), Z = 1 + 2 = 3: 1*2 + 0.25*3 = 2.75; binary: 2*2.75 - 2 = 3.5.
    chip = macro(weight={"bits": 1, "encoding": "binary"}, adc={"model": "linear", "bits": 2, "zero": 0.25})
    holds([[1, 1]], [[1], [1]], chip, [[3.5]], [[[[2], [0]]]], 2)


def test_14_thresholds_and_levels():
    # thresholds 1, 3, 3.5; levels 0, 10, 20, 40. psums 3, 2: codes 2, 1 -> 20, 10: 2*20 - 3 = 37, 2*10 - 3 = 17.
    chip = macro(
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 1},
        adc={"model": "nonlinear", "bits": 2, "thresholds": [1, 3, 3.5], "levels": [0, 10, 20, 40]},
    )
    holds([[1, 1, 1]], [[1, 1], [1, 1], [1, -1]], chip, [[37, 17]], [[[[2, 1]]]], 2)


def test_15_partial_groups():
    # active_rows 2 of 4, K = 3: groups (0, 1) and (2). 1-bit codes clip each group: psums 2 -> 1, 1 -> 1: acc 2; 4 - 3 = 1.
    chip = macro(
        active_rows=2,
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 1},
    )
    holds([[1, 1, 1]], [[1], [1], [1]], chip, [[1]], [[[[1]], [[1]]]], 2)


def test_16_row_blocks_restart_the_groups():
    # rows 4, active 3, K = 6: block 0 groups (0 1 2), (3); block 1 groups (4 5). All ones, 1 bit: 1 + 1 + 1 = 3; 6 - 6 = 0.
    chip = macro(
        active_rows=3,
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 1},
    )
    holds([[1] * 6], [[1]] * 6, chip, [[0]], [[[[1]], [[1]], [[1]]]], 3)


def test_17_array_parameters_go_to_their_column_block():
    # columns 2, one-column outputs: outputs 0, 1 in block 0 (lsb 1), output 2 in block 1 (lsb 2). psum 2 each, 2 bits:
    # values 2, 2 and t = 1, 3: code 1, value 2. 2*2 - 2 = 2 each, but the codes differ.
    chip = macro(
        columns=2,
        columns_per_adc=2,
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2, "lsb": [[1, 2]]},
    )
    holds([[1, 1]], [[1, 1, 1], [1, 1, 1]], chip, [[2, 2, 2]], [[[[2, 2, 1]]]], 3)


def test_18_column_parameters_go_to_their_column():
    # offset bits 2: columns slice 0, slice 1 of one output: lsb 1 and 3. w = 1, 1 -> 3, 3: psums 2, 2 (x = 1, 1, 1 bit).
    # codes 2 and, with t = 1.5, 4.5: 1 -> values 2, 3: 2 + 2*3 = 8; - 2*2 = 4.
    chip = macro(input={"bits": 1}, adc={"model": "linear", "bits": 2, "lsb": [[1, 3]]})
    holds([[1, 1]], [[1], [1]], chip, [[4]], [[[[2, 1]]]], 2)


def test_19_a_reference_column_clips_like_any_other():
    # offset, correction from a converted column: x = 1, 1, 1: sum 3, 1-bit converter: 1. w = 1, 0, 0 -> 3, 2, 2: slice 0
    # psum 1 -> 1, slice 1 psum 3 -> 1: 1 + 2 = 3; - 2*1 = 1 (exact: 1). Conversions 2 + 1; the reference has no code.
    chip = macro(
        weight={"bits": 2, "correction": "reference_column"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 1},
    )
    holds([[1, 1, 1]], [[1], [0], [0]], chip, [[1]], [[[[1, 1]]]], 3)


def test_20_analog_combination_converts_once():
    # offset 2: w = 1, -1 -> 3, 1: psum = 1*2 + 2*1 = 4 before the converter, lsb 2: t = 1, 3, 5: code 2, value 4.
    # - 2*2 = 0.
    chip = macro(
        weight={"bits": 2, "combine": "analog"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2, "lsb": 2},
    )
    holds([[1, 1]], [[1], [-1]], chip, [[0]], [[[[2]]]], 1)


def test_21_a_skipped_slice_contributes_nothing_even_with_a_zero():
    # zero 1: psum 0 would give value 1. x = 2: slice 0 is all zero, skipped (65535); slice 1: psum 1 -> code 0 (t = 1.5),
    # value 1, weight 2: acc 2; binary: 2*2 - 2 = 2.
    chip = macro(
        weight={"bits": 1, "encoding": "binary"},
        adc={"model": "linear", "bits": 1, "zero": 1},
        timing={"skip_zero_slices": True},
    )
    holds([[2]], [[1]], chip, [[2]], [[[[65535], [0]]]], 1)


def test_22_a_pulse_train_gives_the_values_of_a_level():
    # dac_bits 2 as pulses: x = 3 is one slice of 3 pulses: psum 3*1 = 3; w = 1 -> 11: 3 + 2*3 = 9 - 2*3 = 3.
    chip = macro(input={"bits": 2, "dac_bits": 2, "dac": "pulse"}, adc={"model": "linear", "bits": 2})
    holds([[3]], [[1]], chip, [[3]], [[[[3, 3]]]], 2)


ACCUMULATED = (
    [[3, 3]],
    [[1], [1]],
)  # two's complement 1 -> 10: psums 2 and 2: running sum 2, then 2 + 2*2 = 6


@pytest.mark.parametrize(("overflow", "y"), [("saturate", 3), ("wrap", -2)])
def test_23_a_three_bit_accumulator_saturates_or_wraps(overflow, y):
    # range -4 .. 3: 6 saturates to 3, wraps to 6 - 8 = -2.
    chip = macro(
        weight={"bits": 2, "encoding": "twos_complement"},
        adc={"model": "linear", "bits": 2},
        accumulator_bits=3,
        accumulator_overflow=overflow,
    )
    holds(*ACCUMULATED, chip, [[y]])


def test_24_a_three_bit_accumulator_that_overflows_is_an_error_by_default():
    chip = macro(
        weight={"bits": 2, "encoding": "twos_complement"},
        adc={"model": "linear", "bits": 2},
        accumulator_bits=3,
    )
    for path in ALL:
        with pytest.raises(cimemu.CimemuError, match="6"):
            cimemu.mvm(*(np.array(a) for a in ACCUMULATED), chip, path=path)


def test_25_given_cells_are_rounded_once_to_their_fraction():
    # fraction_bits 2: 0.9 -> 1.0 (3.6 rounds to 4 quarters), 0.6 -> 0.5. x = 1, 1: psum 1.5 = t_2 (lsb 1): code 2.
    # binary: 2*2 - 2 = 2. One more input row with 0.3 -> 0.25: psum 1.75: still 2; 2*2 - 3 = 1.
    chip = macro(
        cell={"bits": 1, "fraction_bits": 2},
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2},
    )
    holds([[1, 1, 0], [1, 1, 1]], [[1], [1], [1]], chip, [[2], [1]], [[[[2]]], [[[2]]]], 2,
          cells=np.array([[0.9], [0.6], [0.3]]))  # fmt: skip


def test_26_weights_and_inputs_of_nine_bits():
    # 511 * -256 = -130816, lossless; offset 256: w -> 0.
    chip = macro(
        columns=9,
        columns_per_adc=9,
        weight={"bits": 9},
        input={"bits": 9},
        adc={"model": "linear", "bits": 1},
    )
    holds([[511]], [[-256]], chip, [[-130816]], None, 81)


def test_27_array_parameters_go_to_their_row_and_column_block():
    # rows 2, one-column outputs, 2 a macro: row blocks (0 1), (2); column blocks (0 1), (2). Array [0, 1]: lsb 2, zero 2:
    # t = 3, 5, 7. psums of block 0: 2, 2 -> codes 2, 2; output 2: 1 -> code 0, value 2. Block 1: 1, 1, 1 -> 1, 1, 1.
    # acc = 3, 3, 3; 2*3 - 3 = 3 each (exact: 3, 3, 1).
    chip = macro(
        rows=2,
        columns=2,
        columns_per_adc=2,
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2, "lsb": [[1, 2], [1, 1]], "zero": [[0, 2], [0, 0]]},
    )
    w = [[1, 1, 1], [1, 1, -1], [1, 1, 1]]
    holds([[1, 1, 1]], w, chip, [[3, 3, 3]], [[[[2, 2, 0]], [[1, 1, 1]]]], 6)


def test_28_column_parameters_differ_between_row_blocks():
    # offset 2: w = 1, 1, -1 -> 3, 3, 1: slices 1 1 1 and 1 1 0. Block 0 (rows 0, 1): psums 2, 2: code 2, value 2; with
    # zero 1, t = 1.5, 2.5: code 1, value 2. Block 1: psums 1, 0: with zero 2: code 0, value 2; 0 -> 0.
    # acc = (2 + 2*2) + (2 + 2*0) = 8; - 2*3 = 2 (exact: 1).
    chip = macro(rows=2, input={"bits": 1}, adc={"model": "linear", "bits": 2, "zero": [[0, 1], [2, 0]]})
    holds([[1, 1, 1]], [[1], [1], [-1]], chip, [[2]], [[[[2, 1]], [[0, 0]]]], 4)


def test_29_every_column_block_has_a_reference_column_that_clips_in_every_slice():
    # One output a macro. x = 3, 1, 2: slices 1 1 0 and 1 0 1. w = (1, 1, -1), (-1, 1, 1): slice 0 psums 2, 1; slice 1: 1, 1:
    # one bit makes all of them 1. References 2, 2 -> 1, 1: sum 1 + 2 = 3. acc = 1 + 2 = 3: 2*3 - 3 = 3 (exact: 2, 0).
    # Conversions: 2 slices x 2 blocks x (1 + 1).
    chip = macro(
        columns=1,
        weight={"bits": 1, "encoding": "binary", "correction": "reference_column"},
        adc={"model": "linear", "bits": 1},
    )
    holds([[3, 1, 2]], [[1, -1], [1, 1], [-1, 1]], chip, [[3, 3]], [[[[1, 1], [1, 1]]]], 8)


def test_30_a_skipped_slice_skips_the_reference_column_too():
    # x = 2, 2: slice 0 skipped. zero 1: t = 1.5, 2.5, 3.5. Slice 1: psum 1 -> code 0, value 1; reference 2 -> code 1, value
    # 2. acc = 2*1 = 2, sum = 2*2 = 4: 2*2 - 4 = 0. Conversions: 1 + 1.
    chip = macro(
        weight={"bits": 1, "encoding": "binary", "correction": "reference_column"},
        adc={"model": "linear", "bits": 2, "zero": 1},
        timing={"skip_zero_slices": True},
    )
    holds([[2, 2]], [[1], [-1]], chip, [[0]], [[[[65535], [0]]]], 2)


def test_31_a_group_without_input_is_skipped_whole():
    # active_rows 1: group 0 (x = 0) makes no conversion. Group 1: w = -2 -> 0 1, x = 3: psums 0, 1 in both slices; zero 1, one
    # bit, t = 1.5: codes 0, 0, values 1, 1: 1 - 2*1 = -1 a slice: -1 * (1 + 2) = -3 (exact: -6).
    chip = macro(
        active_rows=1,
        weight={"bits": 2, "encoding": "twos_complement"},
        adc={"model": "linear", "bits": 1, "zero": 1},
        timing={"skip_zero_slices": True},
    )
    skipped = [65535, 65535]
    holds([[0, 3]], [[1], [-2]], chip, [[-3]], [[[skipped, skipped], [[0, 0], [0, 0]]]], 4)


def test_32_differential_slices_combined_before_two_converters():
    # bits 3: w = 3 -> plus 1 1, w = -2 -> minus 0 1. psums: plus 1 + 2*1 = 3, minus 0 + 2*1 = 2. lsb 2: t = 1, 3, 5:
    # 3 ties up to code 2, value 4; 2 -> code 1, value 2. 4 - 2 = 2 (exact: 1).
    chip = macro(
        weight={"bits": 3, "encoding": "differential", "combine": "analog"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2, "lsb": 2},
    )
    holds([[1, 1]], [[3], [-2]], chip, [[2]], [[[[2, 1]]]], 2)


def test_33_one_signed_conversion_an_output_clips_at_both_ends():
    # w = (-3, -2): psum -5; (3, 3): psum 6. zero -4, 2 bits: levels -4 .. -1: codes 0 and 3: -4 and -1.
    chip = macro(
        weight={"bits": 3, "encoding": "differential", "combine": "analog", "subtract": "analog"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2, "zero": -4},
    )
    holds([[1, 1]], [[-3, 3], [-2, 3]], chip, [[-4, -1]], [[[[0, 3]]]], 2)


def test_34_twos_complement_slices_combined_before_the_converter():
    # w = -1 -> 1 1, w = -2 -> 0 1: psum = (1 + 0) - 2*(1 + 1) = -3; zero -4: code 1, value -3.
    chip = macro(
        weight={"bits": 2, "encoding": "twos_complement", "combine": "analog"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 3, "zero": -4},
    )
    holds([[1, 1]], [[-1], [-2]], chip, [[-3]], [[[[1]]]], 1)


def test_35_ties_at_and_below_zero_go_up_as_well():
    # lsb 2, zero -3: t = -2, 0, 2, levels -3, -1, 1, 3. psum 1 - 1 = 0 = t_2: code 2, value 1. psum -2 = t_1: code 1, value -1.
    chip = macro(
        weight={"bits": 2, "encoding": "differential", "subtract": "analog"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2, "lsb": 2, "zero": -3},
    )
    holds([[1, 1]], [[1, -1], [-1, -1]], chip, [[1, -1]], [[[[2, 1]]]], 2)


def test_36_three_bits_in_two_bit_cells():
    # offset 4: w = 3 -> 7 = 3 + 1*4, -4 -> 0. x = 3, 3. Output 0: psums 3, 1 in both slices: (1 + 2)*(3 + 4*1) = 21; - 4*6 =
    # -3. Output 1 (3, 3): psums 6, 2; two bits: 3, 2: 3*(3 + 4*2) = 33; - 24 = 9 (exact: 18).
    chip = macro(cell={"bits": 2}, weight={"bits": 3}, adc={"model": "linear", "bits": 2})
    holds([[3, 3]], [[3, 3], [-4, 3]], chip, [[-3, 9]], [[[[3, 1, 3, 2], [3, 1, 3, 2]]]], 8)


def test_37_differential_in_two_bit_cells():
    # bits 4: S = ceil(3 / 2) = 2. w = 7 -> plus 3 1; w = -6 -> minus 2 1. (3 + 4) - (2 + 4) = 1.
    chip = macro(
        cell={"bits": 2},
        weight={"bits": 4, "encoding": "differential"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2},
    )
    holds([[1, 1]], [[7], [-6]], chip, [[1]], [[[[3, 1, 2, 1]]]], 4)


def test_38_signed_inputs_on_offset_weights():
    # x = -2, 1: slices 0 1 and 1 0, the last counts -2. w = 1, -2 -> 3, 0. Slice 0 (row 1): 0, 0; slice 1 (row 0): 1, 1:
    # acc = -2*(1 + 2) = -6; - 2*(-2 + 1) = -4 = -2*1 + 1*-2.
    chip = macro(input={"bits": 2, "signed": True}, adc={"model": "linear", "bits": 1})
    holds([[-2, 1]], [[1], [-2]], chip, [[-4]], [[[[0, 0], [1, 1]]]], 4)


def test_39_a_reference_column_of_signed_inputs():
    # x = -1, 1: slices 1 1 and 1 0 (counts -2). w = 1, 1, one bit: psums 2, 1 -> 1, 1: acc = 1 - 2 = -1; the reference
    # column sees the same: -1. 2*-1 - -1 = -1 (exact: 0).
    chip = macro(
        weight={"bits": 1, "encoding": "binary", "correction": "reference_column"},
        input={"bits": 2, "signed": True},
        adc={"model": "linear", "bits": 1},
    )
    holds([[-1, 1]], [[1], [1]], chip, [[-1]], [[[[1], [1]]]], 4)


def test_40_one_slice_of_three_bit_pulses():
    # x = 7, 6. psums 13 and 7; lsb 2: t_k = 2k - 1: 13 = t_7: code 7, value 14; 7 = t_4: code 4, value 8.
    # 2*14 - 13 = 15, 2*8 - 13 = 3 (exact: 13, 1).
    chip = macro(
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 3, "dac_bits": 3, "dac": "pulse"},
        adc={"model": "linear", "bits": 3, "lsb": 2},
    )
    holds([[7, 6]], [[1, 1], [1, -1]], chip, [[15, 3]], [[[[7, 4]]]], 2)


def test_41_codes_of_one_level_are_summed_before_the_level():
    # thresholds 1, 2, 3; levels 0, 1.5, 1.5, 4. x = 3, 2: psums 1 and 2: codes 1 and 2, level 1.5 both: A = 1 + 2 = 3:
    # 1.5*3 = 4.5; 2*4.5 - 5 = 4.
    chip = macro(
        weight={"bits": 1, "encoding": "binary"},
        adc={"model": "nonlinear", "bits": 2, "thresholds": [1, 2, 3], "levels": [0, 1.5, 1.5, 4]},
    )
    holds([[3, 2]], [[1], [1]], chip, [[4.0]], [[[[1], [2]]]], 2)


def test_42_every_column_has_thresholds_and_levels_of_its_own():
    # offset 2, w = 1 -> 1 1. Column 0: t = 1, levels 0, 1; column 1: t = 2, levels 0, 5.
    # x = 1, 0: psums 1, 1: codes 1, 0: 1 + 2*0 - 2*1 = -1. x = 1, 1: psums 2, 2: codes 1, 1: 1 + 2*5 - 2*2 = 7.
    adc = {"model": "nonlinear", "bits": 1, "thresholds": [[[1], [2]]], "levels": [[[0, 1], [0, 5]]]}
    chip = macro(input={"bits": 1}, adc=adc)
    holds([[1, 0], [1, 1]], [[1], [1]], chip, [[-1], [7]], [[[[1, 0]]], [[[1, 1]]]], 4)


def test_43_equal_thresholds_skip_a_code():
    # thresholds 2, 2, 3: psum 2 passes two of them: code 2; psum 1: code 0. 2*2 - 2 = 2, 2*0 - 2 = -2.
    chip = macro(
        weight={"bits": 1, "encoding": "binary"},
        input={"bits": 1},
        adc={"model": "nonlinear", "bits": 2, "thresholds": [2, 2, 3], "levels": [0, 1, 2, 3]},
    )
    holds([[1, 1]], [[1, 1], [1, -1]], chip, [[2, -2]], [[[[2, 0]]]], 2)


def test_44_an_accumulator_holds_both_ends_of_its_range():
    # 3 bits: -4 .. 3. x = 3, 1: slices 1 1 and 1 0. w = (1, 0) -> 1 0, 0 0: 1, then 1 + 2*1 = 3. w = (-1, -1) -> 1 1, 1 1:
    # 2 - 2*2 = -2, then -2 + 2*(1 - 2) = -4.
    chip = macro(
        weight={"bits": 2, "encoding": "twos_complement"},
        adc={"model": "linear", "bits": 2},
        accumulator_bits=3,
    )
    holds([[3, 1]], [[1, -1], [0, -1]], chip, [[3, -4]], [[[[1, 0, 2, 2], [1, 0, 1, 1]]]], 8)


@pytest.mark.parametrize(("overflow", "y"), [("saturate", 1), ("wrap", -4)])
def test_45_an_accumulator_is_held_after_every_group(overflow, y):
    # One row a group, w = 3, 3, -2 -> 1 1 0 0, 1 1 0 0, 0 1 1 1. Running: 3, 6, then -2 more. Saturated: 3, 3, 1.
    # Wrapped: 3, 6 - 8 = -2, -4.
    chip = macro(
        active_rows=1,
        weight={"bits": 4, "encoding": "twos_complement"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 1},
        accumulator_bits=3,
        accumulator_overflow=overflow,
    )
    codes = [[[[1, 1, 0, 0]], [[1, 1, 0, 0]], [[0, 1, 1, 1]]]]
    holds([[1, 1, 1]], [[3], [3], [-2]], chip, [[y]], codes, 12)


GIVEN = np.array([[1.6, 0.1], [0.4, 0.9]])  # fraction_bits 1: 1.5, 0 and 0.5, 1


def test_46_given_cells_of_a_differential_pair():
    # x = 1, 1: plus 1.5 + 0.5 = 2 -> 2, minus 0 + 1 = 1 -> 1: 1. x = 1, 0: plus 1.5 = t_2 -> 2, minus 0 -> 0: 2.
    chip = macro(
        cell={"fraction_bits": 1},
        weight={"bits": 2, "encoding": "differential"},
        input={"bits": 1},
        adc={"model": "linear", "bits": 2},
    )
    codes = [[[[2, 1]]], [[[2, 0]]]]
    holds([[1, 1], [1, 0]], [[1], [-1]], chip, [[1], [2]], codes, 4, cells=GIVEN)


def test_47_given_cells_under_an_ideal_converter_give_their_fractions():
    # x = 1, 1: 2 - 1 = 1; x = 1, 0: 1.5 - 0 = 1.5. Conversions are counted without codes.
    chip = macro(cell={"fraction_bits": 1}, weight={"bits": 2, "encoding": "differential"}, input={"bits": 1})
    holds([[1, 1], [1, 0]], [[1], [-1]], chip, [[1.0], [1.5]], None, 4, cells=GIVEN)


def test_48_an_ideal_converter_counts_its_reference_column():
    # 1*1 + 2*-2 = -3. 2 slices x (2 columns + 1 reference) = 6.
    chip = macro(weight={"bits": 2, "correction": "reference_column"})
    holds([[1, 2]], [[1], [-2]], chip, [[-3]], None, 6)


def test_49_groups_slices_and_column_blocks_together():
    # One output a macro, groups (0 1), (2), one bit. w = (1, 1, -2), (-1, -1, 1) -> 3 3 0 and 1 1 3; x = 3, 3, 1.
    # Slice 0: group 0: 2 2 -> 1 1, and 2 0 -> 1 0; group 1: 0 0 and 1 1. Slice 1: group 0: the same; group 1: none.
    # acc 0: (1 + 2) + 2*(1 + 2) = 9; acc 1: 1 + (1 + 2) + 2*1 = 6. - 2*7: -5 and -8. 2 groups x 2 slices x 4 columns.
    chip = macro(columns=2, columns_per_adc=2, active_rows=2, adc={"model": "linear", "bits": 1})
    codes = [[[[1, 1, 1, 0], [1, 1, 1, 0]], [[0, 0, 1, 1], [0, 0, 0, 0]]]]
    holds([[3, 3, 1]], [[1, -1], [1, -1], [-2, 1]], chip, [[-5, -8]], codes, 16)


def test_50_nine_signed_bits_at_their_ends():
    # -256 * -256 = 65536: every cell is 0, the correction is all of it. -256 * 255: -256*511 + 256*256 = -65280.
    chip = macro(columns=9, weight={"bits": 9}, input={"bits": 9, "signed": True}, adc={"model": "linear", "bits": 1})
    holds([[-256]], [[-256, 255]], chip, [[65536, -65280]], None, 9 * 18)
    # Lossless: without codes the automatic path is the proven product.
    assert cimemu.mvm(np.array([[-256]]), np.array([[-256, 255]]), chip).path == "exact"


def test_51_codes_are_summed_before_the_step_is_multiplied():
    # lsb 0.1, 3 bits: psum 1 is above t_7 = 0.65: code 7. x = 3: A = 7*(1 + 2) = 21: y = 2*(0.1*21) - 3, in float64.
    chip = macro(weight={"bits": 1, "encoding": "binary"}, adc={"model": "linear", "bits": 3, "lsb": 0.1})
    holds([[3]], [[1]], chip, [[2 * (0.1 * 21) - 3]], [[[[7], [7]]]], 2)


def test_52_a_one_bit_offset_weight():
    # b = 1: w in -1, 0 stored as w + 1. w = 0, -1 -> 1, 0. x = 2, 3: slices 0 1 and 1 1: psums 0, 1: acc 2; - 1*5 = -3.
    chip = macro(weight={"bits": 1}, adc={"model": "linear", "bits": 1})
    holds([[2, 3]], [[0], [-1]], chip, [[-3]], [[[[0], [1]]]], 2)
