"""TensorFlow Lite's resizing of images, NHWC: RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR.

Of int8 codes the bilinear one has weights of 10 bits and rounds its sums half away from zero; of uint8 codes it has
float32 weights and cuts off the fraction of the sum plus a half.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, TensorType
from cimemu.layer.tfl_tables import half_away
from cimemu.layer.tfl_whole import Shape, Whole

BITS = 10  # of an integer weight, behind the point


@dataclass(frozen=True, eq=False)
class Resize(Whole):
    """Base: `size` is (rows, columns) of the output."""

    size: tuple[int, int]
    align_corners: bool
    half_pixel: bool

    def made(self) -> Sequence[Shape]:
        """`[images, *size, channels]`."""
        shape = self.shapes[0]
        if len(shape) != 4 or min(self.size) < 1:
            raise self.error(
                f"size {list(self.size)} of {list(shape)}, must be two of >= 1 of [1, rows, columns, channels]"
            )
        return [(shape[0], *self.size, shape[3])]


@dataclass(frozen=True, eq=False)
class TflResizeNearest(Resize):
    """`RESIZE_NEAREST_NEIGHBOR`."""

    op: ClassVar[str] = "RESIZE_NEAREST_NEIGHBOR"

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        rows, columns = (self._nearest(self.shapes[0][1 + i], self.size[i]) for i in (0, 1))
        return [arrays[0][:, :, rows][:, :, :, columns]]

    def _nearest(self, size: int, out: int) -> NDArray[np.int64]:
        """Which of `size` elements each of `out` is, in float32."""
        aligned = self.align_corners and out > 1
        scale = np.float32(size - 1) / np.float32(out - 1) if aligned else np.float32(size) / np.float32(out)
        place = (np.arange(out).astype(np.float32) + np.float32(0.5 if self.half_pixel else 0.0)) * scale
        whole = half_away(place) if self.align_corners else np.floor(place)
        return np.clip(whole.astype(np.int64), 0, size - 1)


@dataclass(frozen=True, eq=False)
class TflResizeBilinear(Resize):
    """`RESIZE_BILINEAR`."""

    op: ClassVar[str] = "RESIZE_BILINEAR"

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Rounded once."""
        return [self._of_floats(arrays[0]) if arrays[0].dtype == np.uint8 else self._of_integers(arrays[0])]

    def _of_integers(self, x: Array) -> Array:
        (y0, y1, fy), (x0, x1, fx) = (self._places(self.shapes[0][1 + i], self.size[i]) for i in (0, 1))
        fy, one = fy.reshape(-1, 1, 1), 1 << BITS
        fx = fx.reshape(-1, 1)
        wide = x.astype(np.int64)
        top, bottom = wide[:, :, y0], wide[:, :, y1]
        total = (top[:, :, :, x0] * (one - fx) + top[:, :, :, x1] * fx) * (one - fy)
        total += (bottom[:, :, :, x0] * (one - fx) + bottom[:, :, :, x1] * fx) * fy
        half = np.where(total > 0, 1 << (2 * BITS - 1), -(1 << (2 * BITS - 1)))
        rounded = total + half
        size = np.abs(rounded) >> (2 * BITS)
        return np.where(rounded < 0, -size, size)

    def _places(self, size: int, out: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(element before, element behind, weight of the one behind) with 10 bits behind the point."""
        scale = ((1 << BITS) * size + out // 2) // out
        if self.align_corners and out > 1:
            scale = ((1 << BITS) * (size - 1) + (out - 1) // 2) // (out - 1)
        place = np.arange(out, dtype=np.int64) * scale
        if self.half_pixel:
            place = place + scale // 2 - (1 << (BITS - 1))
        before = np.maximum(_towards_zero(place), 0)
        behind = np.minimum(_towards_zero(place + (1 << BITS) - 1), size - 1)
        return before, behind, place - (before << BITS)

    def _of_floats(self, x: Array) -> Array:
        (y0, y1, fy), (x0, x1, fx) = (self._fractions(self.shapes[0][1 + i], self.size[i]) for i in (0, 1))
        fy, one = fy.reshape(-1, 1, 1), np.float32(1)
        fx = fx.reshape(-1, 1)
        wide = x.astype(np.float32)
        top, bottom = wide[:, :, y0], wide[:, :, y1]
        total = top[:, :, :, x0] * (one - fy) * (one - fx) + bottom[:, :, :, x0] * fy * (one - fx)
        total = total + top[:, :, :, x1] * (one - fy) * fx
        total = total + bottom[:, :, :, x1] * fy * fx
        return np.asarray(np.trunc(total + np.float32(0.5)))

    def _fractions(self, size: int, out: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """(element before, element behind, weight of the one behind) in float32."""
        scale = np.float32(size) / np.float32(out)
        if self.align_corners and out > 1:
            scale = np.float32(size - 1) / np.float32(out - 1)
        place = np.arange(out).astype(np.float32) * scale
        if self.half_pixel:
            place = (np.arange(out).astype(np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
        floor = np.floor(place)
        before = np.maximum(floor.astype(np.int64), 0)
        behind = np.minimum(np.ceil(place).astype(np.int64), size - 1)
        return before, behind, place - before.astype(np.float32)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Eight multiplications and additions, rounding and a shift an element."""
        return 10 * outputs[0].elements


def _towards_zero(place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Divided by 2^10."""
    return np.where(place < 0, -((-place) >> BITS), place >> BITS)
