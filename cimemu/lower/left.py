"""Products that a quantised file leaves in float: their input or weight is not quantised."""

from cimemu.layer.base import Layer
from cimemu.lower.graph import Graph
from cimemu.lower.moved import integers_moved
from cimemu.lower.products import PRODUCTS
from cimemu.workload.network import Network


def left_in_float(network: Network) -> tuple[Layer, ...]:
    """Conv, Gemm and MatMul of `network` with constant weights that no macro multiplies, in order."""
    moved = integers_moved(network)
    graph = Graph(moved)
    return tuple(
        layer
        for layer in moved.layers
        if isinstance(layer, PRODUCTS) and layer.inputs[1] in network.constants and is_float(graph, layer)
    )


def is_float(graph: Graph, product: Layer) -> bool:
    """Whether the input or the weight of a product does not come from integers."""
    x, w = graph.quantized(product.inputs[0]), graph.quantized(product.inputs[1])
    return x is None or w is None or w.value is None or x.value is not None
