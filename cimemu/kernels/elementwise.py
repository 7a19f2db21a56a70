"""Elementwise integer layers of the digital unit in one pass."""

import numpy as np

from cimemu.kernels.jit import kernel


@kernel
def add_quantized(a, b, ratio_a, ratio_b, fixed, limits, out):
    """out = clip(rint(fma(a, ratio_a, fma(b, ratio_b, fixed))), low, high), each line rounded once to float32.

    a, b 8-bit integers, out integers, all [elements]; limits float32 (low, high). A product of an 8-bit integer and a
    float32 is exact in float64, so one rounding to float32 is what a fused multiply-add does.
    """
    wide_a, wide_b, wide_fixed = np.float64(ratio_a), np.float64(ratio_b), np.float64(fixed)
    for i in range(out.shape[0]):
        inner = np.float32(np.float64(b[i]) * wide_b + wide_fixed)
        value = np.rint(np.float32(np.float64(a[i]) * wide_a + np.float64(inner)))
        out[i] = np.int32(min(max(value, limits[0]), limits[1]))


def add_quantized_naive(a, b, ratio_a, ratio_b, fixed, limits, out):
    """The definition on whole arrays."""
    inner = (b * np.float64(ratio_b) + np.float64(fixed)).astype(np.float32)
    value = np.rint((a * np.float64(ratio_a) + inner).astype(np.float32))
    out[:] = np.clip(value, limits[0], limits[1]).astype(out.dtype)
