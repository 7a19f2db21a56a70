"""Functions along one axis of an image: soft and hard maxima, running sums, the largest elements and their places."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, inner_axis, runtime


@dataclass(frozen=True, eq=False)
class AlongAxis(Layer):
    """Base of functions along `axis` (batch axis counted, never the batch itself)."""

    axis: int = -1

    ops_per_element: ClassVar[int] = 1

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        inner_axis(self, self.axis, len(x.shape) + 1)
        return (x,)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """`ops_per_element` per element of the input."""
        return max(1, self.ops_per_element * inputs[0].elements)


@dataclass(frozen=True, eq=False)
class AlongAxes(AlongAxis):
    """Base of functions along one axis, or (`flatten`, ONNX before operator set 13) over all axes from it on."""

    flatten: bool = False

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The function of rows: `axis`, or all axes from it on, as the last one."""
        x = arrays[0]
        axis = self.axis % x.ndim
        if self.flatten:
            return (self.of_rows(x.reshape(*x.shape[:axis], -1)).reshape(x.shape),)
        return (np.ascontiguousarray(np.moveaxis(self.of_rows(np.moveaxis(x, axis, -1)), -1, axis)),)

    def of_rows(self, rows: Array) -> Array:
        """The function along the last axis."""
        raise TypeError(f"{type(self).__name__} has no function")


@dataclass(frozen=True, eq=False)
class LogSoftmax(AlongAxes):
    """Logarithm of the softmax: x - max - log(sum(exp(x - max)))."""

    op: ClassVar[str] = "LogSoftmax"
    ops_per_element: ClassVar[int] = 8

    def of_rows(self, rows: Array) -> Array:
        """In the input's dtype."""
        below = rows - rows.max(axis=-1, keepdims=True)
        made: Array = below - np.log(np.exp(below).sum(axis=-1, keepdims=True))
        return made


@dataclass(frozen=True, eq=False)
class Hardmax(AlongAxes):
    """1 at the first of the largest elements, 0 elsewhere."""

    op: ClassVar[str] = "Hardmax"
    ops_per_element: ClassVar[int] = 2

    def of_rows(self, rows: Array) -> Array:
        """Exact."""
        first = rows.argmax(axis=-1)[..., None]
        made: Array = (np.arange(rows.shape[-1]) == first).astype(rows.dtype)
        return made


@dataclass(frozen=True, eq=False)
class Cumulative(AlongAxis):
    """Base of running results; `exclusive` leaves the element itself out, `reverse` runs from the end."""

    exclusive: bool = False
    reverse: bool = False

    function: ClassVar[Any] = None
    neutral: ClassVar[int] = 0

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the input's dtype, one element after the other."""
        x = np.moveaxis(arrays[0], self.axis, -1)
        x = x[..., ::-1] if self.reverse else x
        made = type(self).function(x, axis=-1, dtype=x.dtype)
        if self.exclusive:
            first = np.full((*made.shape[:-1], 1), self.neutral, x.dtype)
            made = np.concatenate([first, made[..., :-1]], axis=-1)
        made = made[..., ::-1] if self.reverse else made
        return (np.ascontiguousarray(np.moveaxis(made, -1, self.axis)),)


@dataclass(frozen=True, eq=False)
class CumSum(Cumulative):
    """Sum of all elements up to each."""

    op: ClassVar[str] = "CumSum"
    function: ClassVar[Any] = np.cumsum


@dataclass(frozen=True, eq=False)
class CumProd(Cumulative):
    """Product of all elements up to each."""

    op: ClassVar[str] = "CumProd"
    function: ClassVar[Any] = np.cumprod
    neutral: ClassVar[int] = 1


@dataclass(frozen=True, eq=False)
class ArgBest(AlongAxis):
    """Base of the place (int64) of the best element along an axis, kept with size 1 or dropped."""

    keepdims: bool = True
    last: bool = False  # of equal ones the last, instead of the first

    function: ClassVar[Any] = None

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape without (or with 1 at) the axis, int64."""
        (x,) = super().infer(types)
        axis = inner_axis(self, self.axis, len(x.shape) + 1) - 1
        kept = (*x.shape[:axis], *((1,) if self.keepdims else ()), *x.shape[axis + 1 :])
        return (TensorType(kept, "int64"),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x, function = arrays[0], type(self).function
        if self.last:
            found = x.shape[self.axis] - 1 - function(np.flip(x, self.axis), axis=self.axis, keepdims=self.keepdims)
        else:
            found = function(x, axis=self.axis, keepdims=self.keepdims)
        return (found.astype(np.int64),)


@dataclass(frozen=True, eq=False)
class ArgMax(ArgBest):
    """Place of the largest element."""

    op: ClassVar[str] = "ArgMax"
    function: ClassVar[Any] = np.argmax


@dataclass(frozen=True, eq=False)
class ArgMin(ArgBest):
    """Place of the smallest element."""

    op: ClassVar[str] = "ArgMin"
    function: ClassVar[Any] = np.argmin


@dataclass(frozen=True, eq=False)
class TopK(AlongAxis):
    """The `k` largest (or smallest) elements along an axis and their places (int64), the best first.

    Of equal elements the one in front is the better.
    """

    k: int = 1
    largest: bool = True

    op: ClassVar[str] = "TopK"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`k` along the axis: values in the input's dtype, places in int64."""
        (x,) = super().infer(types)
        axis = inner_axis(self, self.axis, len(x.shape) + 1) - 1
        if not 1 <= self.k <= x.shape[axis]:
            raise self.error(f"k = {self.k} of an axis of {x.shape[axis]}, must be 1..{x.shape[axis]}")
        shape = (*x.shape[:axis], self.k, *x.shape[axis + 1 :])
        return TensorType(shape, x.dtype), TensorType(shape, "int64")

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x = np.moveaxis(arrays[0], self.axis, -1)
        if self.largest:  # sorted from the back, so that of equal ones the one in front comes first
            places = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
        else:
            places = np.argsort(x, axis=-1, kind="stable")
        places = places[..., : self.k]
        both = np.take_along_axis(x, places, axis=-1), places.astype(np.int64)
        return tuple(np.ascontiguousarray(np.moveaxis(made, -1, self.axis)) for made in both)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A heap of `k`: log2(k) + 1 comparisons an element."""
        return inputs[0].elements * (1 + math.ceil(math.log2(self.k)))
