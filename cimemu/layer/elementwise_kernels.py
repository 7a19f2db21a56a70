"""Elementwise integer layers of the digital unit in one pass."""

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def look_up_pairs(a, b, table, out):
    """out[i] = table[256 * a[i] + b[i]].

    a, b uint8 [elements] (8-bit codes, signed ones by their bits), table [65536] and out [elements] of one 8-bit type.
    A function of two 8-bit operands has 65,536 values: computing each once, exactly and slowly, and looking them up
    costs no more per element (1 ns) than two multiplications and a rounding.
    """
    for i in range(out.shape[0]):
        out[i] = table[(np.intp(a[i]) << 8) | np.intp(b[i])]


def look_up_pairs_naive(a, b, table, out):
    """The definition on whole arrays."""
    out[:] = table[256 * a.astype(np.int64) + b]
