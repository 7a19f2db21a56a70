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


def _fully_connected(op: TflOperator, inputs: Sequence[TflTensor]) -> Array:
    x, w = _real(inputs[0]), _real(inputs[1])
    made = x.reshape(-1, w.shape[1]) @ w.T
    return np.asarray(made + _real(inputs[2]) if len(inputs) > 2 else made)


def _batch_matmul(op: TflOperator, inputs: Sequence[TflTensor]) -> Array:
    a, b = _real(inputs[0]), _real(inputs[1])
    a = a.swapaxes(-1, -2) if option(op, "AdjX", False) else a
    return np.asarray(np.matmul(a, b.swapaxes(-1, -2) if option(op, "AdjY", False) else b))


def _real(tensor: TflTensor) -> Array:
    """Floats of a constant; integers of one scale, or of one along the first axis, are dequantised."""
    value = _value(tensor)
    if value.dtype.kind == "f" or not len(tensor.scale):
        return value.astype(np.float32)
    shape = (-1, *(1,) * (value.ndim - 1))
    centred = value.astype(np.float32) - tensor.zero_point.reshape(shape).astype(np.float32)
    return np.asarray(centred * tensor.scale.reshape(shape))


INTEGER_FOLDS: dict[str, Fold] = {
    "ADD": _two(np.add),
    "CAST": lambda op, inputs: _value(inputs[0]),
    "CONCATENATION": _concatenation,
    "EQUAL": _two(np.equal),
    "EXPAND_DIMS": lambda op, inputs: _value(inputs[0]),
    "FLOOR_DIV": _two(np.floor_divide),
    "GATHER": _gather,
    "GREATER": _two(np.greater),
    "GREATER_EQUAL": _two(np.greater_equal),
    "LESS": _two(np.less),
    "LESS_EQUAL": _two(np.less_equal),
    "LOGICAL_AND": _two(np.logical_and),
    "LOGICAL_OR": _two(np.logical_or),
    "MAXIMUM": _two(np.maximum),
    "MINIMUM": _two(np.minimum),
    "MUL": _two(np.multiply),
    "NOT_EQUAL": _two(np.not_equal),
    "PACK": _pack,
    "REDUCE_PROD": _product,
    "RESHAPE": lambda op, inputs: _value(inputs[0]),
    "SLICE": _slice,
    "SQUEEZE": lambda op, inputs: _value(inputs[0]),
    "STRIDED_SLICE": _strided_slice,
    "SUB": _two(np.subtract),
}


# What the first turn of a loop computes from its initial states.
FLOAT_FOLDS: dict[str, Fold] = {
    **{
        name: INTEGER_FOLDS[name]
        for name in ("ADD", "CONCATENATION", "GATHER", "MUL", "RESHAPE", "SLICE", "STRIDED_SLICE", "SUB")
    },
    "BATCH_MATMUL": _batch_matmul,
    "FULLY_CONNECTED": _fully_connected,
}


def folded_in_loop(op: TflOperator, inputs: Sequence[TflTensor]) -> list[Array]:
    """The outputs' values of an operator of constants, floats among them; empty where it is computed from the images."""
    plain = inputs and all(x.value is not None and (x.value.dtype.kind == "f" or not len(x.scale)) for x in inputs[:1])
    if not plain or any(x.value is None for x in inputs) or option(op, "FusedActivationFunction", 0):
        return []
    if op.op == "SPLIT":
        return list(np.split(_value(inputs[1]), len(op.outputs), axis=int(_value(inputs[0]).reshape(-1)[0])))
    integer = all(_value(x).dtype.kind in "iub" for x in inputs)
    folds = INTEGER_FOLDS if integer else FLOAT_FOLDS
    if op.op not in folds:
        return []
    made = folds[op.op](op, inputs)
    shape = worked_out(op, inputs)[0] if op.op in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS") else made.shape
    return [made.reshape(shape)]


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
