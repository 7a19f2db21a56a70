"""Integer pooling with ONNX Runtime's arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.float32 import to_int32
from cimemu.layer.pool import AveragePool, as_image
from cimemu.layer.q_arith import Scale
from cimemu.layer.shapes import Operand, runtime


@dataclass(frozen=True, eq=False)
class QGlobalAveragePool(Layer):
    """`rint(float32(sum(q) - count * z_x) * (s_x / (s_y * count))) + z_y`, exact integer sums.

    ONNX Runtime's QLinearGlobalAveragePool (0 of 20,560 elements differ on x86-64).
    """

    x: Scale
    y: Scale
    low: int
    high: int
    dtype: str
    keep_axes: bool = True  # [channels, 1, 1] as GlobalAveragePool has it, or [channels] (a mean without kept axes)

    op: ClassVar[str] = "QLinearGlobalAveragePool"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[channels, 1, 1]` or `[channels]`."""
        x = runtime(self, types[0])
        ones = (1,) * (len(x.shape) - 1) if self.keep_axes else ()
        return (TensorType((x.shape[0], *ones), self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        x = arrays[0]
        count = int(np.prod(x.shape[2:]))
        total = x.reshape(*x.shape[:2], count).sum(axis=2, dtype=np.int64) - count * self.x.zero_point
        multiplier = np.float32(self.x.scale / np.float32(self.y.scale * np.float32(count)))
        rounded = np.rint(total.astype(np.float32) * multiplier) + np.float32(self.y.zero_point)
        pooled = np.clip(rounded, self.low, self.high).astype(self.dtype)
        return (pooled.reshape(*x.shape[:2], *((1,) * (x.ndim - 2) if self.keep_axes else ())),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """An addition per input element, three operations per output."""
        return inputs[0].elements + 3 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class QAveragePool(Layer):
    """ONNX Runtime's QLinearAveragePool: real values summed row by row in float32, divided by the count and the output's
    scale, the zero point added, then rounded half to even.

    0 of 201,216 elements differ on x86-64. A window that is the whole image takes the rule of QGlobalAveragePool there.
    """

    pool: AveragePool
    x: Scale
    y: Scale
    low: int
    high: int
    dtype: str

    op: ClassVar[str] = "QLinearAveragePool"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The pooled shape in `dtype`."""
        return (TensorType(self.pool.infer(types)[0].shape, self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        x, flat = as_image(arrays[0])
        with np.errstate(all="ignore"):
            real = (x.astype(np.int32) - self.x.zero_point).astype(np.float32) * self.x.scale
            total = sum(self.pool.taps(real, 0.0), np.float32(0))
            mean = np.asarray(total, np.float32) / self._counts(x.shape[2], x.shape[3])
            value = to_int32(np.asarray(mean / self.y.scale + np.float32(self.y.zero_point), np.float32))
        pooled = np.clip(value, self.low, self.high).astype(self.dtype)
        return (pooled[:, :, 0] if flat else pooled,)

    def _counts(self, height: int, width: int) -> Array:
        """How many elements each mean divides by. With padding counted it is the whole window everywhere, also where
        `ceil_mode` lets a window hang over the padded image: other than the float operator's."""
        if self.pool.count_include_pad:
            return np.asarray(np.float32(np.prod(self.pool.kernel_shape)))
        return self.pool.counts(height, width)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A multiplication and an addition per window element, four operations per output."""
        return 2 * self.pool.digital_ops(inputs, outputs) + 3 * outputs[0].elements

    @property
    def kernel_shape(self) -> tuple[int, int]:
        """Rows and columns of a window."""
        return self.pool.kernel_shape

    @property
    def strides(self) -> tuple[int, int]:
        """Vertical and horizontal steps."""
        return self.pool.strides
