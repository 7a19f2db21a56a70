"""Float TensorFlow Lite operators without weights, element by element, and the product of two activations.

A tensor of four axes that a convolution made stands channels first; operators keep it so where they can.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from cimemu.importer.tflite_file import TflOperator
from cimemu.importer.tflite_float import TO_CHANNELS_FIRST, FloatGraph, FloatRow
from cimemu.importer.tflite_rows import option
from cimemu.layer.activation import (
    Activation,
    Clip,
    Elu,
    Exp,
    Gelu,
    HardSwish,
    LeakyRelu,
    PRelu,
    Relu,
    Sigmoid,
    Tanh,
)
from cimemu.layer.along_axis import LogSoftmax
from cimemu.layer.arithmetic import (
    Abs,
    Add,
    And,
    Ceil,
    Div,
    Elementwise,
    Equal,
    Floor,
    Greater,
    Less,
    Max,
    Min,
    Mul,
    Neg,
    Not,
    Or,
    Pow,
    Reciprocal,
    Round,
    Sqrt,
    Sub,
    Where,
)  # fmt: skip
from cimemu.layer.base import Layer
from cimemu.layer.comparison import GreaterOrEqual, LessOrEqual, Sign
from cimemu.layer.elementary import Cos, Log, Sin
from cimemu.layer.matmul import MatMul
from cimemu.layer.reduce import ReduceL2
from cimemu.layer.shape import Transpose


def operands(graph: FloatGraph, op: TflOperator) -> tuple[bool, bool, tuple[str, ...]]:
    """(whether they stand channels first, whether they are whole, their names) of operands that are broadcast.

    Constants are turned alike. Operands of one rank that begin with the images stay so; others keep every axis of the file.
    """
    tensors = [graph.file.tensors[i] for i in op.inputs]
    computed = [i for i in op.inputs if graph.file.tensors[i].value is None]
    forms = {(len(graph.file.tensors[i].shape), graph.file.tensors[i].shape[:1] == (1,)) for i in computed}
    rank = max(len(tensor.shape) for tensor in tensors)
    across = any(t.value is not None and t.shape[:1] != (1,) and len(t.shape) == rank for t in tensors)
    whole = forms != {(rank, True)} or across
    images = not whole and rank == 4 and any(i in graph.first for i in computed)
    names = []
    for number, tensor in zip(op.inputs, tensors):
        if tensor.value is None:
            names.append(graph.whole(number, rank) if whole else graph.image(number) if images else graph.plain(number))
            continue
        value = tensor.value if tensor.value.dtype.kind == "b" else graph.constant(op, tensor)
        if images:
            value = value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(TO_CHANNELS_FIRST)
        names.append(f"{graph.file.tensors[op.outputs[0]].name}:{tensor.name}")
        graph.constants[names[-1]] = np.ascontiguousarray(value)
    return images, whole, tuple(names)


def source(graph: FloatGraph, number: int) -> tuple[bool, str]:
    """(whether it stands channels first, its name) of one operand that is looked at element by element."""
    return (True, graph.image(number)) if number in graph.first else (False, graph.plain(number))


def put(
    graph: FloatGraph,
    op: TflOperator,
    kind: type[Layer],
    names: Sequence[str],
    images: bool,
    *,
    whole: bool = False,
    **fields: Any,
) -> None:
    """Add a layer of one output, and the activation that is fused into it."""
    name = graph.file.tensors[op.outputs[0]].name
    graph.activated(op, kind(name=name, inputs=tuple(names), outputs=(f"{name}:made",), **fields), images, whole=whole)


def _arithmetic(kind: type[Layer], graph: FloatGraph, op: TflOperator) -> None:
    images, whole, names = operands(graph, op)
    put(graph, op, kind, names, images, whole=whole)


def _activation(kind: type[Activation], fields: dict[str, Any], graph: FloatGraph, op: TflOperator) -> None:
    images, name = source(graph, op.inputs[0])
    put(graph, op, kind, [name], images, **fields)


def _leaky(graph: FloatGraph, op: TflOperator) -> None:
    images, name = source(graph, op.inputs[0])
    put(graph, op, LeakyRelu, [name], images, alpha=float(option(op, "Alpha", 0.0)))


def _gelu(graph: FloatGraph, op: TflOperator) -> None:
    images, name = source(graph, op.inputs[0])
    kind = "tanh" if option(op, "Approximate", False) else "none"
    put(graph, op, Gelu, [name], images, approximate=kind)


def _two_steps(first: type[Layer], second: type[Layer], graph: FloatGraph, op: TflOperator) -> None:
    """An operator that is one layer of all operands and then one of the result: twice, if it takes two."""
    images, whole, names = operands(graph, op)
    name = graph.file.tensors[op.outputs[0]].name
    middle = f"{name}:middle"
    graph.layers.append(first(name=middle, inputs=names, outputs=(middle,)))
    put(graph, op, second, [middle] * (2 if second is Mul else 1), images, whole=whole)


def _square(graph: FloatGraph, op: TflOperator) -> None:
    images, name = source(graph, op.inputs[0])
    put(graph, op, Mul, [name, name], images)


def _select(graph: FloatGraph, op: TflOperator) -> None:
    """SELECT takes a condition of its operands' shape, or one an image row; SELECT_V2 broadcasts."""
    shapes = [graph.file.tensors[i].shape for i in op.inputs]
    if op.op == "SELECT" and shapes[0] != shapes[1]:
        raise op.error(f"condition of {list(shapes[0])} for {list(shapes[1])}, must be alike: convert it again")
    _arithmetic(Where, graph, op)


def _log_softmax(graph: FloatGraph, op: TflOperator) -> None:
    put(graph, op, LogSoftmax, [graph.plain(op.inputs[0])], False, axis=-1)


def _l2_normalization(graph: FloatGraph, op: TflOperator) -> None:
    """x over the root of its squares' sum along the last axis, at least 1e-6."""
    name, plain = graph.file.tensors[op.outputs[0]].name, graph.plain(op.inputs[0])
    root, least = f"{name}:root", f"{name}:least"
    axis = len(graph.file.tensors[op.inputs[0]].shape) - (graph.file.tensors[op.inputs[0]].shape[:1] == (1,))
    graph.layers.append(ReduceL2(name=root, inputs=(plain,), outputs=(root,), axes=(axis,), keepdims=True))
    graph.layers.append(Clip(name=least, inputs=(root,), outputs=(least,), low=float(np.float32(1e-6)), high=None))
    put(graph, op, Div, [plain, least], False)


def _batch_matmul(graph: FloatGraph, op: TflOperator) -> None:
    name = graph.file.tensors[op.outputs[0]].name
    rank = max(len(graph.file.tensors[i].shape) for i in op.inputs)
    names = []
    for number, adjoint in zip(op.inputs, (option(op, "AdjX", False), option(op, "AdjY", False))):
        tensor = graph.file.tensors[number]
        if tensor.value is not None:
            value = graph.constant(op, tensor)
            value = value.swapaxes(-1, -2) if adjoint else value
            value = value.reshape(value.shape[-2:]) if value.size == np.prod(value.shape[-2:]) else value
            names.append(f"{name}:{tensor.name}")
            graph.constants[names[-1]] = np.ascontiguousarray(value)
            continue
        source = graph.whole(number, rank)
        if adjoint:
            turned, axes = f"{name}:turned{number}", range(rank + 1)
            perm = (*axes[:-2], axes[-1], axes[-2])
            graph.layers.append(Transpose(name=turned, inputs=(source,), outputs=(turned,), perm=perm))
            source = turned
        names.append(source)
    shares = op.shares if graph.file.tensors[op.inputs[1]].value is not None else ""
    put(graph, op, MatMul, names, False, whole=True, shares=shares)


def _not_equal(graph: FloatGraph, op: TflOperator) -> None:
    _two_steps(Equal, Not, graph, op)


ELEMENTWISE: dict[str, type[Elementwise] | type[Layer]] = {
    "ABS": Abs,
    "ADD": Add,
    "CEIL": Ceil,
    "COS": Cos,
    "DIV": Div,
    "EQUAL": Equal,
    "FLOOR": Floor,
    "GREATER": Greater,
    "GREATER_EQUAL": GreaterOrEqual,
    "LESS": Less,
    "LESS_EQUAL": LessOrEqual,
    "LOG": Log,
    "LOGICAL_AND": And,
    "LOGICAL_NOT": Not,
    "LOGICAL_OR": Or,
    "MAXIMUM": Max,
    "MINIMUM": Min,
    "MUL": Mul,
    "NEG": Neg,
    "POW": Pow,
    "PRELU": PRelu,
    "ROUND": Round,
    "SIGN": Sign,
    "SIN": Sin,
    "SQRT": Sqrt,
    "SUB": Sub,
}
FLOAT_DIGITAL_OPS: dict[str, FloatRow] = {
    **{name: partial(_arithmetic, kind) for name, kind in ELEMENTWISE.items()},
    "BATCH_MATMUL": _batch_matmul,
    "ELU": partial(_activation, Elu, {}),
    "EXP": partial(_activation, Exp, {}),
    "GELU": _gelu,
    "HARD_SWISH": partial(_activation, HardSwish, {}),
    "L2_NORMALIZATION": _l2_normalization,
    "LEAKY_RELU": _leaky,
    "LOGISTIC": partial(_activation, Sigmoid, {}),
    "LOG_SOFTMAX": _log_softmax,
    "NOT_EQUAL": _not_equal,
    "RELU": partial(_activation, Relu, {}),
    "RELU6": partial(_activation, Clip, {"low": 0.0, "high": 6.0}),
    "RELU_0_TO_1": partial(_activation, Clip, {"low": 0.0, "high": 1.0}),
    "RELU_N1_TO_1": partial(_activation, Clip, {"low": -1.0, "high": 1.0}),
    "RSQRT": partial(_two_steps, Sqrt, Reciprocal),
    "SELECT": _select,
    "SELECT_V2": _select,
    "SQUARE": _square,
    "SQUARED_DIFFERENCE": partial(_two_steps, Sub, Mul),
    "TANH": partial(_activation, Tanh, {}),
}
