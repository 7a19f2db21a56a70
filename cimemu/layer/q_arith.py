"""Elementwise integer layers with ONNX Runtime's arithmetic: QLinearAdd and QLinearMul.

Two 8-bit operands have 65,536 pairs of codes. Each layer computes the result of every pair once, by the very float32
operations of ONNX Runtime's kernel, and then looks pairs up.

ONNX Runtime's QLinearAdd has several forms, by processor (`cimemu.check.ort_form` finds which one a machine has):

- `fma`: x86-64 with AVX2 and FMA3, all processors since 2015 or so. **This one is cimemu's.**
- `sse2`: older x86-64. `fixed = z_y - (r_a * z_a + r_b * z_b)`, then `(fixed + a * r_a) + b * r_b`, every product
  and sum rounded.
- integer multipliers of 22 bits on ARM (NEON), and a plain loop elsewhere.

They differ near ties alone, by one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.float32 import Floats, fused_multiply_add, to_int32
from cimemu.layer.shapes import Operand, broadcast
from cimemu.layer.small import look_up_pairs


@dataclass(frozen=True)
class Scale:
    """Scale and zero point of a quantised tensor: real = scale * (q - zero_point)."""

    scale: np.float32
    zero_point: int


@dataclass(frozen=True, eq=False)
class QArithmetic(Layer):
    """Base: two quantised inputs, one quantised output of `dtype`, clamped to low .. high.

    The operands are tensors of one 8-bit type; one of them may be a constant.
    """

    a: Scale
    b: Scale
    y: Scale
    low: int
    high: int
    dtype: str

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The broadcast shape in `dtype`."""
        return (TensorType(broadcast(self, types), self.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Two multiplications, two additions, rounding and clamping an element."""
        return 6 * outputs[0].elements

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`."""
        a, b = (np.ascontiguousarray(array).view(np.uint8) for array in arrays)
        signed = arrays[0].dtype == np.int8
        table = self.table(signed, swapped=one_in_span(a.shape, b.shape))
        if a.shape != b.shape:
            return (table.reshape(256, 256)[a, b],)
        out = np.empty(a.shape, dtype=self.dtype)
        look_up_pairs(a.reshape(-1), b.reshape(-1), table, out.reshape(-1))
        return (out,)

    def table(self, signed: bool, swapped: bool) -> Array:
        """The results of all pairs of codes, [256 * a + b]; signed codes by their bits."""
        key = (signed, swapped)
        if key not in self._tables:
            codes = np.arange(256, dtype=np.uint8).view(np.int8 if signed else np.uint8).astype(np.int32)
            value = to_int32(self.values(codes[:, None], codes[None, :], swapped))
            self._tables[key] = np.clip(value, self.low, self.high).astype(self.dtype).reshape(-1)
        return self._tables[key]

    @cached_property
    def _tables(self) -> dict[tuple[bool, bool], Array]:
        return {}

    def values(self, a: NDArray[np.int32], b: NDArray[np.int32], swapped: bool) -> Floats:
        """The float32 value before it is rounded, of codes a and b; `swapped`: a is the one value of a span."""
        raise TypeError(f"{type(self).__name__} has no values")


@dataclass(frozen=True, eq=False)
class QAdd(QArithmetic):
    """`rint(fma(a, r_a, fma(b, r_b, fixed)))`, `fixed = z_y - fma(r_a, z_a, r_b * z_b)`, r = s / s_y, in float32.

    A fused multiply-add rounds once; every other operation rounds too. Where a is one value for a whole span of b, a
    and b change places: the sum of the same reals then rounds otherwise.
    """

    op: ClassVar[str] = "QLinearAdd"

    def values(self, a: NDArray[np.int32], b: NDArray[np.int32], swapped: bool) -> Floats:
        """ONNX Runtime's `fma` form."""
        if swapped:
            return add_values_fma(b, a, self.b, self.a, self.y)
        return add_values_fma(a, b, self.a, self.b, self.y)


def add_values_fma(a: NDArray[np.int32], b: NDArray[np.int32], s_a: Scale, s_b: Scale, s_y: Scale) -> Floats:
    """QLinearAdd before it is rounded, on x86-64 with FMA3."""
    with np.errstate(all="ignore"):
        ratio_a, ratio_b = s_a.scale / s_y.scale, s_b.scale / s_y.scale
        taken = fused_multiply_add(ratio_a, s_a.zero_point, ratio_b * np.float32(s_b.zero_point))
        fixed = np.float32(s_y.zero_point) - taken
    return fused_multiply_add(a, ratio_a, fused_multiply_add(b, ratio_b, fixed))


def add_values_sse2(a: NDArray[np.int32], b: NDArray[np.int32], s_a: Scale, s_b: Scale, s_y: Scale) -> Floats:
    """QLinearAdd before it is rounded, on x86-64 without FMA3: the form that `cimemu check` tells from ours."""
    with np.errstate(all="ignore"):
        ratio_a, ratio_b = s_a.scale / s_y.scale, s_b.scale / s_y.scale
        taken = ratio_a * np.float32(s_a.zero_point) + ratio_b * np.float32(s_b.zero_point)
        fixed = np.float32(s_y.zero_point) - taken
        return np.asarray((fixed + a.astype(np.float32) * ratio_a) + b.astype(np.float32) * ratio_b)


@dataclass(frozen=True, eq=False)
class QMul(QArithmetic):
    """`rint((a - z_a) * (b - z_b) * (s_a * s_b / s_y) + z_y)` in float32: the zero point is added before the rounding."""

    op: ClassVar[str] = "QLinearMul"

    def values(self, a: NDArray[np.int32], b: NDArray[np.int32], swapped: bool) -> Floats:
        """The same for both orders of the operands."""
        with np.errstate(all="ignore"):
            multiplier = self.a.scale * self.b.scale / self.y.scale
            product = ((a - self.a.zero_point) * (b - self.b.zero_point)).astype(np.float32)
            return np.asarray(product * multiplier + np.float32(self.y.zero_point))


def one_in_span(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether ONNX Runtime's broadcasting sees `a` as one value beside a span of `b`.

    A span runs over the last axes; axes that are 1 in both do not count. Nor does the batch axis: an image's result
    must not depend on how many images there are (a tensor of one element an image is never "one value" here).
    """
    rank = max(len(a), len(b))
    pairs = list(zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b))[1:]
    last = next((pair for pair in reversed(pairs) if pair != (1, 1)), (1, 1))
    return last[0] == 1 and last[1] != 1
