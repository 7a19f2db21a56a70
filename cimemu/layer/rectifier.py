"""Activation functions that resemble a rectifier: smooth ones, scaled ones, and those with a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.activation import Activation
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, runtime


@dataclass(frozen=True, eq=False)
class Selu(Activation):
    """gamma * x where x > 0, gamma * alpha * (exp(x) - 1) elsewhere."""

    alpha: float = 1.6732631921768188
    gamma: float = 1.0507010221481323

    op: ClassVar[str] = "Selu"
    ops_per_element: ClassVar[int] = 6

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        wide = x.astype(np.float64)
        with np.errstate(all="ignore"):  # infinities and what is no number are results
            below = self.alpha * np.expm1(np.minimum(wide, 0))
            return (self.gamma * np.where(wide > 0, wide, below)).astype(x.dtype)

    def tabulated(self, x: Array) -> Array:
        """With the float32 difference exp(x) - 1, as ONNX Runtime has it: 0 for tiny x."""
        alpha, gamma = np.float32(self.alpha), np.float32(self.gamma)
        power = np.exp(np.minimum(x, 0).astype(np.float64)).astype(np.float32)
        return gamma * np.where(x > 0, x, alpha * (power - np.float32(1)))


@dataclass(frozen=True, eq=False)
class Celu(Activation):
    """x where x >= 0, alpha * (exp(x / alpha) - 1) elsewhere."""

    alpha: float = 1.0

    op: ClassVar[str] = "Celu"
    ops_per_element: ClassVar[int] = 6

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        wide = x.astype(np.float64)
        with np.errstate(all="ignore"):
            below = self.alpha * np.expm1(np.minimum(wide / np.float64(self.alpha), 700))
            return (np.maximum(wide, 0) + np.minimum(0, below)).astype(x.dtype)

    def tabulated(self, x: Array) -> Array:
        """With the float32 difference exp(x / alpha) - 1, as ONNX Runtime has it: 0 for tiny x."""
        alpha = np.float32(self.alpha)
        power = np.exp(np.minimum(x / alpha, 0).astype(np.float64)).astype(np.float32)
        return np.where(x >= 0, x, alpha * (power - np.float32(1)))


@dataclass(frozen=True, eq=False)
class Mish(Activation):
    """x * tanh(log(1 + exp(x)))."""

    op: ClassVar[str] = "Mish"
    ops_per_element: ClassVar[int] = 13

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        wide = x.astype(np.float64)
        with np.errstate(all="ignore"):
            return (wide * np.tanh(np.logaddexp(0, wide))).astype(x.dtype)


@dataclass(frozen=True, eq=False)
class Swish(Activation):
    """x / (1 + exp(-alpha * x))."""

    alpha: float = 1.0

    op: ClassVar[str] = "Swish"
    ops_per_element: ClassVar[int] = 6

    def apply(self, x: Array) -> Array:
        """Computed in float64, rounded once."""
        wide = x.astype(np.float64)
        with np.errstate(all="ignore"):
            return (wide * np.exp(-np.logaddexp(0, -self.alpha * wide))).astype(x.dtype)


@dataclass(frozen=True, eq=False)
class Softsign(Activation):
    """x / (1 + |x|)."""

    op: ClassVar[str] = "Softsign"
    ops_per_element: ClassVar[int] = 6

    def apply(self, x: Array) -> Array:
        """In the input's dtype."""
        made: Array = x / (x.dtype.type(1) + np.abs(x))
        return made


@dataclass(frozen=True, eq=False)
class ThresholdedRelu(Activation):
    """x where x > alpha, 0 elsewhere."""

    alpha: float = 1.0

    op: ClassVar[str] = "ThresholdedRelu"
    ops_per_element: ClassVar[int] = 2

    def apply(self, x: Array) -> Array:
        """Exact."""
        return np.where(x > x.dtype.type(self.alpha), x, x.dtype.type(0))


@dataclass(frozen=True, eq=False)
class Shrink(Activation):
    """x + bias where x < -lambd, x - bias where x > lambd, 0 between."""

    bias: float = 0.0
    lambd: float = 0.5

    op: ClassVar[str] = "Shrink"
    ops_per_element: ClassVar[int] = 3

    def apply(self, x: Array) -> Array:
        """In the input's dtype."""
        bias, limit = x.dtype.type(self.bias), x.dtype.type(self.lambd)
        return np.asarray(np.where(x < -limit, x + bias, np.where(x > limit, x - bias, x.dtype.type(0))))


@dataclass(frozen=True, eq=False)
class SwiGLU(Layer):
    """Swish of the first input times the second, which has the same shape."""

    alpha: float = 1.0

    op: ClassVar[str] = "SwiGLU"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The inputs' own type."""
        gate, value = runtime(self, types[0], "the gate"), runtime(self, types[1], "the value")
        if gate != value:
            raise self.error(
                f"a gate of {gate.shape} {gate.dtype} and a value of {value.shape} {value.dtype}, must be alike"
            )
        return (gate,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Computed in float64, rounded once to the gate's dtype and once after the product."""
        gate = Swish(self.name, self.inputs[:1], self.outputs, self.alpha).apply(arrays[0])
        return (np.asarray(gate * arrays[1]),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Swish and a multiplication."""
        return 7 * outputs[0].elements
