"""TensorFlow Lite's functions of one 8-bit code, as tables over all codes: what a `QTable` holds.

Every function is that of LiteRT's reference kernels (BUILTIN_REF), rounding included; it raises ValueError, with the rule,
for scales that the kernels have no defined result for. A multiplier is the ratio of two
scales as 31 bits and a shift (`quantize_multiplier`); products with it round twice (`gemmlowp_double`).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array
from cimemu.layer.q_table import Codes
from cimemu.layer.rounding import MAX32, gemmlowp_double, quantize_multiplier, rounding_shift
from cimemu.layer.tfl_roots import inverse_root

Ints = NDArray[np.int64]
HIRES_BITS = 7  # HARD_SWISH keeps its input in 16 bits, 7 of them behind the point


def half_away(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """x rounded to whole numbers, ties away from zero, in x's own type."""
    size = np.abs(x)
    whole = np.floor(size)
    with np.errstate(invalid="ignore"):  # an infinity stays one
        return np.asarray(np.copysign(whole + (size - whole >= 0.5), x), dtype=x.dtype)


def every_code(x: Codes) -> Ints:
    """All codes of a type, ascending, minus the zero point."""
    limits = np.iinfo(x.dtype)
    return np.arange(limits.min, limits.max + 1, dtype=np.int64) - x.scale.zero_point


def _coded(steps: Ints, y: Codes) -> Array:
    """Steps of y's scale as codes, limited to y's range."""
    return np.clip(steps + y.scale.zero_point, y.low, y.high).astype(y.dtype)


def _ratio(scale: np.float32, y: Codes) -> float:
    """A scale over the output's, in float32."""
    with np.errstate(over="ignore", under="ignore"):
        return float(scale / y.scale.scale)


def _scaled(codes: Ints, ratio: float) -> Ints:
    """Codes times a ratio of scales, rounded twice. ValueError where they pass 32 bits, which the runtime wraps."""
    if not abs(ratio) * float(np.abs(codes).max()) < 2.0**30:
        raise ValueError(f"its scales' ratio is {ratio:.4g}, its scaled codes must stay within 32 bits")
    return gemmlowp_double(codes, *quantize_multiplier(ratio))


def requantized(x: Codes, y: Codes, *, single: bool = False) -> Array:
    """QUANTIZE of integers, and the RELU family: the ratio of scales in float64 or, where `single`, in float32."""
    ratio = _ratio(x.scale.scale, y) if single else float(x.scale.scale) / float(y.scale.scale)
    return _coded(_scaled(every_code(x), ratio), y)


def leaky(x: Codes, y: Codes, alpha: float) -> Array:
    """LEAKY_RELU: one multiplier for codes at or above zero, one for those below."""
    codes = every_code(x)
    with np.errstate(over="ignore", under="ignore"):
        down = _ratio(x.scale.scale * np.float32(alpha), y)
    return _coded(np.where(codes >= 0, _scaled(codes, _ratio(x.scale.scale, y)), _scaled(codes, down)), y)


def of_function(x: Codes, y: Codes, function: Callable[[float], float]) -> Array:
    """LOGISTIC, TANH and their like: a float32 function of the real value, scaled by float32(1 / output scale)."""
    with np.errstate(over="ignore"):
        real = every_code(x).astype(np.float32) * x.scale.scale
    value = np.array([function(float(r)) for r in real], dtype=np.float64).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        inverse = np.float32(1) / y.scale.scale
        if not np.isfinite(inverse):
            raise ValueError(f"output scale {y.scale.scale:.4g}, its inverse must be a float32 number")
        steps = half_away(value * inverse)
    made: Array = np.clip(steps + np.float32(y.scale.zero_point), y.low, y.high).astype(y.dtype)
    return made


def logistic(real: float) -> float:
    """1 / (1 + exp(-x)), every step rounded to float32."""
    with np.errstate(over="ignore"):
        grown = np.float32(np.exp(np.float64(-real)))
        return float(np.float32(1) / (np.float32(1) + grown))


def concatenated(x: Codes, y: Codes) -> Array:
    """An input of a CONCATENATION of uint8 with a scale of its own: float32 products, rounded once."""
    with np.errstate(over="ignore"):
        ratio = x.scale.scale * (np.float32(1) / y.scale.scale)
    if not ratio * np.float32(512) < 2.0**30:
        raise ValueError(f"its scales' ratio is {ratio:.4g}, its scaled codes must stay within 32 bits")
    bias = -np.float32(x.scale.zero_point) * ratio
    codes = (every_code(x) + x.scale.zero_point).astype(np.float32)
    return _coded(half_away(codes * ratio + bias).astype(np.int64), y)


def hard_swish(x: Codes, y: Codes) -> Array:
    """HARD_SWISH in 16-bit fixed point: x * relu6(x + 3) / 6."""
    hires = np.float32(1.0 / 128.0) * x.scale.scale
    out, out_exponent = quantize_multiplier(float(hires / y.scale.scale))
    with np.errstate(over="ignore"):
        ratio = float(hires / np.float32(3.0 / 32768.0))
    if not ratio < 1 << 16:
        raise ValueError(f"input scale {x.scale.scale:.4g}, must be below 768")
    gate, gate_exponent = quantize_multiplier(ratio)
    if out_exponent > 0:
        raise ValueError(f"output scale {y.scale.scale:.4g}, must be at least 1/128 of input scale {x.scale.scale:.4g}")
    if out_exponent < -15:
        raise ValueError(f"output scale {y.scale.scale:.4g}, must be at most 256 times input scale {x.scale.scale:.4g}")
    wide = every_code(x) << HIRES_BITS
    preshift = _high16(wide, _narrowed(out))
    relu = wide
    if gate_exponent > 0:
        relu = _limited16(relu << (gate_exponent - 1))
    relu = _high16(relu, _narrowed(gate))
    if gate_exponent > 0:
        relu = _limited16(relu << 1)
    if gate_exponent < 0:
        relu = rounding_shift(relu, -gate_exponent)
    relu = (relu + (1 << 15)) >> 1  # from -1 .. 1 to 0 .. 1
    product = relu * preshift
    product = np.where(product < 0, -((-product) >> 15), product >> 15)  # cut off, not rounded
    return _coded(rounding_shift(product, -out_exponent), y)


def _narrowed(q31: int) -> int:
    """A multiplier of 31 bits as one of 15."""
    return (1 << 15) - 1 if q31 >= MAX32 - (1 << 15) else (q31 + (1 << 15)) >> 16


def _high16(a: Ints, b: int) -> Ints:
    """SaturatingRoundingDoublingHighMul of 16-bit numbers: `(a * b + nudge) / 2^15`, truncating."""
    product = a * b
    total = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return _limited16(np.where(total >= 0, total >> 15, -((-total) >> 15)))


def _limited16(x: Ints) -> Ints:
    return np.asarray(np.clip(x, -(1 << 15), (1 << 15) - 1))


def inverse_roots(x: Codes, y: Codes) -> Array:
    """RSQRT of codes above the zero point; those at or below it (which the runtime refuses below) give the largest."""
    with np.errstate(over="ignore"):
        product = float(np.sqrt(x.scale.scale) * y.scale.scale)
    if not 2.0**-30 < product < 2.0**30:
        raise ValueError(f"root of its input scale x output scale is {product:.4g}, must be within 2^-30 .. 2^30")
    scale, shift = quantize_multiplier(1.0 / product)
    codes = every_code(x)
    root, bits = inverse_root(np.maximum(codes, 1))
    steps = gemmlowp_double(gemmlowp_double(1, root, bits + 20), scale, shift - 20)
    made = np.clip(steps + y.scale.zero_point, y.low, y.high)
    return np.where(codes > 0, made, y.high).astype(y.dtype)
