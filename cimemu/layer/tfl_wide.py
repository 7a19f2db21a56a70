"""16-bit activations times 8-bit weights: two passes of 8-bit inputs over the same cells, then one 64-bit sum.

A macro takes 8-bit inputs. A code x of 16 bits is `256 * high + (low + 128)` of two signed bytes, which stand as two
images one above the other, so that both meet the same weights. TensorFlow Lite's 16x8 networks have zero points of 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.rounding import float64_half_away
from cimemu.layer.shapes import Operand, runtime

Ints = NDArray[np.int64]
BYTE = 256


def scaled_wide(total: Ints, q31: Ints, shift: Ints) -> Ints:
    """TensorFlow Lite's product of a sum of up to 48 bits and a multiplier: 15 bits of it, rounded once, half upwards."""
    q15 = np.where(q31 < 0x7FFF0000, (q31 + (1 << 15)) >> 16, 0x7FFF)
    right = 15 - shift
    return np.asarray((total * q15 + (np.int64(1) << (right - 1))) >> right)


@dataclass(frozen=True, eq=False)
class TflBytes(Layer):
    """An image of 16-bit codes `[rows, columns, channels]` as its high bytes, and below them its low bytes minus 128.

    Both are padded first, with what 0 is in each; `rows` are those of one of the two, padding included.
    """

    image: tuple[int, int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)

    op: ClassVar[str] = "BYTES"

    @property
    def rows(self) -> int:
        """Rows of the high bytes, and of the low ones."""
        return self.image[0] + sum(self.pads[0])

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[2 * rows, columns, channels]` of int8."""
        x = runtime(self, types[0])
        if x.dtype != "int16" or x.elements != int(np.prod(self.image)):
            raise self.error(f"an image of {x.dtype} {x.shape}, must be int16 of {list(self.image)}")
        return (TensorType((2 * self.rows, self.image[1] + sum(self.pads[1]), self.image[2]), "int8"),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x = np.pad(arrays[0].reshape(-1, *self.image), ((0, 0), *self.pads, (0, 0)))
        return (np.concatenate([(x >> 8).astype(np.int8), ((x & (BYTE - 1)) - 128).astype(np.int8)], axis=1),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A move a byte."""
        return outputs[0].elements


@dataclass(frozen=True, eq=False)
class TflWideSum(Layer):
    """256 times the products of the high bytes plus those of the low ones, bias, and the requantisation to 16 bits.

    The input is `[2 images of rows, columns, channels]`, accumulators; the low bytes' begin at row `low_row`.
    """

    low_row: int
    out: tuple[int, ...]  # of one image
    rows: int
    bias: Ints  # [channels], with 128 times the sum of each channel's weights
    q31: Ints  # [1] or [channels]
    shift: Ints
    low: int
    high: int
    dtype: str
    real: NDArray[np.float64] | None = None  # of a fully connected layer: float64 multipliers, ties away from zero

    op: ClassVar[str] = "WIDE_SUM"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`out` in `dtype`."""
        x = runtime(self, types[0])
        if not x.shape or x.shape[0] < self.low_row + self.rows:
            raise self.error(f"accumulators of shape {x.shape}, must have {self.low_row + self.rows} rows")
        return (TensorType(self.out, self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        x = arrays[0].astype(np.int64)
        total = BYTE * x[:, : self.rows] + x[:, self.low_row : self.low_row + self.rows] + self.bias
        whole = self.real is None
        steps = scaled_wide(total, self.q31, self.shift) if whole else float64_half_away(total, self.real)
        made = np.clip(steps, self.low, self.high)
        return (made.astype(self.dtype).reshape(len(x), *self.out),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A shift and an addition, bias, and three operations of requantisation an element."""
        return 6 * outputs[0].elements
