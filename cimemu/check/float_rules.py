"""How far two float32 implementations of one operator can be apart: a rule for every operator, by running error analysis.

A rule takes the operands' values, how far the two sides' operands are apart already (`apart`), and the result; it returns
how far the results can be apart, in float64. U = 2^-24 is the unit roundoff of float32, and both sides round, so one rounding
of a value v is 2 U |v|; a sum of n terms in any order errs by at most n U / (1 - n U) times the sum of magnitudes on either
side (Higham, Accuracy and Stability of Numerical Algorithms, section 4.2). Elementary functions are taken as exact to a few
units in the last place, or to an absolute amount where runtimes use rational approximations; the tests hold ONNX Runtime to
these over its whole range. Every result may also be flushed to zero below the smallest normal number.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.norm import affine

U = 2.0**-24
TINY = 2.0**-125
Floats = NDArray[np.float64]
Rule = Callable[[Any, Sequence[Floats], Sequence[Floats], Floats], Floats]


def gamma(terms: float) -> float:
    """Relative error of a float32 sum of so many terms, in any order, of both sides together."""
    return float(2 * terms * U / (1 - terms * U))


def rounded(y: Floats, ulps: float = 1.0, absolute: float = 0.0) -> Floats:
    """`ulps` roundings of y and an absolute error, on both sides."""
    return 2 * ulps * U * np.abs(y) + 2 * absolute + TINY


def bilinear(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Products summed over the inner axis: forward on magnitudes bounds both the sums and the operands' errors."""
    bare = layer
    a, b = np.abs(x[0]), np.abs(x[1])
    inner = float(b.size // b.shape[0]) if layer.op == "Conv" else float(a.shape[-1])
    sums = bare.forward([a, b])[0]
    errors = bare.forward([apart[0], b])[0] + bare.forward([a + apart[0], apart[1]])[0]
    if len(x) > 2 and layer.op in ("Conv", "Gemm"):
        shape = (-1,) + (1,) * (sums.ndim - 2) if layer.op == "Conv" else x[2].shape
        sums = sums + np.abs(getattr(layer, "beta", 1.0) * x[2]).reshape(shape)
        errors = errors + np.abs(getattr(layer, "beta", 1.0)) * apart[2].reshape(shape)
    return np.asarray((gamma(inner + 3) * sums + errors) * (1 + 2e-5) + TINY)


def moved(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Elements change their places only."""
    if layer.op == "Gather":
        index = x[1].astype(np.int64)
        where = layer.forward([apart[0], index])[0]
        return np.where(apart[1].any(), np.inf, where)
    if layer.op == "Pad":
        return np.asarray(replace(layer, value=0.0).forward([apart[0]])[0])
    joins = layer.op == "Concat"
    return np.asarray(layer.forward(list(apart) if joins else [apart[0], *x[1:]])[0])


def largest(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """A maximum or minimum moves no further than its operands."""
    if layer.op in ("Max", "Min"):
        return np.broadcast_to(np.maximum.reduce(list(np.broadcast_arrays(*apart))), y.shape)
    if layer.op in ("ReduceMax", "ReduceMin"):
        return np.asarray(apart[0].max(axis=layer.axes, keepdims=layer.keepdims))
    return np.asarray(layer.forward([apart[0]])[0])


def monotone(ulps: float = 0.0, absolute: float = 0.0, low: float = -np.inf) -> Rule:
    """A rising function of one operand: its values at both ends of the operand's interval."""

    def rule(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
        middle, up, down = (
            np.asarray(layer.forward([np.maximum(v, low), *x[1:]])[0], dtype=np.float64)
            for v in (x[0], x[0] + apart[0], x[0] - apart[0])
        )
        spread = np.where(apart[0] > 0, np.maximum(np.abs(up - middle), np.abs(middle - down)), 0.0)
        return spread if not (ulps or absolute) else spread + rounded(y, ulps, absolute)

    return rule


def steep(slope: float, ulps: float, per_x: float = 0.0, absolute: float = 0.0) -> Rule:
    """A function of one operand whose slope is at most `slope`; `per_x` is an error in units of |x|."""

    def rule(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
        return slope * apart[0] + rounded(y, ulps, absolute) + 2 * per_x * np.abs(x[0])

    return rule


def added(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Sums and differences of operands."""
    terms = max(1, len(x) - 1)
    magnitude = np.abs(y) if terms == 1 else sum(np.abs(v) for v in x)
    return np.asarray(sum(apart) + gamma(terms) * magnitude + TINY)


def multiplied(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """A product of any number of operands."""
    value, error = x[0], apart[0]
    for other, own in zip(x[1:], apart[1:]):
        error = np.abs(value) * own + np.abs(other) * error + error * own + rounded(value * other)
        value = value * other
    return np.broadcast_to(error, y.shape)


def divided(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """A quotient (1 / a with one operand); unbounded where the divisor's interval holds 0."""
    a, b = (x[0], x[1]) if len(x) > 1 else (np.ones_like(x[0]), x[0])
    da, db = (apart[0], apart[1]) if len(x) > 1 else (np.zeros_like(x[0]), apart[0])
    room = np.abs(b) - db
    with np.errstate(divide="ignore", invalid="ignore"):
        error = (da + np.abs(a / b) * db) / room + rounded(y, 2)
    return np.where(((da == 0) & (db == 0)) | (room > 0), np.where(np.isnan(error), 0.0, error), np.inf)


def powered(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """a to a constant power: both ends of the operand's interval, and 0 where it lies between."""
    a, b = x[0], x[1]
    ends = [a + apart[0], a - apart[0], np.where(np.abs(a) <= apart[0], 0.0, a)]
    with np.errstate(invalid="ignore", divide="ignore"):
        far = [np.abs(np.power(end, b) - np.power(a, b)) for end in ends]
        lost = 4 + 4 * np.abs(b * np.log(np.abs(np.where(a == 0, 1.0, a))))
    spread = np.max(np.broadcast_arrays(*far), axis=0)
    spread = np.where(np.broadcast_to(apart[0] > 0, y.shape), np.where(np.isnan(spread), np.inf, spread), 0.0)
    return np.where(np.any(apart[1]), np.inf, spread + 2 * U * lost * np.abs(y) + TINY)


def compared(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """A truth value may flip where the operands' intervals touch."""
    sides = [np.broadcast_to(d, y.shape) for d in apart]
    if layer.op in ("And", "Or", "Not"):
        return np.asarray(sum(sides) > 0, dtype=np.float64)
    distance = np.abs(np.broadcast_to(x[0], y.shape) - np.broadcast_to(x[1], y.shape))
    reach = sum(sides)
    return ((reach > 0) & (distance <= reach)).astype(np.float64)


def chosen(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Where: the chosen side's error, or the distance of the two where the choice itself is open."""
    sure, a, b = np.broadcast_arrays(apart[0] == 0, x[1], x[2])[:3]
    error = np.where(np.broadcast_to(x[0] != 0, y.shape), apart[1], apart[2])
    with np.errstate(invalid="ignore"):
        return np.where(sure, error, np.abs(a - b) + apart[1] + apart[2])


def averaged(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Sums and means over axes or windows: as many terms as the input has elements for one of the output."""
    if layer.op == "ReduceL2":
        terms = x[0].size / y.size
        moved_by = np.sqrt(np.square(apart[0]).sum(axis=layer.axes, keepdims=layer.keepdims))
        made: Floats = moved_by + (gamma(terms / 2 + 3)) * np.abs(y) + TINY
        return made
    terms = float(np.prod(layer.kernel_shape)) if layer.op == "AveragePool" else x[0].size / y.size
    with np.errstate(invalid="ignore"):
        return _mean(layer, apart[0]) + gamma(terms + 2) * _mean(layer, np.abs(x[0])) + TINY


def _mean(layer: Any, values: Floats) -> Floats:
    if layer.op == "GlobalAveragePool":
        return np.asarray(values.mean(axis=tuple(range(2, values.ndim)), keepdims=True))
    return np.asarray(layer.forward([values])[0])


def softmax(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Relative: twice what the logits are apart, the exponentials' arguments and values, the sum, the quotient."""
    axis = layer.axis % x[0].ndim
    axes = tuple(range(axis, x[0].ndim)) if layer.flatten else (axis,)
    terms = float(np.prod([x[0].shape[a] for a in axes]))
    with np.errstate(invalid="ignore"):
        below = x[0].max(axis=axes, keepdims=True) - x[0]
    below = np.where(np.isfinite(below) & (below < 104), below, 0.0)  # beyond, the exponential is 0 in float32
    exponential = (
        4 * apart[0].max(axis=axes, keepdims=True) + 4 * U * (below + below.max(axis=axes, keepdims=True)) + 16 * U
    )
    made: Floats = y * (np.expm1(exponential) + gamma(terms + 2)) + TINY
    return made


def normalised(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Layer normalisation, with the variance by squares around the mean or (as ONNX Runtime) E[x^2] - E[x]^2."""
    v, d = x[0], apart[0]
    axes = tuple(range(layer.axis % v.ndim, v.ndim))
    terms = float(np.prod([v.shape[a] for a in axes]))
    mean, square = v.mean(axis=axes, keepdims=True), np.square(v).mean(axis=axes, keepdims=True)
    variance = np.square(v - mean).mean(axis=axes, keepdims=True) + layer.epsilon
    mean_error = d.mean(axis=axes, keepdims=True) + gamma(terms + 1) * np.abs(v).mean(axis=axes, keepdims=True)
    square_error = (2 * np.abs(v - mean) * d + d * d).mean(axis=axes, keepdims=True) + 2 * gamma(terms + 3) * square
    share = (square_error + 2 * np.square(mean_error)) / variance
    factor = np.abs(x[1]) / np.sqrt(variance)
    with np.errstate(divide="ignore"):
        relative = np.where(share < 0.5, 1 / np.sqrt(1 - np.minimum(share, 0.5)) - 1, np.inf)
    centred = np.abs(v - mean)
    error = factor * (
        (d + mean_error + 2 * U * (np.abs(v) + np.abs(mean))) * (1 + relative) + centred * (relative + 10 * U)
    )
    return np.asarray(error + rounded(y, 2) + (2 * U * np.abs(x[2]) if len(x) > 2 else 0.0))


def batch_normalised(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """One multiplication and addition, or mean and variance one after the other."""
    shape = (-1,) + (1,) * (x[0].ndim - 2)
    factor = np.abs(affine(x[1:], layer.epsilon)[0]).reshape(shape)
    mean, bias = np.abs(x[3]).reshape(shape), np.abs(x[2]).reshape(shape)
    return np.asarray(factor * apart[0] + 12 * U * ((np.abs(x[0]) + mean) * factor + bias) + TINY)


def cast(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """To float32 with one rounding; to integers both ends of the interval."""
    kind = np.dtype(layer.dtype).kind
    if kind == "f":
        return apart[0] + np.where(np.abs(x[0]) > 2**24, rounded(y), 0.0)
    if kind == "b":
        return ((apart[0] > 0) & (np.abs(x[0]) <= apart[0])).astype(np.float64)
    return np.where(apart[0] > 0, np.trunc(x[0] + apart[0]) - np.trunc(x[0] - apart[0]), 0.0)


def quantized(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Codes at both ends of the operand's interval, the division's own rounding included."""
    reach = np.where(apart[0] > 0, apart[0] + 4 * U * np.abs(x[0]), 0.0)
    up, down = (np.asarray(layer.forward([v, *x[1:]])[0], dtype=np.float64) for v in (x[0] + reach, x[0] - reach))
    return np.where(reach > 0, np.maximum(np.abs(up - y), np.abs(y - down)), 0.0)


def dequantized(layer: Any, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """Exact of equal codes: one multiplication of an exact integer."""
    if not apart[0].any():
        return np.zeros(y.shape)
    scale = np.abs(np.asarray(layer.forward([np.ones(x[0].shape, np.int32), x[1]])[0], dtype=np.float64))
    return np.where(apart[0] > 0, apart[0] * scale + rounded(y), 0.0)


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "Reshape",
            "Flatten",
            "Squeeze",
            "Unsqueeze",
            "Transpose",
            "Slice",
            "Pad",
            "Concat",
            "Expand",
            "Gather",
            "Identity",
            "BATCH_TO_SPACE_ND",
            "STRIDED_SLICE",
            "DEPTH_TO_SPACE",
            "GATHER",
            "SPACE_TO_DEPTH",
            "PAD",
        ),
        moved,
    ),
    **dict.fromkeys(("Max", "Min", "ReduceMax", "ReduceMin", "MaxPool", "GlobalMaxPool"), largest),
    **dict.fromkeys(("Add", "Sub", "Sum"), added),
    **dict.fromkeys(("Div", "Reciprocal"), divided),
    **dict.fromkeys(("Equal", "Less", "Greater", "And", "Or", "Not"), compared),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceL2", "AveragePool", "GlobalAveragePool"), averaged),
    **dict.fromkeys(("Relu", "Clip", "Floor", "Ceil", "Round"), monotone()),
    **dict.fromkeys(("MatMul", "Gemm", "Conv"), bilinear),
    "Neg": steep(1, 0),
    "Abs": steep(1, 0),
    "LeakyRelu": monotone(2),
    "PRelu": lambda layer, x, apart, y: np.maximum(1.0, np.abs(x[1])) * apart[0] + rounded(y, 1),
    "Mul": multiplied,
    "Pow": powered,
    "Where": chosen,
    "Sqrt": monotone(1, low=0.0),
    "Exp": monotone(6),
    "Sigmoid": monotone(8, 2.0**-23),
    "Tanh": monotone(8, 2.0**-23),
    "Erf": monotone(8, 2.0**-23),
    "Softplus": monotone(8, 2.0**-23),
    "Elu": steep(1.0, 8, absolute=2.0**-22),
    "HardSigmoid": lambda layer, x, apart, y: (
        np.abs(layer.alpha) * apart[0] + 4 * U * (np.abs(layer.alpha * x[0]) + abs(layer.beta)) + TINY
    ),
    "HardSwish": lambda layer, x, apart, y: (
        1.5 * apart[0] + 2 * U * np.abs(x[0]) * (2 * np.minimum(np.abs(x[0]) / 6, 1.0) + 2.0) + rounded(y, 2)
    ),
    "Gelu": steep(1.13, 8, per_x=2.0**-22),
    "Softmax": softmax,
    "LayerNormalization": normalised,
    "BatchNormalization": batch_normalised,
    "Cast": cast,
    "QuantizeLinear": quantized,
    "IntegerCodes": quantized,
    "DequantizeLinear": dequantized,
    "QUANTIZE": quantized,
    "DEQUANTIZE": lambda layer, x, apart, y: apart[0] * float(layer.scale) + np.where(apart[0] > 0, rounded(y), 0.0),
}
EXACT = {  # operators of integers alone: of equal operands they give equal results
    "macro", "DigitalProduct", "WrittenProduct",
    "ADD", "POOL_2D", "SOFTMAX", "QLinearAdd", "QLinearMul", "QLinearSoftmax", "QLinearAveragePool",
    "QLinearGlobalAveragePool", "QTable", "Halves", "IntegerMatMul", "WideSum",
    "BlockDequantizeLinear",  # of constants alone
    # of TensorFlow Lite
    "SUB", "MUL", "PRELU", "SQUARED_DIFFERENCE", "MAXIMUM", "MINIMUM", "MEAN", "REDUCE_MAX", "ARG_MAX", "L2_NORMALIZATION",
    "RESHAPE", "TILE", "TRANSPOSE", "SPLIT", "CONCATENATION", "PACK", "UNPACK", "SPACE_TO_BATCH_ND",
    "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TRANSPOSE_CONV", "BATCH_MATMUL", "BYTES", "WIDE_SUM",
    "REDUCE_PROD", "UNIDIRECTIONAL_SEQUENCE_LSTM",
}  # fmt: skip
SEVERAL = (
    "Split",
    "DynamicQuantizeLinear",
    "HybridQuantize",
    "RecurrentCell",
)  # operators of several outputs: `cimemu.check.float_bound` has their rules
