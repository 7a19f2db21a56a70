"""Products in front of a QuantizeLinear: what ONNX Runtime sees as one operator, with its bias."""

from dataclasses import dataclass

import numpy as np

from cimemu.layer.activation import Clip, LeakyRelu, Relu, Sigmoid, Softmax
from cimemu.layer.arithmetic import Add, Mul
from cimemu.layer.base import Layer
from cimemu.layer.conv import Conv
from cimemu.layer.float32 import to_int32
from cimemu.layer.matmul import Gemm, MatMul
from cimemu.layer.pool import AveragePool, GlobalAveragePool
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear
from cimemu.lower.graph import Graph

PRODUCTS = (Conv, Gemm, MatMul)
# Other operators that ONNX Runtime takes into an integer operator together with DequantizeLinear and QuantizeLinear.
FUSED = (Add, Mul, AveragePool, GlobalAveragePool, LeakyRelu, Sigmoid, Softmax)
Bounds = tuple[float, float]
SLACK = float(np.finfo(np.float32).eps)  # of ONNX Runtime's comparison of a Clip's reals, whatever the scale


@dataclass(frozen=True, eq=False)
class Group:
    """The layers in front of a QuantizeLinear that nobody else reads: a core, an Add of its bias, activations."""

    core: Layer
    bias: str  # the float tensor that is added, "" for none
    absorbed: tuple[Layer, ...]  # all but the core; behind another core than a product, activations without effect
    bounds: Bounds | None  # real bounds of Relu and Clip behind a product


def alone(core: Layer) -> Group:
    """A product with no QuantizeLinear behind it."""
    return Group(core, _third(core), (), None)


def behind(graph: Graph, quantize: QuantizeLinear) -> Group | None:
    """The group in front of `quantize`, None where somebody else reads what it would take in."""
    name = quantize.inputs[0]
    absorbed: list[Layer] = []
    bounds: Bounds | None = None
    while graph.only_reader(name):
        maker = graph.maker.get(name)
        if maker is None or isinstance(maker, DequantizeLinear | QuantizeLinear):
            return None
        front = graph.maker.get(maker.inputs[0]) if maker.inputs else None
        if isinstance(maker, Relu | Clip) and (isinstance(front, PRODUCTS) or _added(graph, front) is not None):
            low, high = _bounds(maker)
            bounds = (low, high) if bounds is None else (max(low, bounds[0]), min(high, bounds[1]))
            absorbed.append(maker)
            name = maker.inputs[0]
            continue
        if isinstance(_beneath(graph, maker), FUSED) and (dropped := without_effect(graph, maker, quantize)):
            absorbed += dropped
            name = dropped[-1].inputs[0]
            continue
        product = _added(graph, maker)
        if product is not None:
            core, bias = product
            return Group(core, bias, (*absorbed, maker), bounds)
        return Group(maker, _third(maker), tuple(absorbed), bounds)
    return None


def _third(core: Layer) -> str:
    return core.inputs[2] if isinstance(core, PRODUCTS) and len(core.inputs) > 2 else ""


def _added(graph: Graph, add: Layer | None) -> tuple[MatMul, str] | None:
    """(MatMul, its bias) of an Add that ONNX Runtime takes into a Gemm: rows of one image, a constant per column."""
    if not isinstance(add, Add) or len(add.inputs) != 2:
        return None
    for name, other in (add.inputs, add.inputs[::-1]):
        product, bias = graph.maker.get(name), graph.network.constants.get(other)
        if not isinstance(product, MatMul) or bias is None or not graph.only_reader(name):
            continue
        types = graph.network.types
        if len(types[product.inputs[0]].shape) == 1 and bias.shape in ((n := types[name].shape), (1, *n)):
            return product, other
    return None


def without_effect(graph: Graph, layer: Layer, quantize: QuantizeLinear) -> list[Layer]:
    """`layer`, a Relu or Clip, where the QuantizeLinear behind it limits as much: then ONNX Runtime drops it. A Relu in
    front of a Clip is part of that Clip, and is given too; nothing where the limit has an effect.

    The rules are ONNX Runtime's: a Relu needs the zero point at the low end; a Clip reals that are within a fixed
    distance of the ends, or that round to them.
    """
    scale, zero = graph.parameters(quantize)
    if scale.size != 1:
        return []
    if isinstance(layer, Relu):
        return [layer] if int(zero[0]) == quantize.limits[0] else []
    if not isinstance(layer, Clip):
        return []
    low, high = _bounds(layer)
    layers: list[Layer] = [layer]
    before = graph.maker.get(layer.inputs[0])
    if isinstance(before, Relu) and graph.only_reader(layer.inputs[0]):
        low, layers = max(low, 0.0), [layer, before]
    with np.errstate(all="ignore"):
        lowest, highest = (np.float32(limit - int(zero[0])) * scale[0] for limit in quantize.limits)
        near = low - lowest <= SLACK and highest - high <= SLACK
        ends = to_int32(np.array([low, high], np.float32) / scale[0]) + zero[0]
    rounds = bool(ends[0] <= quantize.limits[0] and ends[1] >= quantize.limits[1])
    return layers if near or (rounds and len(layers) == 1) else []


def _beneath(graph: Graph, layer: Layer) -> Layer | None:
    """The first layer that is no Relu or Clip, going towards the inputs, where nobody else reads in between."""
    found: Layer | None = layer
    while isinstance(found, Relu | Clip):
        name = found.inputs[0]
        found = graph.maker.get(name) if graph.only_reader(name) else None
    return found


def _bounds(layer: Layer) -> Bounds:
    """Real bounds of a Relu or a Clip."""
    if isinstance(layer, Clip):
        return -np.inf if layer.low is None else layer.low, np.inf if layer.high is None else layer.high
    return 0.0, np.inf
