"""Products of two activations whose operands are quantised, because macros multiply them (`mapping.activations: macros`)."""

from collections import Counter
from dataclasses import dataclass

from cimemu.layer.base import Layer
from cimemu.layer.matmul import MatMul
from cimemu.workload.network import Network

CARRIED = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten")  # what an operand may pass as integers


@dataclass(frozen=True)
class Written:
    """Names of layers: the products, and those that move an operand that is quantised before it is moved."""

    products: frozenset[str]
    moves: frozenset[str]
    operands: frozenset[str]  # float tensors that get integers

    @property
    def layers(self) -> frozenset[str]:
        """All that are given integers."""
        return self.products | self.moves

    @classmethod
    def of(cls, network: Network, activations: str) -> "Written":
        """Those of a float `network`; none where `activations` is digital.

        An operand is quantised where it is made, so that a tensor that is an output too (a cache) stays what it is.
        """
        if activations != "macros":
            return cls(frozenset(), frozenset(), frozenset())
        maker = {name: layer for layer in network.layers for name in layer.outputs}
        readers = Counter(name for layer in network.layers for name in layer.inputs)
        products, moves, operands = set[str](), set[str](), set[str]()
        for layer in network.layers:
            if not of_two_activations(layer, network):
                continue
            products.add(layer.name)
            for operand in layer.inputs:
                name = operand
                while (
                    name in maker and maker[name].op in CARRIED and readers[name] == 1 and name not in network.outputs
                ):
                    moves.add(maker[name].name)
                    name = maker[name].inputs[0]
                operands.add(name)
        return cls(frozenset(products), frozenset(moves), frozenset(operands))


def of_two_activations(layer: Layer, network: Network) -> bool:
    """Whether a layer multiplies two computed matrices."""
    return isinstance(layer, MatMul) and not any(name in network.constants for name in layer.inputs)
