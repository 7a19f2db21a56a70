"""Bit planes hold sums of codes in 16 bits of a column: where a full column of full codes would not fit, they do not serve."""

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
@pytest.mark.parametrize(("rows", "bits", "serves"), [(128, 8, True), (129, 8, False), (200, 8, False), (200, 7, True)])
def test_codes_of_eight_slices_must_fit_16_bits(rows, bits, serves):
    """The largest sum of one column's codes is min(2^bits - 1, rows) x 255: 128 x 255 = 32,640 fits, 129 x 255 does not."""
    macro = chip(rows, bits)
    w = np.full((rows, 3), -1, dtype=np.int16)
    made = make_planes(program(w, macro).matrix)
    assert (made.__class__.__name__ == "BitPlanes") == serves
    x = np.full((5, rows), 255, dtype=np.uint8)
    assert np.array_equal(cimemu.mvm(x, w, macro).y, cimemu.mvm(x, w, macro, path="naive").y)
