"""The part that a product plays in a network: first, last, or on a shortcut around others."""

from collections.abc import Iterable

from cimemu.layer.base import Layer
from cimemu.layer.conv import Conv
from cimemu.lower.products import PRODUCTS
from cimemu.workload.network import Network

ROLES = ("(first)", "(last)", "(shortcut)")


def weighted_products(network: Network) -> tuple[Layer, ...]:
    """Products of a float network whose weights are constants, in order."""
    return tuple(
        layer
        for layer in network.layers
        if isinstance(layer, PRODUCTS) and len(layer.inputs) > 1 and layer.inputs[1] in network.constants
    )


def roles(network: Network) -> dict[str, frozenset[str]]:
    """Names of the products of a float network that play each of ROLES.

    (first): no other product lies between an input of the network and it. (last): none lies between it and an output.
    (shortcut): a convolution of 1 x 1 whose result, past no other product, meets in an addition what other products make
    of the same input.
    """
    products = {layer.name for layer in weighted_products(network)}
    last = _reached(reversed(network.layers), network.outputs, products, backwards=True)
    first = _reached(network.layers, network.inputs, products, backwards=False)
    return {"(first)": first, "(last)": last, "(shortcut)": _shortcuts(network, products)}


def _reached(layers: Iterable[Layer], start: Iterable[str], products: set[str], *, backwards: bool) -> frozenset[str]:
    """Products met first on every way from the tensors `start`; `layers` in the direction of the way."""
    open_, met = set(start), set()
    for layer in layers:
        near, far = (layer.outputs, layer.inputs) if backwards else (layer.inputs, layer.outputs)
        if open_.isdisjoint(near):
            continue
        if layer.name in products:
            met.add(layer.name)
        else:
            open_ |= set(far)
    return frozenset(met)


def _shortcuts(network: Network, products: set[str]) -> frozenset[str]:
    """1 x 1 convolutions that are added to what other products make of their input."""
    found = set()
    for number, layer in enumerate(network.layers):
        if layer.name not in products or not isinstance(layer, Conv) or set(layer.kernel_shape) != {1}:
            continue
        alone, made = set(layer.outputs), _descendants(network, layer, products)
        for after in network.layers[number + 1 :]:
            mine = [name for name in after.inputs if name in alone]
            if not mine or after.name in products:
                continue
            if after.op == "Add" and any(name in made for name in after.inputs if name not in alone):
                found.add(layer.name)
                break
            alone |= set(after.outputs)
    return frozenset(found)


def _descendants(network: Network, layer: Layer, products: set[str]) -> set[str]:
    """Tensors that other products than `layer` make of its input."""
    seen, made = {layer.inputs[0]}, set[str]()
    for other in network.layers:
        if other is layer:
            continue
        if not made.isdisjoint(other.inputs) or (other.name in products and not seen.isdisjoint(other.inputs)):
            made |= set(other.outputs)
        elif not seen.isdisjoint(other.inputs):
            seen |= set(other.outputs)
    return made
