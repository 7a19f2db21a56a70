"""Integer TensorFlow Lite operators element by element: functions of one code, of two codes, and the float ends."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import tanh
from typing import Any

import numpy as np

from cimemu.importer.tflite_checks import check_activation
from cimemu.importer.tflite_file import TflOperator, TflTensor
from cimemu.importer.tflite_integer import limits
from cimemu.importer.tflite_rows import Row, Tensors, codes, given, one, option, parameters, row, same_type
from cimemu.layer.base import Array, Layer
from cimemu.layer.q_table import Codes, QTable
from cimemu.layer.rounding import quantize_multiplier
from cimemu.layer.tfl_ends import TflDequantize, TflQuantize
from cimemu.layer.tfl_moves import TflReshape
from cimemu.layer.tfl_pairs import (
    TflAdd,
    TflMaximum,
    TflMinimum,
    TflMul,
    TflPair,
    TflPrelu,
    TflSquaredDifference,
    TflSub,
    TflSum,
)
from cimemu.layer.tfl_tables import hard_swish, inverse_roots, leaky, logistic, of_function, requantized
from cimemu.layer.tfl_wide_tables import wide_logistic, wide_tanh

Maker = Callable[[TflOperator, Codes, Codes], Array]
BOUNDS = {"RELU": (0.0, None), "RELU_N1_TO_1": (-1.0, 1.0), "RELU6": (0.0, 6.0), "RELU_0_TO_1": (0.0, 1.0)}


def table(op: TflOperator, x: TflTensor, target: TflTensor, make: Callable[[Codes, Codes], Array]) -> QTable:
    """The layer that looks up what `make` says. WorkloadError where the scales do not go together."""
    lowest = int(np.iinfo(x.dtype).min)
    try:
        values = make(codes(x), codes(target))
    except ValueError as error:
        raise op.error(f"{error}: convert it again") from None
    return QTable(target.name, (x.name,), (target.name,), values, lowest, op.op)


def function(make: Maker, *, wide: bool = False) -> Row:
    """A function of one code of one 8-bit type (or int16)."""

    def build(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
        x = given(op, inputs, 0)
        return table(op, x, target, partial(make, op))

    return row(build, wide=wide)


def _rectified(op: TflOperator, x: Codes, y: Codes) -> Array:
    ends: list[int] = []
    for real, edge in zip(BOUNDS[op.op], (y.low, y.high)):
        with np.errstate(over="ignore"):
            steps = 0.0 if real is None else float(np.float32(real) / y.scale.scale)
        if not abs(steps) < 1 << 30:
            raise op.error(f"output scale {y.scale.scale:.4g} makes its bound a code beyond 32 bits: convert it again")
        code = y.scale.zero_point + int(np.copysign(np.floor(abs(steps) + 0.5), steps))
        ends.append(edge if real is None else code)
    return requantized(x, Codes(y.scale, max(y.low, ends[0]), min(y.high, ends[1]), y.dtype), single=True)


def _leaky(op: TflOperator, x: Codes, y: Codes) -> Array:
    alpha = float(option(op, "Alpha", 0.0))
    if not 0.0 <= alpha < np.inf:
        raise op.error(f"alpha = {alpha}, must be finite and >= 0: convert it again")
    return leaky(x, y, alpha)


def _wide(op: TflOperator, x: Codes, y: Codes, make: Callable[[np.float32], Array]) -> Array:
    """A function of 16-bit codes with results from -1 to 1."""
    if float(y.scale.scale) != 1 / 32768:
        raise op.error(f"output scale {y.scale.scale:.7g}, must be 1/32768: convert it again")
    return make(np.float32(x.scale.scale))


def _tanh(op: TflOperator, x: Codes, y: Codes) -> Array:
    return _wide(op, x, y, wide_tanh) if y.dtype == "int16" else of_function(x, y, tanh)


def _logistic(op: TflOperator, x: Codes, y: Codes) -> Array:
    if y.dtype == "int16":
        return _wide(op, x, y, wide_logistic)
    if float(y.scale.scale) != 1 / 256:
        raise op.error(f"output scale {y.scale.scale:.7g}, must be 1/256: convert it again")
    return of_function(x, y, logistic)


def _rsqrt(op: TflOperator, x: Codes, y: Codes) -> Array:
    if y.dtype != "int8":
        raise op.error(f"is {y.dtype}, must be int8: convert the network with full int8 quantisation")
    return inverse_roots(x, y)


def _quantize(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    x, target = given(op, inputs, 0), one(op, targets)
    check_activation(op, target, wide=True)
    if x.dtype == "float32":
        scale, zero = parameters(target)
        return [TflQuantize(target.name, (x.name,), (target.name,), np.float32(scale), zero, target.dtype)]
    check_activation(op, x, wide=True)
    return [table(op, x, target, requantized)]


def _dequantize(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
    x, target = given(op, inputs, 0), one(op, targets)
    check_activation(op, x, wide=True)
    if target.dtype != "float32":
        raise op.error(f"tensor {target.name} is {target.dtype}, must be float32: convert it again")
    scale, zero = parameters(x)
    return [TflDequantize(target.name, (x.name,), (target.name,), scale=np.float32(scale), zero_point=zero)]


def pair(op: TflOperator, inputs: Tensors, target: TflTensor) -> tuple[TflTensor, TflTensor, dict[str, Any]]:
    """(first, second, what every layer of two operands is given); one of the two may be a constant."""
    a, b = given(op, inputs, 0), given(op, inputs, 1)
    same_type(op, (a, b, target), wide=True)
    if a.value is not None and b.value is not None:
        raise op.error("both operands are constants: convert it again, the converter folds them")
    low, high = limits(op, target)
    common = {
        "name": target.name,
        "inputs": (a.name, b.name),
        "outputs": (target.name,),
        "zero_a": int(a.zero_point[0]),
        "zero_b": int(b.zero_point[0]),
        "zero_y": int(target.zero_point[0]),
        "low": low,
        "high": high,
        "dtype": target.dtype,
    }
    return a, b, common


def _sum(kind: type[TflSum], op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    a, b, common = pair(op, inputs, target)
    squared = kind is TflSquaredDifference
    if squared and target.dtype != "int8":
        raise op.error(f"is {target.dtype}, must be int8: convert the network with full int8 quantisation")
    if target.dtype == "int16" and option(op, "PotScaleInt16", True):
        raise op.error("its 16-bit scales are powers of two (pot_scale_int16), must be any: convert it again")
    bits = 7 if squared else 15 if target.dtype == "int16" else 20
    # float32 as the runtime multiplies: both may pass its range.
    with np.errstate(over="ignore"):
        twice = float(np.float32(2) * max(a.scale[0], b.scale[0]))
        steps = float(np.float32(1 << (2 * bits if squared else bits)) * target.scale[0])
    largest = twice * twice if squared else twice
    if not 0.0 < largest / steps < 1.0 or not np.isfinite(twice):
        bound = "its square" if squared else "twice the larger"
        raise op.error(
            f"scales {a.scale[0]:.4g} and {b.scale[0]:.4g} of its inputs, {target.scale[0]:.4g} of its output: {bound} "
            f"must be below 2^{2 * bits if squared else bits} times the output's: convert it again"
        )
    return kind(
        **common,
        scale_a=quantize_multiplier(float(a.scale[0]) / twice),
        scale_b=quantize_multiplier(float(b.scale[0]) / twice),
        scale_y=quantize_multiplier(largest / steps),
        left_shift=bits,
    )


def _multiplier(op: TflOperator, real: float, codes_at_most: int) -> tuple[int, int]:
    """The multiplier; WorkloadError where scaled codes would pass 32 bits, which the runtime wraps."""
    if not np.isfinite(real) or not real * codes_at_most < 2.0**30:
        raise op.error(f"its scales' ratio is {real:.4g}, its scaled codes must stay within 32 bits: convert it again")
    return quantize_multiplier(real)


def _mul(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    a, b, common = pair(op, inputs, target)
    with np.errstate(over="ignore", under="ignore"):
        real = a.scale[0] * b.scale[0] / target.scale[0]  # float32 all the way
    return TflMul(**common, scale=_multiplier(op, float(real), 1 << 30 if target.dtype == "int16" else 1 << 16))


def _prelu(op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    a, b, common = pair(op, inputs, target)
    with np.errstate(over="ignore"):
        up, down = a.scale[0] / target.scale[0], a.scale[0] * b.scale[0] / target.scale[0]
    return TflPrelu(**common, up=_multiplier(op, float(up), 1 << 8), down=_multiplier(op, float(down), 1 << 16))


def _choice(kind: type[TflPair], op: TflOperator, inputs: Tensors, target: TflTensor) -> Layer:
    a, b, common = pair(op, inputs, target)
    if not parameters(a) == parameters(b) == parameters(target):
        raise op.error("its inputs and output have different scales, it compares codes of one: convert it again")
    zeros = {"zero_a": 0, "zero_b": 0, "zero_y": 0}
    return kind(**{**common, **zeros})


def _aligned(build: Row) -> Row:
    """Computed operands of fewer axes than another get axes of 1 in front: a number without axes, one row for all."""

    def row(op: TflOperator, inputs: Tensors, targets: Sequence[TflTensor]) -> Sequence[Layer]:
        rank = max((len(tensor.shape) for tensor in inputs if tensor is not None), default=0)
        made: list[Layer] = []
        operands = list(inputs)
        for place, tensor in enumerate(inputs):
            if tensor is not None and tensor.value is None and len(tensor.shape) < rank:
                shape = (1,) * (rank - len(tensor.shape)) + tensor.shape
                name = f"{tensor.name}:{op.index}"
                made.append(TflReshape(name, (tensor.name,), (name,), (tensor.shape,), target=shape))
                operands[place] = replace(tensor, name=name, shape=shape)
        return [*made, *build(op, tuple(operands), targets)]

    return row


PAIRS: dict[str, Row] = {
    "ADD": row(partial(_sum, TflAdd), wide=True),
    "MAXIMUM": row(partial(_choice, TflMaximum), wide=True),
    "MINIMUM": row(partial(_choice, TflMinimum), wide=True),
    "MUL": row(_mul, wide=True),
    "PRELU": row(_prelu),
    "SQUARED_DIFFERENCE": row(partial(_sum, TflSquaredDifference)),
    "SUB": row(partial(_sum, TflSub), wide=True),
}
ELEMENTWISE_OPS: dict[str, Row] = {
    **{name: _aligned(build) for name, build in PAIRS.items()},
    "DEQUANTIZE": _dequantize,
    "HARD_SWISH": function(lambda op, x, y: hard_swish(x, y)),
    "LEAKY_RELU": function(_leaky, wide=True),
    "LOGISTIC": function(_logistic, wide=True),
    "QUANTIZE": _quantize,
    "RELU": function(_rectified, wide=True),
    "RELU6": function(_rectified, wide=True),
    "RELU_0_TO_1": function(_rectified, wide=True),
    "RELU_N1_TO_1": function(_rectified, wide=True),
    "RSQRT": function(_rsqrt),
    "TANH": function(_tanh, wide=True),
}
