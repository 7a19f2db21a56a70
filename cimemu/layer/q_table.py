"""Functions of one quantised element as a 256-entry table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.activation import Activation
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.float32 import quantized
from cimemu.layer.q_arith import Scale
from cimemu.layer.shapes import Operand, runtime


@dataclass(frozen=True)
class Codes:
    """How real values are codes: their scale and zero point, the smallest and the largest one, and what holds them."""

    scale: Scale
    low: int
    high: int
    dtype: str


@dataclass(frozen=True, eq=False)
class QTable(Layer):
    """`y = table[q - lowest]`; `table` holds every value that the float function between DQ and Q gives."""

    table: Array
    lowest: int
    function: str

    op: ClassVar[str] = "QTable"

    @classmethod
    def of(
        cls,
        layer: Activation,
        x: Codes,
        y: Codes,
        *,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
    ) -> "QTable":
        """The table of float `layer` from codes `x` to codes `y`: every input value is tried once."""
        limits = np.iinfo(x.dtype)
        every = np.arange(limits.min, limits.max + 1, dtype=np.int32)
        real = ((every - x.scale.zero_point).astype(np.float32) * x.scale.scale)[None]
        value = np.asarray(layer.tabulated(real), dtype=np.float32)[0]
        return cls(
            name=layer.name,
            inputs=inputs,
            outputs=outputs,
            table=quantized(value, y.scale.scale, y.scale.zero_point, y.low, y.high).astype(y.dtype),
            lowest=int(limits.min),
            function=layer.op,
        )

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape in the table's dtype."""
        return (TensorType(runtime(self, types[0]).shape, str(self.table.dtype)),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        return (self.table[arrays[0].astype(np.int32) - self.lowest],)
