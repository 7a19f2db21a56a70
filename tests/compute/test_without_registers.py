"""Processors without AVX2 run other kernels: the same bytes from both, and which of them ran."""

import macros
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.compute import lookup
from cimemu.compute.macro import program

common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@settings(common, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_table_look_up_and_the_other_kernels_give_the_same_bytes(seed):
    x, w, macro = macros.draw(seed)
    with_tables = cimemu.mvm(x, w, macro, path="packed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "AVAILABLE", False)
        without = cimemu.mvm(x, w, macro, path="packed")
        assert program(w, macro).lookup is None
    assert with_tables.y.tobytes() == without.y.tobytes()


@pytest.mark.skipif(not lookup.AVAILABLE, reason="the processor has no AVX2")
@pytest.mark.parametrize(
    "changes",
    [
        {"macro.adc.bits": 6},
        {"macro.adc.bits": 6, "macro.adc.lsb": 2.5},
        {"macro.adc.bits": 8, "macro.cell.bits": 2},
        {"macro.adc.bits": 8, "macro.input.dac_bits": 2},
        {"macro.adc.bits": 6, "macro.input.bits": 9},
    ],
)
def test_the_usual_converters_are_looked_up(changes):
    macro = cimemu.load_arch("rram_128", changes).macro
    assert program([[1] * 4] * 128, macro).lookup is not None
