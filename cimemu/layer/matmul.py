"""Matrix products in float: MatMul and Gemm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, broadcast, constant, dtype_of, rank_of, runtime


@dataclass(frozen=True, eq=False)
class MatMul(Layer):
    """`a @ b` over the last two axes; either may be a constant (a weight matrix) or a runtime tensor.

    Products of one weight with equal `shares` that are not empty are one matrix in the cells of macros.
    """

    shares: str = ""

    op: ClassVar[str] = "MatMul"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The product's per-image shape, in the operands' dtype."""
        a, b = types
        dtype = np.result_type(dtype_of(a), dtype_of(b)).name
        for operand in types:
            least = 2 if isinstance(operand, TensorType) or rank_of(operand) > 1 else 99
            if rank_of(operand) < least:
                raise self.error(f"an operand of shape {operand.shape}, must have a batch axis and columns")
        if isinstance(b, TensorType) and len(b.shape) < 2:
            raise self.error(f"second operand of per-image shape {b.shape} would multiply across images")
        if a.shape[-1] != b.shape[-2]:
            raise self.error(f"shapes {tuple(a.shape)} and {tuple(b.shape)} have no common inner size")
        if isinstance(a, TensorType) and len(a.shape) == 1:  # [images, K] @ [K, N]
            if rank_of(b) != 2:
                raise self.error(f"[images, {a.shape[0]}] times {tuple(b.shape)} would mix the images")
            return (TensorType((b.shape[-1],), dtype),)
        stacks = [_stack(operand) for operand in types]
        front = broadcast(self, stacks)
        return (TensorType((*front, a.shape[-2], b.shape[-1]), dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32 product; one product per image, so that a batch changes no bit."""
        a, b = arrays
        if a.ndim == 2 and b.ndim == 2:
            return (_rows(a, b),)
        if b.ndim == 2:
            return (np.matmul(a, b),)
        # Two runtime tensors meet on the digital unit of quantised networks too: no BLAS, whose sum order
        # may depend on threads.
        columns = np.ascontiguousarray(b.swapaxes(-1, -2))
        return (np.einsum("...ij,...kj->...ik", a, columns),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A multiplication and an addition per MAC."""
        return 2 * outputs[0].elements * inputs[0].shape[-1]


@dataclass(frozen=True, eq=False)
class Gemm(Layer):
    """`alpha * a @ b + beta * c`; a `[images, K]`, b a constant `[K, N]` (`[N, K]` if trans_b)."""

    alpha: float = 1.0
    beta: float = 1.0
    trans_b: bool = False

    op: ClassVar[str] = "Gemm"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """`[N]`, in the operands' dtype."""
        a, b = runtime(self, types[0]), constant(self, types[1], "the matrix B")
        if len(a.shape) != 1 or b.ndim != 2:
            raise self.error(f"per-image input {a.shape} and B {b.shape}, must be [K] and two axes")
        k, n = b.shape[::-1] if self.trans_b else b.shape
        if a.shape[0] != k:
            raise self.error(f"{a.shape[0]} inputs, B {b.shape} takes {k}")
        if len(types) > 2:
            result = TensorType((n,), a.dtype)
            if broadcast(self, (result, types[2])) != (n,):
                raise self.error(f"C of shape {tuple(types[2].shape)} does not broadcast to [images, {n}]")
        return (TensorType((n,), np.result_type(a.dtype, dtype_of(b)).name),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32 `[images, N]`."""
        a, b = arrays[0], arrays[1].T if self.trans_b else arrays[1]
        out = _rows(a, b)
        if self.alpha != 1.0:
            out *= out.dtype.type(self.alpha)
        if len(arrays) > 2:
            out += arrays[2] if self.beta == 1.0 else out.dtype.type(self.beta) * arrays[2]
        return (out,)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A multiplication and an addition per MAC."""
        return 2 * outputs[0].elements * inputs[0].shape[-1]


def _stack(operand: Operand) -> Operand:
    """The axes in front of a matrix, as an operand to broadcast."""
    if isinstance(operand, TensorType):
        return TensorType(operand.shape[:-2], operand.dtype)
    return np.empty(operand.shape[:-2], np.bool_)


def _rows(a: Array, b: Array) -> Array:
    """`a @ b` one row at a time: BLAS picks its sum order by the number of rows, an image's bits must not."""
    made: Array = np.matmul(a[:, None, :], b)[:, 0, :]
    return made
