"""QONNX's operators (Quant, BipolarQuant, Trunc, as Brevitas and FINN write them): integer codes behind a DequantizeLinear.

A Quant whose zero point is 0, rounded half to even, is a QuantizeLinear with an integer Clip behind it where the codes have
fewer bits than their type; that is what the lowering fuses with products. Every other form is a layer of its own.
"""

from collections.abc import Callable, Sequence

import numpy as np

from cimemu.importer.onnx_node import Node
from cimemu.layer.activation import Clip
from cimemu.layer.base import Array, Layer
from cimemu.layer.integer_codes import ROUNDINGS, SIGN, IntegerCodes, storage
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear

DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
FUSED = ("uint8", "int8", "uint16", "int16")


def _range(node: Node, bits: Array, *, signed: bool, narrow: bool) -> tuple[int, int]:
    """Smallest and largest code."""
    if bits.size != 1 or float(bits.reshape(())) != round(float(bits.reshape(()))) or not 1 <= bits.reshape(()) <= 32:
        raise node.error(f"bit width {bits.reshape(-1)[:4]}, must be one whole number from 1 to 32")
    width = int(bits.reshape(()))
    if signed:
        return -(2 ** (width - 1)) + int(narrow), 2 ** (width - 1) - 1
    return 0, 2**width - 1 - int(narrow)


def _rounding(node: Node, default: str) -> str:
    mode = str(node.attribute("rounding_mode", default)).upper()
    if mode not in ROUNDINGS:
        raise node.error(f"rounding_mode = {mode}, must be one of {', '.join(ROUNDINGS)}")
    return mode


def _grid(node: Node, scale: Array, zero: Array) -> tuple[Array, Array, int]:
    """Scales and zero points of a DequantizeLinear, flat or of no axes, and their axis."""
    rank = (node.constant(0, "the input").ndim) if node.is_constant(0) else len(node.shape()) + 1
    shape = np.broadcast_shapes(scale.shape, zero.shape)
    scale, zero = np.broadcast_to(scale, shape), np.broadcast_to(zero, shape)
    if not np.array_equal(zero, np.rint(zero)):
        raise node.error(f"zero point {zero.reshape(-1)[:4]}, must be whole numbers")
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    if len(axes) > 1 or len(shape) > rank:
        raise node.error(f"scale of shape {list(shape)}, must be one value or one along an axis")
    if not axes:
        return scale.reshape(()), zero.reshape(()), 0
    return scale.reshape(-1), zero.reshape(-1), axes[0] + rank - len(shape)


def _layers(node: Node, codes: IntegerCodes, scale: Array, zero: Array) -> Sequence[Layer]:
    """`codes` and a DequantizeLinear of `scale` and `zero` behind them."""
    scale, zero, axis = _grid(node, scale.astype(np.float32), zero.astype(np.float32))
    own = np.iinfo(codes.dtype)  # type: ignore[type-var]
    if zero.size and (zero.min() < own.min or zero.max() > own.max):
        raise node.error(f"zero point {zero.reshape(-1)[:4]}, must be within {own.min} .. {own.max} as its codes")
    names = tuple(node.fresh(what) for what in ("codes", "scale", "zero_point"))
    node.make_constant(names[1], scale)
    node.make_constant(names[2], zero.astype(codes.dtype))
    back = DequantizeLinear(f"{node.name}:real", names, node.outputs, axis)
    plain = codes.rounding in ("ROUND", "HALF_EVEN") and codes.divide == 1.0 and not zero.any() and codes.dtype in FUSED
    if not plain or node.is_constant(0):
        parts = (node.fresh("float_scale"), node.fresh("float_zero_point"))
        given = (node.constant(1, "the scale"), _zero(node))
        for name, value in zip(parts, given):
            node.make_constant(name, value.astype(np.float32))
        made = IntegerCodes(
            node.name,
            (node.inputs[0], *parts),
            names[:1],
            codes.low,
            codes.high,
            codes.dtype,
            codes.rounding,
            codes.divide,
        )
        return [made, back]
    whole = (codes.low, codes.high) == (own.min, own.max)
    first = names[0] if whole else node.fresh("unclipped")
    layers: list[Layer] = [QuantizeLinear(node.name, (node.inputs[0], *names[1:]), (first,), axis, codes.dtype)]
    if not whole:
        layers.append(Clip(f"{node.name}:clip", (first,), names[:1], codes.low, codes.high))
    return [*layers, back]


def _zero(node: Node) -> Array:
    return node.constant(2, "the zero point") if len(node.inputs) > 2 else np.zeros((), np.float32)


def _dtype(node: Node, low: int, high: int, zero: Array) -> str:
    """The type of codes, wide enough for their zero point (signed codes stay signed)."""
    name = storage(min(low, int(zero.min(initial=0))), max(high, int(zero.max(initial=0))))
    if name is None:
        raise node.error(f"codes {low} .. {high}, must be of 32 bits signed at most: quantise it to fewer bits")
    return name


def quant(node: Node) -> Sequence[Layer]:
    """Quant (IntQuant): inputs (x, scale, zero point, bits)."""
    scale, zero, bits = (
        node.constant(k, what) for k, what in ((1, "the scale"), (2, "the zero point"), (3, "the bits"))
    )
    signed, narrow = bool(node.attribute("signed", 1)), bool(node.attribute("narrow", 0))
    rounding = _rounding(node, "ROUND")
    low, high = _range(node, bits, signed=signed, narrow=narrow)
    if signed and float(bits.reshape(-1)[0]) == 1:  # as QONNX's executor has it: one signed bit is a sign
        low, high, rounding = -1, 1, SIGN
    codes = IntegerCodes(node.name, (), (), low, high, _dtype(node, low, high, zero), rounding)
    return _layers(node, codes, scale, zero)


def bipolar(node: Node) -> Sequence[Layer]:
    """BipolarQuant: -scale below 0, else scale; inputs (x, scale)."""
    codes = IntegerCodes(node.name, (), (), -1, 1, "int8", SIGN)
    return _layers(node, codes, node.constant(1, "the scale"), np.zeros((), np.float32))


def trunc(node: Node) -> Sequence[Layer]:
    """Trunc: codes divided by a power of two.

    Inputs (x, scale, zero point, bits, bits of the result), whose result keeps the scale; or since version 2 (x, scale, zero
    point, bits, scale of the result, bits of the result).
    """
    scale, zero, bits = (
        node.constant(k, what) for k, what in ((1, "the scale"), (2, "the zero point"), (3, "the bits"))
    )
    rounding, last = _rounding(node, "FLOOR"), node.constant(len(node.inputs) - 1, "the bits of the result")
    if len(node.inputs) == 5:
        _range(node, bits, signed=True, narrow=False)
        low, high = _range(node, bits, signed=True, narrow=False)[0], 2 ** int(bits.reshape(())) - 1
        divide, out_scale, out_zero = 2.0 ** (int(bits.reshape(())) - int(last.reshape(()))), scale, zero
    else:
        out_scale = node.constant(4, "the scale of the result")
        ratio = np.rint(np.log2(out_scale / scale))
        if ratio.min() != ratio.max():
            raise node.error("scales of input and result have several ratios, must have one")
        divide = float(2.0 ** ratio.reshape(-1)[0])
        out_zero = zero / np.float32(divide)
        signed, narrow = bool(node.attribute("signed", 1)), bool(node.attribute("narrow", 0))
        low, high = _range(node, last, signed=signed, narrow=narrow)
    codes = IntegerCodes(node.name, (), (), low, high, _dtype(node, low, high, out_zero), rounding, divide)
    return _layers(node, codes, out_scale, out_zero)


QONNX: dict[str, Callable[[Node], Layer | Sequence[Layer]]] = {
    f"{domain}:{name}": builder
    for domain in DOMAINS
    for name, builder in {"Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar, "Trunc": trunc}.items()
}


def uses_qonnx(keys: Sequence[str]) -> bool:
    """Whether operators of these keys are among them: no other runtime runs such a file."""
    return any(key in QONNX for key in keys)
