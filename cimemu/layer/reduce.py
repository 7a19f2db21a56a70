"""Reductions over axes of one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, inner_axis, runtime
from cimemu.layer.sum_order import ordered_sum


@dataclass(frozen=True, eq=False)
class Reduce(Layer):
    """Base of reductions over `axes` (batch axis counted, never reduced), kept with size 1 or dropped."""

    axes: tuple[int, ...]
    keepdims: bool = True

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape without (or with 1 at) the axes."""
        x = runtime(self, types[0])
        axes = {inner_axis(self, axis, len(x.shape) + 1) for axis in self.axes}
        kept = [
            1 if axis in axes else size for axis, size in enumerate(x.shape, 1) if self.keepdims or axis not in axes
        ]
        return (TensorType(tuple(kept), x.dtype),)

    def _kept(self, reduced: Array) -> Array:
        """A result without the axes, with them as 1 where they are kept."""
        return np.expand_dims(reduced, self.axes) if self.keepdims else reduced

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """One operation per input element and one per output."""
        return inputs[0].elements + outputs[0].elements


@dataclass(frozen=True, eq=False)
class ReduceMean(Reduce):
    """Mean over the axes."""

    op: ClassVar[str] = "ReduceMean"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32 means: the sum in `ordered_sum`'s order over the number of elements."""
        x = arrays[0]
        if x.dtype != np.float32:
            return (x.mean(axis=self.axes, keepdims=self.keepdims, dtype=x.dtype),)
        count = np.float32(np.prod([x.shape[axis] for axis in self.axes]))
        return (self._kept(ordered_sum(x, self.axes) / count),)


@dataclass(frozen=True, eq=False)
class ReduceSum(Reduce):
    """Sum over the axes."""

    op: ClassVar[str] = "ReduceSum"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Sums in the input's dtype; float32 ones in `ordered_sum`'s order."""
        x = arrays[0]
        if x.dtype != np.float32:
            return (x.sum(axis=self.axes, keepdims=self.keepdims, dtype=x.dtype),)
        return (self._kept(ordered_sum(x, self.axes)),)


@dataclass(frozen=True, eq=False)
class ReduceMax(Reduce):
    """Largest value over the axes."""

    op: ClassVar[str] = "ReduceMax"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        return (arrays[0].max(axis=self.axes, keepdims=self.keepdims),)


@dataclass(frozen=True, eq=False)
class ReduceMin(Reduce):
    """Smallest value over the axes."""

    op: ClassVar[str] = "ReduceMin"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        return (arrays[0].min(axis=self.axes, keepdims=self.keepdims),)


@dataclass(frozen=True, eq=False)
class ReduceL2(Reduce):
    """Square root of the sum of squares over the axes."""

    op: ClassVar[str] = "ReduceL2"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32 norms."""
        return (np.sqrt(np.square(arrays[0]).sum(axis=self.axes, keepdims=self.keepdims)),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A square and an addition per input element, a root per output."""
        return 2 * inputs[0].elements + outputs[0].elements


@dataclass(frozen=True, eq=False)
class ReduceL1(Reduce):
    """Sum of the magnitudes over the axes."""

    op: ClassVar[str] = "ReduceL1"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Sums in the input's dtype; float32 ones in `ordered_sum`'s order."""
        return _summed(self, np.abs(arrays[0]))

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A magnitude and an addition per input element."""
        return 2 * inputs[0].elements + outputs[0].elements


@dataclass(frozen=True, eq=False)
class ReduceSumSquare(Reduce):
    """Sum of the squares over the axes."""

    op: ClassVar[str] = "ReduceSumSquare"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Sums in the input's dtype; float32 ones in `ordered_sum`'s order."""
        return _summed(self, np.square(arrays[0]))

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A square and an addition per input element."""
        return 2 * inputs[0].elements + outputs[0].elements


@dataclass(frozen=True, eq=False)
class ReduceProd(Reduce):
    """Product over the axes."""

    op: ClassVar[str] = "ReduceProd"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the input's dtype."""
        x = arrays[0]
        return (x.prod(axis=self.axes, keepdims=self.keepdims, dtype=x.dtype),)


@dataclass(frozen=True, eq=False)
class ReduceLogSum(Reduce):
    """Logarithm of the sum over the axes."""

    op: ClassVar[str] = "ReduceLogSum"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The float sum, and its logarithm rounded once."""
        (total,) = _summed(self, arrays[0])
        with np.errstate(all="ignore"):
            return (np.log(total.astype(np.float64)).astype(total.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """An addition per input element, a logarithm per output."""
        return inputs[0].elements + 8 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class ReduceLogSumExp(Reduce):
    """Logarithm of the sum of the exponentials over the axes."""

    op: ClassVar[str] = "ReduceLogSumExp"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Computed in float64 around the largest element, rounded once."""
        x = arrays[0].astype(np.float64)
        with np.errstate(all="ignore"):
            top = x.max(axis=self.axes, keepdims=True)
            top = np.where(np.isfinite(top), top, 0.0)
            total = np.log(np.exp(x - top).sum(axis=self.axes, keepdims=True)) + top
        return ((total if self.keepdims else total.squeeze(self.axes)).astype(arrays[0].dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A comparison, a subtraction, an exponential and an addition per input element, a logarithm per output."""
        return 7 * inputs[0].elements + 9 * outputs[0].elements


def _summed(layer: Reduce, x: Array) -> tuple[Array, ...]:
    return ReduceSum(layer.name, layer.inputs, layer.outputs, layer.axes, layer.keepdims).forward([x])
