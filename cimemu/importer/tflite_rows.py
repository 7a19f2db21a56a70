"""What the builders of integer TensorFlow Lite operators share: options, constants, checks of tensors, codes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cimemu.importer.tflite_checks import check_activation, check_alike
from cimemu.importer.tflite_file import TflOperator, TflTensor
from cimemu.layer.base import Layer
from cimemu.layer.q_arith import Scale
from cimemu.layer.q_table import Codes
from cimemu.layer.tfl_whole import Shape

Tensors = Sequence[TflTensor | None]
Row = Callable[[TflOperator, Tensors, Sequence[TflTensor]], Sequence[Layer]]


def option(op: TflOperator, name: str, default: Any) -> Any:
    """A field of the operator's options; `default` where the file leaves all of them out, or the operator has no such."""
    return getattr(op.options, name)() if hasattr(op.options, name) else default


def given(op: TflOperator, inputs: Tensors, number: int) -> TflTensor:
    """Input `number`. WorkloadError where it is left out."""
    tensor = inputs[number] if number < len(inputs) else None
    if tensor is None:
        raise op.error(f"input {number} is left out, it must be given: convert it again")
    return tensor


def integers(op: TflOperator, inputs: Tensors, number: int, what: str) -> np.ndarray:
    """The constant integers of input `number`. WorkloadError where they are computed."""
    tensor = given(op, inputs, number)
    if tensor.value is None:
        raise op.error(f"{what} {tensor.name} is computed, must be a constant: fix the shapes in the conversion")
    if tensor.value.dtype.kind not in "iu":
        raise op.error(f"{what} {tensor.name} is {tensor.dtype}, must be integers: convert it again")
    return tensor.value.astype(np.int64)


def codes(tensor: TflTensor, low: int | None = None, high: int | None = None) -> Codes:
    """How a checked tensor's codes stand for reals."""
    kind = np.iinfo(tensor.dtype)
    scale = Scale(np.float32(tensor.scale[0]), int(tensor.zero_point[0]))
    return Codes(scale, int(kind.min) if low is None else low, int(kind.max) if high is None else high, tensor.dtype)


def parameters(tensor: TflTensor) -> tuple[float, int]:
    """(scale, zero point) of a checked tensor, to compare."""
    return float(tensor.scale[0]), int(tensor.zero_point[0])


def shapes(inputs: Tensors) -> tuple[Shape, ...]:
    """Of the inputs that are there."""
    return tuple(tensor.shape for tensor in inputs if tensor is not None)


def same_type(op: TflOperator, tensors: Sequence[TflTensor | None], *, wide: bool = False) -> None:
    """WorkloadError where the tensors are not all of one 8-bit type (or, where `wide`, int16) with a usable scale."""
    for tensor in tensors:
        check_activation(op, tensor, wide=wide)
    check_alike(op, tensors)


def one(op: TflOperator, targets: Sequence[TflTensor]) -> TflTensor:
    """The only output. WorkloadError where there are more."""
    if len(targets) != 1:
        raise op.error(f"has {len(targets)} outputs, must have one: convert it again")
    return targets[0]


def row(build: Callable[[TflOperator, Tensors, TflTensor], Layer], *, wide: bool = False) -> Row:
    """An operator of one output whose first input and output are of one 8-bit type (or int16), as one layer."""

    def made(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
        target = one(op, targets)
        same_type(op, (given(op, inputs, 0), target), wide=wide)
        return [build(op, inputs, target)]

    return made
