"""Integer softmax with ONNX Runtime's arithmetic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.q_arith import Scale
from cimemu.layer.shapes import Operand, inner_axis, runtime

LARGEST = np.finfo(np.float32).max
RESERVE = 5.0  # powers of e that are left free below the largest float32


@dataclass(frozen=True, eq=False)
class QSoftmax(Layer):
    """ONNX Runtime's QLinearSoftmax: exponentials from a table of 256 float32, summed one after another in float32.

    A code's entry is `exp(s_x * (code - largest code of its row) + shift)`; the shift, common to all, cancels. Then
    `rint(entry * floor(1 / s_y) / sum) + z_y`, the quotient in float64, limited to low .. high. The whole number
    floor(1 / s_y) is ONNX Runtime's: with s_y = 1/255, just above it in float32, the largest result is 254.
    The zero point of x cancels and is not used. The result has x's type. Versions of ONNX Runtime before 1.32 may
    divide in float32 or wrap int8 results; `cimemu check` says so.
    """

    x: Scale
    y: Scale
    low: int
    high: int
    dtype: str
    axis: int = -1
    flatten: bool = False  # over all axes from `axis` on, as before operator set 13

    op: ClassVar[str] = "QLinearSoftmax"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape in `dtype`."""
        x = runtime(self, types[0])
        inner_axis(self, self.axis, len(x.shape) + 1)
        return (TensorType(x.shape, self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        x = arrays[0]
        axis = self.axis % x.ndim
        if self.flatten:
            return (self._rows(x.reshape(*x.shape[:axis], -1)).reshape(x.shape),)
        moved = np.moveaxis(x, axis, -1)
        return (np.ascontiguousarray(np.moveaxis(self._rows(moved), -1, axis)),)

    def _rows(self, x: Array) -> Array:
        """Softmax along the last axis."""
        below = x.max(axis=-1, keepdims=True).astype(np.int32) - x
        terms = exponentials(self.x.scale, x.shape[-1])[255 - below]
        total = np.cumsum(terms, axis=-1, dtype=np.float32)[..., -1:]  # one after another, unlike np.sum
        with np.errstate(all="ignore"):
            steps = np.float64(np.floor(np.float32(1) / self.y.scale))
            quotient = np.rint(terms * steps / total.astype(np.float64))
        made: Array = np.clip(quotient + self.y.zero_point, self.low, self.high).astype(self.dtype)
        return made

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Compare, subtract, look up, add, divide, round and clamp an element."""
        return 7 * outputs[0].elements


def exponentials(scale: np.float32, length: int) -> NDArray[np.float32]:
    """`exp(scale * (k - 255) + shift)` for k = 0 .. 255, rounded to float32; the shift fits sums of `length` of them."""
    room = np.float32(math.log(LARGEST / np.float32(length)))
    shift = max(0.0, float(room) - RESERVE) / float(scale)
    return np.array([math.exp((k - 255 + shift) * float(scale)) for k in range(256)]).astype(np.float32)
