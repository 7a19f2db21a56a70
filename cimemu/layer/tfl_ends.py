"""The float ends of an integer TensorFlow Lite network: QUANTIZE of floats in front, DEQUANTIZE behind."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.quant import DequantizeLinear
from cimemu.layer.shapes import Operand, runtime
from cimemu.layer.tfl_tables import half_away

ONE = np.float32(1)


@dataclass(frozen=True, eq=False)
class TflQuantize(Layer):
    """`QUANTIZE` of floats: `saturate(round(x / scale) + zero_point)` with ties away from zero."""

    scale: np.float32
    zero_point: int
    dtype: str

    op: ClassVar[str] = "QUANTIZE"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape, in integers."""
        x = runtime(self, types[0])
        if x.dtype != "float32":
            raise self.error(f"the input is {x.dtype}, must be float32")
        return (TensorType(x.shape, self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`: a float32 division, then rounded; infinities saturate."""
        limits = np.iinfo(self.dtype)
        with np.errstate(over="ignore"):
            steps = half_away(arrays[0] / self.scale).astype(np.float64)
        return (np.clip(steps + self.zero_point, limits.min, limits.max).astype(self.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Multiply by 1 / scale, round, add, clamp: 4 an element."""
        return 4 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class TflDequantize(DequantizeLinear):
    """`DEQUANTIZE`: `(x - zero_point) * scale`, rounded once to float32."""

    scale: np.float32 = field(default=ONE)
    zero_point: int = 0

    op: ClassVar[str] = "DEQUANTIZE"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape, in float32."""
        return (TensorType(runtime(self, types[0]).shape, "float32"),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32."""
        with np.errstate(over="ignore", under="ignore"):
            return ((arrays[0].astype(np.int32) - self.zero_point).astype(np.float32) * self.scale,)
