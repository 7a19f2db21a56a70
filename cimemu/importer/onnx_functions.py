"""Builders of the ONNX operators that compute functions of elements, and functions along an axis."""

import numpy as np
import onnx

from cimemu.importer.onnx_moves import cast_to
from cimemu.importer.onnx_node import Node
from cimemu.importer.onnx_ops import Builder, plain, with_floats
from cimemu.layer import along_axis, arrange, comparison, elementary, fourier, rectifier
from cimemu.layer.base import Layer


def _swish(node: Node) -> Layer:
    return rectifier.Swish(node.name, node.data(), node.outputs, float(node.attribute("alpha", 1.0)))


def _swiglu(node: Node) -> Layer:
    return rectifier.SwiGLU(node.name, node.data(), node.outputs, float(node.attribute("alpha", 1.0)))


def _dft(node: Node) -> Layer:
    shape, rank = node.shape(), len(node.shape()) + 1
    if rank < 3:
        raise node.error(
            f"a signal of per-image shape {shape}, must have an axis and parts: the batch axis stays as it is"
        )
    axis = int(node.attribute("axis", 1))
    axis = node.normal_axis(node.size(2, "the axis") if node.has(2) else axis if node.opset < 20 else -2, rank)
    if axis in (0, rank - 1):
        raise node.error(
            f"axis = {axis} is the batch axis, or that of real and imaginary parts: images must stay apart"
        )
    flags = bool(node.attribute("inverse", 0)), bool(node.attribute("onesided", 0))
    length = shape[axis - 1] if flags != (True, True) else 2 * (shape[axis - 1] - 1)
    length = node.size(1, "the length") if node.has(1) else length
    return fourier.DFT(node.name, node.inputs[:1], node.outputs, axis, length, *flags)


def _is_inf(node: Node) -> Layer:
    signs = (bool(node.attribute(f"detect_{sign}", 1)) for sign in ("negative", "positive"))
    return comparison.IsInf(node.name, node.data(), node.outputs, *signs)


def _mod(node: Node) -> Layer:
    fmod = bool(node.attribute("fmod", 0))
    if not fmod and node.opset < 28 and np.dtype(node.dtype()).kind == "f":
        raise node.error(f"fmod = 0 of {node.dtype()}, must be 1: a remainder of floats has the dividend's sign")
    return comparison.Mod(node.name, node.data(), node.outputs, fmod)


def _bit_shift(node: Node) -> Layer:
    direction = node.attribute("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise node.error(f"direction = {direction}, must be LEFT or RIGHT")
    return comparison.BitShift(node.name, node.data(), node.outputs, direction == "RIGHT")


def _cast_like(node: Node) -> Layer:
    node.attribute("saturate")
    node.attribute("round_mode")
    return cast_to(node, node.stored_type(1))


def _bit_cast(node: Node) -> Layer:
    code = int(node.attribute("to", 0))
    try:
        name = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(code)).name
    except KeyError:
        name = "an unknown type"
    if name not in ("float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"):
        raise node.error(f"to = {name} at run time, must be one of the plain types of NumPy: export in float32")
    return arrange.BitCast(node.name, node.data(1), node.outputs, name)


def axis_of(node: Node, default: int, rank: int | None = None) -> int:
    """The attribute `axis` as an axis of the whole tensor; the batch axis is an error."""
    rank = len(node.shape()) + 1 if rank is None else rank
    axis = node.normal_axis(int(node.attribute("axis", default)), rank)
    if axis == 0:
        raise node.error("axis = 0 is the batch axis: images must stay apart")
    return axis


def _along_axes(layer: type[along_axis.AlongAxes]) -> Builder:
    def build(node: Node) -> Layer:
        old, rank = node.opset < 13, len(node.shape()) + 1  # before: over all axes from `axis` on
        axis = axis_of(node, 1 if old else -1)
        return layer(node.name, node.data(), node.outputs, axis, old and axis < rank - 1)

    return build


def _cumulative(layer: type[along_axis.Cumulative]) -> Builder:
    def build(node: Node) -> Layer:
        axis = node.normal_axis(node.size(1, "the axis"), len(node.shape()) + 1)
        flags = (bool(node.attribute(key, 0)) for key in ("exclusive", "reverse"))
        return layer(node.name, node.data(1), node.outputs, axis, *flags)

    return build


def _arg_best(layer: type[along_axis.ArgBest]) -> Builder:
    def build(node: Node) -> Layer:
        flags = bool(node.attribute("keepdims", 1)), bool(node.attribute("select_last_index", 0))
        return layer(node.name, node.data(), node.outputs, axis_of(node, 0), *flags)

    return build


def _top_k(node: Node) -> Layer:
    node.attribute("sorted")  # sorted results are also right where no order is asked for
    k = node.size(1, "k") if node.has(1) else int(node.attribute("k", 0))
    largest = bool(node.attribute("largest", 1))
    return along_axis.TopK(node.name, node.data(1), node.results(2), axis_of(node, -1), k, largest)


FUNCTIONS: dict[str, Builder] = {
    "Acos": plain(elementary.Acos),
    "Acosh": plain(elementary.Acosh),
    "ArgMax": _arg_best(along_axis.ArgMax),
    "ArgMin": _arg_best(along_axis.ArgMin),
    "Asin": plain(elementary.Asin),
    "Asinh": plain(elementary.Asinh),
    "Atan": plain(elementary.Atan),
    "Atanh": plain(elementary.Atanh),
    "BitCast": _bit_cast,
    "BitShift": _bit_shift,
    "BitwiseAnd": plain(comparison.BitwiseAnd),
    "BitwiseNot": plain(comparison.BitwiseNot),
    "BitwiseOr": plain(comparison.BitwiseOr),
    "BitwiseXor": plain(comparison.BitwiseXor),
    "CastLike": _cast_like,
    "Celu": with_floats(rectifier.Celu, alpha=1.0),
    "Cos": plain(elementary.Cos),
    "Cosh": plain(elementary.Cosh),
    "CumProd": _cumulative(along_axis.CumProd),
    "CumSum": _cumulative(along_axis.CumSum),
    "DFT": _dft,
    "Det": plain(arrange.Det),
    "GreaterOrEqual": plain(comparison.GreaterOrEqual),
    "Hardmax": _along_axes(along_axis.Hardmax),
    "IsInf": _is_inf,
    "IsNaN": plain(comparison.IsNaN),
    "LessOrEqual": plain(comparison.LessOrEqual),
    "Log": plain(elementary.Log),
    "LogSoftmax": _along_axes(along_axis.LogSoftmax),
    "Mean": plain(comparison.Mean),
    "Mish": plain(rectifier.Mish),
    "Mod": _mod,
    "Selu": with_floats(rectifier.Selu, alpha=1.6732631921768188, gamma=1.0507010221481323),
    "Shrink": with_floats(rectifier.Shrink, bias=0.0, lambd=0.5),
    "Sign": plain(comparison.Sign),
    "Sin": plain(elementary.Sin),
    "Sinh": plain(elementary.Sinh),
    "Softsign": plain(rectifier.Softsign),
    "SwiGLU": _swiglu,
    "Swish": _swish,
    "Tan": plain(elementary.Tan),
    "ThresholdedRelu": with_floats(rectifier.ThresholdedRelu, alpha=1.0),
    "TopK": _top_k,
    "Xor": plain(comparison.Xor),
}
