"""TensorFlow Lite's reference softmax of 8-bit integers, by gemmlowp's fixed-point exponential and reciprocal."""

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.fixed_point import FixedPointMath, Raw
from cimemu.layer.rounding import doubling_high_multiply, quantize_multiplier, rounding_shift

DIFF_BITS, SUM_BITS = 5, 12  # integer bits of scaled differences and of the sum of exponentials
WORDS = FixedPointMath(32)


def softmax_parameters(beta: float, input_scale: float) -> tuple[int, int, int]:
    """(q31, left shift, smallest difference that counts) of TensorFlow Lite's PreprocessSoftmaxScaling."""
    real = min(beta * float(input_scale) * (1 << (31 - DIFF_BITS)), (1 << 31) - 1.0)
    q31, shift = quantize_multiplier(real)
    radius = 1.0 * ((1 << DIFF_BITS) - 1) * (1 << (31 - DIFF_BITS)) / (1 << shift)
    return q31, shift, -int(np.floor(radius))


def softmax_rows(x: Raw, q31: int, left_shift: int, diff_min: int, dtype: str) -> NDArray[np.integer]:
    """Softmax of rows [P, N] of int8 or uint8 codes."""
    low = np.iinfo(dtype).min
    difference = x - x.max(axis=1, keepdims=True)
    counted = difference >= diff_min
    scaled = doubling_high_multiply(np.where(counted, difference, 0) << left_shift, q31)
    exponential = WORDS.exp_on_negative_values(scaled, DIFF_BITS)
    total = np.where(counted, rounding_shift(exponential, SUM_BITS), 0).sum(axis=1)
    scale, over_unit = _reciprocal(total)
    product = doubling_high_multiply(scale[:, None], exponential)
    output = rounding_shift(product, (over_unit + 31 - 8)[:, None]) + low
    limits = np.iinfo(dtype)
    return np.where(counted, np.clip(output, limits.min, limits.max), low).astype(dtype)


def _reciprocal(total: Raw) -> tuple[Raw, Raw]:
    """(1 / total in Q0 of the number shifted into 1 .. 2, how many bits it was above one); total in Q12 > 0."""
    headroom = 32 - np.array([int(t).bit_length() for t in total], dtype=np.int64)
    shifted = (total << headroom) - (1 << 31)
    return WORDS.one_over_one_plus(shifted), SUM_BITS - headroom
