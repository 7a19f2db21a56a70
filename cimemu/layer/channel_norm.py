"""Normalisation over channels, groups, neighbours and axes, in float; sums in float64, rounded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, constant, inner_axis, runtime


@dataclass(frozen=True, eq=False)
class GroupNormalization(Layer):
    """Mean 0 and variance 1 over each of `groups` groups of channels, then scale and bias.

    Inputs (x, scale, bias): x `[images, channels, ...]`, the constants `[channels]`, or `[groups]` as in operator set 18.
    """

    groups: int
    epsilon: float = 1e-5

    op: ClassVar[str] = "GroupNormalization"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        channels = x.shape[0] if x.shape else 0
        groups = self._groups(channels)
        if groups < 1 or channels < 1 or channels % groups:
            raise self.error(f"{channels} channels in {groups} groups, the groups must be of one size")
        for what, operand in zip(("scale", "bias"), types[1:]):
            values = constant(self, operand, f"the {what}")
            if values.shape not in ((channels,), (groups,)):
                raise self.error(f"{what} of shape {values.shape} for {channels} channels in {groups} groups")
        return (x,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the input's dtype."""
        x = arrays[0]
        channels = x.shape[1]
        groups = self._groups(channels)
        rows = x.reshape(len(x), groups, -1).astype(np.float64)
        rows -= rows.mean(axis=-1, keepdims=True)
        rows /= np.sqrt(np.square(rows).mean(axis=-1, keepdims=True) + self.epsilon)
        shape = (channels,) + (1,) * (x.ndim - 2)
        scale, bias = (np.repeat(p, channels // p.size).reshape(shape) for p in arrays[1:])
        return ((rows.reshape(x.shape) * scale + bias).astype(x.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Two reductions (sum; square and sum), subtract, divide, scale, bias: 8 an element."""
        return 8 * outputs[0].elements

    def _groups(self, channels: int) -> int:
        return self.groups


@dataclass(frozen=True, eq=False)
class InstanceNormalization(GroupNormalization):
    """Every channel normalised by itself; `groups` is 0, which stands for as many as there are channels."""

    groups: int = 0

    op: ClassVar[str] = "InstanceNormalization"

    def _groups(self, channels: int) -> int:
        return channels


@dataclass(frozen=True, eq=False)
class RMSNormalization(Layer):
    """x over the root of its mean square over the axes from `axis` on, times the scale; inputs (x, scale)."""

    axis: int = -1
    epsilon: float = 1e-5

    op: ClassVar[str] = "RMSNormalization"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        axis = inner_axis(self, self.axis, len(x.shape) + 1)
        scale = constant(self, types[1], "the scale")
        try:
            fits = np.broadcast_shapes(scale.shape, x.shape[axis - 1 :]) == x.shape[axis - 1 :]
        except ValueError:
            fits = False
        if not fits:
            raise self.error(f"scale of shape {scale.shape} does not fit axes {x.shape[axis - 1 :]}")
        return (x,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the input's dtype."""
        x = arrays[0].astype(np.float64)
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        x /= np.sqrt(np.square(x).mean(axis=axes, keepdims=True) + self.epsilon)
        return ((x * arrays[1]).astype(arrays[0].dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Square, sum, divide and scale: 5 an element."""
        return 5 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class MeanVarianceNormalization(Layer):
    """Mean 0 and variance 1 over `axes` (batch axis counted, never among them)."""

    axes: tuple[int, ...]

    op: ClassVar[str] = "MeanVarianceNormalization"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        for axis in self.axes:
            inner_axis(self, axis, len(x.shape) + 1)
        return (x,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the input's dtype; 1e-9 is added to the deviation, as ONNX has it."""
        x = arrays[0].astype(np.float64)
        x -= x.mean(axis=self.axes, keepdims=True)
        x /= np.sqrt(np.square(x).mean(axis=self.axes, keepdims=True)) + 1e-9
        return (x.astype(arrays[0].dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Two reductions (sum; square and sum), subtract, divide: 6 an element."""
        return 6 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class LRN(Layer):
    """x over (bias + alpha / size * sum of squares of the `size` nearest channels) to the power beta."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    op: ClassVar[str] = "LRN"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        if not x.shape or self.size < 1:
            raise self.error(f"size = {self.size} of an image of shape {x.shape}, must be >= 1 and have channels")
        return (x,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the input's dtype."""
        x = arrays[0].astype(np.float64)
        before = (self.size - 1) // 2
        sums = np.cumsum(np.pad(np.square(x), [(0, 0), (1, 0), *[(0, 0)] * (x.ndim - 2)]), axis=1)
        first = np.arange(x.shape[1]) - before
        near = sums[:, np.clip(first + self.size, 0, x.shape[1])] - sums[:, np.maximum(first, 0)]
        with np.errstate(all="ignore"):  # what is no number, of a negative bias, is a result
            return ((x / (self.bias + self.alpha / self.size * near) ** self.beta).astype(arrays[0].dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A square, `size` additions, a product and a sum, a power, a quotient."""
        return (self.size + 11) * outputs[0].elements


@dataclass(frozen=True, eq=False)
class LpNormalization(Layer):
    """x over its norm of order `p` (1 or 2) along `axis` (batch axis counted); 0 where the norm is 0."""

    axis: int = -1
    p: int = 2

    op: ClassVar[str] = "LpNormalization"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        x = runtime(self, types[0])
        inner_axis(self, self.axis, len(x.shape) + 1)
        if self.p not in (1, 2):
            raise self.error(f"p = {self.p}, must be 1 or 2")
        return (x,)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the input's dtype."""
        x = arrays[0].astype(np.float64)
        norm = np.linalg.norm(x, ord=self.p, axis=self.axis, keepdims=True)
        return ((x / np.where(norm == 0, 1.0, norm)).astype(arrays[0].dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A magnitude or square, an addition and a quotient: 6 an element."""
        return 6 * outputs[0].elements
