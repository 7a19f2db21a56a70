"""Float TensorFlow Lite operators that make images larger: RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR, TRANSPOSE_CONV."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from cimemu.importer.tflite_file import TflOperator
from cimemu.importer.tflite_float import FloatGraph, FloatRow
from cimemu.importer.tflite_integer import window
from cimemu.importer.tflite_rows import integers, option
from cimemu.layer.arithmetic import Add
from cimemu.layer.base import Layer
from cimemu.layer.matmul import MatMul
from cimemu.layer.resize import Resize, Rule
from cimemu.layer.shape import Reshape
from cimemu.layer.unfold import Fold, Windows


def _resize(graph: FloatGraph, op: TflOperator) -> None:
    x, target = graph.file.tensors[op.inputs[0]], graph.file.tensors[op.outputs[0]]
    inputs = [None if i < 0 else graph.file.tensors[i] for i in op.inputs]
    size = integers(op, inputs, 1, "the size").reshape(-1).tolist()
    if len(x.shape) != 4 or x.shape[0] != 1 or len(size) != 2 or min(size) < 1:
        raise op.error(f"size {size} of {list(x.shape)}, must be two of >= 1 of [1, rows, columns, channels]")
    aligned, half = bool(option(op, "AlignCorners", False)), bool(option(op, "HalfPixelCenters", False))
    if op.op == "RESIZE_BILINEAR":
        rule = Rule(mode="linear", coordinates="align_corners" if aligned else "half_pixel" if half else "asymmetric")
    elif aligned:
        rule = Rule(coordinates="align_corners", nearest="round_prefer_ceil")
    else:
        rule = Rule(coordinates="tf_half_pixel_for_nn" if half else "asymmetric", nearest="floor")
    layer = Resize(
        name=target.name,
        inputs=(graph.image(op.inputs[0]),),
        outputs=(f"{target.name}:made",),
        sizes=(x.shape[3], size[0], size[1]),
        scales=(1.0, size[0] / x.shape[1], size[1] / x.shape[2]),
        rule=rule,
        by_sizes=True,
    )
    graph.activated(op, layer, images=True)


def _biased(op: TflOperator) -> SimpleNamespace:
    """The options of MediaPipe's Convolution2DTransposeBias: three integers (padding 1 SAME or 2 VALID, strides)."""
    if len(op.options) < 12 or len(op.inputs) != 3:
        raise op.error(f"{len(op.options)} bytes of options, must be 12 of padding and strides, and three inputs")
    padding, width, height = (int(n) for n in np.frombuffer(op.options[:12], "<i4"))
    if padding not in (1, 2) or min(width, height) < 1:
        raise op.error(f"padding {padding}, strides {height} x {width}, must be 1 or 2, and >= 1")
    return SimpleNamespace(Padding=lambda: padding - 1, StrideH=lambda: height, StrideW=lambda: width)


def _transpose_conv_bias(graph: FloatGraph, op: TflOperator) -> None:
    """TRANSPOSE_CONV with its operands in another order."""
    image, weight, bias = op.inputs
    _transpose_conv(graph, replace(op, options=_biased(op), inputs=(-1, weight, image, bias)))


def _transpose_conv(graph: FloatGraph, op: TflOperator) -> None:
    """A product of every pixel with the weight, and the windows that it makes added up."""
    x, target = graph.file.tensors[op.inputs[2]], graph.file.tensors[op.outputs[0]]
    value = graph.constant(op, graph.file.tensors[op.inputs[1]])
    if value.ndim != 4 or len(x.shape) != 4 or len(target.shape) != 4 or x.shape[0] != 1:
        raise op.error(f"from {list(x.shape)} to {list(target.shape)}, must be [1, rows, columns, channels]")
    outputs, kh, kw, channels = value.shape
    counts, before, after = window(op, target.shape[1:3], (kh, kw))
    if tuple(counts) != x.shape[1:3] or x.shape[3] != channels or target.shape[3] != outputs:
        raise op.error(
            f"input of {list(x.shape[1:])}, weight {list(value.shape)} and output do not fit: convert it again"
        )
    view = Windows(
        (kh, kw),
        (op.options.StrideH(), op.options.StrideW()),
        ((before[0], after[0]), (before[1], after[1])),
        (1, 1),
    )
    name, matrix = target.name, f"{target.name}:matrix"
    graph.constants[matrix] = np.ascontiguousarray(value.transpose(3, 0, 1, 2).reshape(channels, -1))
    rows, product, folded = f"{name}:rows", f"{name}:product", f"{name}:folded"
    flat = (counts[0] * counts[1], channels)
    graph.layers.append(Reshape(name=rows, inputs=(graph.plain(op.inputs[2]),), outputs=(rows,), shape=flat))
    graph.layers.append(MatMul(name=name, inputs=(rows, matrix), outputs=(product,)))
    image = (counts[0], counts[1])
    size = (target.shape[1], target.shape[2])
    last: Layer = Fold(name=folded, inputs=(product,), outputs=(folded,), windows=view, image=image, size=size)
    if len(op.inputs) > 3 and op.inputs[3] >= 0:
        bias = graph.constant(op, graph.file.tensors[op.inputs[3]]).reshape(1, -1, 1, 1)
        graph.constants[f"{name}:bias"] = bias
        graph.layers.append(last)
        biased = f"{name}:biased"
        last = Add(name=biased, inputs=(folded, f"{name}:bias"), outputs=(biased,))
    graph.activated(op, last, images=True)


FLOAT_IMAGE_OPS: dict[str, FloatRow] = {
    "CUSTOM Convolution2DTransposeBias": _transpose_conv_bias,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "TRANSPOSE_CONV": _transpose_conv,
}
