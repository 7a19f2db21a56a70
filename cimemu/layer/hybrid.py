"""TensorFlow Lite's products of float activations with int8 weights ("dynamic range"): quantised when they come, scaled after.

The activations of an image, or each row of a matrix product by itself, become int8 codes by their own largest values; macros
multiply integers, and the sums become float32 with both scales. To the bit as LiteRT's kernels on x86-64 do it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, dtype_of, runtime

LANES = 8  # elements that the runtime rounds at once, by adding a half in float32; what remains it rounds exactly
HALF = np.float32(0.5)


def half_away(x: NDArray[Any]) -> NDArray[np.float64]:
    """Rows of float32 rounded half away from zero; in whole lanes the largest float32 below a half is 1, as its sum is rounded."""
    wide = x.astype(np.float64)
    made: NDArray[np.float64] = np.copysign(np.floor(np.abs(wide) + 0.5), wide)
    whole = x.shape[1] // LANES * LANES
    made[:, :whole] = np.trunc(x[:, :whole] + np.copysign(HALF, x[:, :whole]))
    return made


@dataclass(frozen=True, eq=False)
class HybridQuantize(Layer):
    """float32 to int8 codes: outputs (codes, scale, zero point), a scale and zero point an image, or one a row.

    `rows` is the number of rows, 0: the image as a whole. Symmetric codes are -127 .. 127 around 0; `asymmetric` ones use
    -128 .. 127, and the zero point is the one that moves the nearer end of the range less.
    """

    rows: int = 0
    asymmetric: bool = False

    op: ClassVar[str] = "HybridQuantize"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """int8 of the input's shape, and two values an image or row."""
        x = runtime(self, types[0])
        if dtype_of(x) != "float32":
            raise self.error(f"the input is {x.dtype}, must be float32")
        shape = (self.rows, 1) if self.rows else ()
        return TensorType(x.shape, "int8"), TensorType(shape, "float32"), TensorType(shape, "int8")

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32 arithmetic; the zero point of asymmetric codes is found in float64."""
        x = arrays[0]
        flat = np.ascontiguousarray(x).reshape(len(x) * max(1, self.rows), -1)
        low, high = np.fmin.reduce(flat, axis=1), np.fmax.reduce(flat, axis=1)
        with np.errstate(all="ignore"):  # ranges of infinities or of denormals are values here
            codes, scale, zero = (
                self._asymmetric(flat, low, high) if self.asymmetric else self._symmetric(flat, low, high)
            )
        shape = (len(x), self.rows, 1) if self.rows else (len(x),)
        return codes.reshape(x.shape), scale.reshape(shape), zero.reshape(shape)

    @staticmethod
    def _symmetric(x: NDArray[np.float32], low: Array, high: Array) -> tuple[Array, Array, Array]:
        reach = np.maximum(np.abs(low), np.abs(high))
        empty = reach == 0
        reach = np.where(empty, np.float32(127), reach)
        codes = half_away(x * (np.float32(127) / reach)[:, None])
        scale = reach / np.float32(127)
        return _int8(codes, -127), scale, np.zeros(len(x), np.int8)

    @staticmethod
    def _asymmetric(x: NDArray[np.float32], low: Array, high: Array) -> tuple[Array, Array, Array]:
        low, high = np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
        empty = low == high
        scale = np.where(empty, np.float32(1), (high - low) / np.float32(255))
        least, most = low.astype(np.float64), high.astype(np.float64)
        step = np.where(empty, 1.0, (most - least) / 255.0)
        below, above = least / step, most / step
        zero = np.where(128.0 + np.abs(below) < 127.0 + np.abs(above), -128.0 - below, 127.0 - above)
        zero = np.where(empty, 0.0, np.clip(np.copysign(np.floor(np.abs(zero) + 0.5), zero), -128, 127))
        codes = zero[:, None] + half_away(x * (np.float32(1) / scale)[:, None])
        return _int8(codes, -128), scale, zero.astype(np.int8)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Two comparisons, then multiply, round, add and clamp an element."""
        return 6 * outputs[0].elements


def _int8(codes: NDArray[np.float64], low: int) -> NDArray[np.int8]:
    """Codes limited to low .. 127; what is no number becomes the lowest, as on x86."""
    return np.clip(np.where(np.isnan(codes), low, codes), low, 127).astype(np.int8)


@dataclass(frozen=True, eq=False)
class HybridScale(Layer):
    """Sums of such a product as float32: `sum * (scale * weight_scale) + bias`; inputs (sums, scale), and the zero points.

    A third input, zero points a row, takes `zero * column_sums` off the sums first. `weight_scale` and `bias` are
    [outputs], along `axis` of the sums (the images' axis is 0). `weight_first`: `(sum * weight_scale) * scale`, the order of
    a convolution with a scale a channel.
    """

    weight_scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    column_sums: NDArray[np.int64]
    axis: int
    weight_first: bool = False

    op: ClassVar[str] = "HybridScale"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """float32 of the sums' shape."""
        sums = runtime(self, types[0])
        return (TensorType(sums.shape, "float32"),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32 arithmetic, every operation rounded."""
        sums, rank = arrays[0], arrays[0].ndim
        along = [-1 if axis == self.axis else 1 for axis in range(rank)]
        scale = arrays[1].reshape(arrays[1].shape + (1,) * (rank - arrays[1].ndim))
        weight = self.weight_scale.reshape(along)
        if len(arrays) > 2:
            sums = sums - arrays[2].astype(np.int64) * self.column_sums.reshape(along)
        value = sums.astype(np.int32).astype(np.float32)
        with np.errstate(all="ignore"):
            scaled = (value * weight) * scale if self.weight_first else value * (scale * weight)
            return (scaled + self.bias.reshape(along),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Two multiplications and an addition an element; two operations more for a zero point."""
        return (3 + 2 * (len(inputs) > 2)) * outputs[0].elements
