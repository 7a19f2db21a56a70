"""The inverse square root of an integer in TensorFlow Lite's fixed point, and L2_NORMALIZATION, which uses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.rounding import MAX32, MIN32, doubling_high_multiply, gemmlowp_double, rounding_shift
from cimemu.layer.shapes import Operand, runtime

Ints = NDArray[np.int64]
HALF_ROOT_OF_TWO = 1518500250  # sqrt(1/2) with 31 bits behind the point
OUTPUT_BITS = 7  # results are steps of 1/128


def inverse_root(value: Ints) -> tuple[Ints, Ints]:
    """(q31, shift) of 1 / sqrt(value) of integers >= 0: five Newton-Raphson steps with 28 bits behind the point."""
    value, small = np.asarray(value, dtype=np.int64), np.asarray(value) <= 1
    shift = np.full(value.shape, 11, dtype=np.int64)
    while (large := value >= 1 << 29).any():
        value, shift = np.where(large, value // 4, value), shift + large
    bits = np.frexp(np.maximum(value, 1).astype(np.float64))[1].astype(np.int64)
    pairs = (31 - bits) // 2 - 1
    shift = shift - pairs
    source = (np.maximum(value, 1) << (2 * pairs)) >> 1
    half = rounding_shift(source, 1)
    x = np.full(value.shape, 1 << 28, dtype=np.int64)
    for _ in range(5):
        # A product of three numbers with 28 bits behind the point has 22 of them: it is brought back.
        cube = _left(doubling_high_multiply(doubling_high_multiply(x, x), x), 6)
        x = _left(doubling_high_multiply((1 << 28) + (1 << 27), x) - doubling_high_multiply(half, cube), 3)
    q31 = doubling_high_multiply(x, HALF_ROOT_OF_TWO) << np.maximum(-shift, 0)
    return np.where(small, MAX32, q31), np.where(small, 0, -np.maximum(shift, 0))


def _left(x: Ints, bits: int) -> Ints:
    """A saturating shift to the left."""
    return np.asarray(np.clip(x << bits, MIN32, MAX32))


@dataclass(frozen=True, eq=False)
class TflL2Normalization(Layer):
    """`L2_NORMALIZATION`: every vector along the last axis divided by its length, in steps of 1/128."""

    zero_point: int
    output_zero_point: int
    dtype: str

    op: ClassVar[str] = "L2_NORMALIZATION"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape in `dtype`."""
        return (TensorType(runtime(self, types[0]).shape, self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        x = arrays[0].astype(np.int64) - self.zero_point
        squares = np.square(x).sum(axis=-1)
        q31, shift = (one[..., None] for one in inverse_root(squares))
        if self.dtype == "uint8":  # steps of 1/128 are made before the product, not behind it
            scaled = gemmlowp_double(x << OUTPUT_BITS, q31, shift)
        else:
            scaled = gemmlowp_double(x, q31, shift + OUTPUT_BITS)
        scaled = scaled + self.output_zero_point
        limits = np.iinfo(self.dtype)
        return (np.clip(scaled, limits.min, limits.max).astype(self.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A square, a sum, two multiplications with shifts and a clamp an element; some fifty operations a vector."""
        last = max(1, outputs[0].shape[-1] if outputs[0].shape else 1)
        return 6 * outputs[0].elements + 50 * (outputs[0].elements // last)
