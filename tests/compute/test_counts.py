"""What is counted is what the definition counts."""

import macros
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.events import Counter
from cimemu.macro.naive import Given, mvm_naive
from cimemu.macro.read_noise import Reads
from cimemu.mapping.layout import make_layout


@settings(deadline=None, derandomize=True, max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1), st.sampled_from(["current", "charge", "digital"]), st.sampled_from([1, 1, 3]))
def test_counts_are_those_of_the_naive_twin(seed, kind, reads):
    x, w, macro = macros.draw(seed)
    refused = kind == "digital" or macro.timing.skip_zero_slices or macro.input.driver == "holds"
    reads = 1 if refused else reads
    repair = macro.repair.model_copy(update={"reads": reads})
    macro = macro.model_copy(update={"cell": macro.cell.model_copy(update={"kind": kind}), "repair": repair})
    counts = cimemu.mvm(x, w, macro).counts.sum(axis=0)
    layout = make_layout(w.shape[0], w.shape[1], macro)
    slow = mvm_naive(x, Given(w, macro, layout), Reads(positions=len(x)))
    assert counts[Counter.CONVERSIONS] == slow.conversions == reads * counts[Counter.SHIFT_ADDS]
    assert counts[Counter.SHIFT_ADDS] == slow.shift_adds
    assert counts[Counter.STEPS] == slow.steps
    assert counts[Counter.SKIPPED_STEPS] == slow.skipped
    assert counts[Counter.WORDLINES_RAISED] == slow.raised
    assert counts[Counter.WORDLINE_PULSES] == slow.drawn
    if kind == "digital":
        assert counts[Counter.CELL_PULSES] == slow.input_changes
        assert counts[Counter.CELL_LEVEL_PULSES] == slow.product_changes
    else:
        assert counts[Counter.CELL_LEVEL_PULSES] == slow.level_drawn
    assert counts[Counter.MACRO_OPS] == len(x) * len(layout.row_blocks) * len(layout.col_blocks)
    assert counts[Counter.INPUT_BITS] == len(x) * w.shape[0] * macro.input.bits * len(layout.col_blocks)


def multiplications(lsb):
    macro = cimemu.load_arch("rram_128", {"macro.adc.lsb": lsb}).macro
    x, w = np.ones((3, 200), dtype=np.int64), np.ones((200, 5), dtype=np.int64)
    return cimemu.mvm(x, w, macro).counts[0, Counter.SCALE_MULTIPLICATIONS]


def test_scales_are_multiplied_once_an_output_an_array_or_a_column():
    # 3 positions, 2 row blocks, 5 outputs of 8 slices. One step for all folds into the requantisation.
    assert multiplications(1.5) == multiplications(2) == 0
    assert multiplications([[1.5], [1.25]]) == 3 * 2 * 5
    assert multiplications([[1.5] * 40, [1.25] * 40]) == 3 * 2 * 40


def test_references_that_differ_in_one_converter_switch_with_the_multiplexer():
    # 4 columns a converter, 8 columns: steps 1 2 1 1 | 3 3 3 3: two changes inside the first, none between converters.
    macro = cimemu.Macro.model_validate(
        {
            "rows": 8, "columns": 8, "columns_per_adc": 4, "weight": {"bits": 8}, "input": {"bits": 2},
            "adc": {"model": "linear", "bits": 3, "lsb": [[1, 2, 1, 1, 3, 3, 3, 3]]},
        }
    )  # fmt: skip
    x, w = np.full((5, 8), 3), np.ones((8, 1), dtype=np.int64)
    # 5 positions x 2 input slices x 2 switches
    assert cimemu.mvm(x, w, macro).counts[0, Counter.REFERENCE_SWITCHES] == 20
