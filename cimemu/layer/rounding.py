"""The named rounding modes of integer runtimes, in one place, on int64 arrays.

- `fp32_half_even`: ONNX Runtime and LiteRT's default kernels: one float32 product, ties to even (`Fp32HalfEven`).
- `gemmlowp_double`: TensorFlow Lite's reference convolutions: a rounding doubling high multiplication, then a rounding
  shift, each with its own ties (gemmlowp's fixed-point arithmetic).
- `float64_half_away`: TensorFlow Lite's reference fully connected layers: one float64 product, ties away from zero
  (`Fp64HalfAway`).
"""

from math import frexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
MAX32, MIN32 = (1 << 31) - 1, -(1 << 31)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(q31, shift): `real` is about q31 * 2^(shift - 31), q31 in 2^30 .. 2^31 - 1 (0 for 0)."""
    if real == 0.0:
        return 0, 0
    fraction, shift = frexp(real)
    q31 = int(np.floor(fraction * 2.0**31 + 0.5))
    if q31 == 1 << 31:
        q31, shift = q31 // 2, shift + 1
    if shift < -31:
        return 0, 0
    return q31, shift


def doubling_high_multiply(a: Any, b: Any) -> Ints:
    """gemmlowp's SaturatingRoundingDoublingHighMul: `(a * b + nudge) / 2^31`, truncating."""
    product = np.asarray(a, dtype=np.int64) * np.asarray(b, dtype=np.int64)
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    total = product + nudge
    high = np.where(total >= 0, total >> 31, -((-total) >> 31))
    return np.asarray(np.minimum(high, MAX32))  # -2^31 * -2^31 saturates


def rounding_shift(x: Any, exponent: Any) -> Ints:
    """gemmlowp's RoundingDivideByPOT: x / 2^exponent, ties away from zero."""
    x, exponent = np.asarray(x, dtype=np.int64), np.asarray(exponent, dtype=np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    return np.asarray((x >> exponent) + ((x & mask) > threshold))


def gemmlowp_double(acc: Any, q31: Any, shift: Any) -> Ints:
    """TensorFlow Lite's MultiplyByQuantizedMultiplier with two roundings."""
    shift = np.asarray(shift, dtype=np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    return rounding_shift(doubling_high_multiply(np.asarray(acc, dtype=np.int64) << left, q31), right)


def float64_half_away(acc: Any, multiplier: Any) -> Ints:
    """`acc * multiplier` in float64, rounded to an integer with ties away from zero."""
    product = np.asarray(acc, dtype=np.float64) * np.asarray(multiplier, dtype=np.float64)
    size = np.abs(product)
    whole = np.floor(size)
    return np.asarray(np.copysign(whole + (size - whole >= 0.5), product)).astype(np.int64)


def same_scale(stored: NDArray[Any], product: NDArray[Any]) -> bool:
    """Whether stored scales are those of a product of two others, as near as float32 writes them."""
    wide, exact = stored.astype(np.float64), product.astype(np.float64)
    return bool((np.abs(wide - exact) <= 2.0**-20 * exact + 2.0**-149).all())  # the last: denormals' own steps
