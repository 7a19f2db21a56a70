"""The network: an ordered list of layers over named tensors, float or integer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cimemu.adc import Adc
from cimemu.facts import Facts, Shown
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.column_scale import ColumnScale


@dataclass(frozen=True, eq=False, repr=False)
class Network(Shown):
    """Layers in topological order; every tensor is a runtime tensor (in `types`) or a constant.

    A DequantizeLinear of a constant (a quantised weight) is a layer too, with its output among the constants.
    `inputs` and `outputs` name runtime tensors; all of them are batch-first. `converters` holds per-layer
    converter parameters by layer name (they replace the arch's own). `qdq` is, for a lowered integer
    network, the QuantizeLinear / DequantizeLinear graph it came from: the form that is exported and that
    other runtimes execute. `origin` is the file of a network that came as integers.
    `overrides` are the dotted arch keys that the network was made for (its widths, encoding, converter), `scheme` the
    quantisation scheme that made it, `column_scales` and `shares` what `lower` gives the macro layer of that name.
    `whole` is None where other runtimes take many images together; else they take the file's images one at a time, and
    tensors of these names have no axis of images there: here they are [images, all axes of the file]. `activations` is the
    `mapping.activations` of the chip that it was lowered for: where products of two activations run. `real_biases` says that
    float biases are added as they are, where ONNX Runtime would round them to whole steps of their products. `fixed` are
    inputs of the file that were given a number, and are constants here. `digital` names products of 8-bit integers that the
    digital unit multiplies, not macros.

    >>> import cimemu
    >>> network = cimemu.load_network(cimemu.load_workload("digits").network)
    >>> network.inputs, network.outputs, len(network.layers)
    (('image',), ('scores',), 15)
    """

    name: str
    layers: tuple[Layer, ...]
    constants: Mapping[str, Array]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: Mapping[str, TensorType]
    converters: Mapping[str, Adc] = field(default_factory=dict)
    qdq: "Network | None" = None
    origin: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    scheme: Mapping[str, Any] | None = None
    column_scales: Mapping[str, ColumnScale] = field(default_factory=dict)
    whole: frozenset[str] | None = None
    shares: Mapping[str, str] = field(default_factory=dict)
    activations: str = "digital"
    real_biases: bool = False
    fixed: Mapping[str, Array] = field(default_factory=dict)
    digital: frozenset[str] = frozenset()

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What runs have made of the network for the next one (`cimemu.kept`); neither copied nor pickled with it."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "kept"}

    def _facts(self) -> Facts:
        form = "integers for macros" if self.is_integer else "quantised" if self.is_quantized else "float"
        on_macros = sum(layer.on_macros for layer in self.layers)

        def told(names: tuple[str, ...]) -> str:
            kinds = [
                f"{name} {self.types[name].dtype} {list(self.types[name].shape)}"
                for name in names[:3]
                if name in self.types
            ]
            return ", ".join(kinds) + " ..." * (len(names) > 3)

        return f"Network {self.name}: {form}", [
            ("", f"{len(self.layers)} layers" + (f", {on_macros} of them on macros" if self.is_integer else "")),
            ("inputs", told(self.inputs)),
            ("outputs", told(self.outputs)),
        ]

    @property
    def is_integer(self) -> bool:
        """Whether convolutions and products have been lowered to macro layers."""
        return any(layer.on_macros for layer in self.layers)

    @property
    def is_quantized(self) -> bool:
        """Whether the graph holds quantised tensors (QDQ, or lowered already)."""
        return self.is_integer or any(layer.op in ("QuantizeLinear", "DequantizeLinear") for layer in self.layers)
