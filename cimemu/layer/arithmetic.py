"""Elementwise arithmetic and comparison, with broadcasting against tensors and constants."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, broadcast, dtype_of


@dataclass(frozen=True, eq=False)
class Elementwise(Layer):
    """Base: a NumPy function over broadcast operands of one dtype; `ops_per_element` is its digital cost."""

    function: ClassVar[Any] = None
    ops_per_element: ClassVar[int] = 1
    result: ClassVar[str] = ""

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The broadcast shape in the operands' dtype (or `result`)."""
        names = {dtype_of(operand) for operand in types}
        if len(names) > 1:
            raise self.error(f"operands of {' and '.join(sorted(names))}, must be of one type: insert a Cast")
        return (TensorType(broadcast(self, types), self.result or names.pop()),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The function's own IEEE result; a list of operands is folded from the left."""
        function = type(self).function
        with np.errstate(all="ignore"):  # infinities and what is no number are results
            out = arrays[0] if function.nin > 1 else function(arrays[0])
            for other in arrays[1:]:
                out = function(out, other)
        return (out,)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """`ops_per_element` per output element and pair of operands."""
        return max(1, self.ops_per_element * outputs[0].elements * max(1, len(inputs) - 1))


def _divide(a: Array, b: Array) -> Array:
    """ONNX division: of integers it truncates towards zero."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    quotient = np.floor_divide(np.abs(a), np.abs(b))
    return np.where((a < 0) != (b < 0), -quotient, quotient).astype(a.dtype)


class _Divide:
    """`_divide` in the dress of a NumPy function."""

    nin = 2

    def __call__(self, a: Array, b: Array) -> Array:
        return _divide(a, b)


@dataclass(frozen=True, eq=False)
class Add(Elementwise):
    """a + b."""

    op: ClassVar[str] = "Add"
    function: ClassVar[Any] = np.add


@dataclass(frozen=True, eq=False)
class Sub(Elementwise):
    """a - b."""

    op: ClassVar[str] = "Sub"
    function: ClassVar[Any] = np.subtract


@dataclass(frozen=True, eq=False)
class Mul(Elementwise):
    """a * b."""

    op: ClassVar[str] = "Mul"
    function: ClassVar[Any] = np.multiply


@dataclass(frozen=True, eq=False)
class Div(Elementwise):
    """a / b; integers truncate towards zero."""

    op: ClassVar[str] = "Div"
    function: ClassVar[Any] = _Divide()
    ops_per_element: ClassVar[int] = 4


@dataclass(frozen=True, eq=False)
class Pow(Elementwise):
    """a to the power b."""

    op: ClassVar[str] = "Pow"
    function: ClassVar[Any] = np.power
    ops_per_element: ClassVar[int] = 4

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The broadcast shape in the base's dtype; the exponent may be of another."""
        return (TensorType(broadcast(self, types), dtype_of(types[0])),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """In the base's dtype; squares and roots as the exact operations."""
        base, exponent = arrays
        if exponent.size == 1 and base.dtype.kind == "f" and float(exponent.reshape(-1)[0]) in (2.0, 0.5):
            shape = np.broadcast_shapes(base.shape, exponent.shape)
            square = float(exponent.reshape(-1)[0]) == 2.0
            return ((np.square(base) if square else np.sqrt(base)).reshape(shape),)
        with np.errstate(all="ignore"):  # what is no number is a result
            return (np.power(base, exponent.astype(base.dtype)),)


@dataclass(frozen=True, eq=False)
class Min(Elementwise):
    """The smallest of any number of operands."""

    op: ClassVar[str] = "Min"
    function: ClassVar[Any] = np.minimum


@dataclass(frozen=True, eq=False)
class Max(Elementwise):
    """The largest of any number of operands."""

    op: ClassVar[str] = "Max"
    function: ClassVar[Any] = np.maximum


@dataclass(frozen=True, eq=False)
class Sum(Elementwise):
    """The sum of any number of operands, from the left."""

    op: ClassVar[str] = "Sum"
    function: ClassVar[Any] = np.add


@dataclass(frozen=True, eq=False)
class Neg(Elementwise):
    """-a."""

    op: ClassVar[str] = "Neg"
    function: ClassVar[Any] = np.negative


@dataclass(frozen=True, eq=False)
class Abs(Elementwise):
    """|a|."""

    op: ClassVar[str] = "Abs"
    function: ClassVar[Any] = np.absolute


@dataclass(frozen=True, eq=False)
class Sqrt(Elementwise):
    """Square root."""

    op: ClassVar[str] = "Sqrt"
    function: ClassVar[Any] = np.sqrt
    ops_per_element: ClassVar[int] = 4


@dataclass(frozen=True, eq=False)
class Reciprocal(Elementwise):
    """1 / a."""

    op: ClassVar[str] = "Reciprocal"
    function: ClassVar[Any] = np.reciprocal
    ops_per_element: ClassVar[int] = 4


@dataclass(frozen=True, eq=False)
class Floor(Elementwise):
    """Rounded down."""

    op: ClassVar[str] = "Floor"
    function: ClassVar[Any] = np.floor


@dataclass(frozen=True, eq=False)
class Ceil(Elementwise):
    """Rounded up."""

    op: ClassVar[str] = "Ceil"
    function: ClassVar[Any] = np.ceil


@dataclass(frozen=True, eq=False)
class Round(Elementwise):
    """Rounded to the nearest whole number, ties to even."""

    op: ClassVar[str] = "Round"
    function: ClassVar[Any] = np.rint


@dataclass(frozen=True, eq=False)
class Equal(Elementwise):
    """a == b."""

    op: ClassVar[str] = "Equal"
    function: ClassVar[Any] = np.equal
    result: ClassVar[str] = "bool"


@dataclass(frozen=True, eq=False)
class Less(Elementwise):
    """a < b."""

    op: ClassVar[str] = "Less"
    function: ClassVar[Any] = np.less
    result: ClassVar[str] = "bool"


@dataclass(frozen=True, eq=False)
class Greater(Elementwise):
    """a > b."""

    op: ClassVar[str] = "Greater"
    function: ClassVar[Any] = np.greater
    result: ClassVar[str] = "bool"


@dataclass(frozen=True, eq=False)
class Not(Elementwise):
    """Logical not."""

    op: ClassVar[str] = "Not"
    function: ClassVar[Any] = np.logical_not
    result: ClassVar[str] = "bool"


@dataclass(frozen=True, eq=False)
class And(Elementwise):
    """Logical and."""

    op: ClassVar[str] = "And"
    function: ClassVar[Any] = np.logical_and
    result: ClassVar[str] = "bool"


@dataclass(frozen=True, eq=False)
class Or(Elementwise):
    """Logical or."""

    op: ClassVar[str] = "Or"
    function: ClassVar[Any] = np.logical_or
    result: ClassVar[str] = "bool"


@dataclass(frozen=True, eq=False)
class Where(Layer):
    """Elements of the second input where the first is true, of the third elsewhere."""

    op: ClassVar[str] = "Where"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The broadcast shape in the values' dtype."""
        if dtype_of(types[0]) != "bool" or dtype_of(types[1]) != dtype_of(types[2]):
            raise self.error(
                f"types {', '.join(map(dtype_of, types))}, must be bool and two of one type: insert a Cast"
            )
        return (TensorType(broadcast(self, types), dtype_of(types[1])),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        return (np.where(*arrays),)
