"""How many macros blocks of some widths take: the kernel, its definition, and the mapper itself."""

import nets
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.mapping import fill_kernels as fill


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_macros_by_columns(data):
    columns, step = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 9))
    most = data.draw(st.integers(1, 30))
    wanted = np.zeros(columns + 1, dtype=np.int64)
    for width, count in data.draw(
        st.lists(st.tuples(st.integers(1, columns), st.integers(1, 12)), min_size=1, max_size=8)
    ):
        wanted[width] += count
    scratch = np.full(most, -7, dtype=np.int64)
    found = fill.macros_by_columns(wanted, columns, step, most, scratch)
    assert found == fill.macros_by_columns_naive(wanted, columns, step, most, None)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.sampled_from([8, 16]))
def test_it_counts_what_tight_packing_places(outputs, share):
    chip = cimemu.load_arch("rram_128", {"mapping.packing": "tight", "macro.columns_per_adc": share})
    macro = chip.macro
    layers = [
        nets.matrix_layer(f"l{number}", "x", f"t{number}", 1, 100, count, stage=nets.requantize())
        for number, count in enumerate(outputs)
    ]
    names = [f"t{number}" for number in range(len(outputs))]
    network = nets.network("many", layers, {"x": nets.TensorType((1, 100), "uint8")}, names)
    wanted = np.zeros(macro.columns + 1, dtype=np.int64)
    for count in outputs:
        for first in range(0, count, macro.outputs):
            wanted[min(macro.outputs, count - first) * macro.columns_per_output] += 1
    scratch = np.empty(chip.macros, dtype=np.int64)
    step = macro.columns_per_adc * macro.columns_per_output // macro.conversions_per_output
    assert (
        fill.macros_by_columns(wanted, macro.columns, step, chip.macros, scratch)
        == cimemu.make_plan(network, chip).macros_used
    )
