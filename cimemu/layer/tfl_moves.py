"""TensorFlow Lite's operators that move elements: reshape, transpose, slice, split, join, stack, pick, pad, mirror.

Each costs one operation per element moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, TensorType
from cimemu.layer.tfl_whole import Shape, Whole


@dataclass(frozen=True, eq=False)
class TflReshape(Whole):
    """`RESHAPE`, `SQUEEZE`, `EXPAND_DIMS`."""

    target: Shape

    op: ClassVar[str] = "RESHAPE"

    def made(self) -> Sequence[Shape]:
        """`target`."""
        if np.prod(self.target, dtype=np.int64) != np.prod(self.shapes[0], dtype=np.int64):
            raise self.error(f"{list(self.shapes[0])} to {list(self.target)}, must keep the elements: convert it again")
        return [self.target]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """In row-major order."""
        return [arrays[0].reshape(len(arrays[0]), *self.target)]


@dataclass(frozen=True, eq=False)
class TflTranspose(Whole):
    """`TRANSPOSE`: axes in the order `perm`."""

    perm: tuple[int, ...]

    op: ClassVar[str] = "TRANSPOSE"

    def made(self) -> Sequence[Shape]:
        """The permuted shape."""
        axes = [self.axis_of(axis) for axis in self.perm]
        if sorted(axes) != list(range(len(self.shapes[0]))):
            raise self.error(f"order {list(self.perm)} of {len(self.shapes[0])} axes, must name each once")
        return [tuple(self.shapes[0][axis] for axis in axes)]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        return [arrays[0].transpose(0, *(self.axis_of(axis) + 1 for axis in self.perm))]


@dataclass(frozen=True, eq=False)
class TflTile(Whole):
    """`TILE`: the tensor `repeats` times along each axis; `BROADCAST_TO` repeats axes of 1, and adds axes in front."""

    repeats: tuple[int, ...]

    op: ClassVar[str] = "TILE"

    def made(self) -> Sequence[Shape]:
        """Sizes times repeats."""
        shape = (1,) * (len(self.repeats) - len(self.shapes[0])) + self.shapes[0]
        if len(self.repeats) != len(shape) or min(self.repeats, default=1) < 1:
            raise self.error(f"repeats {list(self.repeats)} of {list(self.shapes[0])}, must be >= 1 for each axis")
        return [tuple(size * times for size, times in zip(shape, self.repeats))]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        added = (1,) * (len(self.repeats) - len(self.shapes[0]))
        return [np.tile(arrays[0].reshape(len(arrays[0]), *added, *self.shapes[0]), (1, *self.repeats))]


@dataclass(frozen=True, eq=False)
class TflSlice(Whole):
    """`SLICE` and `STRIDED_SLICE`: elements `start : stop : step` of every axis, then axes of one element dropped."""

    cuts: tuple[tuple[int | None, int | None, int], ...]
    dropped: tuple[int, ...] = ()

    op: ClassVar[str] = "STRIDED_SLICE"

    def made(self) -> Sequence[Shape]:
        """What is left."""
        left = [len(range(*slice(*cut).indices(size))) for cut, size in zip(self.cuts, self.shapes[0])]
        if 0 in left:
            raise self.error(f"nothing is left of {list(self.shapes[0])}: convert it again")
        return [tuple(size for axis, size in enumerate(left) if axis not in self.dropped)]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        cut = arrays[0][(slice(None), *(slice(*c) for c in self.cuts))]
        return [cut.reshape(len(cut), *self.made()[0])]


@dataclass(frozen=True, eq=False)
class TflSplit(Whole):
    """`SPLIT` and `SPLIT_V`: pieces of `sizes` elements along `axis`, one output each."""

    axis: int
    sizes: tuple[int, ...]

    op: ClassVar[str] = "SPLIT"

    def made(self) -> Sequence[Shape]:
        """One shape per piece."""
        axis, shape = self.axis_of(self.axis), self.shapes[0]
        if sum(self.sizes) != shape[axis] or min(self.sizes) < 1 or len(self.sizes) != len(self.outputs):
            raise self.error(
                f"pieces {list(self.sizes)} of {shape[axis]} for {len(self.outputs)} outputs, must be all of it"
            )
        return [(*shape[:axis], size, *shape[axis + 1 :]) for size in self.sizes]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        return np.split(arrays[0], np.cumsum(self.sizes)[:-1], axis=self.axis_of(self.axis) + 1)


@dataclass(frozen=True, eq=False)
class TflConcatenation(Whole):
    """`CONCATENATION` along `axis`."""

    axis: int

    op: ClassVar[str] = "CONCATENATION"

    def made(self) -> Sequence[Shape]:
        """The joined shape."""
        axis = self.axis_of(self.axis)
        others = {(*shape[:axis], *shape[axis + 1 :]) for shape in self.shapes}
        if len(others) > 1 or len({len(shape) for shape in self.shapes}) > 1:
            raise self.error(f"shapes {[list(s) for s in self.shapes]} do not join along axis {axis}: convert it again")
        first = self.shapes[0]
        return [(*first[:axis], sum(shape[axis] for shape in self.shapes), *first[axis + 1 :])]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        return [np.concatenate(arrays, axis=self.axis_of(self.axis) + 1)]


@dataclass(frozen=True, eq=False)
class TflPack(Whole):
    """`PACK`: tensors of one shape side by side along a new axis."""

    axis: int

    op: ClassVar[str] = "PACK"

    def made(self) -> Sequence[Shape]:
        """The shape with a new axis."""
        first = self.shapes[0]
        axis = self.axis_of(self.axis, len(first) + 1)
        if any(shape != first for shape in self.shapes):
            raise self.error(f"shapes {[list(s) for s in self.shapes]}, must be one: convert it again")
        return [(*first[:axis], len(self.shapes), *first[axis:])]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        return [np.stack(arrays, axis=self.axis_of(self.axis, len(self.shapes[0]) + 1) + 1)]


@dataclass(frozen=True, eq=False)
class TflUnpack(Whole):
    """`UNPACK`: the elements of one axis, one output each."""

    axis: int

    op: ClassVar[str] = "UNPACK"

    def made(self) -> Sequence[Shape]:
        """The shape without the axis, as often as there are outputs."""
        axis, shape = self.axis_of(self.axis), self.shapes[0]
        if shape[axis] != len(self.outputs):
            raise self.error(f"axis {axis} of {list(shape)} for {len(self.outputs)} outputs, must be one an element")
        return [(*shape[:axis], *shape[axis + 1 :])] * len(self.outputs)

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        return list(np.moveaxis(arrays[0], self.axis_of(self.axis) + 1, 0))


@dataclass(frozen=True, eq=False)
class TflGather(Whole):
    """`GATHER`: elements of `axis` at constant `indices`, whose shape takes the axis's place."""

    axis: int
    indices: np.ndarray  # integers

    op: ClassVar[str] = "GATHER"

    def made(self) -> Sequence[Shape]:
        """The looked-up shape."""
        axis, shape = self.axis_of(self.axis), self.shapes[0]
        if self.indices.size and not 0 <= self.indices.min() <= self.indices.max() < shape[axis]:
            raise self.error(f"indices {self.indices.min()} .. {self.indices.max()}, must be in 0 .. {shape[axis] - 1}")
        return [(*shape[:axis], *self.indices.shape, *shape[axis + 1 :])]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        return [np.take(arrays[0], self.indices.astype(np.int64), axis=self.axis_of(self.axis) + 1)]


@dataclass(frozen=True, eq=False)
class TflGatherComputed(Whole):
    """`GATHER` at computed indices, the second input: of a tensor, or of a table where `stored` says so.

    The first `apart` axes are those of both, every place of them is looked up by itself.
    """

    axis: int
    apart: int
    stored: bool

    op: ClassVar[str] = "GATHER"

    def made(self) -> Sequence[Shape]:
        """The looked-up shape."""
        data, index = self.shapes
        axis = self.axis_of(self.axis)
        if not 0 <= self.apart <= min(axis, len(index)) or data[: self.apart] != index[: self.apart]:
            raise self.error(
                f"batch_dims {self.apart} of {list(data)} and {list(index)}, must be axes of both: convert it again"
            )
        return [(*data[:axis], *index[self.apart :], *data[axis + 1 :])]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact. WorkloadError where an index is outside."""
        data, index = arrays
        axis = self.axis_of(self.axis)
        size = self.shapes[0][axis]
        if index.size and not 0 <= index.min() <= index.max() < size:
            raise self.error(f"index {index.min()} .. {index.max()}, must be in 0 .. {size - 1}: give other inputs")
        places = index.astype(np.int64)
        made = np.empty((*data.shape[: axis + 1], *places.shape[self.apart + 1 :], *data.shape[axis + 2 :]), data.dtype)
        for one in np.ndindex(places.shape[: self.apart + 1]):  # the images and the axes of both
            made[one] = np.take(data[one], places[one], axis=axis - self.apart)
        return [made]

    def table_bits(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """The elements looked up, where the table is a constant: it is larger than what a chip keeps for it."""
        return outputs[0].bits if self.stored else 0


@dataclass(frozen=True, eq=False)
class TflPad(Whole):
    """`PAD`, `PADV2`: `pads[axis] = (before, after)` elements of code `value`; `MIRROR_PAD` where `mode` says so."""

    pads: tuple[tuple[int, int], ...]
    value: int = 0
    mode: str = "constant"  # or reflect, symmetric

    op: ClassVar[str] = "PAD"

    def made(self) -> Sequence[Shape]:
        """The padded shape."""
        shape = self.shapes[0]
        if len(self.pads) != len(shape) or any(min(pad) < 0 for pad in self.pads):
            raise self.error(f"pads {[list(p) for p in self.pads]} of {list(shape)}, must be two of >= 0 an axis")
        room = {"constant": 1 << 31, "reflect": -1, "symmetric": 0}[self.mode]
        if any(max(pad) > size + room for pad, size in zip(self.pads, shape)):
            raise self.error(
                f"pads {[list(p) for p in self.pads]} mirror more than {list(shape)} has: convert it again"
            )
        return [tuple(size + before + after for size, (before, after) in zip(shape, self.pads))]

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        pads = [(0, 0), *self.pads]
        if self.mode == "constant":
            return [np.pad(arrays[0], pads, constant_values=arrays[0].dtype.type(self.value))]
        return [np.pad(arrays[0], pads, mode=self.mode)]  # type: ignore[call-overload]
