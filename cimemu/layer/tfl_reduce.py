"""TensorFlow Lite's reductions of integers: MEAN, SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, TensorType
from cimemu.layer.rounding import gemmlowp_double
from cimemu.layer.tfl_whole import Shape, Whole
from cimemu.layer.tfl_wide import scaled_wide


@dataclass(frozen=True, eq=False)
class Reduction(Whole):
    """Base: `axes` (of the file's shape) are reduced, and kept as 1 or dropped."""

    axes: tuple[int, ...]
    keepdims: bool

    def made(self) -> Sequence[Shape]:
        """The input's shape without (or with 1 at) the axes."""
        gone = {self.axis_of(axis) for axis in self.axes}
        sizes = [1 if axis in gone else size for axis, size in enumerate(self.shapes[0])]
        return [tuple(size for axis, size in enumerate(sizes) if self.keepdims or axis not in gone)]

    @property
    def behind(self) -> tuple[int, ...]:
        """The axes, each once, behind the images."""
        return tuple(sorted({self.axis_of(axis) + 1 for axis in self.axes}))

    @property
    def count(self) -> int:
        """How many elements become one."""
        return int(np.prod([self.shapes[0][axis - 1] for axis in self.behind], dtype=np.int64))

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """One operation per input element, five per output."""
        return inputs[0].elements + 5 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class TflSumOrMean(Reduction):
    """`SUM` and `MEAN`: an exact sum times one multiplier, in which a mean's count is contained."""

    zero_x: int
    zero_y: int
    scale: tuple[int, int]  # (q31, shift) of input scale / output scale
    mean: bool

    op: ClassVar[str] = "MEAN"

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Rounded twice."""
        q31, shift = self.scale
        if self.mean:
            # The count divides the 31 bits, shifted left by its own bits first, so that they stay 31.
            bits = min(self.count.bit_length() - 1, 32, 31 + shift)
            q31, shift = (q31 << bits) // self.count, shift - bits
        total = arrays[0].sum(axis=self.behind, dtype=np.int64, keepdims=self.keepdims) - self.zero_x * self.count
        limits = np.iinfo(arrays[0].dtype)
        return [np.clip(gemmlowp_double(total, q31, shift) + self.zero_y, limits.min, limits.max)]


@dataclass(frozen=True, eq=False)
class TflProduct(Reduction):
    """`REDUCE_PROD`: every product is scaled by itself, along the axes one element after the other, the last axis fastest."""

    zero_x: int
    zero_y: int
    scale: tuple[int, int]  # (q31, shift) of input scale / the count's root of output scale

    op: ClassVar[str] = "REDUCE_PROD"

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Each product has 15 bits of the multiplier and rounds half upwards."""
        x = np.moveaxis(arrays[0], self.behind, range(-len(self.behind), 0)).astype(np.int64) - self.zero_x
        rows = x.reshape(*x.shape[: x.ndim - len(self.behind)], self.count)
        q31, shift = np.array(self.scale, dtype=np.int64)
        total = rows[..., 0]
        for place in range(1, self.count + 1):  # the last factor of the scale has no element of its own
            factor = rows[..., place] if place < self.count else 1
            total = scaled_wide(total * factor, q31, shift).astype(np.int32).astype(np.int64)
        limits = np.iinfo(arrays[0].dtype)
        made = np.clip(total + self.zero_y, limits.min, limits.max)
        return [np.expand_dims(made, self.behind) if self.keepdims else made]

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A product and its scale an input element."""
        return 4 * inputs[0].elements + outputs[0].elements


@dataclass(frozen=True, eq=False)
class TflExtreme(Reduction):
    """`REDUCE_MAX` and `REDUCE_MIN`: codes keep their order. `REDUCE_ANY` and `REDUCE_ALL` are those of truth values."""

    largest: bool

    op: ClassVar[str] = "REDUCE_MAX"

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        choose = np.max if self.largest else np.min
        return [choose(arrays[0], axis=self.behind, keepdims=self.keepdims)]


@dataclass(frozen=True, eq=False)
class TflArgument(Reduction):
    """`ARG_MAX` and `ARG_MIN`: the place of the largest or smallest code, the first of equal ones."""

    largest: bool
    dtype: str

    op: ClassVar[str] = "ARG_MAX"

    def result(self, dtype: str) -> str:
        """`dtype`, whatever the input's."""
        return self.dtype

    def moved(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """Exact."""
        choose = np.argmax if self.largest else np.argmin
        return [choose(arrays[0], axis=self.behind[0], keepdims=self.keepdims)]
