"""What every layer of a network offers: names, output types, values, and the digital work it costs.

Runtime tensors are batch-first arrays `[images, *shape]`; `TensorType.shape` leaves the batch axis out.
Axis numbers in layers count the batch axis (axis 1 is the channel axis of an image).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError

Array = NDArray[Any]
GIVE = "give other inputs, or fewer steps"


@dataclass(frozen=True)
class TensorType:
    """Shape of one image's tensor (without the batch axis) and its NumPy dtype name."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """Elements of one image."""
        return prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits of one image's tensor."""
        return self.elements * np.dtype(self.dtype).itemsize * 8


@dataclass(frozen=True, eq=False)
class Layer:
    """One operator. `inputs` name runtime tensors or constants; a layer is frozen data with a few verbs."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    op: ClassVar[str] = ""
    on_macros: ClassVar[bool] = False

    def infer(self, types: Sequence["TensorType | Array"]) -> tuple[TensorType, ...]:
        """Output types from input types; a constant input is passed as its array. Raises WorkloadError."""
        raise TypeError(f"{type(self).__name__} does not infer types")

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Outputs `[images, *shape]` from inputs (constants as they are)."""
        raise TypeError(f"{type(self).__name__} does not run on the digital unit")

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Elementary lane operations of one image on the digital unit; never 0 (no operator is free).

        `inputs` are the types of all inputs in order; a constant is given with its whole shape.
        """
        return max(1, sum(t.elements for t in outputs))

    def table_bits(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Bits of a constant table that one image reads from off-chip memory (an embedding's rows); else 0."""
        return 0

    def error(self, message: str) -> WorkloadError:
        """A WorkloadError that names this layer and its operator; `message` says value, rule and remedy."""
        return WorkloadError(f"node '{self.name}' ({self.op}): {message}")

    def check_inside(self, what: str, numbers: Array, low: int, high: int, remedy: str = GIVE) -> None:
        """A WorkloadError where one of `numbers` is outside low .. high: it names the first that is."""
        outside = (numbers < low) | (numbers > high)
        if outside.any():
            raise self.error(f"{what} is {numbers[outside][0]}, must be {low} .. {high}: {remedy}")
