"""Elementwise comparison, logic, bits, remainders, signs and means, with broadcasting as in `arithmetic`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cimemu.layer.arithmetic import Elementwise
from cimemu.layer.base import Array, TensorType
from cimemu.layer.shapes import Operand, dtype_of


@dataclass(frozen=True, eq=False)
class GreaterOrEqual(Elementwise):
    """a >= b."""

    op: ClassVar[str] = "GreaterOrEqual"
    function: ClassVar[Any] = np.greater_equal
    result: ClassVar[str] = "bool"


@dataclass(frozen=True, eq=False)
class LessOrEqual(Elementwise):
    """a <= b."""

    op: ClassVar[str] = "LessOrEqual"
    function: ClassVar[Any] = np.less_equal
    result: ClassVar[str] = "bool"


@dataclass(frozen=True, eq=False)
class Xor(Elementwise):
    """Whether one of two is true."""

    op: ClassVar[str] = "Xor"
    function: ClassVar[Any] = np.logical_xor
    result: ClassVar[str] = "bool"


@dataclass(frozen=True, eq=False)
class IsNaN(Elementwise):
    """Whether an element is no number."""

    op: ClassVar[str] = "IsNaN"
    function: ClassVar[Any] = np.isnan
    result: ClassVar[str] = "bool"


@dataclass(frozen=True, eq=False)
class IsInf(Elementwise):
    """Whether an element is infinite, of the signs asked for."""

    negative: bool = True
    positive: bool = True

    op: ClassVar[str] = "IsInf"
    result: ClassVar[str] = "bool"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        x = arrays[0]
        wanted = np.where(x > 0, self.positive, self.negative)
        return (np.isinf(x) & wanted,)


@dataclass(frozen=True, eq=False)
class Sign(Elementwise):
    """-1, 0 or 1."""

    op: ClassVar[str] = "Sign"
    function: ClassVar[Any] = np.sign


@dataclass(frozen=True, eq=False)
class Mean(Elementwise):
    """The mean of any number of operands, added from the left."""

    op: ClassVar[str] = "Mean"
    function: ClassVar[Any] = np.add

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The sum, over the number of operands."""
        total = super().forward(arrays)[0]
        return (np.asarray(total / total.dtype.type(len(arrays))),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """An addition per operand but one, and a multiplication."""
        return outputs[0].elements * len(inputs)


@dataclass(frozen=True, eq=False)
class Mod(Elementwise):
    """Remainder of a / b: of the divisor's sign, or of the dividend's sign if `fmod`."""

    fmod: bool = False

    op: ClassVar[str] = "Mod"
    ops_per_element: ClassVar[int] = 4

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        with np.errstate(all="ignore"):
            return ((np.fmod if self.fmod else np.mod)(*arrays),)


@dataclass(frozen=True, eq=False)
class Bits(Elementwise):
    """Base of functions of the bits of integers."""

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The broadcast shape in the operands' integer dtype."""
        for operand in types:
            if np.dtype(dtype_of(operand)).kind not in "iu":
                raise self.error(f"an operand of {dtype_of(operand)}, must be an integer: insert a Cast")
        return super().infer(types)


@dataclass(frozen=True, eq=False)
class BitwiseAnd(Bits):
    """a and b, bit by bit."""

    op: ClassVar[str] = "BitwiseAnd"
    function: ClassVar[Any] = np.bitwise_and


@dataclass(frozen=True, eq=False)
class BitwiseOr(Bits):
    """a or b, bit by bit."""

    op: ClassVar[str] = "BitwiseOr"
    function: ClassVar[Any] = np.bitwise_or


@dataclass(frozen=True, eq=False)
class BitwiseXor(Bits):
    """a exclusive-or b, bit by bit."""

    op: ClassVar[str] = "BitwiseXor"
    function: ClassVar[Any] = np.bitwise_xor


@dataclass(frozen=True, eq=False)
class BitwiseNot(Bits):
    """Every bit turned."""

    op: ClassVar[str] = "BitwiseNot"
    function: ClassVar[Any] = np.bitwise_not


@dataclass(frozen=True, eq=False)
class BitShift(Bits):
    """a moved by b bits, to the left or (`right`) to the right; bits that leave are lost."""

    right: bool = False

    op: ClassVar[str] = "BitShift"

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact; a shift by all bits or more leaves 0, or -1 of a negative number to the right."""
        a, b = arrays
        width = a.dtype.itemsize * 8
        # Arithmetic, so that width - 1 places to the right leave of a signed number what any more would leave.
        moved = (np.right_shift if self.right else np.left_shift)(a, np.minimum(b, width - 1).astype(a.dtype))
        if self.right and a.dtype.kind == "i":
            return (moved,)
        return (np.where(b >= width, a.dtype.type(0), moved),)
