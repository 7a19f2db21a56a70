"""What a chip and a network must be for products of two activations to run where `mapping.activations` says."""

from collections.abc import Sequence

from cimemu.arch.schema import Arch
from cimemu.errors import MappingError
from cimemu.layer.integer_matmul import IntegerMatMul
from cimemu.layer.matmul import MatMul
from cimemu.layer.tfl_products import TflBatchMatMul
from cimemu.layer.written_product import WrittenProduct
from cimemu.mapping.plan import LayerPlan
from cimemu.workload.network import Network

PRODUCTS = (MatMul, IntegerMatMul, TflBatchMatMul, WrittenProduct)


def check_activations(network: Network, arch: Arch) -> None:
    """MappingError where `network` multiplies two activations and was lowered for another `mapping.activations`."""
    made, wanted = network.activations, arch.mapping.activations
    if made == wanted:
        return
    for layer in network.layers:
        if isinstance(layer, PRODUCTS) and all(name in network.types for name in layer.inputs[:2]):
            raise MappingError(
                f"layer {layer.name}: multiplies two activations, network {network.name} was made for mapping.activations "
                f"= {made}, the chip {arch.name} has {wanted}; quantise it for this chip: cimemu.quantize(network, arch)"
            )


def check_rewritable(layers: Sequence[LayerPlan], arch: Arch) -> None:
    """MappingError where a layer's cells are written for every image, and are not to be."""
    if not arch.programming.nonvolatile or arch.allow_reprogram:
        return
    for layer in layers:
        if layer.written:
            raise MappingError(
                f"layer {layer.name}: mapping.activations = macros writes its right operand into cells for every image, and "
                f"those of the chip {arch.name} are non-volatile; use mapping.activations = digital, programming.nonvolatile "
                "= false, or allow_reprogram = true"
            )
