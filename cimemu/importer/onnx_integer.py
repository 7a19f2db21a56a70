"""ConvInteger and MatMulInteger: products of integers with exact 32-bit results, straight onto macros."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.importer.onnx_nbits import KEY, matmul_nbits
from cimemu.importer.onnx_node import Node
from cimemu.importer.onnx_windows import conv
from cimemu.layer.base import Layer, TensorType
from cimemu.layer.conv import Conv
from cimemu.layer.dynamic import DynamicQuantizeLinear
from cimemu.layer.integer_matmul import IntegerMatMul
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import Accumulator


def _zero_point(node: Node, position: int) -> NDArray[np.int64] | str:
    """A constant zero point as integers, the name of a computed one, 0 where it is left out."""
    if not node.has(position):
        return np.zeros(1, np.int64)
    if not node.is_constant(position):
        made: NDArray[np.int64] | str = node.inputs[position]
        return made
    return np.asarray(node.constant(position, "the zero point")).astype(np.int64).reshape(-1)


def _layer(node: Node, weight: NDArray[Any], geometry: Geometry, shape: tuple[int, ...], layout: str) -> Layer:
    x_zero, w_zero = _zero_point(node, 2), _zero_point(node, 3)
    if isinstance(w_zero, str):
        raise node.error("the weight's zero point is computed, must be a constant")
    outputs = geometry.channels_out
    if w_zero.size not in (1, outputs):
        raise node.error(f"{w_zero.size} zero points of the weight, must be 1 or {outputs}")
    if isinstance(x_zero, str) and (node.shape(2), node.dtype(2)) != ((), node.dtype(0)):
        raise node.error(
            f"zero point '{x_zero}' of the input is {node.dtype(2)} {list(node.shape(2))} an image, must be one "
            f"{node.dtype(0)}: take that of its DynamicQuantizeLinear"
        )
    if not isinstance(x_zero, str) and x_zero.size != 1:
        raise node.error(f"{x_zero.size} zero points of the input, must be 1")
    x = node.inputs[0]
    dynamic = isinstance(x_zero, str)
    return MacroLayer(
        name=node.name,
        inputs=(x, x_zero) if isinstance(x_zero, str) else (x,),
        outputs=node.outputs,
        geometry=geometry,
        weight=np.ascontiguousarray(weight.astype(np.int16)),
        weight_zero_point=np.broadcast_to(w_zero, (outputs,)).astype(np.int64),
        input_zero_point=0 if isinstance(x_zero, str) else int(x_zero[0]),
        input_dtype=node.dtype(0),
        bias=np.zeros(outputs, np.int64),
        stage=Accumulator(),
        output_type=TensorType(shape, "int32"),
        layout=layout,
        dynamic_zero_point=dynamic,
    )


def _weight(node: Node) -> NDArray[Any]:
    if node.is_constant(0) or node.dtype(0) not in ("int8", "uint8"):
        raise node.error("its input must be computed int8 or uint8")
    weight = node.constant(1, "the weight")
    if weight.dtype.name not in ("int8", "uint8"):
        raise node.error(f"the weight is {weight.dtype}, must be int8 or uint8")
    return weight


def conv_integer(node: Node) -> Layer:
    """ConvInteger as a macro layer."""
    weight = _weight(node)
    shape = conv(node)  # reads the attributes as those of a float convolution
    assert isinstance(shape, Conv)
    if weight.ndim not in (3, 4):
        raise node.error(f"weight of shape {weight.shape}, must be a 1-D or 2-D convolution")
    channels, *image = node.shape()
    if len(image) != weight.ndim - 2:
        raise node.error(f"input of shape {node.shape()} and weight {weight.shape} have not as many axes")
    weight = weight[:, :, None, :] if weight.ndim == 3 else weight
    height, width = image if len(image) == 2 else (1, image[0])
    out = shape.output_size(height, width)
    top, left, bottom, right = shape.pads
    geometry = Geometry(
        channels_in=channels,
        height_in=height,
        width_in=width,
        channels_out=weight.shape[0],
        height_out=out[0],
        width_out=out[1],
        kernel_h=weight.shape[2],
        kernel_w=weight.shape[3],
        stride_h=shape.strides[0],
        stride_w=shape.strides[1],
        pad_top=top,
        pad_left=left,
        pad_bottom=bottom,
        pad_right=right,
        dilation_h=shape.dilations[0],
        dilation_w=shape.dilations[1],
        groups=shape.groups,
    )
    if channels != weight.shape[1] * shape.groups or min(out) < 1:
        raise node.error(f"{channels} input channels, weight {weight.shape} and group = {shape.groups} do not fit")
    return _layer(node, weight, geometry, (weight.shape[0], *out[2 - len(image) :]), "nchw")


def matmul_integer(node: Node) -> Layer:
    """MatMulInteger with a constant second operand as a macro layer; of two activations, on the digital unit."""
    if not node.is_constant(0) and not node.is_constant(1):
        return _of_activations(node)
    weight = _weight(node)
    shape = node.shape()
    if weight.ndim != 2 or not shape or shape[-1] != weight.shape[0]:
        raise node.error(f"per-image input {shape} and B {weight.shape}, must be [..., K] and [K, N]")
    positions = int(np.prod(shape[:-1], dtype=np.int64))
    geometry = Geometry(weight.shape[0], positions, 1, weight.shape[1], positions, 1)
    return _layer(node, weight.T[:, :, None, None], geometry, (*shape[:-1], weight.shape[1]), "rows")


def _of_activations(node: Node) -> Layer:
    """MatMulInteger of two activations, with constant or computed zero points."""
    zeros = [_zero_point(node, place) for place in (2, 3)]
    for name, zero in zip(("A", "B"), zeros):
        if not isinstance(zero, str) and zero.size != 1:
            raise node.error(f"{zero.size} zero points of {name}, which is computed, must be 1")
    computed = tuple(zero for zero in zeros if isinstance(zero, str))
    a, b = (None if isinstance(zero, str) else int(zero[0]) for zero in zeros)
    return IntegerMatMul(node.name, (*node.inputs[:2], *computed), node.outputs, (a, b))


def dynamic_quantize(node: Node) -> Layer:
    """DynamicQuantizeLinear."""
    return DynamicQuantizeLinear(node.name, node.data(), node.outputs)


INTEGER_OPS: dict[str, Callable[[Node], Layer | Sequence[Layer]]] = {
    KEY: matmul_nbits,
    "ConvInteger": conv_integer,
    "MatMulInteger": matmul_integer,
    "DynamicQuantizeLinear": dynamic_quantize,
}
