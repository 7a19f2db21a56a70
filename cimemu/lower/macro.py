"""Conv, Gemm and MatMul between DequantizeLinear and QuantizeLinear become macro layers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Layer, TensorType
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.matmul import MatMul
from cimemu.layer.quant import QuantizeLinear
from cimemu.layer.requantize import Fp32HalfEven, OutputStage, RealBias, ToFloat
from cimemu.layer.wide import WIDE
from cimemu.lower.bias import Real, product_bias
from cimemu.lower.graph import Graph
from cimemu.lower.left import is_float
from cimemu.lower.limits import BYTES, check_operands, check_output, check_weight_scales
from cimemu.lower.products import Bounds, Group
from cimemu.lower.shaped import output_axis, shaped
from cimemu.lower.wide import lower_wide


def lower_product(graph: Graph, group: Group, quantize: QuantizeLinear | None) -> Sequence[Layer] | None:
    """The macro layer of a Conv, Gemm or MatMul, between layers that take apart and add where an operand has 16 bits; None where
    it runs on the digital unit: two activations meet, or the file leaves it in float.

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
    if x.dtype in WIDE or w.dtype in WIDE:
        check_weight_scales(layer, w, *output_axis(graph, layer))
        return lower_wide(graph, group, x, w)
    assert w.value is not None
    weight, geometry, layout, axis = shaped(graph, layer, w.value.astype(np.int16))
    outputs = geometry.channels_out
    check_weight_scales(layer, w, axis, outputs)
    weight_scale = np.broadcast_to(w.scale, (outputs,))
    bias, real = product_bias(graph, group, x, weight_scale, quantized=quantize is not None)
    name = layer.outputs[0] if quantize is None else quantize.outputs[0]
    dtype = "float32" if quantize is None else quantize.storage
    made = MacroLayer(
        name=layer.name,
        inputs=(x.name,),
        outputs=(name,),
        geometry=geometry,
        weight=weight,
        weight_zero_point=np.broadcast_to(w.zero_point, (outputs,)).astype(np.int64),
        input_zero_point=int(x.zero_point[0]),
        input_dtype=x.dtype,
        bias=bias,
        stage=_stage(graph, group, quantize, (x.scale[0], weight_scale), real, rounded_once=bool(w.stored)),
        output_type=TensorType(graph.network.types[layer.outputs[0]].shape, dtype),
        layout=layout,
        shares=layer.shares if isinstance(layer, MatMul) else "",
    )
    return [made]


def _stage(
    graph: Graph,
    group: Group,
    quantize: QuantizeLinear | None,
    scales: tuple[np.float32, NDArray[np.float32]],
    real: Real | None,
    *,
    rounded_once: bool,
) -> OutputStage:
    """From the accumulator to the output: ONNX Runtime's rule for one fused operator, or a real bias added.

    A float output is rounded once where ONNX Runtime has no integer operator for such weights (`rounded_once`).
    """
    with np.errstate(over="ignore", under="ignore"):  # products of scales may be 0 or infinite, as ONNX Runtime's are
        product_scale = (scales[0] * scales[1]).astype(np.float32)
    if quantize is None and real is None and rounded_once:
        real = Real(np.zeros(len(scales[1]), np.float32), dropped=False)
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


def integer_form(graph: Graph, product: Layer, quantize: QuantizeLinear) -> bool:
    """Whether ONNX Runtime has an integer operator for a product and the QuantizeLinear behind it: 8 bits throughout.

    Of other widths it multiplies in float32, and the QuantizeLinear is an operator of its own. So it is for a product that
    the file leaves in float.
    """
    if product.inputs[1] not in graph.network.constants or is_float(graph, product):
        return False
    x, w = graph.quantized(product.inputs[0]), graph.quantized(product.inputs[1])
    assert x is not None
    assert w is not None
    return not w.stored and quantize.dtype in BYTES and x.dtype in BYTES and w.dtype in BYTES


def _bounds(quantize: QuantizeLinear, scale: np.float32, zero: int, real: Bounds | None) -> tuple[int, int]:
    """Integer bounds of the output: the type's, and those of a Relu or Clip in between, as QuantizeLinear rounds them."""
    low, high = quantize.limits
    if real is not None:
        first, last = (np.rint(np.float32(edge) / scale) + np.float32(zero) for edge in real)
        low, high = int(np.clip(first, low, high)), int(np.clip(last, low, high))
    return low, high
