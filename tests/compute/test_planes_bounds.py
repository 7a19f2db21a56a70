"""Clamps on bit planes weigh codes of eight bits: where a full column has a larger code, they do not serve."""

import numpy as np
import pytest

import cimemu
from cimemu.engines.planes.clipped import make_planes
from cimemu.engines.programmed import program
from cimemu.lanes.registers import AVAILABLE


def chip(rows, bits):
    return cimemu.load_arch(
        "rram_128",
        {
            "macro.rows": rows,
            "macro.active_rows": rows,
            "macro.adc": {"model": "linear", "circuit": "sar", "bits": bits},
            "macro.input.bits": 8,
            "macro.input.dac_bits": 1,
        },
    ).macro


@pytest.mark.skipif(not AVAILABLE, reason="the processor has no AVX2: no planes are made")
@pytest.mark.parametrize(
    ("rows", "bits", "serves"), [(127, 8, True), (128, 8, True), (255, 9, True), (256, 8, True), (256, 9, False)]
)
def test_codes_must_fit_eight_bits(rows, bits, serves):
    """The largest code is min(2^bits - 1, rows)."""
    macro = chip(rows, bits)
    w = np.full((rows, 3), -1, dtype=np.int16)
    made = make_planes(program(w, macro).matrix)
    assert (made.__class__.__name__ == "BitPlanes") == serves
    x = np.full((5, rows), 255, dtype=np.uint8)
    assert np.array_equal(cimemu.mvm(x, w, macro).y, cimemu.mvm(x, w, macro, path="naive").y)
