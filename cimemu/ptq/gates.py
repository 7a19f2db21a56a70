"""What of a recurrent network keeps its precision, and which of its tensors have one scale."""

from cimemu.layer.matmul import MatMul
from cimemu.layer.recurrent import RecurrentCell
from cimemu.workload.network import Network


def gate_layers(network: Network) -> frozenset[str]:
    """Names of the cells of recurrent networks, and of what only they read: products, and their parting into steps."""
    readers: dict[str, set[str]] = {}
    for layer in network.layers:
        for name in layer.inputs:
            readers.setdefault(name, set()).add(layer.name)
    found: set[str] = set()
    for layer in reversed(network.layers):
        inner = isinstance(layer, RecurrentCell)
        if not inner and layer.op in ("MatMul", "Split", "Less"):
            who = {reader for name in layer.outputs for reader in readers.get(name, ())}
            inner = bool(who) and who <= found and not any(name in network.outputs for name in layer.outputs)
        if inner:
            found.add(layer.name)
    return frozenset(found)


def one_range(network: Network) -> dict[str, str]:
    """By the name of a tensor whose range is that of another: the inputs of all products that share a matrix."""
    first: dict[str, str] = {}
    return {
        layer.inputs[0]: first.setdefault(layer.shares, layer.inputs[0])
        for layer in network.layers
        if isinstance(layer, MatMul) and layer.shares and layer.inputs[0] not in network.inputs
    }
