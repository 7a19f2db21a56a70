"""Operators of the digital unit between DequantizeLinear and QuantizeLinear become integer layers."""

from dataclasses import replace
from typing import Any

import numpy as np

from cimemu.layer.activation import Activation, Clip, Softmax
from cimemu.layer.arithmetic import Add, Mul
from cimemu.layer.base import Layer
from cimemu.layer.pool import AveragePool, GlobalAveragePool, MaxPool
from cimemu.layer.q_arith import QAdd, QMul, Scale
from cimemu.layer.q_pool import QAveragePool, QGlobalAveragePool
from cimemu.layer.q_softmax import QSoftmax
from cimemu.layer.q_table import Codes, QTable
from cimemu.layer.quant import QuantizeLinear
from cimemu.layer.shape import Pad, Reshape, Slice, Transpose
from cimemu.lower.graph import Graph, Quantized
from cimemu.lower.products import without_effect

MOVES = (Reshape, Transpose, Slice, MaxPool)


def lower_digital(graph: Graph, layer: Layer, quantize: QuantizeLinear) -> Layer | None:
    """The integer layer of `layer` with QuantizeLinear `quantize` behind it, or None: it stays a float island."""
    sources = [graph.quantized(name) for name in layer.inputs]
    scale, zero = graph.parameters(quantize)
    if scale.size != 1 or any(s is None or not s.per_tensor for s in sources[:1]):
        return None
    first = sources[0]
    assert first is not None
    if first.dtype not in ("int8", "uint8") or quantize.dtype not in ("int8", "uint8"):
        return None
    # ONNX Runtime's integer operators have one 8-bit type throughout; other groups it computes in float.
    one_type = quantize.dtype == first.dtype
    target = Scale(np.float32(scale[0]), int(zero[0]))
    low, high = quantize.limits
    common: dict[str, Any] = {
        "name": layer.name,
        "outputs": (quantize.outputs[0],),
        "low": low,
        "high": high,
        "dtype": quantize.storage,
    }
    if isinstance(layer, Add | Mul) and len(sources) == 2 and one_type:
        made = _of_two(QAdd if isinstance(layer, Add) else QMul, first, sources[1], {"y": target, **common})
        # With a scale or zero point of shape [1] ONNX Runtime computes these two in float.
        borders = [graph.maker[name] for name in layer.inputs] if made is not None else []
        return made if all(graph.scalars(border) for border in (*borders, quantize)) else None
    if first.value is not None:
        return None
    source = Scale(np.float32(first.scale[0]), int(first.zero_point[0]))
    if isinstance(layer, GlobalAveragePool) and one_type:
        return QGlobalAveragePool(inputs=(first.name,), x=source, y=target, **common)
    if isinstance(layer, AveragePool) and one_type:
        image = graph.network.types[layer.inputs[0]].shape[1:]
        if layer.kernel_shape == image and layer.pads == (0, 0, 0, 0):
            return QGlobalAveragePool(inputs=(first.name,), x=source, y=target, **common)
        return QAveragePool(pool=layer, inputs=(first.name,), x=source, y=target, **common)
    if isinstance(layer, Softmax):  # the one activation that looks at more than one element
        if not one_type:
            return None
        return QSoftmax(inputs=(first.name,), x=source, y=target, axis=layer.axis, flatten=layer.flatten, **common)
    if isinstance(layer, Activation) and graph.network.types[layer.inputs[0]].shape:
        if isinstance(layer, Clip) and without_effect(graph, layer, quantize):
            # ONNX Runtime drops it, also where scales are so small that it limits.
            layer = replace(layer, low=None, high=None)
        own = np.iinfo(first.dtype)
        x = Codes(source, int(own.min), int(own.max), first.dtype)
        y = Codes(target, low, high, quantize.storage)
        return QTable.of(layer, x, y, inputs=(first.name,), outputs=(quantize.outputs[0],))
    same = source == target and one_type
    if same and isinstance(layer, MOVES):
        return replace(layer, inputs=(first.name,), outputs=(quantize.outputs[0],))
    if same and isinstance(layer, Pad) and layer.mode == "constant" and layer.value == 0.0:
        return replace(layer, inputs=(first.name,), outputs=(quantize.outputs[0],), value=float(source.zero_point))
    return None


def _of_two(
    kind: type[QAdd | QMul], first: Quantized, second: Quantized | None, common: dict[str, Any]
) -> Layer | None:
    """The sum or product of two tensors, one of which may be a constant; None where they are of two forms."""
    if second is None or not second.per_tensor or second.dtype != first.dtype:
        return None
    if first.value is not None and second.value is not None:
        return None
    return kind(
        inputs=(first.name, second.name),
        a=Scale(np.float32(first.scale[0]), int(first.zero_point[0])),
        b=Scale(np.float32(second.scale[0]), int(second.zero_point[0])),
        **common,
    )
