"""TensorFlow Lite's reference softmax of 8-bit integers: gemmlowp's fixed-point exponential and reciprocal.

Fixed-point numbers are int64 arrays that hold int32 raw values; Qm means m integer bits, 31 - m fraction bits. The
constants are gemmlowp's: exp(-1/8) and 1/3 in Q0, exp(-2^k) for k = -2 .. 4 in Q0, 48/17 and -32/17 in Q2.
"""

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.rounding import MAX32, MIN32, doubling_high_multiply, quantize_multiplier, rounding_shift

Raw = NDArray[np.int64]
DIFF_BITS, SUM_BITS = 5, 12  # integer bits of scaled differences and of the sum of exponentials
EXP_MINUS_EIGHTH, THIRD = 1895147668, 715827883
BARREL = ((-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401), (4, 242))
C48_17, C32_17 = 1515870810, -1010580540


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
    exponential = exp_on_negative_values(scaled)
    total = np.where(counted, rounding_shift(exponential, SUM_BITS), 0).sum(axis=1)
    scale, over_unit = _reciprocal(total)
    product = doubling_high_multiply(scale[:, None], exponential)
    output = rounding_shift(product, (over_unit + 31 - 8)[:, None]) + low
    limits = np.iinfo(dtype)
    return np.where(counted, np.clip(output, limits.min, limits.max), low).astype(dtype)


def exp_on_negative_values(a: Raw) -> Raw:
    """exp of Q5 numbers <= 0, in Q0."""
    fraction = 31 - DIFF_BITS
    quarter = 1 << (fraction - 2)
    inside = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(_left(inside, DIFF_BITS))
    remainder = inside - a
    for exponent, multiplier in BARREL:
        bit = 1 << (fraction + exponent)
        result = np.where(remainder & bit, doubling_high_multiply(result, multiplier), result)
    return np.where(a == 0, MAX32, result)


def _exp_near_zero(a: Raw) -> Raw:
    """exp of Q0 numbers in -1/4 .. 0 by a Taylor series around -1/8."""
    x = a + (1 << 28)
    x2 = doubling_high_multiply(x, x)
    x3 = doubling_high_multiply(x2, x)
    x4 = doubling_high_multiply(x2, x2)
    cubic = doubling_high_multiply(rounding_shift(x4, 2) + x3, THIRD) + x2
    return EXP_MINUS_EIGHTH + doubling_high_multiply(EXP_MINUS_EIGHTH, x + rounding_shift(cubic, 1))


def _reciprocal(total: Raw) -> tuple[Raw, Raw]:
    """(1 / total in Q0 of the number shifted into 1 .. 2, how many bits it was above one); total in Q12 > 0."""
    headroom = 32 - np.array([int(t).bit_length() for t in total], dtype=np.int64)
    shifted = (total << headroom) - (1 << 31)
    return _one_over_one_plus(shifted), SUM_BITS - headroom


def _one_over_one_plus(a: Raw) -> Raw:
    """1 / (1 + a) for Q0 numbers in 0 .. 1 by three Newton-Raphson steps, in Q0."""
    total = a + MAX32
    half = np.where(total >= 0, (total + 1) // 2, -((-(total - 1)) // 2))
    x = C48_17 + doubling_high_multiply(half, C32_17)
    for _ in range(3):
        rest = (1 << 29) - doubling_high_multiply(half, x)
        x = x + _left(doubling_high_multiply(x, rest), 2)
    return _left(x, 1)


def _left(x: Raw, bits: int) -> Raw:
    """A saturating shift to the left."""
    made: Raw = np.clip(x << bits, MIN32, MAX32)
    return made
