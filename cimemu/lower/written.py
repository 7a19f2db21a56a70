"""Products of two activations that macros can multiply: integers times integers, whose right operand is written into cells."""

from collections.abc import Sequence

import numpy as np

from cimemu.layer.activation import Clip
from cimemu.layer.attention import Attention
from cimemu.layer.base import Layer
from cimemu.layer.einsum import Einsum
from cimemu.layer.integer_matmul import IntegerMatMul
from cimemu.layer.matmul import MatMul
from cimemu.layer.quant import QuantizeLinear
from cimemu.layer.requantize import (
    Accumulator,
    FixedPoint,
    FloatOnce,
    Fp32HalfEven,
    OutputStage,
    ToFloat,
    WideFixedPoint,
)
from cimemu.layer.tfl_products import TflBatchMatMul
from cimemu.layer.written_product import Factor, WrittenProduct
from cimemu.lower.graph import Graph, Quantized
from cimemu.lower.limits import BYTES, HELD
from cimemu.lower.products import Group, alone, behind
from cimemu.workload.network import Network


def written_layers(network: Network) -> list[Layer]:
    """The layers of a lowered network, its integer products of two activations as `WrittenProduct`s.

    A product between DequantizeLinear of two activations becomes one with the QuantizeLinear behind it where all three are
    of 8 bits; else its result is float. Products of which an operand is float stay as they are.
    """
    graph = Graph(network)
    made: dict[int, WrittenProduct] = {}  # id of the layer they replace (the last of its group)
    absorbed: set[int] = set()
    for layer in network.layers:
        if not isinstance(layer, QuantizeLinear):
            continue
        group = behind(graph, layer)
        product = None if group is None else _quantised(graph, group, layer)
        if product is not None and group is not None:
            made[id(layer)] = product
            absorbed |= {id(group.core), *(id(middle) for middle in group.absorbed)}
    for layer in network.layers:
        if id(layer) in absorbed:
            continue
        product = _alone(graph, layer)
        if product is not None:
            made[id(layer)] = product
    return [made.get(id(layer), layer) for layer in network.layers if id(layer) not in absorbed]


def left_digital(network: Network) -> tuple[Layer, ...]:
    """Layers of a network lowered for macros that multiply two activations on the digital unit all the same: an operand is
    float, or the operator is Attention or Einsum."""
    if network.activations != "macros":
        return ()
    kinds = (MatMul, Attention, Einsum, TflBatchMatMul)
    return tuple(
        layer
        for layer in network.layers
        if isinstance(layer, kinds) and sum(name in network.types for name in layer.inputs[:2]) == 2
    )


def _alone(graph: Graph, layer: Layer) -> WrittenProduct | None:
    """The form on macros of one layer, None where it is no product of two activations in integers."""
    types = graph.network.types
    if not all(name in types for name in layer.inputs[:2]):
        return None
    if isinstance(layer, IntegerMatMul):
        factors = [
            _whole_range(types[name].shape, types[name].dtype, zero or 0)
            for name, zero in zip(layer.inputs[:2], layer.zeros)
        ]
        computed = (layer.zeros[0] is None, layer.zeros[1] is None)
        return _product(graph, layer, layer.inputs, factors, Accumulator(), computed=computed)
    if isinstance(layer, TflBatchMatMul):
        zeros = (layer.zero_a, layer.zero_b)
        factors = [
            _whole_range(shape, types[name].dtype, zero, transposed=swapped)
            for shape, name, zero, swapped in zip(layer.shapes, layer.inputs, zeros, layer.adjoint)
        ]
        return _product(graph, layer, layer.inputs, factors, _tfl_stage(layer, types[layer.inputs[0]].dtype))
    if isinstance(layer, MatMul):
        return _dequantised(graph, alone(layer))
    return None


def _tfl_stage(layer: TflBatchMatMul, dtype: str) -> OutputStage:
    limits, (q31, shift) = np.iinfo(np.dtype(dtype)), layer.scale
    kind = WideFixedPoint if dtype == "int16" else FixedPoint
    return kind(np.array([q31]), np.array([shift]), layer.zero_y, int(limits.min), int(limits.max), dtype)


def _dequantised(graph: Graph, group: Group) -> WrittenProduct | None:
    """A product between DequantizeLinear, whose result is float."""
    found = _operands(graph, group.core)
    if found is None:
        return None
    a, b = found
    stage: OutputStage
    if a.dtype in BYTES and b.dtype in BYTES:
        with np.errstate(over="ignore", under="ignore"):
            stage = ToFloat(scale=(a.scale * b.scale).astype(np.float32))
    else:  # ONNX Runtime multiplies floats: the value that all orders of its sums round to
        stage = FloatOnce(scale=a.scale.astype(np.float64) * b.scale.astype(np.float64))
    return _product(graph, group.core, (a.name, b.name), _factors(graph, a, b), stage, scale=_real(a, b))


def _quantised(graph: Graph, group: Group, quantize: QuantizeLinear) -> WrittenProduct | None:
    """A product that ONNX Runtime takes in together with the QuantizeLinear behind it, None where it does not."""
    found = _operands(graph, group.core) if isinstance(group.core, MatMul) and not group.bias else None
    scale, zero = graph.parameters(quantize)
    if found is None or scale.size != 1 or quantize.dtype not in BYTES:
        return None
    a, b = found
    if a.dtype not in BYTES or b.dtype not in BYTES:
        return None
    low, high = quantize.limits
    if group.bounds is not None:
        ends = (np.rint(np.float32(end) / scale[0]) + np.float32(zero[0]) for end in group.bounds)
        low, high = (int(np.clip(end, *quantize.limits)) for end in ends)
    with np.errstate(over="ignore", under="ignore"):
        multiplier = ((a.scale * b.scale).astype(np.float32) / scale).astype(np.float32)
    stage = Fp32HalfEven(multiplier, int(zero[0]), low, high, quantize.storage)
    return _product(
        graph, group.core, (a.name, b.name), _factors(graph, a, b), stage, quantize.outputs, scale=_real(a, b)
    )


def _operands(graph: Graph, layer: Layer) -> tuple[Quantized, Quantized] | None:
    """What both operands dequantise, where they are activations of one scale each."""
    types = graph.network.types
    if any(name not in types or len(types[name].shape) < 2 for name in layer.inputs[:2]):
        return None
    a, b = (graph.quantized(name) for name in layer.inputs[:2])
    if a is None or b is None or not (a.per_tensor and b.per_tensor) or a.dtype not in HELD or b.dtype not in HELD:
        return None
    return a, b


def _real(a: Quantized, b: Quantized) -> float:
    return float(a.scale[0]) * float(b.scale[0])


def _factors(graph: Graph, a: Quantized, b: Quantized) -> list[Factor]:
    return [_factor(graph, one) for one in (a, b)]


def _factor(graph: Graph, source: Quantized) -> Factor:
    """An operand with the range that its maker keeps to: fewer than 8 bits are a Clip of integers behind a QuantizeLinear."""
    maker = graph.maker.get(source.name)
    limits = np.iinfo(np.dtype(source.dtype))
    low, high = int(limits.min), int(limits.max)
    if isinstance(maker, QuantizeLinear):
        low, high = maker.limits
    if isinstance(maker, Clip):
        low = low if maker.low is None else max(low, int(np.ceil(maker.low)))
        high = high if maker.high is None else min(high, int(np.floor(maker.high)))
    return Factor(graph.network.types[source.name].shape, False, low, high, int(source.zero_point[0]))


def _whole_range(shape: tuple[int, ...], dtype: str, zero: int = 0, *, transposed: bool = False) -> Factor:
    limits = np.iinfo(np.dtype(dtype))
    return Factor(shape, transposed, int(limits.min), int(limits.max), zero)


def _product(
    graph: Graph,
    layer: Layer,
    inputs: Sequence[str],
    factors: Sequence[Factor],
    stage: OutputStage,
    outputs: Sequence[str] = (),
    *,
    computed: tuple[bool, bool] = (False, False),
    scale: float = 1.0,
) -> WrittenProduct:
    names = tuple(outputs or layer.outputs)
    a, b = factors
    return WrittenProduct(layer.name, tuple(inputs), names, a, b, stage, graph.network.types[names[0]], computed, scale)
