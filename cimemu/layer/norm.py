"""Normalisation layers in float."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, constant, inner_axis, runtime


@dataclass(frozen=True, eq=False)
class BatchNormalization(Layer):
    """`(x - mean) / sqrt(var + epsilon) * scale + bias` per channel; all but x are constants `[channels]`."""

    epsilon: float = 1e-5

    op: ClassVar[str] = "BatchNormalization"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        for what, operand in zip(("scale", "bias", "mean", "variance"), types[1:]):
            values = constant(self, operand, f"the {what}")
            if not x.shape or values.shape != (x.shape[0],):
                raise self.error(f"{what} of shape {values.shape} for per-image input {x.shape}")
        return (x,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32, as one multiplication and one addition per element."""
        x = arrays[0]
        factor, offset = affine(arrays[1:], self.epsilon)
        shape = (-1,) + (1,) * (x.ndim - 2)
        return (x * factor.astype(np.float32).reshape(shape) + offset.astype(np.float32).reshape(shape),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Multiply and add."""
        return 2 * outputs[0].elements


def affine(parameters: Sequence[Array], epsilon: float) -> tuple[Array, Array]:
    """(scale, bias, mean, variance) as factor and offset per channel, float64: `x * factor + offset`."""
    scale, bias, mean, variance = (np.asarray(p, np.float64) for p in parameters)
    factor = scale / np.sqrt(variance + epsilon)
    return factor, bias - mean * factor


@dataclass(frozen=True, eq=False)
class LayerNormalization(Layer):
    """Mean 0 and variance 1 over the axes from `axis` on, then scale and bias; inputs (x, scale[, bias]).

    A second output is the mean, a third the inverse deviation, with the normalised axes as 1.
    """

    axis: int = -1
    epsilon: float = 1e-5

    op: ClassVar[str] = "LayerNormalization"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        axis = inner_axis(self, self.axis, len(x.shape) + 1)
        for what, operand in zip(("scale", "bias"), types[1:]):
            values = constant(self, operand, f"the {what}")
            try:
                fits = np.broadcast_shapes(values.shape, x.shape[axis - 1 :]) == x.shape[axis - 1 :]
            except ValueError:
                fits = False
            if not fits:
                raise self.error(f"{what} of shape {values.shape} does not fit axes {x.shape[axis - 1 :]}")
        one = TensorType((*x.shape[: axis - 1], *(1,) * (len(x.shape) - axis + 1)), x.dtype)
        return (x, one, one)[: len(self.outputs)]

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32; mean and variance are summed in float64, so that no sum order shows."""
        x = arrays[0].astype(np.float64)
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        mean = x.mean(axis=axes, keepdims=True)
        x -= mean
        deviation = np.sqrt(np.square(x).mean(axis=axes, keepdims=True) + self.epsilon)
        x /= deviation
        x *= arrays[1]
        if len(arrays) > 2:
            x += arrays[2]
        return tuple(made.astype(np.float32) for made in (x, mean, 1 / deviation)[: len(self.outputs)])

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Two reductions (sum; square and sum), subtract, divide, scale, bias: 8 an element."""
        return 8 * outputs[0].elements
