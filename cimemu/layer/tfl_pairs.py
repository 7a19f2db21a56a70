"""TensorFlow Lite's operators of two quantised tensors: their results for all pairs of 8-bit codes, looked up.

Every operator is that of LiteRT's reference kernels. 16-bit codes, which have too many pairs, are computed one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.rounding import gemmlowp_double
from cimemu.layer.shapes import Operand, broadcast
from cimemu.layer.small import look_up_pairs

Ints = NDArray[np.int64]
Multiplier = tuple[int, int]  # (q31, shift)


@dataclass(frozen=True, eq=False)
class TflPair(Layer):
    """Base: two tensors of one type with zero points, broadcast; the result is limited to low .. high."""

    zero_a: int
    zero_b: int
    zero_y: int
    low: int
    high: int
    dtype: str

    ops_per_element: ClassVar[int] = 1

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The broadcast shape in `dtype`."""
        return (TensorType(broadcast(self, types), self.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """`ops_per_element` an element."""
        return max(1, self.ops_per_element * outputs[0].elements)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        a, b = arrays
        if a.dtype.itemsize != 1:
            return (self._of(a.astype(np.int64), b.astype(np.int64)),)
        a, b = (np.ascontiguousarray(array).view(np.uint8) for array in (a, b))
        if a.shape != b.shape:
            return (self._pairs.reshape(256, 256)[a, b],)
        out = np.empty(a.shape, dtype=self.dtype)
        look_up_pairs(a.reshape(-1), b.reshape(-1), self._pairs, out.reshape(-1))
        return (out,)

    @cached_property
    def _pairs(self) -> Array:
        """The results of all pairs of codes, [256 * a + b]; signed codes by their bits."""
        codes = np.arange(256, dtype=np.uint8).view(self.dtype).astype(np.int64)
        return np.ascontiguousarray(self._of(codes[:, None], codes[None, :])).reshape(-1)

    def _of(self, a: Ints, b: Ints) -> Array:
        steps = self.steps(a - self.zero_a, b - self.zero_b)
        return np.clip(steps + self.zero_y, self.low, self.high).astype(self.dtype)

    def steps(self, a: Ints, b: Ints) -> Ints:
        """The result in steps of the output, of operands without their zero points."""
        raise TypeError(f"{type(self).__name__} has no rule")


@dataclass(frozen=True, eq=False)
class TflMul(TflPair):
    """`MUL`: the product of the codes times one multiplier."""

    scale: Multiplier = (0, 0)

    op: ClassVar[str] = "MUL"
    ops_per_element: ClassVar[int] = 6

    def steps(self, a: Ints, b: Ints) -> Ints:
        """Rounded twice."""
        return gemmlowp_double(a * b, *self.scale)


@dataclass(frozen=True, eq=False)
class TflSum(TflPair):
    """Base of `ADD`, `SUB`, `SQUARED_DIFFERENCE`: both shifted left, brought to twice the larger scale, then joined."""

    scale_a: Multiplier = (0, 0)
    scale_b: Multiplier = (0, 0)
    scale_y: Multiplier = (0, 0)
    left_shift: int = 20

    ops_per_element: ClassVar[int] = 8

    def steps(self, a: Ints, b: Ints) -> Ints:
        """The three products are rounded twice each."""
        first = gemmlowp_double(a << self.left_shift, *self.scale_a)
        second = gemmlowp_double(b << self.left_shift, *self.scale_b)
        return gemmlowp_double(self.joined(first, second), *self.scale_y)

    def joined(self, a: Ints, b: Ints) -> Ints:
        """Of the scaled operands."""
        raise TypeError(f"{type(self).__name__} joins nothing")


@dataclass(frozen=True, eq=False)
class TflAdd(TflSum):
    """`ADD`."""

    op: ClassVar[str] = "ADD"

    def joined(self, a: Ints, b: Ints) -> Ints:
        """a + b."""
        return a + b


@dataclass(frozen=True, eq=False)
class TflSub(TflSum):
    """`SUB`."""

    op: ClassVar[str] = "SUB"

    def joined(self, a: Ints, b: Ints) -> Ints:
        """a - b."""
        return a - b


@dataclass(frozen=True, eq=False)
class TflSquaredDifference(TflSum):
    """`SQUARED_DIFFERENCE`."""

    op: ClassVar[str] = "SQUARED_DIFFERENCE"
    ops_per_element: ClassVar[int] = 9

    def joined(self, a: Ints, b: Ints) -> Ints:
        """(a - b)^2."""
        return np.asarray(np.square(a - b))


@dataclass(frozen=True, eq=False)
class TflPrelu(TflPair):
    """`PRELU`: codes at or above zero times one multiplier, those below times the slope's code and another."""

    up: Multiplier = (0, 0)
    down: Multiplier = (0, 0)

    op: ClassVar[str] = "PRELU"
    ops_per_element: ClassVar[int] = 7

    def steps(self, a: Ints, b: Ints) -> Ints:
        """Rounded twice."""
        return np.where(a >= 0, gemmlowp_double(a, *self.up), gemmlowp_double(a * b, *self.down))


@dataclass(frozen=True, eq=False)
class TflMaximum(TflPair):
    """`MAXIMUM` of codes of one scale."""

    op: ClassVar[str] = "MAXIMUM"

    def steps(self, a: Ints, b: Ints) -> Ints:
        """Exact."""
        return np.asarray(np.maximum(a, b))


@dataclass(frozen=True, eq=False)
class TflMinimum(TflPair):
    """`MINIMUM` of codes of one scale."""

    op: ClassVar[str] = "MINIMUM"

    def steps(self, a: Ints, b: Ints) -> Ints:
        """Exact."""
        return np.asarray(np.minimum(a, b))
