"""`lower`: match QDQ groups as ONNX Runtime fuses them, keep the rest as float islands of the digital unit."""

from dataclasses import replace

import numpy as np

from cimemu.layer.activation import Clip, Relu
from cimemu.layer.base import Layer
from cimemu.layer.conv import Conv
from cimemu.layer.execute import infer_types
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.matmul import Gemm, MatMul
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear
from cimemu.lower.digital import lower_digital
from cimemu.lower.graph import Graph
from cimemu.lower.macro import lower_product
from cimemu.workload.network import Network

PRODUCTS = (Conv, Gemm, MatMul)


def lower(network: Network) -> Network:
    """The integer network of a QDQ graph; `network` itself stays in `.qdq`. Integer networks without float products pass untouched.

    Products of quantised operands become macro layers; adds, pools and moves become integer layers with ONNX
    Runtime's arithmetic; what is left between DequantizeLinear and QuantizeLinear runs in float32 on the digital
    unit. Raises WorkloadError where a product is left in float: it could not run on macros.
    """
    if network.is_integer and (network.qdq is not None or not any(isinstance(x, PRODUCTS) for x in network.layers)):
        return network
    graph = Graph(network)
    made: dict[int, Layer] = {}  # id of the layer it replaces (the last of its group) -> integer layer
    absorbed: set[int] = set()
    for layer in network.layers:
        if isinstance(layer, QuantizeLinear):
            group = _behind(graph, layer)
            if group is None:
                continue
            core, between, bounds = group
            if isinstance(core, PRODUCTS):
                new: Layer | None = lower_product(graph, core, layer, bounds)
            else:
                new = None if between else lower_digital(graph, core, layer)
            if new is not None:
                made[id(layer)] = new
                absorbed |= {id(core), *(id(middle) for middle in between)}
    for layer in network.layers:
        if isinstance(layer, PRODUCTS) and id(layer) not in absorbed:
            product = lower_product(graph, layer, None, None)
            if product is not None:
                made[id(layer)] = product
                absorbed.add(id(layer))
            elif any(name in network.constants for name in layer.inputs[1:2]):
                raise layer.error(
                    "its input or weight is not quantised, so it cannot run on macros: quantise the network"
                )
    layers: list[Layer] = []
    for layer in network.layers:
        if id(layer) in made:
            layers.append(_scaled(made[id(layer)], network))
        elif id(layer) not in absorbed:
            layers.append(layer)
    layers = _needed(layers, network)
    used = {name for layer in layers for name in layer.inputs}
    constants = {name: value for name, value in network.constants.items() if name in used}
    inputs = {name: network.types[name] for name in network.inputs}
    return Network(
        name=network.name,
        layers=tuple(layers),
        constants=constants,
        inputs=network.inputs,
        outputs=network.outputs,
        types=infer_types(layers, constants, inputs),
        converters=network.converters,
        qdq=network,
        origin=network.origin,
        overrides=network.overrides,
        scheme=network.scheme,
        column_scales=network.column_scales,
    )


def _scaled(layer: Layer, network: Network) -> Layer:
    """A macro layer with its column scales."""
    scale = network.column_scales.get(layer.name)
    return replace(layer, column_scale=scale) if isinstance(layer, MacroLayer) and scale is not None else layer


def _behind(graph: Graph, quantize: QuantizeLinear) -> tuple[Layer, list[Layer], tuple[float, float] | None] | None:
    """(core operator, activations between, their bounds) in front of a QuantizeLinear, where nobody else reads them."""
    name = quantize.inputs[0]
    between: list[Layer] = []
    bounds: tuple[float, float] | None = None
    while graph.only_reader(name):
        maker = graph.maker.get(name)
        if maker is None or isinstance(maker, DequantizeLinear | QuantizeLinear):
            return None
        front = graph.maker.get(maker.inputs[0]) if maker.inputs else None
        if isinstance(maker, Relu | Clip) and isinstance(front, PRODUCTS):
            low, high = (
                (0.0, np.inf)
                if isinstance(maker, Relu)
                else (
                    -np.inf if maker.low is None else maker.low,
                    np.inf if maker.high is None else maker.high,
                )
            )
            bounds = (low, high) if bounds is None else (max(low, bounds[0]), min(high, bounds[1]))
            between.append(maker)
            name = maker.inputs[0]
            continue
        return maker, between, bounds
    return None


def _needed(layers: list[Layer], network: Network) -> list[Layer]:
    """Layers whose outputs are read, last first; DequantizeLinear of constants are constants already."""
    wanted = set(network.outputs)
    kept: list[Layer] = []
    for layer in reversed(layers):
        if any(name in wanted for name in layer.outputs) and not all(n in network.constants for n in layer.outputs):
            kept.append(layer)
            wanted |= set(layer.inputs)
    return kept[::-1]
