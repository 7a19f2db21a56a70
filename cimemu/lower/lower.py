"""`lower`: match QDQ groups as ONNX Runtime fuses them, keep the rest as float islands of the digital unit."""

from collections.abc import Sequence
from dataclasses import replace

from cimemu.errors import WorkloadError
from cimemu.layer.base import Layer
from cimemu.layer.digital_product import DigitalProduct
from cimemu.layer.execute import infer_types
from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.quant import QuantizeLinear
from cimemu.lower.digital import lower_digital
from cimemu.lower.graph import Graph
from cimemu.lower.macro import integer_form, lower_product
from cimemu.lower.moved import integers_moved
from cimemu.lower.products import PRODUCTS, alone, behind
from cimemu.lower.written import written_layers
from cimemu.workload.network import Network


def lower(network: Network, activations: str = "digital") -> Network:
    """The integer network of a QDQ graph; `network` itself stays in `.qdq`. Integer networks without float products pass untouched.

    Products of quantised operands become macro layers; adds, pools and moves become integer layers with ONNX
    Runtime's arithmetic; what is left between DequantizeLinear and QuantizeLinear runs in float32 on the digital
    unit, a product that the file leaves in float (`cimemu.lower.left`) among them. `activations` is the chip's
    `mapping.activations`: with "macros" integer products of two activations are macro layers too. Raises WorkloadError for
    a product of integers that macros cannot hold.
    """
    if network.activations == "macros" and activations != "macros":
        raise WorkloadError(
            f"network {network.name}: was made for mapping.activations = macros, {activations} is asked for; load its file again"
        )
    made = _lowered(network)
    if activations != "macros":
        return made
    made = integers_moved(made, both=True)
    layers = tuple(_needed(written_layers(made), made))
    types = infer_types(layers, made.constants, {name: made.types[name] for name in made.inputs})
    return replace(made, layers=layers, types=types, activations=activations)


def _lowered(network: Network) -> Network:
    """The network with products of two activations on the digital unit."""
    if network.is_integer and (network.qdq is not None or not any(isinstance(x, PRODUCTS) for x in network.layers)):
        idle = any(all(name in network.constants for name in layer.outputs) for layer in network.layers)
        return replace(network, layers=tuple(_needed(list(network.layers), network))) if idle else network
    network = integers_moved(network)
    graph = Graph(network)
    made: dict[int, Sequence[Layer]] = {}  # id of the layer they replace (the last of its group) -> integer layers
    absorbed: set[int] = set()
    for layer in network.layers:
        if isinstance(layer, QuantizeLinear):
            group = behind(graph, layer)
            if group is None:
                continue
            new: Sequence[Layer] | None = None
            if not isinstance(group.core, PRODUCTS):
                digital = lower_digital(graph, group.core, layer)
                new = None if digital is None else [digital]
            elif integer_form(graph, group.core, layer):
                new = lower_product(graph, group, layer)
            if new is not None:
                made[id(layer)] = new
                absorbed |= {id(group.core), *(id(middle) for middle in group.absorbed)}
    for layer in network.layers:
        if isinstance(layer, PRODUCTS) and id(layer) not in absorbed:
            product = lower_product(graph, alone(layer), None)
            if product is not None:
                made[id(layer)] = product
                absorbed.add(id(layer))
    layers: list[Layer] = []
    for layer in network.layers:
        if id(layer) in made:
            layers += [_scaled(one, network) for one in made[id(layer)]]
        elif id(layer) not in absorbed:
            layers.append(layer)
    layers = _with_one_weight(_needed(layers, network))
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
        fixed=network.fixed,
        overrides=network.overrides,
        scheme=network.scheme,
        column_scales=network.column_scales,
        whole=network.whole,
        shares=network.shares,
        real_biases=network.real_biases,
        digital=network.digital,
    )


def _with_one_weight(layers: list[Layer]) -> list[Layer]:
    """Layers that share their cells hold one array of equal weights."""
    first: dict[str, MacroLayer] = {}
    made: list[Layer] = []
    for layer in layers:
        if isinstance(layer, MacroLayer) and layer.shares:
            other = first.setdefault(layer.shares, layer)
            if layer.weight.shape == other.weight.shape and (layer.weight == other.weight).all():
                layer = replace(layer, weight=other.weight)
        made.append(layer)
    return made


def _scaled(layer: Layer, network: Network) -> Layer:
    """A macro layer with its column scales, and the layers that it shares its cells with; or the same on the digital unit."""
    if not isinstance(layer, MacroLayer):
        return layer
    if layer.name in network.digital:
        return DigitalProduct.of(layer)
    scale = network.column_scales.get(layer.name, layer.column_scale)
    return replace(layer, column_scale=scale, shares=network.shares.get(layer.name, layer.shares))


def _needed(layers: list[Layer], network: Network) -> list[Layer]:
    """Layers whose outputs are read, last first; DequantizeLinear of constants are constants already."""
    wanted = set(network.outputs)
    kept: list[Layer] = []
    for layer in reversed(layers):
        if any(name in wanted for name in layer.outputs) and not all(n in network.constants for n in layer.outputs):
            kept.append(layer)
            wanted |= set(layer.inputs)
    return kept[::-1]
