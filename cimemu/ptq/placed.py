"""A scheme on a network: what every product is to be."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from cimemu.config_file import validated
from cimemu.errors import WorkloadError
from cimemu.layer.base import Layer
from cimemu.ptq.layer_scheme import LayerScheme
from cimemu.ptq.roles import ROLES, roles, weighted_products
from cimemu.ptq.scheme import BinaryWeights, Scheme, UniformWeights
from cimemu.ptq.widths import Off, Widths
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class Placed:
    """`scheme` with what its `layers` say of the products of one network."""

    scheme: Scheme
    own: Mapping[str, Scheme]  # of products on macros that a pattern names
    off_macros: Mapping[str, Off]  # products on the digital unit, and in what

    def of(self, name: str) -> Scheme:
        """The scheme of a product on macros, without `layers`."""
        return self.own.get(name, self.scheme)

    @property
    def rules(self) -> dict[str, UniformWeights | BinaryWeights]:
        """What weights become, of products with a scheme of their own."""
        return {name: scheme.weight_rule for name, scheme in self.own.items()}

    @property
    def widths(self) -> Widths:
        """Bits of tensors, and the products that are not on macros."""
        bits = {name: scheme.activations.bits for name, scheme in self.own.items()}
        return replace(self.scheme.activations.widths, of_layers=bits, off_macros=self.off_macros)


def placed(scheme: Scheme, network: Network) -> Placed:
    """`scheme` on a float `network`; of several patterns that fit a product the first counts.

    Raises WorkloadError for a pattern that fits no product, for a layer wider than the macros are made for, and where no
    product is left on macros.
    """
    if not scheme.layers:
        return Placed(scheme, MappingProxyType({}), MappingProxyType({}))
    products, parts = weighted_products(network), roles(network)
    chosen: dict[str, LayerScheme] = {}
    for pattern, one in scheme.layers.items():
        fitting = [layer.name for layer in products if _fits(pattern, layer, parts)]
        if not fitting and pattern not in (*ROLES, "*"):
            names = [layer.name for layer in products]
            raise WorkloadError(
                f"scheme {scheme.name}: layers.{pattern} fits no product of network {network.name}; products: "
                f"{', '.join(names[:12])}{' ...' * (len(names) > 12)}; parts: {', '.join(ROLES)}"
            )
        for name in fitting:
            chosen.setdefault(name, one)
    off: dict[str, Off] = {name: one.bits or "float" for name, one in chosen.items() if one.place == "digital"}
    if products and len(off) == len(products):
        raise WorkloadError(
            f"scheme {scheme.name}: its layers leave no product of network {network.name} on macros; place one of them there"
        )
    own = {name: _merged(scheme, one, name) for name, one in chosen.items() if one.place == "macros"}
    return Placed(scheme, own, off)


def _fits(pattern: str, layer: Layer, parts: Mapping[str, frozenset[str]]) -> bool:
    return layer.name in parts[pattern] if pattern in parts else fnmatchcase(layer.name, pattern)


def _merged(scheme: Scheme, one: LayerScheme, name: str) -> Scheme:
    """The scheme with a layer's own keys; WorkloadError where cells or converters have no room for them."""
    tree: dict[str, Any] = scheme.model_dump(exclude={"layers"})
    for part, keys in one.own().items():
        tree[part] = {**tree[part], **keys}
    made = validated(Scheme, tree, f"scheme {scheme.name}: layer {name}", WorkloadError)
    for what, own, most in (
        ("weights.bits", getattr(made.weights, "bits", 1), getattr(scheme.weights, "bits", 1)),
        ("converter.bits", getattr(made.converter, "bits", 0), getattr(scheme.converter, "bits", 0)),
    ):
        if own > most:
            raise WorkloadError(
                f"scheme {scheme.name}: layer {name}: {what} = {own:g}, the macros are made for {most:g}: raise the scheme's "
                f"own {what}, or place the layer on the digital unit"
            )
    if made.one_bit != scheme.one_bit:
        raise WorkloadError(
            f"scheme {scheme.name}: layer {name}: weights.bits = 1 beside wider ones: a weight of one bit lies in one cell, "
            "others in several; make all layers one bit, or place the others on the digital unit"
        )
    return made
