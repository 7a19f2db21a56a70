"""Shapes that a TensorFlow Lite file leaves to run time, worked out when it is read.

A converter writes 1 where it does not know a size (of a RESHAPE whose shape is computed, of an input with open sizes).
Where a stored shape is found to be another, every operator behind it is worked out by its rule here.
"""

from collections.abc import Callable, Sequence

import numpy as np

from cimemu.errors import WorkloadError
from cimemu.importer.tflite_file import TflOperator, TflTensor
from cimemu.importer.tflite_rows import option

Shape = tuple[int, ...]
Given = Sequence[TflTensor]
Rule = Callable[[TflOperator, Given], Sequence[Shape]]


def _numbers(op: TflOperator, tensor: TflTensor) -> list[int]:
    if tensor.value is None:
        raise op.error(f"{tensor.name} is computed, must be a constant: fix the shapes in the conversion")
    return [int(value) for value in tensor.value.reshape(-1)]


def resolved(op: TflOperator, wanted: Sequence[int], elements: int) -> Shape:
    """A shape with at most one -1, of so many elements. WorkloadError where it cannot be."""
    known = int(np.prod([size for size in wanted if size != -1], dtype=np.int64))
    shape = tuple(elements // known if size == -1 and known else size for size in wanted)
    if list(wanted).count(-1) > 1 or int(np.prod(shape, dtype=np.int64)) != elements:
        raise op.error(f"makes {elements} elements {list(wanted)}: convert it again")
    return shape


def stored_shape(op: TflOperator, inputs: Given) -> list[int] | None:
    """What a RESHAPE makes, from its second input or its options; None where neither says."""
    if len(inputs) > 1:
        return None if inputs[1].value is None else _numbers(op, inputs[1])
    if op.options is not None and op.options.NewShapeLength():
        return [int(size) for size in op.options.NewShapeAsNumpy()]
    return None


def _same(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    return [inputs[0].shape]


def _broadcast(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    return [np.broadcast_shapes(*(x.shape for x in inputs))]


def _reshape(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    wanted = stored_shape(op, inputs)
    if wanted is None:
        raise op.error("its shape is computed, must be a constant: fix the shapes in the conversion")
    return [resolved(op, wanted, int(np.prod(inputs[0].shape, dtype=np.int64)))]


def _fully_connected(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    outputs, depth = inputs[1].shape
    if option(op, "KeepNumDims", False):
        return [(*inputs[0].shape[:-1], outputs)]
    return [(int(np.prod(inputs[0].shape, dtype=np.int64)) // depth, outputs)]


def _batch_matmul(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    a, b = (x.shape for x in inputs[:2])
    rows, columns = a[-1 if option(op, "AdjX", False) else -2], b[-2 if option(op, "AdjY", False) else -1]
    return [(*np.broadcast_shapes(a[:-2], b[:-2]), rows, columns)]


def _lstm(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    """Inputs that are left out are not among these: the state's width is that of the outputs."""
    state = next(tensor for tensor in inputs if tensor.variable)
    return [(*inputs[0].shape[:2], state.shape[1])]


def _cut(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    """SLICE."""
    begin, size = _numbers(op, inputs[1]), _numbers(op, inputs[2])
    return [tuple(whole - b if s == -1 else s for whole, b, s in zip(inputs[0].shape, begin, size))]


def _split(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    shape, axis = list(inputs[1].shape), _numbers(op, inputs[0])[0]
    shape[axis] //= len(op.outputs)
    return [tuple(shape)] * len(op.outputs)


def _places(op: TflOperator, sizes: Sequence[int], kernel: Sequence[int], dilation: Sequence[int]) -> Shape:
    strides = (op.options.StrideH(), op.options.StrideW())
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    valid = op.options.Padding() != 0
    return tuple(-(-(size - (r - 1) * valid) // s) for size, s, r in zip(sizes, strides, reach))


def _convolution(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    x, w = inputs[0].shape, inputs[1].shape
    outputs = w[3] if op.op == "DEPTHWISE_CONV_2D" else w[0]
    dilation = (op.options.DilationHFactor(), op.options.DilationWFactor())
    return [(x[0], *_places(op, x[1:3], w[1:3], dilation), outputs)]


def _pool(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    x = inputs[0].shape
    return [(x[0], *_places(op, x[1:3], (op.options.FilterHeight(), op.options.FilterWidth()), (1, 1)), x[3])]


def _transpose(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    return [tuple(inputs[0].shape[axis] for axis in _numbers(op, inputs[1]))]


def _concatenation(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    shape, axis = list(inputs[0].shape), int(option(op, "Axis", 0))
    shape[axis] = sum(x.shape[axis] for x in inputs)
    return [tuple(shape)]


def _pack(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    shape = list(inputs[0].shape)
    axis = int(option(op, "Axis", 0)) % (len(shape) + 1)
    return [(*shape[:axis], len(inputs), *shape[axis:])]


def _unpack(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    shape, axis = list(inputs[0].shape), int(option(op, "Axis", 0))
    del shape[axis]
    return [tuple(shape)] * len(op.outputs)


def _reduce(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    shape, axes = inputs[0].shape, {axis % len(inputs[0].shape) for axis in _numbers(op, inputs[1])}
    keep = bool(option(op, "KeepDims", False))
    return [tuple(1 if axis in axes else n for axis, n in enumerate(shape) if keep or axis not in axes)]


def _expand_dims(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    shape = list(inputs[0].shape)
    axis = _numbers(op, inputs[1])[0] % (len(shape) + 1)
    return [(*shape[:axis], 1, *shape[axis:])]


def _squeeze(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    shape = inputs[0].shape
    given = [op.options.SqueezeDims(i) % len(shape) for i in range(op.options.SqueezeDimsLength())]
    return [tuple(n for axis, n in enumerate(shape) if not (axis in given if given else n == 1))]


def _pad(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    pads = np.reshape(_numbers(op, inputs[1]), (-1, 2)).sum(axis=1)
    return [tuple(int(n) for n in inputs[0].shape + pads)]


def _gather(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    shape = inputs[0].shape
    axis, apart = int(option(op, "Axis", 0)) % len(shape), int(option(op, "BatchDims", 0))
    return [(*shape[:axis], *inputs[1].shape[apart:], *shape[axis + 1 :])]


def _tile(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    return [tuple(n * times for n, times in zip(inputs[0].shape, _numbers(op, inputs[1])))]


def _resize(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    shape = inputs[0].shape
    return [(shape[0], *_numbers(op, inputs[1]), shape[3])]


ALIKE = (
    "ABS", "CEIL", "COS", "DEQUANTIZE", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU",
    "LOG", "LOGICAL_NOT", "LOGISTIC", "LOG_SOFTMAX", "NEG", "QUANTIZE", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1",
    "REVERSE_V2", "ROUND", "RSQRT", "SIGN", "SIN", "SOFTMAX", "SQRT", "SQUARE", "TANH", "CAST",
)  # fmt: skip
BROADCAST = (
    "ADD", "DIV", "EQUAL", "FLOOR_DIV", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR",
    "MAXIMUM", "MINIMUM", "MUL", "NOT_EQUAL", "POW", "PRELU", "SELECT", "SELECT_V2", "SQUARED_DIFFERENCE", "SUB",
)  # fmt: skip
REDUCTIONS = (
    "MEAN",
    "SUM",
    "REDUCE_ALL",
    "REDUCE_ANY",
    "REDUCE_MAX",
    "REDUCE_MIN",
    "REDUCE_PROD",
    "ARG_MAX",
    "ARG_MIN",
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(ALIKE, _same),
    **dict.fromkeys(BROADCAST, _broadcast),
    **dict.fromkeys(REDUCTIONS, _reduce),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _convolution),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pool),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _pad),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    "BATCH_MATMUL": _batch_matmul,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "CONCATENATION": _concatenation,
    "EXPAND_DIMS": _expand_dims,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "PACK": _pack,
    "RESHAPE": _reshape,
    "SLICE": _cut,
    "SPLIT": _split,
    "SQUEEZE": _squeeze,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}


def worked_out(op: TflOperator, inputs: Given) -> Sequence[Shape]:
    """The shapes of an operator's outputs. WorkloadError where it has no rule here or its operands do not fit."""
    if op.op not in RULES:
        raise op.error("stands behind a shape that the file leaves to run time: fix the shapes in the conversion")
    try:
        return RULES[op.op](op, inputs)
    except WorkloadError:
        raise
    except (ValueError, IndexError, ZeroDivisionError):
        shapes = ", ".join(str(list(x.shape)) for x in inputs)
        raise op.error(f"operands of shapes {shapes} do not fit each other: convert it again") from None


def is_open(op: TflOperator, inputs: Given, target: TflTensor) -> bool:
    """Whether a RESHAPE stores a shape of as many elements as it takes, and its output's another."""
    if op.op != "RESHAPE" or not inputs:
        return False
    elements = int(np.prod(inputs[0].shape, dtype=np.int64))
    return stored_shape(op, inputs) is not None and elements != int(np.prod(target.shape, dtype=np.int64))
