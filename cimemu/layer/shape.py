"""Layers that move elements and change none: reshapes, slices, padding, joining, splitting, looking up.

Each costs one operation per element moved: a copy is work too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, broadcast, dtype_of, inner_axis, rank_of, runtime


@dataclass(frozen=True, eq=False)
class Reshape(Layer):
    """Every image gets the per-image shape `shape`; fixed when the network is loaded."""

    shape: tuple[int, ...]

    op: ClassVar[str] = "Reshape"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`shape` in the input's dtype."""
        x = runtime(self, types[0])
        out = TensorType(self.shape, x.dtype)
        if min(self.shape, default=1) < 0 or out.elements != x.elements:
            raise self.error(f"an image of shape {x.shape} cannot become {self.shape}, images must stay apart")
        return (out,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        return (arrays[0].reshape(len(arrays[0]), *self.shape),)


@dataclass(frozen=True, eq=False)
class Flatten(Reshape):
    """Reshape of every image to one axis."""

    op: ClassVar[str] = "Flatten"


@dataclass(frozen=True, eq=False)
class Squeeze(Reshape):
    """Reshape that drops axes of size 1."""

    op: ClassVar[str] = "Squeeze"


@dataclass(frozen=True, eq=False)
class Unsqueeze(Reshape):
    """Reshape that inserts axes of size 1."""

    op: ClassVar[str] = "Unsqueeze"


@dataclass(frozen=True, eq=False)
class Transpose(Layer):
    """Axes in the order `perm` (batch axis counted, and first)."""

    perm: tuple[int, ...]

    op: ClassVar[str] = "Transpose"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The permuted shape."""
        x = runtime(self, types[0])
        if sorted(self.perm) != list(range(len(x.shape) + 1)) or self.perm[0] != 0:
            raise self.error(f"perm = {self.perm}, must order {len(x.shape) + 1} axes, the batch first")
        return (TensorType(tuple(x.shape[axis - 1] for axis in self.perm[1:]), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        return (np.ascontiguousarray(arrays[0].transpose(self.perm)),)


@dataclass(frozen=True, eq=False)
class Slice(Layer):
    """Elements `starts : ends : steps` of `axes` (batch axis counted, never sliced); Python's slice rules.

    An end of None runs to the edge.
    """

    axes: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int | None, ...]
    steps: tuple[int, ...]

    op: ClassVar[str] = "Slice"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The shape that is left."""
        x = runtime(self, types[0])
        for axis in self.axes:
            inner_axis(self, axis, len(x.shape) + 1)
        window = self._window(len(x.shape) + 1)[1:]
        shape = tuple(len(range(*cut.indices(size))) for cut, size in zip(window, x.shape))
        if 0 in shape:
            raise self.error(f"nothing is left of an image of shape {x.shape}")
        return (TensorType(shape, x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        return (np.ascontiguousarray(arrays[0][self._window(arrays[0].ndim)]),)

    def _window(self, rank: int) -> tuple[slice, ...]:
        window = [slice(None)] * rank
        for axis, start, end, step in zip(self.axes, self.starts, self.ends, self.steps):
            window[axis] = slice(start, end, step)
        return tuple(window)


@dataclass(frozen=True, eq=False)
class Pad(Layer):
    """`pads[axis] = (before, after)` elements around the axes of one image (no batch axis); negative crops.

    `mode` is constant (with `value`), edge, reflect or wrap.
    """

    pads: tuple[tuple[int, int], ...]
    value: float = 0.0
    mode: str = "constant"

    op: ClassVar[str] = "Pad"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The padded shape."""
        x = runtime(self, types[0])
        if len(self.pads) != len(x.shape):
            raise self.error(f"pads for {len(self.pads)} axes of an image of shape {x.shape}")
        if self.mode not in ("constant", "edge", "reflect", "wrap"):
            raise self.error(f"mode = {self.mode}, must be constant, edge, reflect or wrap")
        if self.mode == "reflect" and any(max(pad) >= size for pad, size in zip(self.pads, x.shape)):
            raise self.error(f"pads = {self.pads} reflect more than an image of shape {x.shape} has")
        shape = tuple(size + before + after for size, (before, after) in zip(x.shape, self.pads))
        if min(shape, default=1) < 1:
            raise self.error(f"pads = {self.pads} leave nothing of an image of shape {x.shape}")
        return (TensorType(shape, x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x = arrays[0]
        crop = tuple(
            slice(max(0, -before), size - max(0, -after)) for size, (before, after) in zip(x.shape[1:], self.pads)
        )
        grow = [(0, 0), *((max(0, before), max(0, after)) for before, after in self.pads)]
        x = x[(slice(None), *crop)]
        if self.mode == "constant":
            sizes = [size + before + after for size, (before, after) in zip(x.shape, grow)]
            padded = np.full(sizes, x.dtype.type(self.value))
            padded[tuple(slice(before, before + size) for size, (before, _) in zip(x.shape, grow))] = x
            return (padded,)
        return (np.pad(x, grow, mode=self.mode),)  # type: ignore[call-overload]


@dataclass(frozen=True, eq=False)
class Concat(Layer):
    """Inputs joined along `axis` (batch axis counted); a constant with first axis 1 joins every image."""

    axis: int

    op: ClassVar[str] = "Concat"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The joined shape."""
        rank = max(rank_of(t) for t in types if isinstance(t, TensorType))
        axis = inner_axis(self, self.axis, rank) - 1
        shapes = [t.shape if isinstance(t, TensorType) else t.shape[1:] for t in types]
        others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
        alone = all(isinstance(t, TensorType) or t.shape[:1] == (1,) for t in types)
        if len(others) > 1 or not alone or len({dtype_of(t) for t in types}) > 1:
            raise self.error(f"per-image shapes {shapes} cannot be joined along axis {self.axis}")
        joined = sum(shape[axis] for shape in shapes)
        return (TensorType((*shapes[0][:axis], joined, *shapes[0][axis + 1 :]), dtype_of(types[0])),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        images = max(len(array) for array in arrays)
        whole = [np.broadcast_to(array, (images, *array.shape[1:])) for array in arrays]
        return (np.concatenate(whole, axis=self.axis),)


@dataclass(frozen=True, eq=False)
class Split(Layer):
    """Pieces of `sizes` elements along `axis` (batch axis counted), one output each."""

    axis: int
    sizes: tuple[int, ...]

    op: ClassVar[str] = "Split"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """One shape per piece."""
        x = runtime(self, types[0])
        axis = inner_axis(self, self.axis, len(x.shape) + 1) - 1
        if sum(self.sizes) != x.shape[axis] or min(self.sizes) < 1 or len(self.sizes) != len(self.outputs):
            raise self.error(f"pieces {self.sizes} of {x.shape[axis]} for {len(self.outputs)} outputs")
        return tuple(TensorType((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype) for n in self.sizes)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        cuts = np.cumsum(self.sizes)[:-1]
        return tuple(np.ascontiguousarray(piece) for piece in np.split(arrays[0], cuts, axis=self.axis))


@dataclass(frozen=True, eq=False)
class Gather(Layer):
    """Elements of the first input at the indices of the second, along `axis` of the first.

    Either a constant table looked up by runtime indices (axis 0: an embedding), or a runtime tensor at
    constant indices (never along the batch axis).
    """

    axis: int = 0

    op: ClassVar[str] = "Gather"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The looked-up shape."""
        data, indices = types
        if isinstance(data, TensorType):
            if isinstance(indices, TensorType):
                raise self.error("data and indices are both computed at run time, one must be a constant")
            axis = inner_axis(self, self.axis, len(data.shape) + 1) - 1
            size = data.shape[axis]
            self.check_inside(f"an index along an axis of {size}", indices, -size, size - 1, "export it again")
            return (TensorType((*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]), data.dtype),)
        if self.axis % data.ndim:
            raise self.error(f"axis = {self.axis} of a constant table, must be 0")
        return (TensorType((*runtime(self, indices).shape, *data.shape[1:]), data.dtype.name),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact; an index outside the table is an error."""
        data, indices = arrays
        size = data.shape[self.axis]
        self.check_inside(f"an index into a table of {size}", indices, -size, size - 1)
        return (np.take(data, indices.astype(np.int64), axis=self.axis),)

    def table_bits(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """The rows looked up, where the table is a constant: it is larger than what a chip keeps for it."""
        embedding = inputs[1].dtype.startswith(("int", "uint")) and outputs[0].shape == (
            *inputs[1].shape,
            *inputs[0].shape[1:],
        )
        return outputs[0].bits if embedding else 0


@dataclass(frozen=True, eq=False)
class Expand(Layer):
    """The input repeated to the per-image shape `shape` (broadcasting)."""

    shape: tuple[int, ...]

    op: ClassVar[str] = "Expand"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The broadcast shape."""
        x = runtime(self, types[0])
        target = TensorType(self.shape, x.dtype)
        return (TensorType(broadcast(self, (x, target)), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x = arrays[0]
        return (np.ascontiguousarray(np.broadcast_to(x, np.broadcast_shapes(x.shape, (1, *self.shape)))),)


@dataclass(frozen=True, eq=False)
class Cast(Layer):
    """The input converted to NumPy dtype `dtype`; float to integer truncates towards zero."""

    dtype: str

    op: ClassVar[str] = "Cast"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape in `dtype`."""
        return (TensorType(runtime(self, types[0]).shape, self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """NumPy's conversion."""
        return (arrays[0].astype(self.dtype),)


@dataclass(frozen=True, eq=False)
class Identity(Layer):
    """The input under another name (kept only where a name is a network output)."""

    op: ClassVar[str] = "Identity"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        return (runtime(self, types[0]),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The same array."""
        return (arrays[0],)
