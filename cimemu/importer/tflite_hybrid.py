"""TensorFlow Lite products of float activations with int8 weights ("dynamic range"), as LiteRT's kernels make them.

The activations are quantised when they come, integers multiplied on macros, and the sums scaled (`cimemu.layer.hybrid`). A
convolution with one scale quantises an image symmetrically; one with a scale a channel, and a depthwise one, with a zero point.
FULLY_CONNECTED and BATCH_MATMUL quantise each row by itself, as their option asymmetric_quantize_inputs says.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.importer.dynamic_products import RowCodes
from cimemu.importer.tflite_file import TflOperator, TflTensor
from cimemu.importer.tflite_float import WEIGHTED_OPS, FloatGraph, FloatRow
from cimemu.importer.tflite_float_digital import FLOAT_DIGITAL_OPS
from cimemu.importer.tflite_integer import window
from cimemu.importer.tflite_rows import option
from cimemu.layer.base import TensorType
from cimemu.layer.hybrid import HybridQuantize, HybridScale
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import Accumulator
from cimemu.layer.shape import Reshape
from cimemu.layer.tfl_whole import image_shape

INTEGERS = ("int8", "uint8")


def _or_float(build: FloatRow, plain: FloatRow) -> FloatRow:
    """`build` where the weight is of integers, else `plain`."""

    def row(graph: FloatGraph, op: TflOperator) -> None:
        weight = graph.file.tensors[op.inputs[1]]
        (build if weight.value is not None and weight.dtype in INTEGERS else plain)(graph, op)

    return row


def _weight(op: TflOperator, w: TflTensor, axis: int) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Values with the outputs in front, and a scale for each."""
    assert w.value is not None
    if w.dtype != "int8":
        raise op.error(f"weight {w.name} is {w.dtype} beside float activations, must be int8: convert it again")
    outputs = w.value.shape[axis]
    if w.zero_point.any():
        raise op.error(f"weight {w.name} has zero point {w.zero_point[0]}, must be 0 beside float activations")
    if len(w.scale) not in (1, outputs) or (len(w.scale) > 1 and w.axis % w.value.ndim != axis):
        raise op.error(
            f"weight {w.name} has {len(w.scale)} scales on axis {w.axis}, must have 1, or {outputs} on axis {axis}: "
            "convert it again"
        )
    values = np.moveaxis(w.value, axis, 0).astype(np.int16)
    return np.ascontiguousarray(values), np.broadcast_to(w.scale, (outputs,)).astype(np.float32)


def _bias(graph: FloatGraph, op: TflOperator, outputs: int) -> NDArray[np.float32]:
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return np.zeros(outputs, np.float32)
    bias = graph.constant(op, graph.file.tensors[op.inputs[2]]).reshape(-1)
    if bias.shape != (outputs,):
        raise op.error(f"bias of shape {list(bias.shape)}, must be [{outputs}]: convert it again")
    return bias.astype(np.float32)


def _product(
    name: str, inputs: tuple[str, ...], geometry: Geometry, weight: NDArray[np.int16], **given: Any
) -> MacroLayer:
    """The sums of codes times weights."""
    outputs = geometry.channels_out
    return MacroLayer(
        name=name,
        inputs=inputs,
        outputs=(name,),
        geometry=geometry,
        weight=weight,
        weight_zero_point=np.zeros(outputs, np.int64),
        input_zero_point=0,
        input_dtype="int8",
        bias=np.zeros(outputs, np.int64),
        stage=Accumulator(),
        **given,
    )


def _conv(graph: FloatGraph, op: TflOperator) -> None:
    depthwise = op.op == "DEPTHWISE_CONV_2D"
    x, w, target = (graph.file.tensors[i] for i in (*op.inputs[:2], op.outputs[0]))
    values, scale = _weight(op, w, 3 if depthwise else 0)
    weight = values if depthwise else np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    channels, outputs = x.shape[3], len(weight)
    groups = channels // weight.shape[1]
    if channels % weight.shape[1] or outputs % groups:
        raise op.error(f"weight of shape {list(w.shape)} does not fit {channels} input channels: convert it again")
    by_channel = depthwise or groups > 1 or bool((scale != scale[0]).any())
    out, before, after = window(op, x.shape[1:3], weight.shape[2:])
    geometry = Geometry(
        channels_in=channels,
        height_in=x.shape[1],
        width_in=x.shape[2],
        channels_out=outputs,
        height_out=out[0],
        width_out=out[1],
        kernel_h=weight.shape[2],
        kernel_w=weight.shape[3],
        stride_h=op.options.StrideH(),
        stride_w=op.options.StrideW(),
        pad_top=before[0],
        pad_left=before[1],
        pad_bottom=after[0],
        pad_right=after[1],
        dilation_h=op.options.DilationHFactor(),
        dilation_w=op.options.DilationWFactor(),
        groups=groups,
    )
    name = target.name
    codes, steps, zero, sums, real = (f"{name}:{what}" for what in ("codes", "scale", "zero", "sums", "real"))
    graph.layers.append(
        HybridQuantize(codes, (graph.plain(op.inputs[0]),), (codes, steps, zero), asymmetric=by_channel)
    )
    graph.layers.append(
        _product(
            sums,
            (codes, zero) if by_channel else (codes,),
            geometry,
            weight,
            output_type=TensorType((*out, outputs), "int32"),
            layout="nhwc",
            dynamic_zero_point=by_channel,
        )
    )
    scaled = HybridScale(
        real,
        (sums, steps),
        (real,),
        weight_scale=scale,
        bias=_bias(graph, op, outputs),
        column_sums=np.zeros(outputs, np.int64),
        axis=3,
        weight_first=by_channel and not depthwise,
    )
    graph.activated(op, scaled, images=False)


def _fully_connected(graph: FloatGraph, op: TflOperator) -> None:
    weight, scale = _weight(op, graph.file.tensors[op.inputs[1]], 0)
    if option(op, "WeightsFormat", 0):
        raise op.error(f"weights_format = {option(op, 'WeightsFormat', 0)} (shuffled), must be 0: convert it again")
    _rows(graph, op, weight, scale, _bias(graph, op, len(weight)))


def _batch_matmul(graph: FloatGraph, op: TflOperator) -> None:
    """A product with a stored matrix; the matrix of a batch of them is refused."""
    w = graph.file.tensors[op.inputs[1]]
    assert w.value is not None
    if option(op, "AdjX", False) or w.value.size != int(np.prod(w.shape[-2:], dtype=np.int64)) or len(w.scale) != 1:
        raise op.error(
            f"weight of shape {list(w.shape)} with {len(w.scale)} scales beside float activations, must be one matrix of one "
            "scale, and its left operand not turned: convert it again"
        )
    matrix = replace(w, value=w.value.reshape(w.shape[-2:]), axis=0)
    weight, scale = _weight(op, matrix, 0 if option(op, "AdjY", False) else 1)
    _rows(graph, op, weight, scale, np.zeros(len(weight), np.float32))


def _rows(
    graph: FloatGraph, op: TflOperator, weight: NDArray[np.int16], scale: NDArray[np.float32], bias: NDArray[np.float32]
) -> None:
    """Rows of the input times `weight` [outputs, inputs], each quantised by itself."""
    x, target = graph.file.tensors[op.inputs[0]], graph.file.tensors[op.outputs[0]]
    outputs, width = weight.shape
    elements = int(np.prod(x.shape, dtype=np.int64))
    rows = elements // width
    if elements % width or int(np.prod(target.shape, dtype=np.int64)) != rows * outputs:
        raise op.error(
            f"from {list(x.shape)} to {list(target.shape)} with a weight of {outputs} x {width}: convert it again"
        )
    name, flat = target.name, f"{target.name}:rows"
    asymmetric = bool(option(op, "AsymmetricQuantizeInputs", False))
    made = RowCodes(weight.T, scale, bias, asymmetric).layers(
        f"{name}:real", flat, rows, op.shares, lambda what, _: what
    )
    graph.layers.append(Reshape(name=flat, inputs=(graph.plain(op.inputs[0]),), outputs=(flat,), shape=(rows, width)))
    graph.layers.extend(made)
    shape = image_shape(target.shape)
    shaped = Reshape(name=f"{name}:shaped", inputs=(f"{name}:real",), outputs=(f"{name}:shaped",), shape=shape)
    graph.activated(op, shaped, images=False)


PLAIN: dict[str, FloatRow] = {**WEIGHTED_OPS, **FLOAT_DIGITAL_OPS}
HYBRID_OPS: dict[str, FloatRow] = {
    name: _or_float(build, PLAIN[name])
    for name, build in (
        ("BATCH_MATMUL", _batch_matmul),
        ("CONV_2D", _conv),
        ("DEPTHWISE_CONV_2D", _conv),
        ("FULLY_CONNECTED", _fully_connected),
    )
}
