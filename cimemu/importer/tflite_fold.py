"""Operators of a TensorFlow Lite file whose inputs are constants, computed when the file is read.

A converted network with an open batch computes shapes at run time (SHAPE, STRIDED_SLICE, PACK in front of a RESHAPE),
one with float16 weights dequantises them, one with sparse weights expands them. None of this is work of the chip.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from cimemu.importer.tflite_file import TflFile, TflOperator, TflTensor
from cimemu.importer.tflite_moves import strided_cuts
from cimemu.importer.tflite_rows import option
from cimemu.importer.tflite_shapes import is_open, worked_out
from cimemu.layer.base import Array

MOST = 1 << 20  # elements of a folded tensor that is no weight
Fold = Callable[[TflOperator, Sequence[TflTensor]], Array]


def _value(tensor: TflTensor) -> Array:
    assert tensor.value is not None
    return tensor.value


def _strided_slice(op: TflOperator, inputs: Sequence[TflTensor]) -> Array:
    cuts, dropped = strided_cuts(op, inputs, inputs[0].shape)
    cut = _value(inputs[0])[tuple(slice(*one) for one in cuts)]
    return cut.reshape([size for axis, size in enumerate(cut.shape) if axis not in dropped])


def _pack(op: TflOperator, inputs: Sequence[TflTensor]) -> Array:
    return np.stack([_value(x) for x in inputs], axis=int(option(op, "Axis", 0)))


def _concatenation(op: TflOperator, inputs: Sequence[TflTensor]) -> Array:
    return np.concatenate([np.atleast_1d(_value(x)) for x in inputs], axis=int(option(op, "Axis", 0)))


def _gather(op: TflOperator, inputs: Sequence[TflTensor]) -> Array:
    return np.take(_value(inputs[0]), _value(inputs[1]), axis=int(option(op, "Axis", 0)))


def _product(op: TflOperator, inputs: Sequence[TflTensor]) -> Array:
    axes = tuple(int(axis) for axis in _value(inputs[1]).reshape(-1))
    return np.asarray(np.prod(_value(inputs[0]), axis=axes, keepdims=bool(option(op, "KeepDims", False))))


def _two(function: Callable[[Array, Array], Array]) -> Fold:
    return lambda op, inputs: np.asarray(function(_value(inputs[0]), _value(inputs[1])))


def _slice(op: TflOperator, inputs: Sequence[TflTensor]) -> Array:
    begin, size = (_value(x).reshape(-1).tolist() for x in inputs[1:3])
    return _value(inputs[0])[tuple(slice(b, None if s == -1 else b + s) for b, s in zip(begin, size))]


INTEGER_FOLDS: dict[str, Fold] = {
    "ADD": _two(np.add),
    "CAST": lambda op, inputs: _value(inputs[0]),
    "CONCATENATION": _concatenation,
    "EXPAND_DIMS": lambda op, inputs: _value(inputs[0]),
    "FLOOR_DIV": _two(np.floor_divide),
    "GATHER": _gather,
    "MAXIMUM": _two(np.maximum),
    "MINIMUM": _two(np.minimum),
    "MUL": _two(np.multiply),
    "PACK": _pack,
    "REDUCE_PROD": _product,
    "RESHAPE": lambda op, inputs: _value(inputs[0]),
    "SLICE": _slice,
    "SQUEEZE": lambda op, inputs: _value(inputs[0]),
    "STRIDED_SLICE": _strided_slice,
    "SUB": _two(np.subtract),
}


def folded(file: TflFile, resized: Collection[int] = ()) -> TflFile:
    """The file without operators of constants; their outputs are constants. WorkloadError as the operators raise.

    Shapes behind the tensors `resized`, and behind a shape that the file computes, are worked out anew.
    """
    tensors = list(file.tensors)
    operators: list[TflOperator] = []
    changed = set(resized)
    for op in file.operators:
        given = [tensors[i] for i in op.inputs if i >= 0]
        if changed.intersection(op.inputs) or (op.outputs and is_open(op, given, tensors[op.outputs[0]])):
            for number, shape in zip(op.outputs, worked_out(op, given)):
                if shape != tensors[number].shape:
                    tensors[number] = replace(tensors[number], shape=tuple(int(n) for n in shape))
                    changed.add(number)
        made = _folded(op, tensors) if len(op.outputs) == 1 and op.outputs[0] not in file.outputs else None
        if made is None:
            operators.append(op)
            continue
        target = tensors[op.outputs[0]]
        shape = made.shape if made.size != int(np.prod(target.shape, dtype=np.int64)) else target.shape
        tensors[op.outputs[0]] = replace(target, value=made.reshape(shape).astype(target.dtype), shape=shape)
    return replace(file, tensors=tuple(tensors), operators=tuple(operators))


def _folded(op: TflOperator, tensors: Sequence[TflTensor]) -> Array | None:
    """The output's value, or None where it is computed from the images."""
    inputs = [tensors[i] for i in op.inputs if i >= 0]
    if op.op == "SHAPE" and inputs:
        return np.array(inputs[0].shape, dtype=np.int64)
    if not inputs or any(tensor.value is None for tensor in inputs):
        return None
    value = _value(inputs[0])
    if op.op == "DENSIFY":
        return value
    if op.op == "DEQUANTIZE" and value.dtype.kind == "f":
        return value.astype(np.float32)
    if op.op == "DEQUANTIZE" and len(inputs[0].scale) == 1:
        centred = value.astype(np.int64) - int(inputs[0].zero_point[0])
        return np.asarray(centred.astype(np.float32) * inputs[0].scale[0])
    plain = all(_value(x).dtype.kind in "iub" and not len(x.scale) and _value(x).size <= MOST for x in inputs)
    return INTEGER_FOLDS[op.op](op, inputs) if plain and op.op in INTEGER_FOLDS else None
