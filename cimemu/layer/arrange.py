"""Layers that lay the elements of an image out anew: tiles, triangles, depth to space, turned sequences, other types."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, runtime


@dataclass(frozen=True, eq=False)
class Tile(Layer):
    """The image repeated `repeats` times along each of its axes (no batch axis)."""

    repeats: tuple[int, ...]

    op: ClassVar[str] = "Tile"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """Sizes times repeats."""
        x = runtime(self, types[0])
        if len(self.repeats) != len(x.shape) or min(self.repeats, default=1) < 1:
            raise self.error(f"repeats = {self.repeats} of an image of shape {x.shape}, must be >= 1 for each axis")
        return (TensorType(tuple(size * times for size, times in zip(x.shape, self.repeats)), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        return (np.tile(arrays[0], (1, *self.repeats)),)


@dataclass(frozen=True, eq=False)
class Trilu(Layer):
    """The upper (or lower) triangle of the last two axes, 0 elsewhere; `k` moves the diagonal to the right."""

    upper: bool = True
    k: int = 0

    op: ClassVar[str] = "Trilu"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        if len(x.shape) < 2:
            raise self.error(f"a triangle of per-image shape {x.shape} includes the batch axis: images must stay apart")
        return (x,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x = arrays[0]
        above = np.arange(x.shape[-1]) - np.arange(x.shape[-2])[:, None]
        return (np.where(above >= self.k if self.upper else above <= self.k, x, x.dtype.type(0)),)


@dataclass(frozen=True, eq=False)
class BlockMove(Layer):
    """Base of moves between channels and blocks of `block` x `block` places of `[images, channels, height, width]`."""

    block: int = 1

    def _image(self, types: Sequence[Operand]) -> tuple[TensorType, int, int, int]:
        x = runtime(self, types[0])
        if len(x.shape) != 3 or self.block < 1:
            raise self.error(f"blocksize {self.block} of an image of shape {x.shape}, must be >= 1 and three axes")
        return (x, *x.shape)  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class DepthToSpace(BlockMove):
    """Channels become blocks of places; `mode` DCR takes the block from the front of the channels, CRD from the back."""

    mode: str = "DCR"

    op: ClassVar[str] = "DepthToSpace"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """Fewer channels, a larger image."""
        x, channels, height, width = self._image(types)
        if channels % self.block**2 or self.mode not in ("DCR", "CRD"):
            raise self.error(f"{channels} channels, blocksize {self.block}, mode {self.mode}: must divide; DCR or CRD")
        return (TensorType((channels // self.block**2, height * self.block, width * self.block), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x, b = arrays[0], self.block
        n, c, h, w = x.shape
        if self.mode == "DCR":
            parts = x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            parts = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return (parts.reshape(n, c // b**2, h * b, w * b),)


@dataclass(frozen=True, eq=False)
class SpaceToDepth(BlockMove):
    """Blocks of places become channels, those of the block in front (DCR) or behind (CRD)."""

    mode: str = "DCR"

    op: ClassVar[str] = "SpaceToDepth"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """More channels, a smaller image."""
        x, channels, height, width = self._image(types)
        if height % self.block or width % self.block or self.mode not in ("DCR", "CRD"):
            raise self.error(f"{height} x {width}, blocksize {self.block}, mode {self.mode}: must divide; DCR or CRD")
        return (TensorType((channels * self.block**2, height // self.block, width // self.block), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x, b = arrays[0], self.block
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // b, b, w // b, b)
        parts = parts.transpose((0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4))
        return (parts.reshape(n, c * b * b, h // b, w // b),)


@dataclass(frozen=True, eq=False)
class ReverseSequence(Layer):
    """The first `length` steps of axis 1 of every image turned around; inputs (x, lengths, one an image)."""

    op: ClassVar[str] = "ReverseSequence"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x, lengths = runtime(self, types[0]), runtime(self, types[1], "the lengths, one an image,")
        if lengths.shape or not x.shape:
            raise self.error(f"lengths of per-image shape {lengths.shape} for {x.shape}, must be one an image")
        return (x,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact; a length outside 0 .. steps is an error."""
        x, lengths = arrays
        steps = np.arange(x.shape[1])
        self.check_inside("a length", lengths, 0, len(steps))
        ends = lengths[:, None]
        order = np.where(steps < ends, ends - 1 - steps, steps)
        return (np.take_along_axis(x, order.reshape(*order.shape, *(1,) * (x.ndim - 2)), axis=1),)


@dataclass(frozen=True, eq=False)
class BitCast(Layer):
    """The same bits read as NumPy dtype `dtype` of equal width."""

    dtype: str = "int32"

    op: ClassVar[str] = "BitCast"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape in `dtype`."""
        x = runtime(self, types[0])
        if np.dtype(x.dtype).itemsize != np.dtype(self.dtype).itemsize:
            raise self.error(f"bits of {x.dtype} as {self.dtype}, must be equally wide")
        return (TensorType(x.shape, self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        return (np.ascontiguousarray(arrays[0]).view(self.dtype),)


@dataclass(frozen=True, eq=False)
class Det(Layer):
    """Determinant of the square matrices in the last two axes."""

    op: ClassVar[str] = "Det"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The axes in front of the matrices."""
        x = runtime(self, types[0])
        if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
            raise self.error(f"matrices of per-image shape {x.shape}, must be square, behind the batch axis")
        return (TensorType(x.shape[:-2], x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """By elimination, in float64, rounded once."""
        return (np.asarray(np.linalg.det(arrays[0].astype(np.float64)), arrays[0].dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Two thirds of the cube of the size, a matrix."""
        return max(1, outputs[0].elements) * max(1, 2 * inputs[0].shape[-1] ** 3 // 3)
