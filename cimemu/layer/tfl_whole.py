"""TensorFlow Lite's tensors as one image has them, and the base of layers that move their elements.

A file's tensor that begins with an axis of 1 has that axis as the images; any other (a transposed sequence, the pieces
of SPACE_TO_BATCH_ND) belongs to one image as a whole. Layers here know the file's own shapes and axes: every image is
moved alone, so that no axis of the file is special.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, dtype_of

Shape = tuple[int, ...]


def image_shape(shape: Shape) -> Shape:
    """The shape of one image's tensor of a file's shape."""
    return shape[1:] if shape[:1] == (1,) else shape


@dataclass(frozen=True, eq=False)
class Whole(Layer):
    """Base: `shapes` are the inputs' shapes in the file; a constant input has exactly its own."""

    shapes: tuple[Shape, ...]

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The rule's shapes, in the first input's dtype."""
        for given, shape in zip(types, self.shapes):
            elements = int(np.prod(given.shape, dtype=np.int64))
            if elements != int(np.prod(shape, dtype=np.int64)):
                raise self.error(
                    f"an image of shape {tuple(given.shape)}, the file says {list(shape)}: convert it again"
                )
        return tuple(TensorType(image_shape(shape), self.result(dtype_of(types[0]))) for shape in self.made())

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        whole = [_whole(array, shape) for array, shape in zip(arrays, self.shapes)]
        images = max(len(array) for array in whole)
        moved = self.moved([np.broadcast_to(array, (images, *array.shape[1:])) for array in whole])
        return tuple(
            np.ascontiguousarray(array)
            .reshape(images, *image_shape(array.shape[1:]))
            .astype(self.result(arrays[0].dtype.name), copy=False)
            for array in moved
        )

    def result(self, dtype: str) -> str:
        """The outputs' dtype, from the first input's."""
        return dtype

    def made(self) -> Sequence[Shape]:
        """The outputs' shapes in the file."""
        raise TypeError(f"{type(self).__name__} has no shapes")

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """The outputs `[images, *shape in the file]`, of inputs in that form."""
        raise TypeError(f"{type(self).__name__} moves nothing")

    def axis_of(self, axis: int, rank: int | None = None) -> int:
        """A possibly negative axis of the first input, as 0 .. rank-1. Raises WorkloadError."""
        rank = len(self.shapes[0]) if rank is None else rank
        if not -rank <= axis < rank:
            raise self.error(f"axis {axis}, must be in -{rank} .. {rank - 1}: convert it again")
        return axis % rank


def _whole(array: Array, shape: Shape) -> Array:
    """`[images, *shape]`; of a constant one image, for all."""
    if array.shape == shape and shape[:1] != (1,):
        return array[None]
    return array.reshape(len(array), *shape)
