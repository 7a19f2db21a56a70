"""Output stages: an exact accumulator becomes the layer's output tensor, by a named rounding rule."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.rounding import float64_half_away, gemmlowp_double
from cimemu.layer.tfl_wide import scaled_wide


@dataclass(frozen=True, eq=False)
class OutputStage:
    """Base of the stages; `apply` takes int64 (or float64) accumulators `[..., channels_out]`."""

    def apply(self, accumulators: NDArray[Any]) -> NDArray[Any]:
        """The output values, same shape."""
        raise TypeError(f"{type(self).__name__} has no rule")


def whole(accumulators: NDArray[Any]) -> NDArray[np.int32]:
    """Accumulators as the 32-bit integers of integer runtimes, which wrap; where converter levels are no integers they are
    rounded to the nearest first, ties to even."""
    exact = accumulators if accumulators.dtype.kind == "i" else np.rint(accumulators).astype(np.int64)
    return exact.astype(np.int32)


def in_32_bits(accumulators: NDArray[Any]) -> NDArray[Any]:
    """Integer accumulators as the 32-bit ones of integer runtimes, which wrap; float ones (converter levels that are
    no integers) as they are."""
    return accumulators.astype(np.int32) if accumulators.dtype.kind == "i" else accumulators


@dataclass(frozen=True, eq=False)
class Fp32HalfEven(OutputStage):
    """ONNX Runtime's rule: `clip(rint(float32(acc) * multiplier) + zero_point, low, high)`.

    `multiplier` is float32, one value or one per output channel: `float32(float32(s_x * s_w) / s_y)`.
    """

    multiplier: NDArray[np.float32]
    zero_point: int
    low: int
    high: int
    dtype: str

    def apply(self, accumulators: NDArray[Any]) -> NDArray[Any]:
        """Requantised integers of `dtype`."""
        with np.errstate(all="ignore"):
            scaled = np.rint(in_32_bits(accumulators).astype(np.float32) * self.multiplier)
        if not np.isfinite(self.multiplier).all():  # a sum of 0 times infinity: ONNX Runtime limits it to the low end
            scaled[np.isnan(scaled)] = -np.inf
        made: NDArray[Any] = np.clip(scaled + np.float32(self.zero_point), self.low, self.high).astype(self.dtype)
        return made


@dataclass(frozen=True, eq=False)
class ToFloat(OutputStage):
    """The accumulator as float32: `float32(acc) * scale`, for outputs that the source graph leaves in float."""

    scale: NDArray[np.float32]

    def apply(self, accumulators: NDArray[Any]) -> NDArray[Any]:
        """float32 values."""
        return in_32_bits(accumulators).astype(np.float32) * self.scale


@dataclass(frozen=True, eq=False)
class FloatOnce(OutputStage):
    """The accumulator, of more than 32 bits, as float32 that is rounded once: `float32(acc * scale)`."""

    scale: NDArray[np.float64]

    def apply(self, accumulators: NDArray[Any]) -> NDArray[Any]:
        """float32 values."""
        made: NDArray[Any] = (accumulators.astype(np.float64) * self.scale).astype(np.float32)
        return made


@dataclass(frozen=True, eq=False)
class RealBias(OutputStage):
    """A bias that is no whole number of the products' steps (a scale or zero point of its own, or float): added as a real.

    `float32(acc * scale + bias)`, rounded once from float64; then QuantizeLinear's rule,
    `clip(rint(value / output_scale) + zero_point, low, high)`, or nothing more where the output stays float
    (`output_scale` None). ONNX Runtime leaves such a product in float32, where the order of its sums is the processor's;
    this is the value that all orders round to. `dropped` where the bias is int32: a fused operator of ONNX Runtime (QGemm
    always, QLinearConv where scales are close or small) ignores that bias's own scale.
    """

    scale: NDArray[np.float64]  # input scale x weight scale, [channels_out]
    bias: NDArray[np.float32]  # [channels_out]
    output_scale: np.float32 | None
    zero_point: int
    low: int
    high: int
    dtype: str
    dropped: bool

    def apply(self, accumulators: NDArray[Any]) -> NDArray[Any]:
        """Integers of `dtype`, or float32."""
        sums = in_32_bits(accumulators).astype(np.float64)
        real = (sums * self.scale + self.bias.astype(np.float64)).astype(np.float32)
        if self.output_scale is None:
            return real
        rounded = np.rint(real / self.output_scale)
        made: NDArray[Any] = np.clip(rounded + np.float32(self.zero_point), self.low, self.high).astype(self.dtype)
        return made


@dataclass(frozen=True, eq=False)
class Accumulator(OutputStage):
    """The accumulator itself (ConvInteger, MatMulInteger): int32."""

    def apply(self, accumulators: NDArray[Any]) -> NDArray[Any]:
        """int32 values; accumulators that are no integers are rounded to the nearest, ties to even."""
        return whole(accumulators)


@dataclass(frozen=True, eq=False)
class FixedPoint(OutputStage):
    """TensorFlow Lite's convolutions: a q31 multiplier and a shift per output, the rule `gemmlowp_double`."""

    q31: NDArray[np.int64]  # [1] or [channels_out]
    shift: NDArray[np.int64]
    zero_point: int
    low: int
    high: int
    dtype: str

    def apply(self, accumulators: NDArray[Any]) -> NDArray[Any]:
        """Requantised integers of `dtype`; accumulators that are no integers are scaled and rounded once, ties to even."""
        if accumulators.dtype.kind == "f":
            scaled = np.rint(accumulators * np.ldexp(self.q31.astype(np.float64), self.shift - 31))
        else:
            scaled = gemmlowp_double(in_32_bits(accumulators), self.q31, self.shift)
        made: NDArray[Any] = np.clip(scaled + self.zero_point, self.low, self.high).astype(self.dtype)
        return made


@dataclass(frozen=True, eq=False)
class WideFixedPoint(OutputStage):
    """TensorFlow Lite's sums of 16-bit products: 15 bits of the q31 multiplier, the rule `scaled_wide`."""

    q31: NDArray[np.int64]
    shift: NDArray[np.int64]
    zero_point: int
    low: int
    high: int
    dtype: str

    def apply(self, accumulators: NDArray[Any]) -> NDArray[Any]:
        """Requantised integers of `dtype`; accumulators that are no integers are rounded once, ties to even."""
        if accumulators.dtype.kind == "f":
            scaled = np.rint(accumulators * np.ldexp(self.q31.astype(np.float64), self.shift - 31))
        else:
            scaled = scaled_wide(accumulators, self.q31, self.shift)
        made: NDArray[Any] = np.clip(scaled + self.zero_point, self.low, self.high).astype(self.dtype)
        return made


@dataclass(frozen=True, eq=False)
class Fp64HalfAway(OutputStage):
    """TensorFlow Lite's fully connected layers: a float64 multiplier per output, the rule `float64_half_away`."""

    multiplier: NDArray[np.float64]  # [1] or [channels_out]
    zero_point: int
    low: int
    high: int
    dtype: str

    def apply(self, accumulators: NDArray[Any]) -> NDArray[Any]:
        """Requantised integers of `dtype`; accumulators that are no integers are rounded once, ties to even."""
        if accumulators.dtype.kind == "f":
            scaled = np.rint(accumulators * self.multiplier)
        else:
            scaled = float64_half_away(in_32_bits(accumulators), self.multiplier)
        made: NDArray[Any] = np.clip(scaled + self.zero_point, self.low, self.high).astype(self.dtype)
        return made
