"""Layers that pick or replace elements of an image at places given as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, constant, dtype_of, inner_axis, runtime

REDUCTIONS: dict[str, Any] = {
    "none": None,
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def of_image(layer: Layer, operand: Operand, what: str) -> tuple[int, ...]:
    """Per-image shape of a runtime tensor, or of a constant that is the same for every image."""
    if isinstance(operand, TensorType):
        return operand.shape
    if operand.ndim < 1 or operand.shape[0] != 1:
        raise layer.error(f"{what} of shape {operand.shape} mixes the images, its first axis must be 1")
    return operand.shape[1:]


def _places(layer: Layer, places: Array, size: int) -> Array:
    """Numbers -size .. size-1 as 0 .. size-1; others are an error."""
    layer.check_inside(f"an index along an axis of {size}", places, -size, size - 1)
    return np.asarray(np.where(places < 0, places + size, places), np.int64)


@dataclass(frozen=True, eq=False)
class GatherElements(Layer):
    """`out[b, i, j] = data[b, i, indices[b, i, j]]`, for `axis` (batch axis counted) the one that is indexed."""

    axis: int = 1

    op: ClassVar[str] = "GatherElements"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The shape of the indices in the data's dtype."""
        data, places = of_image(self, types[0], "the data"), of_image(self, types[1], "the indices")
        axis = inner_axis(self, self.axis, len(data) + 1) - 1
        fits = len(data) == len(places) and all(
            one <= other for at, (one, other) in enumerate(zip(places, data)) if at != axis
        )
        if not fits:
            raise self.error(f"indices of shape {places} for images of shape {data}, must not be larger")
        return (TensorType(places, dtype_of(types[0])),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact; an index outside the axis is an error."""
        data, places = _aligned(arrays, self.axis)
        return (np.take_along_axis(data, _places(self, places, data.shape[self.axis]), axis=self.axis),)


@dataclass(frozen=True, eq=False)
class ScatterElements(Layer):
    """The data with `updates` at the places of GatherElements; `reduction` none, add, mul, max or min."""

    axis: int = 1
    reduction: str = "none"

    op: ClassVar[str] = "ScatterElements"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The data's own type."""
        shapes = [of_image(self, t, what) for t, what in zip(types, ("the data", "the indices", "the updates"))]
        axis = inner_axis(self, self.axis, len(shapes[0]) + 1) - 1
        fits = len(shapes[0]) == len(shapes[1]) and all(
            one <= other for at, (one, other) in enumerate(zip(shapes[1], shapes[0])) if at != axis
        )
        if not fits or shapes[1] != shapes[2] or dtype_of(types[0]) != dtype_of(types[2]):
            raise self.error(f"data, indices and updates of shapes {shapes} do not fit together")
        _check_reduction(self, self.reduction)
        return (TensorType(shapes[0], dtype_of(types[0])),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the data's dtype, updates in their order."""
        images = max(len(array) for array in arrays)
        data, places, updates = (np.broadcast_to(a, (images, *a.shape[1:])) for a in arrays)
        out = data.copy()
        where: list[Array] = list(np.indices(places.shape, sparse=True))
        where[self.axis % data.ndim] = _places(self, places, data.shape[self.axis])
        _put(out, tuple(where), updates, self.reduction)
        return (out,)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A copy of the data, an operation an update."""
        return outputs[0].elements + inputs[2].elements


@dataclass(frozen=True, eq=False)
class GatherND(Layer):
    """Slices of the data at the coordinates in the last axis of the indices.

    `batch_dims` leading axes are shared (the batch axis counted, at least 1), or the data are a constant and
    `batch_dims` is 0.
    """

    batch_dims: int = 1

    op: ClassVar[str] = "GatherND"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """Indices without their last axis, then the axes of the data that they do not name."""
        data, indices = types
        if self.batch_dims < 1:
            table = constant(self, data, "the data (with batch_dims = 0 its first axis, the batch axis, is indexed)")
            places, whole, shared = runtime(self, indices).shape, table.shape, 0
        else:
            places, whole = of_image(self, indices, "the indices"), of_image(self, data, "the data")
            shared = self.batch_dims - 1
        depth = places[-1] if places else 0
        if depth < 1 or shared + depth > len(whole) or places[:shared] != whole[:shared]:
            raise self.error(f"indices of shape {places} for data of shape {whole}, they do not fit together")
        return (TensorType((*places[:-1], *whole[shared + depth :]), dtype_of(data)),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact; an index outside an axis is an error."""
        data, places = arrays
        if self.batch_dims:
            images = max(len(data), len(places))
            data, places = (np.broadcast_to(a, (images, *a.shape[1:])) for a in (data, places))
        depth, shared = places.shape[-1], self.batch_dims
        found = [_places(self, places[..., at], data.shape[shared + at]) for at in range(depth)]
        front: tuple[Array, ...] = np.indices(places.shape[:shared], sparse=True)
        extra = (1,) * (places.ndim - 1 - shared)
        return (data[(*(axis.reshape(*axis.shape, *extra) for axis in front), *found)],)


@dataclass(frozen=True, eq=False)
class ScatterND(Layer):
    """The data with slices replaced at constant coordinates `[..., depth]` behind the batch axis.

    Inputs are (data, updates); `places` are the coordinates within one image.
    """

    places: Array
    reduction: str = "none"

    op: ClassVar[str] = "ScatterND"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The data's own type."""
        data, updates = runtime(self, types[0]), of_image(self, types[1], "the updates")
        depth = self.places.shape[-1]
        wanted = (*self.places.shape[:-1], *data.shape[depth:])
        if depth > len(data.shape) or updates != wanted or dtype_of(types[1]) != data.dtype:
            raise self.error(f"updates of shape {updates} for images of shape {data.shape}, must have {wanted}")
        for at in range(depth):
            _places(self, self.places[..., at], data.shape[at])
        _check_reduction(self, self.reduction)
        return (data,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the data's dtype, updates in their order."""
        out = arrays[0].copy()
        updates = np.broadcast_to(arrays[1], (len(out), *arrays[1].shape[1:]))
        depth = self.places.shape[-1]
        where = [_places(self, self.places[..., at], out.shape[1 + at]) for at in range(depth)]
        images = np.arange(len(out)).reshape(-1, *(1,) * (self.places.ndim - 1))
        _put(out, (images, *where), updates, self.reduction)
        return (out,)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A copy of the data, an operation an update."""
        return outputs[0].elements + inputs[1].elements


@dataclass(frozen=True, eq=False)
class TensorScatter(Layer):
    """A cache with an update written along `axis` from each image's own place on; around the end if `circular`.

    Inputs are (cache, update[, places, one an image]).
    """

    axis: int = -2
    circular: bool = False

    op: ClassVar[str] = "TensorScatter"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The cache's own type."""
        cache, update = runtime(self, types[0], "the cache"), runtime(self, types[1], "the update")
        axis = inner_axis(self, self.axis, len(cache.shape) + 1) - 1
        alike = [(*t.shape[:axis], *t.shape[axis + 1 :]) for t in (cache, update)]
        if alike[0] != alike[1] or update.shape[axis] > cache.shape[axis] or cache.dtype != update.dtype:
            raise self.error(
                f"an update of shape {update.shape} for a cache of {cache.shape}, they do not fit together"
            )
        if len(types) > 2 and runtime(self, types[2], "the places").shape:
            raise self.error("the places must be one an image")
        return (cache,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact; an update that runs over the end of a cache that is not circular is an error."""
        out, update = arrays[0].copy(), arrays[1]
        size, steps = out.shape[self.axis], np.arange(update.shape[self.axis])
        starts = arrays[2] if len(arrays) > 2 else np.zeros(len(out), np.int64)
        places = starts[:, None] + steps
        if self.circular:
            places = places % size
        self.check_inside(f"a place in a cache of {size} steps", places, 0, size - 1)
        shape = [1] * out.ndim
        shape[0], shape[self.axis % out.ndim] = places.shape
        np.put_along_axis(out, places.reshape(shape), update, axis=self.axis)
        return (out,)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A copy of the cache, an operation an element written."""
        return outputs[0].elements + inputs[1].elements


@dataclass(frozen=True, eq=False)
class OneHot(Layer):
    """Runtime indices as rows of `depth` elements along the new axis `axis`: on at the index, off elsewhere.

    Inputs are (indices, values), values the constant [off, on]; an index outside -depth .. depth-1 is off everywhere.
    """

    depth: int
    axis: int = -1

    op: ClassVar[str] = "OneHot"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The indices' shape with `depth` inserted, in the values' dtype."""
        x, values = runtime(self, types[0]), constant(self, types[1], "the values")
        if values.shape != (2,) or self.depth < 1:
            raise self.error(f"depth = {self.depth}, values of shape {values.shape}: must be >= 1 and two values")
        axis = inner_axis(self, self.axis, len(x.shape) + 2) - 1
        return (TensorType((*x.shape[:axis], self.depth, *x.shape[axis:]), values.dtype.name),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        places, (off, on) = arrays
        whole = np.where(places < 0, places + self.depth, places)[..., None]
        rows = np.where(whole == np.arange(self.depth), on, off)
        return (np.ascontiguousarray(np.moveaxis(rows, -1, self.axis)),)


def _aligned(arrays: Sequence[Array], axis: int) -> tuple[Array, Array]:
    """Data and indices of as many images, the data cut to the indices' size on the other axes."""
    images = max(len(array) for array in arrays)
    data, places = (np.broadcast_to(a, (images, *a.shape[1:])) for a in arrays)
    axis %= data.ndim
    cut = tuple(slice(None) if at == axis else slice(size) for at, size in enumerate(places.shape))
    return data[cut], places


def _put(out: Array, where: tuple[Array, ...], updates: Array, reduction: str) -> None:
    function = REDUCTIONS[reduction]
    if function is None:
        out[where] = updates
    else:
        function.at(out, where, updates)


def _check_reduction(layer: Layer, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise layer.error(f"reduction = {reduction}, must be one of {', '.join(REDUCTIONS)}")
