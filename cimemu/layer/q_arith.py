"""Elementwise integer layers with ONNX Runtime's arithmetic: QLinearAdd, QLinearMul and their kin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.kernels.elementwise import add_quantized
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, broadcast


@dataclass(frozen=True)
class Scale:
    """Scale and zero point of a quantised tensor: real = scale * (q - zero_point)."""

    scale: np.float32
    zero_point: int


@dataclass(frozen=True, eq=False)
class QArithmetic(Layer):
    """Base: two quantised inputs, one quantised output of `dtype`, clamped to low .. high."""

    a: Scale
    b: Scale
    y: Scale
    low: int
    high: int
    dtype: str

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The broadcast shape in `dtype`."""
        return (TensorType(broadcast(self, types), self.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Two multiplications, two additions, rounding and clamping an element."""
        return 6 * outputs[0].elements

    def _finish(self, value: Array) -> Array:
        return np.clip(np.rint(value), self.low, self.high).astype(self.dtype)


@dataclass(frozen=True, eq=False)
class QAdd(QArithmetic):
    """`rint(fma(a, s_a/s_y, fma(b, s_b/s_y, fixed)))`, fixed = z_y - (s_a/s_y * z_a + s_b/s_y * z_b), in float32.

    The order of ONNX Runtime's QLinearAdd with its fused multiply-adds, found by comparison on x86-64 (0 of
    72,081,408 elements of ResNet-20 differ; without the fused rounding 49 do).
    """

    op: ClassVar[str] = "QLinearAdd"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        ratio_a = np.float32(self.a.scale / self.y.scale)
        ratio_b = np.float32(self.b.scale / self.y.scale)
        taken = np.float32(ratio_a * np.float32(self.a.zero_point)) + np.float32(
            ratio_b * np.float32(self.b.zero_point)
        )
        fixed = np.float32(np.float32(self.y.zero_point) - taken)
        if arrays[0].shape == arrays[1].shape:
            out = np.empty(arrays[0].shape, dtype=self.dtype)
            limits = np.array([self.low, self.high], dtype=np.float32)
            a, b = (np.ascontiguousarray(array).reshape(-1) for array in arrays)
            add_quantized(a, b, ratio_a, ratio_b, fixed, limits, out.reshape(-1))
            return (out,)
        # A product of an 8-bit integer and a float32 is exact in float64, so each line rounds once, as an FMA does.
        inner = (arrays[1] * np.float64(ratio_b) + np.float64(fixed)).astype(np.float32)
        return (self._finish((arrays[0] * np.float64(ratio_a) + inner).astype(np.float32)),)


@dataclass(frozen=True, eq=False)
class QMul(QArithmetic):
    """`rint((a - z_a) * (b - z_b) * (s_a * s_b / s_y)) + z_y` in float32."""

    op: ClassVar[str] = "QLinearMul"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        multiplier = np.float32(np.float32(self.a.scale * self.b.scale) / self.y.scale)
        product = (arrays[0].astype(np.int32) - self.a.zero_point) * (arrays[1].astype(np.int32) - self.b.zero_point)
        rounded = np.rint(product.astype(np.float32) * multiplier) + np.float32(self.y.zero_point)
        return (np.clip(rounded, self.low, self.high).astype(self.dtype),)
