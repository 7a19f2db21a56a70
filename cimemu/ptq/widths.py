"""How wide a quantised tensor is: by who reads it, a wordline or the digital unit alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cimemu.layer.activation import Clip, Relu
from cimemu.layer.base import Layer
from cimemu.workload.network import Network

MOVES = (
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "Pad",
    "MaxPool",
    "Split",
    "Expand",
)


@dataclass(frozen=True)
class Widths:
    """Bits of tensors that wordlines take, of the network's inputs among them, and of those the digital unit keeps."""

    wordlines: int
    images: int
    digital: int


def tensor_bits(network: Network, widths: Widths, taken: Callable[[Layer], Sequence[str]]) -> dict[str, int]:
    """Bits of every tensor of a float `network`; `taken` are the activations that macros take of a layer.

    What only moves or clamps values has one width in and out. An operand of a product is as wide as wordlines take it,
    one that the network is given `images` wide; results that are added, averaged or handed back are `digital` wide.
    """
    parent = {name: name for name in network.types}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for layer in network.layers:
        if layer.op in MOVES or isinstance(layer, Relu | Clip):
            for name in layer.outputs:
                parent[root(name)] = root(layer.inputs[0])
    driven = _roots((name for layer in network.layers for name in taken(layer)), root)
    given = _roots(network.inputs, root)
    bits = {}
    for name in network.types:
        place = root(name)
        bits[name] = widths.digital if place not in driven else widths.images if place in given else widths.wordlines
    return bits


def _roots(names: Iterable[str], root: Callable[[str], str]) -> set[str]:
    return {root(name) for name in names}
