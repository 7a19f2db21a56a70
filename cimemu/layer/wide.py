"""Operands of 16 bits in products: macros take their bytes, and the digital unit adds the parts.

A code of 16 bits is `256 * high + low` of two bytes, counted from the smallest code. The bytes of an activation stand as two
images one above the other, those of a weight as two sets of outputs, so that one matrix in the cells serves both images. Every
sum is an exact integer; ONNX Runtime multiplies such operands in float32, so that this is the value which all its orders of
adding round to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, runtime

BYTE = 256
WIDE = ("int16", "uint16")


@dataclass(frozen=True, eq=False)
class Halves(Layer):
    """16-bit codes as two images of bytes along the axis of rows: `code - smallest code = 256 * upper + lower`.

    The input is an image [channels, rows, columns], or with `last` [..., channels] (rows of a matrix product). An image is
    padded first with `zero_point`; `pads` are ((top, bottom), (left, right)). The output is `[channels, 2 * rows, columns]`
    or `[2 * positions, channels]` of uint8.
    """

    zero_point: int
    image: tuple[int, int, int]  # channels, rows, columns
    pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    last: bool = False

    op: ClassVar[str] = "Halves"

    @property
    def rows(self) -> int:
        """Rows of either half."""
        return self.image[1] + sum(self.pads[0])

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """Both halves, uint8."""
        x = runtime(self, types[0])
        if x.dtype not in WIDE or x.elements != int(np.prod(self.image)):
            raise self.error(f"an image of {x.dtype} {x.shape}, must be int16 or uint16 of {list(self.image)}")
        channels, _, columns = self.image
        wide = columns + sum(self.pads[1])
        shape = (2 * self.rows * wide, channels) if self.last else (channels, 2 * self.rows, wide)
        return (TensorType(shape, "uint8"),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x = arrays[0]
        codes = (x.astype(np.int32) - np.iinfo(x.dtype).min).astype(np.uint16)
        if self.last:
            flat = codes.reshape(len(x), -1, self.image[0])
            return (np.concatenate([flat >> 8, flat & (BYTE - 1)], axis=1).astype(np.uint8),)
        pad = self.zero_point - int(np.iinfo(x.dtype).min)
        image = np.pad(codes.reshape(-1, *self.image), ((0, 0), (0, 0), *self.pads), constant_values=pad)
        return (np.concatenate([image >> 8, image & (BYTE - 1)], axis=2).astype(np.uint8),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A move a byte."""
        return outputs[0].elements


@dataclass(frozen=True, eq=False)
class WideSum(Layer):
    """The real product of the parts: `float32(scale * sum of 256^k * part + bias)`, rounded once.

    The input holds accumulators: the upper bytes' from row 0 on and the lower bytes' from row `low_row` (`wide_inputs`; else
    there are no halves), and of every group of channels those of the upper bytes of the weights, then those of the lower ones
    (`wide_weights`).
    `offset` [outputs] is added to the exact sum, `bias` [outputs] to its real value. Images are `[channels, rows, columns]`,
    with `last` the channels are the last axis.
    """

    scale: NDArray[np.float64]  # [outputs]
    bias: NDArray[np.float32]  # [outputs]
    offset: NDArray[np.int64]  # [outputs]
    out: tuple[int, ...]  # of one image
    rows: int
    low_row: int
    wide_inputs: bool
    wide_weights: bool
    groups: int = 1
    last: bool = False

    op: ClassVar[str] = "WideSum"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`out`, float32."""
        runtime(self, types[0])
        return (TensorType(self.out, "float32"),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32 values."""
        x = arrays[0].astype(np.int64)
        parts = x.reshape(len(x), -1, x.shape[-1]).swapaxes(1, 2)[..., None] if self.last else x
        if self.wide_weights:
            grouped = parts.reshape(len(x), self.groups, 2, -1, *parts.shape[2:])
            parts = (BYTE * grouped[:, :, 0] + grouped[:, :, 1]).reshape(len(x), -1, *parts.shape[2:])
        if self.wide_inputs:
            parts = BYTE * parts[:, :, : self.rows] + parts[:, :, self.low_row : self.low_row + self.rows]
        along = (-1, 1, 1)
        total = (parts + self.offset.reshape(along)).astype(np.float64)
        with np.errstate(over="ignore"):
            real = (total * self.scale.reshape(along) + self.bias.astype(np.float64).reshape(along)).astype(np.float32)
        real = real[..., 0].swapaxes(1, 2) if self.last else real
        return (np.ascontiguousarray(real).reshape(len(x), *self.out),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A shift and an addition for every part, then offset, scale and bias."""
        parts = (2 if self.wide_inputs else 1) * (2 if self.wide_weights else 1)
        return (2 * (parts - 1) + 3) * outputs[0].elements
