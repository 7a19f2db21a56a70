"""What is counted is what the definition counts."""

import macros
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.compute.naive import mvm_naive
from cimemu.events import Counter
from cimemu.mapping.layout import make_layout


@settings(deadline=None, derandomize=True, max_examples=80, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1))
def test_counts_are_those_of_the_naive_twin(seed):
    x, w, macro = macros.draw(seed)
    counts = cimemu.mvm(x, w, macro).counts.sum(axis=0)
    layout = make_layout(w.shape[0], w.shape[1], macro)
    slow = mvm_naive(x, w, macro, layout)
    assert counts[Counter.CONVERSIONS] == slow.conversions == counts[Counter.SHIFT_ADDS]
    assert counts[Counter.STEPS] == slow.steps
    assert counts[Counter.SKIPPED_STEPS] == slow.skipped
    assert counts[Counter.WORDLINES_RAISED] == slow.raised
    assert counts[Counter.WORDLINE_PULSES] == slow.pulses
    assert counts[Counter.CELL_LEVEL_PULSES] == slow.level_pulses
    assert counts[Counter.MACRO_OPS] == len(x) * len(layout.row_blocks) * len(layout.col_blocks)
    assert counts[Counter.INPUT_BITS] == len(x) * w.shape[0] * macro.input.bits * len(layout.col_blocks)


def test_scales_that_are_no_integers_are_multiplied_once_a_column_and_row_block():
    macro = cimemu.load_arch("rram_128", {"macro.adc.lsb": 1.5}).macro
    x, w = np.ones((3, 200), dtype=np.int64), np.ones((200, 5), dtype=np.int64)
    # 3 positions x 2 row blocks x 5 outputs x 8 slices
    assert cimemu.mvm(x, w, macro).counts[0, Counter.SCALE_MULTIPLICATIONS] == 3 * 2 * 40
    whole = cimemu.load_arch("rram_128", {"macro.adc.lsb": 2}).macro
    assert cimemu.mvm(x, w, whole).counts[0, Counter.SCALE_MULTIPLICATIONS] == 0


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
