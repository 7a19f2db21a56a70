"""Moves between a DequantizeLinear and a product: they move the integers instead, and the real numbers come last.

What moves elements (or takes the largest of some) gives the same real numbers before a DequantizeLinear of one scale as behind
it. Files that quantise tensors alone, not operators (QONNX, Brevitas), have such moves in front of products.
"""

from collections.abc import Sequence
from dataclasses import replace

from cimemu.layer.base import Layer
from cimemu.layer.execute import infer_types
from cimemu.layer.matmul import MatMul
from cimemu.layer.pool import MaxPool
from cimemu.layer.quant import DequantizeLinear
from cimemu.layer.shape import Pad, Reshape, Slice, Transpose
from cimemu.lower.graph import Graph
from cimemu.lower.products import PRODUCTS
from cimemu.workload.network import Network

MOVES = (Reshape, Transpose, Slice, MaxPool, Pad)


def integers_moved(network: Network, *, both: bool = False) -> Network:
    """`network` with the integers moved in front of every product of quantised weights; itself where there is nothing to do.

    With `both` also those of either operand of a product of two activations.
    """
    graph = Graph(network)
    behind: dict[
        str, list[Layer]
    ] = {}  # a float tensor that a product reads -> the same moves of integers, a DequantizeLinear
    for layer in network.layers:
        for name in _operands(graph, layer, both):
            moves = _moves(graph, name) if name not in behind else []
            if moves:
                behind[name] = _integers(graph, moves)
    if not behind:
        return network
    layers: list[Layer] = []
    for layer in network.layers:
        operands = _operands(graph, layer, both)
        if any(name in behind for name in operands):
            moved = tuple(behind[name][-1].outputs[0] if name in behind else name for name in operands)
            layer = replace(layer, inputs=(*moved, *layer.inputs[len(moved) :]))
        layers.append(layer)
        for name in layer.outputs:
            layers += behind.get(name, ())
    read = {name for layer in layers for name in layer.inputs} | set(network.outputs)
    while len(kept := [layer for layer in layers if any(name in read for name in layer.outputs)]) < len(layers):
        layers, read = kept, {name for layer in kept for name in layer.inputs} | set(network.outputs)
    types = infer_types(layers, network.constants, {name: network.types[name] for name in network.inputs})
    return replace(network, layers=tuple(layers), types=types)


def _operands(graph: Graph, layer: Layer, both: bool) -> tuple[str, ...]:
    """The operands of a product, from the first on, whose integers may be moved."""
    if not isinstance(layer, PRODUCTS):
        return ()
    if both and isinstance(layer, MatMul) and all(name in graph.network.types for name in layer.inputs):
        return layer.inputs
    return layer.inputs[:1] if graph.quantized(layer.inputs[1]) is not None else ()


def _moves(graph: Graph, name: str) -> list[Layer]:
    """The moves that make float tensor `name` of one that is dequantised by one scale, in order; none where it is otherwise."""
    found: list[Layer] = []
    while isinstance(maker := graph.maker.get(name), MOVES):
        if isinstance(maker, Pad) and (maker.mode != "constant" or maker.value != 0.0):
            return []
        found.append(maker)
        name = maker.inputs[0]
    source = graph.quantized(name)
    return found[::-1] if source is not None and source.value is None and source.per_tensor else []


def _integers(graph: Graph, moves: Sequence[Layer]) -> list[Layer]:
    """`moves` of the integers, and their DequantizeLinear."""
    source = graph.quantized(moves[0].inputs[0])
    back = graph.maker[moves[0].inputs[0]]
    assert source is not None
    assert isinstance(back, DequantizeLinear)
    name, layers = source.name, []
    for move in moves:
        output = f"{moves[-1].outputs[0]}:{move.outputs[0]}"
        made = replace(move, name=f"{move.name}:integers", inputs=(name, *move.inputs[1:]), outputs=(output,))
        if isinstance(made, Pad):
            made = replace(made, value=float(source.zero_point[0]))
        layers.append(made)
        name = made.outputs[0]
    end = f"{moves[-1].outputs[0]}:real"
    return [*layers, replace(back, name=end, inputs=(name, *back.inputs[1:]), outputs=(end,))]
