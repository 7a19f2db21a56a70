"""MatMulInteger of two activations: an exact product of integers on the digital unit, with a zero point for either."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.blas import kind_for, product
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, broadcast, runtime

BYTES = ("int8", "uint8")


@dataclass(frozen=True, eq=False)
class IntegerMatMul(Layer):
    """`(a - a_zero) @ (b - b_zero)` in wrapping int32; inputs (a, b), and the zero points that are computed, one value an image.

    `zeros` are the zero points of a and b; None is one that is an input, in order.
    """

    zeros: tuple[int | None, int | None] = (None, None)

    op: ClassVar[str] = "IntegerMatMul"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """int32 of the product's shape."""
        a, b, *zeros = (runtime(self, operand) for operand in types)
        if (
            a.dtype not in BYTES
            or b.dtype not in BYTES
            or len(a.shape) < 2
            or len(b.shape) < 2
            or a.shape[-1] != b.shape[-2]
        ):
            raise self.error(
                f"{a.dtype} {list(a.shape)} times {b.dtype} {list(b.shape)}, must be two stacks of byte matrices"
            )
        if len(zeros) != self.zeros.count(None) or any(zero.shape for zero in zeros):
            raise self.error("a computed zero point must be one an image: take those of DynamicQuantizeLinear")
        front = broadcast(self, [TensorType(operand.shape[:-2], operand.dtype) for operand in (a, b)])
        return (TensorType((*front, a.shape[-2], b.shape[-1]), "int32"),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact: sums of products of 9 bits."""
        given = iter(arrays[2:])
        zeros = [next(given) if zero is None else np.array([zero]) for zero in self.zeros]
        kind = kind_for(arrays[0].shape[-1] << 16)  # a product is of two numbers of magnitude 255 at most
        centred: list[Array] = []
        for operand, zero in zip(arrays[:2], zeros):
            by_image = zero.astype(np.int16).reshape(-1, *(1,) * (operand.ndim - 1))
            centred.append((operand.astype(np.int16) - by_image).astype(kind))
        return (product(*centred).astype(np.int32),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A multiplication and an addition a MAC, and the zero points off either operand."""
        return 2 * outputs[0].elements * inputs[0].shape[-1] + inputs[0].elements + inputs[1].elements
