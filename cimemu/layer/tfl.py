"""Pools and softmax of integers with TensorFlow Lite's reference arithmetic, NHWC."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, runtime
from cimemu.layer.tfl_softmax import softmax_rows


@dataclass(frozen=True, eq=False)
class TflPool(Layer):
    """`AVERAGE_POOL_2D` and `MAX_POOL_2D` of integers; windows leave the padding out."""

    kind: str  # average or max
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]  # top, left
    out: tuple[int, int]
    low: int
    high: int

    op: ClassVar[str] = "POOL_2D"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[rows, columns, channels]`."""
        x = runtime(self, types[0])
        return (TensorType((*self.out, x.shape[2]), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of the input's dtype; an average is rounded half away from zero."""
        x = arrays[0].astype(np.int64)
        height, width = x.shape[1:3]
        y = np.empty((x.shape[0], *self.out, x.shape[3]), dtype=np.int64)
        for r in range(self.out[0]):
            for c in range(self.out[1]):
                top, left = r * self.stride[0] - self.pad[0], c * self.stride[1] - self.pad[1]
                rows = slice(max(0, top), min(height, top + self.kernel[0]))
                columns = slice(max(0, left), min(width, left + self.kernel[1]))
                window = x[:, rows, columns]
                if self.kind == "max":
                    y[:, r, c] = window.max(axis=(1, 2))
                    continue
                if self.kind != "average":
                    raise self.error(f"kind = {self.kind}, must be average or max")
                count = window.shape[1] * window.shape[2]
                total = window.sum(axis=(1, 2))
                half = np.where(total >= 0, count // 2, -(count // 2))
                rounded = (np.abs(total + half)) // count
                y[:, r, c] = np.where(total + half < 0, -rounded, rounded)
        return (np.clip(y, self.low, self.high).astype(arrays[0].dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """An operation per window element, three per output."""
        return (self.kernel[0] * self.kernel[1] + 3) * outputs[0].elements


@dataclass(frozen=True, eq=False)
class TflSoftmax(Layer):
    """`SOFTMAX` over the last axis in gemmlowp's fixed-point arithmetic."""

    q31: int
    left_shift: int
    diff_min: int
    dtype: str

    op: ClassVar[str] = "SOFTMAX"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape in `dtype`."""
        return (TensorType(runtime(self, types[0]).shape, self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`, scale 1/256."""
        x = arrays[0].astype(np.int64)
        flat = softmax_rows(x.reshape(-1, x.shape[-1]), self.q31, self.left_shift, self.diff_min, self.dtype)
        return (flat.reshape(x.shape),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Some thirty fixed-point operations an exponential."""
        return 40 * outputs[0].elements
