"""One time step of a recurrent network behind its products: gates, activations and states, on the digital unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand


@dataclass(frozen=True, eq=False)
class RecurrentCell(Layer):
    """A chain of elementwise operators, `parts`, that is one operation of the digital unit.

    `reads` are the parts' own names of the layer's inputs and `makes` those of its outputs, in order; `types` are the types
    of everything that is computed, by the parts' names. `kind` is LSTM, GRU or RNN. The values, and the operations that
    the digital unit is charged for, are those of the parts, one after the other.
    """

    kind: str
    parts: tuple[Layer, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    types: Mapping[str, TensorType]

    op: ClassVar[str] = "RecurrentCell"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """As the parts infer it. Raises WorkloadError where an input has another type than the cell was made for."""
        for name, given in zip(self.reads, types):
            if isinstance(given, TensorType) and given != self.types[name]:
                raise self.error(f"input {name} is {given.dtype} {given.shape}, must be {self.types[name]}")
        return tuple(self.types[name] for name in self.makes)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Every part in turn; each rounds its own result once."""
        values = dict(zip(self.reads, arrays))
        for part in self.parts:
            values.update(zip(part.outputs, part.forward([values[name] for name in part.inputs])))
        return tuple(values[name] for name in self.makes)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """The sum of the parts' operations."""
        known = {**dict(zip(self.reads, inputs)), **self.types}
        return sum(
            part.digital_ops([known[name] for name in part.inputs], [known[name] for name in part.outputs])
            for part in self.parts
        )

    def named_parts(self) -> list[Layer]:
        """The parts as layers of a network: inputs and outputs by the network's names, all others begin with the cell's."""
        names = {**dict(zip(self.reads, self.inputs)), **dict(zip(self.makes, self.outputs))}
        return [
            replace(
                part,
                name=f"{self.name}/{part.name}",
                inputs=tuple(names.get(name, f"{self.name}/{name}") for name in part.inputs),
                outputs=tuple(names.get(name, f"{self.name}/{name}") for name in part.outputs),
            )
            for part in self.parts
        ]
