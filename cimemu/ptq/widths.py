"""How wide a quantised tensor is: by who reads it, a wordline or the digital unit alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

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


Off = Literal["float", 8]  # what a product on the digital unit multiplies: float32, or 8-bit integers


@dataclass(frozen=True)
class Widths:
    """Bits of tensors that wordlines take, of the network's inputs among them, and of those the digital unit keeps.

    `of_layers` are bits that macro layers of these names want of their inputs, `off_macros` products that no macro multiplies.
    """

    wordlines: int
    images: int
    digital: int
    of_layers: Mapping[str, int] = field(default_factory=dict)
    off_macros: Mapping[str, Off] = field(default_factory=dict)


def tensor_bits(network: Network, widths: Widths, taken: Callable[[Layer], Sequence[str]]) -> dict[str, int]:
    """Bits of every tensor of a float `network`; `taken` are the activations that macros take of a layer.

    What only moves or clamps values has one width in and out. An operand of a product is as wide as wordlines take it (as
    the widest of the layers wants it that have widths of their own), one that the network is given `images` wide; results
    that are added, averaged or handed back are `digital` wide, but 8 bits where the digital unit multiplies integers.
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
    given, multiplied = _roots(network.inputs, root), set()
    asked: dict[str, int] = {}
    for layer in network.layers:
        for name in taken(layer):
            place = root(name)
            usual = widths.images if place in given else widths.wordlines
            asked[place] = max(asked.get(place, 1), widths.of_layers.get(layer.name, usual))
        if widths.off_macros.get(layer.name) == 8:
            multiplied.add(root(layer.inputs[0]))
    return {name: asked.get(root(name), 8 if root(name) in multiplied else widths.digital) for name in network.types}


def _roots(names: Iterable[str], root: Callable[[str], str]) -> set[str]:
    return {root(name) for name in names}
