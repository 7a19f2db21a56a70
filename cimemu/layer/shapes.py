"""Per-image shapes: broadcasting beside a batch axis, and operands by kind (runtime tensor or constant)."""

from collections.abc import Sequence

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType

Operand = TensorType | Array


def runtime(layer: Layer, operand: Operand, what: str = "the input") -> TensorType:
    """The operand as a runtime tensor; a constant in its place is an error."""
    if isinstance(operand, TensorType):
        return operand
    raise layer.error(f"{what} is a constant, must be a runtime tensor: fold the node before the import")


def constant(layer: Layer, operand: Operand, what: str) -> Array:
    """The operand as a constant; a runtime tensor in its place is an error."""
    if isinstance(operand, TensorType):
        raise layer.error(f"{what} is computed at run time, must be a constant: freeze it before the export")
    return operand


def dtype_of(operand: Operand) -> str:
    """NumPy dtype name of a type or a constant."""
    return operand.dtype if isinstance(operand, TensorType) else operand.dtype.name


def rank_of(operand: Operand) -> int:
    """Axes of the whole tensor, batch included."""
    return len(operand.shape) + 1 if isinstance(operand, TensorType) else operand.ndim


def broadcast(layer: Layer, operands: Sequence[Operand]) -> tuple[int, ...]:
    """Per-image shape of operands broadcast together as ONNX does (aligned at the last axis).

    The batch axis of all runtime tensors must fall together, and a constant may not differ along it:
    anything else would mix images.
    """
    rank = max(rank_of(operand) for operand in operands)
    rows: list[tuple[int, ...]] = []
    for operand in operands:
        if isinstance(operand, TensorType):
            if len(operand.shape) + 1 != rank:
                raise layer.error(
                    f"per-image shape {operand.shape} against an operand of {rank} axes, the batch axes must "
                    "align: insert an Unsqueeze after the batch axis"
                )
            rows.append(operand.shape)
        else:
            whole = (1,) * (rank - operand.ndim) + operand.shape
            if whole[0] != 1:
                raise layer.error(f"a constant of shape {operand.shape} mixes the images, its first axis must be 1")
            rows.append(whole[1:])
    try:
        return np.broadcast_shapes(*rows)
    except ValueError:
        raise layer.error(f"shapes {rows} do not broadcast") from None


def normal_axis(layer: Layer, axis: int, rank: int) -> int:
    """A possibly negative axis as 0 .. rank-1."""
    if not -rank <= axis < rank:
        raise layer.error(f"axis = {axis}, must be in -{rank}..{rank - 1}")
    return axis % rank


def inner_axis(layer: Layer, axis: int, rank: int) -> int:
    """A possibly negative axis that must not be the batch axis."""
    normal = normal_axis(layer, axis, rank)
    if normal == 0:
        raise layer.error(f"axis = {axis} is the batch axis: images must stay apart")
    return normal
