"""TensorFlow Lite's moves between space, depth and batch: blocks of pixels become channels or images of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array
from cimemu.layer.tfl_whole import Shape, Whole


@dataclass(frozen=True, eq=False)
class TflSpaceToDepth(Whole):
    """`SPACE_TO_DEPTH`: the pixels of every block of `block` x `block` become channels."""

    block: int

    op: ClassVar[str] = "SPACE_TO_DEPTH"

    def made(self) -> Sequence[Shape]:
        """Fewer pixels, more channels."""
        shape, block = self.shapes[0], self.block
        if len(shape) != 4 or block < 1 or shape[1] % block or shape[2] % block:
            raise self.error(f"blocks of {block} in {list(shape)}, must divide rows and columns: convert it again")
        return [(shape[0], shape[1] // block, shape[2] // block, shape[3] * block * block)]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        n, h, w, c = self.shapes[0]
        b = self.block
        parts = arrays[0].reshape(-1, n, h // b, b, w // b, b, c)
        return [parts.transpose(0, 1, 2, 4, 3, 5, 6).reshape(-1, *self.made()[0])]


@dataclass(frozen=True, eq=False)
class TflDepthToSpace(Whole):
    """`DEPTH_TO_SPACE`: the other way."""

    block: int

    op: ClassVar[str] = "DEPTH_TO_SPACE"

    def made(self) -> Sequence[Shape]:
        """More pixels, fewer channels."""
        shape, block = self.shapes[0], self.block
        if len(shape) != 4 or block < 1 or shape[3] % (block * block):
            raise self.error(
                f"blocks of {block} in {list(shape)}, their square must divide the channels: convert it again"
            )
        return [(shape[0], shape[1] * block, shape[2] * block, shape[3] // (block * block))]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        n, h, w, c = self.shapes[0]
        b = self.block
        parts = arrays[0].reshape(-1, n, h, w, b, b, c // (b * b))
        return [parts.transpose(0, 1, 2, 4, 3, 5, 6).reshape(-1, *self.made()[0])]


@dataclass(frozen=True, eq=False)
class TflSpaceToBatch(Whole):
    """`SPACE_TO_BATCH_ND`: padded with code `value`, then the pixels of every block become images of their own."""

    block: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    value: int

    op: ClassVar[str] = "SPACE_TO_BATCH_ND"

    def made(self) -> Sequence[Shape]:
        """More images, each smaller."""
        shape, count = self.shapes[0], len(self.block)
        fits = 1 <= count < len(shape) and len(self.pads) == count and min(self.block) >= 1
        if not fits or any(min(pad) < 0 for pad in self.pads):
            raise self.error(f"blocks {list(self.block)} and pads of {list(shape)}: convert it again")
        padded = [size + sum(pad) for size, pad in zip(shape[1:], self.pads)]
        if any(size % block for size, block in zip(padded, self.block)):
            raise self.error(f"blocks {list(self.block)} do not divide {padded}, the padded image: convert it again")
        images = shape[0] * int(np.prod(self.block))
        return [(images, *(size // block for size, block in zip(padded, self.block)), *shape[1 + count :])]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        shape, count = self.shapes[0], len(self.block)
        rest = [(0, 0)] * (len(shape) - 1 - count)
        x = np.pad(arrays[0], [(0, 0), (0, 0), *self.pads, *rest], constant_values=arrays[0].dtype.type(self.value))
        split = [part for size, block in zip(x.shape[2:], self.block) for part in (size // block, block)]
        x = x.reshape(len(x), shape[0], *split, *shape[1 + count :])
        blocks, outer = [3 + 2 * i for i in range(count)], [2 + 2 * i for i in range(count)]
        x = x.transpose(0, *blocks, 1, *outer, *range(2 + 2 * count, x.ndim))
        return [x.reshape(len(x), *self.made()[0])]


@dataclass(frozen=True, eq=False)
class TflBatchToSpace(Whole):
    """`BATCH_TO_SPACE_ND`: the other way, then `crops` are cut off."""

    block: tuple[int, ...]
    crops: tuple[tuple[int, int], ...]

    op: ClassVar[str] = "BATCH_TO_SPACE_ND"

    def made(self) -> Sequence[Shape]:
        """Fewer images, each larger."""
        shape, count = self.shapes[0], len(self.block)
        fits = 1 <= count < len(shape) and len(self.crops) == count and min(self.block) >= 1
        if not fits or shape[0] % int(np.prod(self.block)) or any(min(crop) < 0 for crop in self.crops):
            raise self.error(f"blocks {list(self.block)} and crops of {list(shape)}: convert it again")
        left = [size * block - sum(crop) for size, block, crop in zip(shape[1:], self.block, self.crops)]
        if min(left) < 1:
            raise self.error(f"crops {[list(c) for c in self.crops]} leave nothing of {list(shape)}: convert it again")
        return [(shape[0] // int(np.prod(self.block)), *left, *shape[1 + count :])]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        shape, count = self.shapes[0], len(self.block)
        images = shape[0] // int(np.prod(self.block))
        x = arrays[0].reshape(-1, *self.block, images, *shape[1:])
        order = [part for i in range(count) for part in (2 + count + i, 1 + i)]
        x = x.transpose(0, 1 + count, *order, *range(2 + 2 * count, x.ndim))
        x = x.reshape(len(x), images, *(size * b for size, b in zip(shape[1:], self.block)), *shape[1 + count :])
        cuts = [slice(before, x.shape[2 + i] - after) for i, (before, after) in enumerate(self.crops)]
        return [x[(slice(None), slice(None), *cuts)]]
