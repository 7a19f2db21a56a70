"""Float TensorFlow Lite operators without weights: arithmetic, activations, moves and reductions.

A tensor of four axes that a convolution made stands channels first; operators keep it so where they can.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from cimemu.importer.tflite_file import TflOperator
from cimemu.importer.tflite_float import TO_CHANNELS_FIRST, FloatGraph, FloatRow
from cimemu.importer.tflite_moves import SHAPE_MOVES, strided_cuts
from cimemu.importer.tflite_rows import integers, option
from cimemu.layer.activation import Activation, Clip, Elu, Exp, HardSwish, LeakyRelu, PRelu, Relu, Sigmoid, Tanh
from cimemu.layer.arithmetic import (
    Abs,
    Add,
    Ceil,
    Div,
    Elementwise,
    Floor,
    Max,
    Min,
    Mul,
    Neg,
    Reciprocal,
    Sqrt,
    Sub,
)  # fmt: skip
from cimemu.layer.base import Layer
from cimemu.layer.reduce import Reduce, ReduceMax, ReduceMean, ReduceMin, ReduceSum
from cimemu.layer.shape import Concat, Pad, Reshape, Slice, Split, Transpose

FIRST_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}  # where an axis of [images, rows, columns, channels] is, channels first


def _operands(graph: FloatGraph, op: TflOperator) -> tuple[bool, tuple[str, ...]]:
    """(whether they stand channels first, their names) of operands that are broadcast; constants are turned likewise."""
    tensors = [graph.file.tensors[i] for i in op.inputs]
    computed = [i for i in op.inputs if graph.file.tensors[i].value is None]
    images = all(len(graph.file.tensors[i].shape) == 4 for i in computed) and any(i in graph.first for i in computed)
    names = []
    for number, tensor in zip(op.inputs, tensors):
        if tensor.value is None:
            names.append(graph.image(number) if images else graph.plain(number))
            continue
        value = graph.constant(op, tensor)
        if images:
            value = value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(TO_CHANNELS_FIRST)
        names.append(f"{graph.file.tensors[op.outputs[0]].name}:{tensor.name}")
        graph.constants[names[-1]] = np.ascontiguousarray(value)
    return images, tuple(names)


def _source(graph: FloatGraph, op: TflOperator, number: int = 0) -> tuple[bool, str]:
    """(whether it stands channels first, its name) of one operand. WorkloadError where images do not come first."""
    index = op.inputs[number]
    tensor = graph.file.tensors[index]
    if tensor.shape[:1] != (1,):
        raise op.error(f"tensor {tensor.name} has shape {list(tensor.shape)}, must be [1, ...]: convert it again")
    return (True, graph.image(index)) if index in graph.first else (False, graph.plain(index))


def _put(
    graph: FloatGraph, op: TflOperator, kind: type[Layer], names: Sequence[str], images: bool, **fields: Any
) -> None:
    """Add a layer of one output, and the activation that is fused into it."""
    name = graph.file.tensors[op.outputs[0]].name
    graph.activated(op, kind(name=name, inputs=tuple(names), outputs=(f"{name}:made",), **fields), images)


def _axes(op: TflOperator, graph: FloatGraph, axes: Sequence[int], rank: int, images: bool) -> list[int]:
    """Axes of the file as axes of the layer. WorkloadError for the images' own."""
    if not all(-rank <= axis < rank and axis % rank for axis in axes):
        raise op.error(f"axes {list(axes)} of {rank}, must be axes of the image: convert it again")
    return [FIRST_AXIS[axis % rank] if images else axis % rank for axis in axes]


def _arithmetic(kind: type[Elementwise], graph: FloatGraph, op: TflOperator) -> None:
    images, names = _operands(graph, op)
    _put(graph, op, kind, names, images)


def _prelu(graph: FloatGraph, op: TflOperator) -> None:
    images, names = _operands(graph, op)
    _put(graph, op, PRelu, names, images)


def _activation(kind: type[Activation], fields: dict[str, float], graph: FloatGraph, op: TflOperator) -> None:
    images, name = _source(graph, op)
    _put(graph, op, kind, [name], images, **fields)


def _leaky(graph: FloatGraph, op: TflOperator) -> None:
    images, name = _source(graph, op)
    _put(graph, op, LeakyRelu, [name], images, alpha=float(option(op, "Alpha", 0.0)))


def _inputs(graph: FloatGraph, op: TflOperator) -> list[Any]:
    return [None if i < 0 else graph.file.tensors[i] for i in op.inputs]


def _concatenation(graph: FloatGraph, op: TflOperator) -> None:
    images, names = _operands(graph, op)
    rank = len(graph.file.tensors[op.inputs[0]].shape)
    (axis,) = _axes(op, graph, [int(option(op, "Axis", 0))], rank, images)
    _put(graph, op, Concat, names, images, axis=axis)


def _pad(graph: FloatGraph, op: TflOperator) -> None:
    pads = [(int(a), int(b)) for a, b in integers(op, _inputs(graph, op), 1, "the padding").reshape(-1, 2)]
    value = 0.0
    if op.op == "PADV2":
        value = float(graph.constant(op, graph.file.tensors[op.inputs[2]]).reshape(-1)[0])
    images, name = _source(graph, op)
    if not pads or pads[0] != (0, 0):
        raise op.error(f"pads {pads[:1]} along the images, must be 0: convert it again")
    order = [pads[axis] for axis in TO_CHANNELS_FIRST] if images else pads
    _put(graph, op, Pad, [name], images, pads=tuple(order[1:]), value=value)


def _reduce(kind: type[Reduce], graph: FloatGraph, op: TflOperator) -> None:
    images, name = _source(graph, op)
    x, keep = graph.file.tensors[op.inputs[0]], bool(option(op, "KeepDims", False))
    given = integers(op, _inputs(graph, op), 1, "the axes").reshape(-1).tolist()
    axes = tuple(sorted(_axes(op, graph, given, len(x.shape), images)))
    if images and not keep and axes != (2, 3):
        images, name = False, graph.plain(op.inputs[0])
        axes = tuple(sorted(_axes(op, graph, given, len(x.shape), False)))
    _put(graph, op, kind, [name], images and keep, axes=axes, keepdims=keep)


def _transpose(graph: FloatGraph, op: TflOperator) -> None:
    perm = tuple(integers(op, _inputs(graph, op), 1, "the order").reshape(-1).tolist())
    _source(graph, op)
    _put(graph, op, Transpose, [graph.plain(op.inputs[0])], False, perm=perm)


def _reshape(graph: FloatGraph, op: TflOperator) -> None:
    target = graph.file.tensors[op.outputs[0]]
    if target.shape[:1] != (1,):
        raise op.error(f"to {list(target.shape)}, must be [1, ...]: convert it again")
    _source(graph, op)
    _put(graph, op, Reshape, [graph.plain(op.inputs[0])], False, shape=target.shape[1:])


def _slice(graph: FloatGraph, op: TflOperator) -> None:
    _source(graph, op)
    x, inputs, target = graph.file.tensors[op.inputs[0]], _inputs(graph, op), graph.file.tensors[op.outputs[0]]
    if op.op == "SLICE":
        begin, size = (integers(op, inputs, i, "the cut").reshape(-1).tolist() for i in (1, 2))
        cuts: Sequence[Any] = [(b, whole if s == -1 else b + s, 1) for b, s, whole in zip(begin, size, x.shape)]
    else:
        cuts, _ = strided_cuts(op, inputs, x.shape)
    if len(range(*slice(*cuts[0]).indices(1))) != 1 or target.shape[:1] != (1,):
        raise op.error(f"cuts {cuts[0]} of the images, must keep them: convert it again")
    whole = f"{target.name}:cut"
    axes = tuple(range(1, len(cuts)))
    columns = [tuple(column) for column in zip(*((s or 0 if t > 0 else s, e, t) for s, e, t in cuts[1:]))]
    starts, ends, steps = columns if columns else ((), (), ())
    source = graph.plain(op.inputs[0])
    graph.layers.append(
        Slice(name=whole, inputs=(source,), outputs=(whole,), axes=axes, starts=starts, ends=ends, steps=steps)
    )
    _put(graph, op, Reshape, [whole], False, shape=target.shape[1:])


def _two_steps(first: type[Layer], second: type[Layer], graph: FloatGraph, op: TflOperator) -> None:
    """An operator that is one layer of all operands and then one of the result: twice, if it takes two."""
    images, names = _operands(graph, op)
    name = graph.file.tensors[op.outputs[0]].name
    middle = f"{name}:middle"
    graph.layers.append(first(name=middle, inputs=names, outputs=(middle,)))
    _put(graph, op, second, [middle] * (2 if second is Mul else 1), images)


def _moved(graph: FloatGraph, op: TflOperator) -> None:
    graph.plain(op.inputs[0])
    graph.layers.append(SHAPE_MOVES[op.op](op, _inputs(graph, op), graph.file.tensors[op.outputs[0]]))


def _split(graph: FloatGraph, op: TflOperator) -> None:
    data, where = (1, 0) if op.op == "SPLIT" else (0, 2)
    _source(graph, op, data)
    x, inputs = graph.file.tensors[op.inputs[data]], _inputs(graph, op)
    given = int(integers(op, inputs, where, "the axis").reshape(-1)[0])
    (axis,) = _axes(op, graph, [given], len(x.shape), False)
    sizes = [x.shape[axis] // len(op.outputs)] * len(op.outputs)
    if op.op == "SPLIT_V":
        sizes = integers(op, inputs, 1, "the sizes").reshape(-1).tolist()
    names = tuple(graph.file.tensors[i].name for i in op.outputs)
    source = graph.plain(op.inputs[data])
    graph.layers.append(Split(name=names[0], inputs=(source,), outputs=names, axis=axis, sizes=tuple(sizes)))


FLOAT_DIGITAL_OPS: dict[str, FloatRow] = {
    **dict.fromkeys(SHAPE_MOVES, _moved),
    "ABS": partial(_arithmetic, Abs),
    "ADD": partial(_arithmetic, Add),
    "CEIL": partial(_arithmetic, Ceil),
    "CONCATENATION": _concatenation,
    "DIV": partial(_arithmetic, Div),
    "ELU": partial(_activation, Elu, {}),
    "EXP": partial(_activation, Exp, {}),
    "EXPAND_DIMS": _reshape,
    "FLOOR": partial(_arithmetic, Floor),
    "HARD_SWISH": partial(_activation, HardSwish, {}),
    "LEAKY_RELU": _leaky,
    "LOGISTIC": partial(_activation, Sigmoid, {}),
    "MAXIMUM": partial(_arithmetic, Max),
    "MEAN": partial(_reduce, ReduceMean),
    "MINIMUM": partial(_arithmetic, Min),
    "MUL": partial(_arithmetic, Mul),
    "NEG": partial(_arithmetic, Neg),
    "PAD": _pad,
    "PADV2": _pad,
    "PRELU": _prelu,
    "REDUCE_MAX": partial(_reduce, ReduceMax),
    "REDUCE_MIN": partial(_reduce, ReduceMin),
    "RELU": partial(_activation, Relu, {}),
    "RELU6": partial(_activation, Clip, {"low": 0.0, "high": 6.0}),
    "RELU_0_TO_1": partial(_activation, Clip, {"low": 0.0, "high": 1.0}),
    "RELU_N1_TO_1": partial(_activation, Clip, {"low": -1.0, "high": 1.0}),
    "RSQRT": partial(_two_steps, Sqrt, Reciprocal),
    "SLICE": _slice,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SQRT": partial(_arithmetic, Sqrt),
    "SQUARED_DIFFERENCE": partial(_two_steps, Sub, Mul),
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _slice,
    "SUB": partial(_arithmetic, Sub),
    "SUM": partial(_reduce, ReduceSum),
    "TANH": partial(_activation, Tanh, {}),
    "TRANSPOSE": _transpose,
}
