"""Products in front of a QuantizeLinear: what ONNX Runtime sees as one operator, with its bias."""

from dataclasses import dataclass

import numpy as np

from cimemu.layer.activation import Clip, Relu
from cimemu.layer.arithmetic import Add
from cimemu.layer.base import Layer
from cimemu.layer.conv import Conv
from cimemu.layer.matmul import Gemm, MatMul
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear
from cimemu.lower.graph import Graph

PRODUCTS = (Conv, Gemm, MatMul)
Bounds = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Group:
    """The layers in front of a QuantizeLinear that nobody else reads: a core, an Add of its bias, activations."""

    core: Layer
    bias: str  # the float tensor that is added, "" for none
    absorbed: tuple[Layer, ...]  # all but the core
    bounds: Bounds | None  # real bounds of Relu and Clip

    @property
    def plain(self) -> bool:
        """Whether the core stands directly in front of the QuantizeLinear."""
        return not self.absorbed


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


def _bounds(layer: Layer) -> Bounds:
    """Real bounds of a Relu or a Clip."""
    if isinstance(layer, Clip):
        return -np.inf if layer.low is None else layer.low, np.inf if layer.high is None else layer.high
    return 0.0, np.inf
