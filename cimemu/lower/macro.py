"""Conv, Gemm and MatMul between DequantizeLinear and QuantizeLinear become macro layers."""

import numpy as np

from cimemu.layer.base import Layer, TensorType
from cimemu.layer.conv import Conv
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.matmul import Gemm, MatMul
from cimemu.layer.quant import QuantizeLinear
from cimemu.layer.requantize import Fp32HalfEven, OutputStage, ToFloat
from cimemu.lower.graph import Graph, Quantized


def lower_product(
    graph: Graph, layer: Layer, quantize: QuantizeLinear | None, low_high: tuple[float, float] | None
) -> MacroLayer | None:
    """The macro layer of one Conv, Gemm or MatMul, or None where its operands are not quantised constants.

    `quantize` is the QuantizeLinear behind it (None: the output stays float), `low_high` real bounds of a Relu or
    Clip in between.
    """
    x = graph.quantized(layer.inputs[0])
    w = graph.quantized(layer.inputs[1])
    if x is None or w is None or w.value is None or x.value is not None or not x.per_tensor:
        return None
    if x.dtype not in ("int8", "uint8") or w.dtype not in ("int8", "uint8"):
        return None
    if isinstance(layer, Gemm) and (layer.alpha != 1.0 or layer.beta != 1.0):
        return None
    shaped = _shaped(graph, layer, w)
    if shaped is None:
        return None
    weight, geometry, layout, axis = shaped
    outputs = geometry.channels_out
    if not w.per_tensor and (w.axis % w.value.ndim != axis or w.scale.size != outputs):
        return None
    weight_scale = np.broadcast_to(w.scale, (outputs,))
    bias = _bias(graph, layer, x, weight_scale, outputs)
    if bias is None:
        return None
    product_scale = (x.scale[0] * weight_scale).astype(np.float32)
    output = layer.outputs[0] if quantize is None else quantize.outputs[0]
    stage: OutputStage
    if quantize is None:
        stage = ToFloat(scale=product_scale)
    else:
        scale, zero = graph.parameters(quantize)
        if scale.size != 1:
            return None
        low, high = _bounds(quantize, float(scale[0]), int(zero[0]), low_high)
        stage = Fp32HalfEven(
            multiplier=(product_scale / scale[0]).astype(np.float32),
            zero_point=int(zero[0]),
            low=low,
            high=high,
            dtype=quantize.storage,
        )
    return MacroLayer(
        name=layer.name,
        inputs=(x.name,),
        outputs=(output,),
        geometry=geometry,
        weight=weight,
        weight_zero_point=np.broadcast_to(w.zero_point, (outputs,)).astype(np.int64),
        input_zero_point=int(x.zero_point[0]),
        input_dtype=x.dtype,
        bias=bias,
        stage=stage,
        output_type=TensorType(
            graph.network.types[layer.outputs[0]].shape, "float32" if quantize is None else quantize.storage
        ),
        layout=layout,
    )


def _shaped(graph: Graph, layer: Layer, w: Quantized) -> tuple[np.ndarray, Geometry, str, int] | None:
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
    if value.ndim != 2 or not isinstance(layer, Gemm | MatMul):
        return None
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


def _bias(graph: Graph, layer: Layer, x: Quantized, weight_scale: np.ndarray, outputs: int) -> np.ndarray | None:
    """int64 [outputs]; an int32 bias behind a DequantizeLinear as it is, a float one rounded to the product's scale."""
    if len(layer.inputs) < 3 or not layer.inputs[2]:
        return np.zeros(outputs, np.int64)
    quantized = graph.quantized(layer.inputs[2])
    if quantized is not None and quantized.value is not None and quantized.dtype == "int32":
        return np.broadcast_to(quantized.value.reshape(-1).astype(np.int64), (outputs,)).copy()
    value = graph.network.constants.get(layer.inputs[2])
    if value is None:
        return None
    real = np.broadcast_to(np.asarray(value, np.float64).reshape(-1), (outputs,))
    return np.rint(real / (float(x.scale[0]) * weight_scale.astype(np.float64))).astype(np.int64)


def _bounds(quantize: QuantizeLinear, scale: float, zero: int, low_high: tuple[float, float] | None) -> tuple[int, int]:
    """Integer bounds of the output: the type's, and those of a Relu or Clip in between."""
    low, high = quantize.limits
    if low_high is not None:
        low = max(low, int(max(low, np.rint(low_high[0] / scale) + zero)))
        high = min(high, int(min(high, np.rint(low_high[1] / scale) + zero)))
    return low, high
