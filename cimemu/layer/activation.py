"""Activation functions in float32, and the softmax."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.rational import logistic, tanh
from cimemu.layer.shapes import Operand, broadcast, inner_axis, runtime

# Taylor centres of the error function: 0, 1/64 .. 6, from where on it is 1 in float32 and (nearly) float64.
_ERF_STEP = 1 / 64
_ERF_CENTRES = np.arange(0, 6 + _ERF_STEP, _ERF_STEP)
_ERF_VALUES = np.array([math.erf(x) for x in _ERF_CENTRES])
_ERF_SLOPES = np.array([2 / math.sqrt(math.pi) * math.exp(-x * x) for x in _ERF_CENTRES])


@dataclass(frozen=True, eq=False)
class Activation(Layer):
    """Base of functions of one element; `ops_per_element` is the digital cost."""

    ops_per_element: ClassVar[int] = 1

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        return (runtime(self, types[0]),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The function of every element."""
        return (self.apply(arrays[0]),)

    def apply(self, x: Array) -> Array:
        """The function itself, in the input's dtype."""
        raise TypeError(f"{type(self).__name__} has no function")

    def tabulated(self, x: Array) -> Array:
        """The function for a table between integers: as ONNX Runtime computes it where its own form is known."""
        return self.apply(x)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """`ops_per_element` an element."""
        return max(1, self.ops_per_element * outputs[0].elements)


@dataclass(frozen=True, eq=False)
class Relu(Activation):
    """max(x, 0)."""

    op: ClassVar[str] = "Relu"

    def apply(self, x: Array) -> Array:
        """Exact."""
        made: Array = np.maximum(x, x.dtype.type(0))
        return made


@dataclass(frozen=True, eq=False)
class LeakyRelu(Activation):
    """x where x >= 0, alpha * x elsewhere."""

    alpha: float = 0.01

    op: ClassVar[str] = "LeakyRelu"
    ops_per_element: ClassVar[int] = 2

    def apply(self, x: Array) -> Array:
        """float32."""
        return np.where(x >= 0, x, np.float32(self.alpha) * x)


@dataclass(frozen=True, eq=False)
class PRelu(Layer):
    """x where x >= 0, slope * x elsewhere; inputs (x, slope), the slope broadcasts to x."""

    op: ClassVar[str] = "PRelu"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        if broadcast(self, types) != x.shape:
            raise self.error(f"a slope of shape {tuple(types[1].shape)} does not broadcast to images of {x.shape}")
        return (x,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32."""
        x, slope = arrays
        return (np.where(x >= 0, x, slope * x),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Compare and multiply."""
        return 2 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class Clip(Activation):
    """x limited to low..high; None leaves a side open."""

    low: float | None = None
    high: float | None = None

    op: ClassVar[str] = "Clip"
    ops_per_element: ClassVar[int] = 2

    def apply(self, x: Array) -> Array:
        """Exact."""
        low = None if self.low is None else x.dtype.type(self.low)
        high = None if self.high is None else x.dtype.type(self.high)
        if low is None:
            return x if high is None else np.minimum(x, high)
        limited = np.asarray(np.maximum(x, low))
        return limited if high is None else np.minimum(limited, high, out=limited)


@dataclass(frozen=True, eq=False)
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    op: ClassVar[str] = "Sigmoid"
    ops_per_element: ClassVar[int] = 4

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        wide = x.astype(np.float64)
        small = np.exp(-np.abs(wide))  # of the magnitude: exp never overflows
        return np.where(wide >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)

    def tabulated(self, x: Array) -> Array:
        """ONNX Runtime's QLinearSigmoid, to the bit."""
        return logistic(x)


@dataclass(frozen=True, eq=False)
class Tanh(Activation):
    """Hyperbolic tangent."""

    op: ClassVar[str] = "Tanh"
    ops_per_element: ClassVar[int] = 4

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        return np.tanh(x.astype(np.float64)).astype(x.dtype)

    def tabulated(self, x: Array) -> Array:
        """ONNX Runtime's Tanh, to the bit."""
        return tanh(x)


@dataclass(frozen=True, eq=False)
class Exp(Activation):
    """Exponential."""

    op: ClassVar[str] = "Exp"
    ops_per_element: ClassVar[int] = 4

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        with np.errstate(over="ignore"):  # to infinity
            return np.exp(x.astype(np.float64)).astype(x.dtype)


@dataclass(frozen=True, eq=False)
class Erf(Activation):
    """Error function."""

    op: ClassVar[str] = "Erf"
    ops_per_element: ClassVar[int] = 8

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        return erf(x).astype(x.dtype)


@dataclass(frozen=True, eq=False)
class Gelu(Activation):
    """x * Phi(x): by the error function, or by the tanh formula if `approximate` is "tanh"."""

    approximate: str = "none"

    op: ClassVar[str] = "Gelu"
    ops_per_element: ClassVar[int] = 12

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        wide = x.astype(np.float64)
        match self.approximate:
            case "tanh":
                inner = np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))
            case "none":
                inner = erf(wide * math.sqrt(0.5))
            case other:
                raise self.error(f"approximate = {other}, must be none or tanh")
        made: Array = (0.5 * wide * (1 + inner)).astype(x.dtype)
        return made


@dataclass(frozen=True, eq=False)
class Elu(Activation):
    """x where x >= 0, alpha * (exp(x) - 1) elsewhere."""

    alpha: float = 1.0

    op: ClassVar[str] = "Elu"
    ops_per_element: ClassVar[int] = 5

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        wide = x.astype(np.float64)
        return np.where(wide >= 0, wide, self.alpha * np.expm1(np.minimum(wide, 0))).astype(x.dtype)

    def tabulated(self, x: Array) -> Array:
        """With the float32 difference exp(x) - 1, as ONNX Runtime has it: 0 for tiny x."""
        power = np.exp(np.minimum(x, 0).astype(np.float64)).astype(np.float32)
        return np.where(x >= 0, x, np.float32(self.alpha) * (power - np.float32(1)))


@dataclass(frozen=True, eq=False)
class Softplus(Activation):
    """log(1 + exp(x))."""

    op: ClassVar[str] = "Softplus"
    ops_per_element: ClassVar[int] = 8

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        return np.logaddexp(0, x.astype(np.float64)).astype(x.dtype)


@dataclass(frozen=True, eq=False)
class HardSigmoid(Activation):
    """alpha * x + beta limited to 0..1."""

    alpha: float = 0.2
    beta: float = 0.5

    op: ClassVar[str] = "HardSigmoid"
    ops_per_element: ClassVar[int] = 4

    def apply(self, x: Array) -> Array:
        """float32."""
        line = np.float32(self.alpha) * x + np.float32(self.beta)
        made: Array = np.minimum(np.maximum(line, np.float32(0)), np.float32(1))
        return made


@dataclass(frozen=True, eq=False)
class HardSwish(Activation):
    """x * HardSigmoid(x) with alpha = 1/6, beta = 1/2."""

    op: ClassVar[str] = "HardSwish"
    ops_per_element: ClassVar[int] = 5

    def apply(self, x: Array) -> Array:
        """float32."""
        line = np.float32(1 / 6) * x + np.float32(0.5)
        made: Array = x * np.minimum(np.maximum(line, np.float32(0)), np.float32(1))
        return made


@dataclass(frozen=True, eq=False)
class Softmax(Activation):
    """exp(x) over its sum along `axis` (batch axis counted); `flatten` runs over all axes from it on.

    Flattening is the meaning of ONNX before operator set 13.
    """

    axis: int = -1
    flatten: bool = False

    op: ClassVar[str] = "Softmax"
    ops_per_element: ClassVar[int] = 4

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        inner_axis(self, self.axis, len(x.shape) + 1)
        return (x,)

    def apply(self, x: Array) -> Array:
        """float32: largest value taken off, exponential, sum, quotient."""
        axis = self.axis % x.ndim
        axes = tuple(range(axis, x.ndim)) if self.flatten else (axis,)
        with np.errstate(invalid="ignore"):  # of -inf alone: no number
            powers = np.exp(x - x.max(axis=axes, keepdims=True))
            made: Array = powers / powers.sum(axis=axes, keepdims=True)
        return made


def erf(x: Array) -> Array:
    """Error function of every element, float64, to a relative 1e-12: fifth-order Taylor steps off a table."""
    wide = x.astype(np.float64)
    size = np.minimum(np.abs(wide), 6.0)
    nearest = np.nan_to_num(np.rint(size / _ERF_STEP)).astype(np.intp)
    c = _ERF_CENTRES[nearest]
    h, square = size - c, c * c
    # Derivatives of exp(-c^2) by c, over the factorials of one order more.
    fifth = (square * (16 * square - 48) + 12) / 120
    fourth = c * (12 - 8 * square) / 24
    series = h * (1 + h * (-c + h * ((4 * square - 2) / 6 + h * (fourth + h * fifth))))
    made: Array = np.copysign(_ERF_VALUES[nearest] + _ERF_SLOPES[nearest] * series, wide)
    return made
