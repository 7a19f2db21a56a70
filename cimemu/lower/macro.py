"""Conv, Gemm and MatMul between DequantizeLinear and QuantizeLinear become macro layers."""

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Layer, TensorType
from cimemu.layer.conv import Conv
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.matmul import Gemm, MatMul
from cimemu.layer.quant import QuantizeLinear
from cimemu.layer.requantize import Fp32HalfEven, OutputStage, RealBias, ToFloat
from cimemu.lower.bias import Real, product_bias
from cimemu.lower.graph import Graph, Quantized
from cimemu.lower.left import is_float
from cimemu.lower.limits import check_operands, check_output, check_weight_scales
from cimemu.lower.products import Bounds, Group


def lower_product(graph: Graph, group: Group, quantize: QuantizeLinear | None) -> MacroLayer | None:
    """The macro layer of a Conv, Gemm or MatMul; None where it runs on the digital unit: two activations meet, or the file
    leaves it in float.

    `quantize` is the QuantizeLinear behind it (None: the output stays float). Raises WorkloadError, with the cause, for a
    product of a constant that cannot run on macros.
    """
    layer = group.core
    if layer.inputs[1] not in graph.network.constants or is_float(graph, layer):
        return None
    x, w = graph.quantized(layer.inputs[0]), graph.quantized(layer.inputs[1])
    assert x is not None
    assert w is not None
    check_operands(layer, x, w)
    weight, geometry, layout, axis = _shaped(graph, layer, w)
    outputs = geometry.channels_out
    check_weight_scales(layer, w, axis, outputs)
    weight_scale = np.broadcast_to(w.scale, (outputs,))
    bias, real = product_bias(graph, group, x, weight_scale, quantized=quantize is not None)
    name = layer.outputs[0] if quantize is None else quantize.outputs[0]
    dtype = "float32" if quantize is None else quantize.storage
    return MacroLayer(
        name=layer.name,
        inputs=(x.name,),
        outputs=(name,),
        geometry=geometry,
        weight=weight,
        weight_zero_point=np.broadcast_to(w.zero_point, (outputs,)).astype(np.int64),
        input_zero_point=int(x.zero_point[0]),
        input_dtype=x.dtype,
        bias=bias,
        stage=_stage(graph, group, quantize, (x.scale[0], weight_scale), real),
        output_type=TensorType(graph.network.types[layer.outputs[0]].shape, dtype),
        layout=layout,
        shares=layer.shares if isinstance(layer, MatMul) else "",
    )


def _stage(
    graph: Graph,
    group: Group,
    quantize: QuantizeLinear | None,
    scales: tuple[np.float32, NDArray[np.float32]],
    real: Real | None,
) -> OutputStage:
    """From the accumulator to the output: ONNX Runtime's rule for one fused operator, or a real bias added."""
    with np.errstate(over="ignore", under="ignore"):  # products of scales may be 0 or infinite, as ONNX Runtime's are
        product_scale = (scales[0] * scales[1]).astype(np.float32)
    if quantize is None and real is None:
        return ToFloat(scale=product_scale)
    scale, zero, low, high, dtype = None, 0, 0, 0, "float32"
    if quantize is not None:
        check_output(group.core, quantize, *graph.parameters(quantize))
        (scale,), (zero,) = graph.parameters(quantize)
        low, high = _bounds(quantize, scale, int(zero), group.bounds)
        dtype = quantize.storage
    if real is None:
        assert scale is not None
        with np.errstate(over="ignore", under="ignore"):
            multiplier = (product_scale / scale).astype(np.float32)
        return Fp32HalfEven(multiplier, int(zero), low, high, dtype)
    exact = np.float64(scales[0]) * scales[1].astype(np.float64)
    return RealBias(exact, real.value, scale, int(zero), low, high, dtype, real.dropped)


def _shaped(graph: Graph, layer: Layer, w: Quantized) -> tuple[np.ndarray, Geometry, str, int]:
    """(weight [outputs, inputs / groups, kh, kw], geometry, layout, the weight's output axis)."""
    types = graph.network.types
    source, target = types[layer.inputs[0]], types[layer.outputs[0]]
    assert w.value is not None
    value = w.value.astype(np.int16)
    if isinstance(layer, Conv):
        if value.ndim == 3:
            value = value[:, :, None, :]
        channels, *image = source.shape
        height, width = image if len(image) == 2 else (1, image[0])
        out = target.shape[1:] if len(target.shape) == 3 else (1, target.shape[1])
        top, left, bottom, right = layer.pads
        geometry = Geometry(
            channels_in=channels,
            height_in=height,
            width_in=width,
            channels_out=value.shape[0],
            height_out=out[0],
            width_out=out[1],
            kernel_h=value.shape[2],
            kernel_w=value.shape[3],
            stride_h=layer.strides[0],
            stride_w=layer.strides[1],
            pad_top=top,
            pad_left=left,
            pad_bottom=bottom,
            pad_right=right,
            dilation_h=layer.dilations[0],
            dilation_w=layer.dilations[1],
            groups=layer.groups,
        )
        return value, geometry, "nchw", 0
    if value.ndim != 2:
        raise layer.error(f"weight of shape {list(value.shape)}, must be a matrix [K, N]: one product for all")
    transposed = isinstance(layer, Gemm) and layer.trans_b
    matrix = value if transposed else value.T  # [N, K]
    positions = int(np.prod(source.shape[:-1], dtype=np.int64)) if len(source.shape) > 1 else 1
    geometry = Geometry(
        channels_in=matrix.shape[1],
        height_in=positions,
        width_in=1,
        channels_out=matrix.shape[0],
        height_out=positions,
        width_out=1,
    )
    return np.ascontiguousarray(matrix)[:, :, None, None], geometry, "rows", 0 if transposed else 1


def _bounds(quantize: QuantizeLinear, scale: np.float32, zero: int, real: Bounds | None) -> tuple[int, int]:
    """Integer bounds of the output: the type's, and those of a Relu or Clip in between, as QuantizeLinear rounds them."""
    low, high = quantize.limits
    if real is not None:
        first, last = (np.rint(np.float32(edge) / scale) + np.float32(zero) for edge in real)
        low, high = int(np.clip(first, low, high)), int(np.clip(last, low, high))
    return low, high
