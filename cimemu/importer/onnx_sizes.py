"""Sizes that an ONNX file leaves open, filled in by the user."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from cimemu.errors import WorkloadError
from cimemu.layer.base import Array


def given_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Inputs that are no stored constants."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def sized(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """`model` with the open sizes of its inputs as `shapes` [batch, ...] say, by input name ("": the only input).

    The model itself is changed. An open batch stays open. Raises WorkloadError for an unknown name, another number of axes,
    or a size that the file fixes otherwise.
    """
    inputs = {value.name: value for value in given_inputs(model)}
    for given, shape in shapes.items():
        name = given or next(iter(inputs), "")
        if name not in inputs or (not given and len(inputs) > 1):
            raise WorkloadError(
                f"input shape {given or ','.join(map(str, shape))}: the inputs are {', '.join(inputs)}, give NAME=1,3,224,224"
            )
        dims = inputs[name].type.tensor_type.shape.dim
        if len(dims) != len(shape):
            raise WorkloadError(
                f"input shape {name} = {list(shape)}: the file has {len(dims)} axes, the first the batch"
            )
        for axis, (dim, size) in enumerate(zip(dims, shape)):
            fixed = dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
            if fixed not in (None, size):
                raise WorkloadError(f"input shape {name} = {list(shape)}: the file fixes axis {axis} to {fixed}")
            if axis:
                dim.dim_value = size
    return model


def valued(model: onnx.ModelProto, values: Mapping[str, float]) -> dict[str, Array]:
    """Make constants of inputs that always hold one number, given by name: these, by name. The model itself is changed.

    An open number of images is 1. Raises WorkloadError for an unknown name, an open size, or a number that the type does not hold.
    """
    inputs = {value.name: value for value in given_inputs(model)}
    found = {}
    refuse_names(values, inputs)
    for name, number in values.items():
        tensor = inputs[name].type.tensor_type
        dims = tensor.shape.dim
        sizes = [int(dim.dim_value) if dim.dim_value > 0 else 1 if not axis else 0 for axis, dim in enumerate(dims)]
        found[name] = filled_with(name, sizes, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type), number)
        model.graph.initializer.append(numpy_helper.from_array(found[name], name))
        model.graph.input.remove(inputs[name])
    return found


def refuse_names(values: Mapping[str, float], inputs: Iterable[str]) -> None:
    """WorkloadError where `values` name what is no input, or leave no input for the images."""
    inputs = list(inputs)
    for name, number in values.items():
        if name not in inputs:
            raise WorkloadError(
                f"input value {name} = {number:g}: the file has no input {name}, it has {', '.join(inputs)}"
            )
    if len(values) >= len(inputs):
        given = ", ".join(f"{name} = {number:g}" for name, number in values.items())
        which = f"{inputs[0]} is the only input and" if len(inputs) == 1 else "all inputs have one, and one"
        raise WorkloadError(
            f"input value {given}: {which} takes the images; leave its value out, and give the images by --inputs FILE"
        )


def filled_with(name: str, shape: Sequence[int], dtype: Any, number: float) -> Array:
    """An array of one number. WorkloadError where a size is open (0) or the type does not hold the number."""
    if 0 in shape:
        raise WorkloadError(
            f"input value {name} = {number}: the file leaves a size of it open, give it with the input shape"
        )
    kind = np.dtype(dtype)
    if kind.kind not in "iufb" or not abs(number) < float("inf") or not _holds(kind, number):
        raise WorkloadError(f"input value {name} = {number}: the input is {kind.name}, give a number that it holds")
    return np.full(tuple(shape), number if kind.kind == "f" else int(number), kind)


def _holds(kind: np.dtype[Any], number: float) -> bool:
    """Whether a type has the number, or of floats one next to it. Bounds are compared as integers: floats round them."""
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.array(number).astype(kind)))
    low, high = (0, 1) if kind.kind == "b" else (int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    return number == int(number) and low <= int(number) <= high


def fixed_to_one(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Fix the open numbers of images to 1, where `shapes` says so for every input that has one; whether there is something to fix.

    What a file does with the images of a batch together is no matter then.
    """
    inputs = given_inputs(model)
    firsts = {v.name: v.type.tensor_type.shape.dim[0] for v in inputs if v.type.tensor_type.shape.dim}
    firsts = {name: dim for name, dim in firsts.items() if not dim.dim_value}
    given = {name or inputs[0].name: shape for name, shape in shapes.items()}
    if not firsts or any(name not in given or given[name][0] != 1 for name in firsts):
        return False
    for dim in firsts.values():
        dim.dim_value = 1
    return True
