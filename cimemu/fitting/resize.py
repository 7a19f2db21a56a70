"""A float network with other channel widths and random weights."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cimemu.errors import WorkloadError
from cimemu.fitting.channels import PRODUCTS, Channels, Lane
from cimemu.layer.base import Array, Layer
from cimemu.layer.conv import Conv
from cimemu.layer.execute import infer_types
from cimemu.layer.matmul import Gemm
from cimemu.layer.shape import Pad, Reshape
from cimemu.workload.network import Network


def resized(network: Network, channels: Channels, widths: Mapping[int, int], seed: int = 0) -> Network:
    """`network` with `widths` by root of `channels`: weights drawn anew (variance 2 / inputs), other constants repeated.

    No accuracy is meant: it has the shapes, to be mapped, timed and trained. Raises WorkloadError where widths do
    not fit together.
    """
    made = Resize(network, channels, dict(widths), np.random.default_rng(seed))
    layers = tuple(made.layer(layer) for layer in network.layers)
    read = {name for layer in layers for name in layer.inputs}
    constants = {name: value for name, value in {**network.constants, **made.constants}.items() if name in read}
    types = infer_types(layers, constants, {name: network.types[name] for name in network.inputs})
    return replace(network, layers=layers, constants=constants, types=types)


class Resize:
    """Layers of a network at other widths. What their constants hold is drawn or repeated; a subclass may keep it."""

    def __init__(self, network: Network, channels: Channels, widths: dict[int, int], draw: np.random.Generator) -> None:
        self.network, self.channels, self.widths, self.draw = network, channels, widths, draw
        self.constants: dict[str, Array] = {}

    def layer(self, layer: Layer) -> Layer:
        """The same layer at its new widths."""
        if layer.name in self.channels.made and isinstance(layer, PRODUCTS):
            return self._product(layer)
        lane = self.channels.lanes.get(layer.outputs[0])
        if lane is None:
            return layer
        if isinstance(layer, Pad) and layer.name in self.channels.padded:
            return self._pad(layer, lane)
        if isinstance(layer, Reshape):
            shape = list(layer.shape)
            shape[lane.axis - 1] = self.channels.width(lane, self.widths)
            return replace(layer, shape=tuple(shape))
        names = tuple(self._constant(layer, place, name, lane) for place, name in enumerate(layer.inputs))
        return replace(layer, inputs=names)

    def _product(self, layer: Layer) -> Layer:
        weight = self.network.constants[layer.inputs[1]]
        outputs = self.channels.size(self.channels.made[layer.name], self.widths)
        lane = self.channels.read.get(layer.name)
        inputs = None if lane is None else self.channels.width(lane, self.widths)
        shape = list(weight.shape)
        if isinstance(layer, Conv):
            shape[0] = outputs
            shape[1] = shape[1] if inputs is None or layer.groups > 1 else inputs
            fan = int(np.prod(shape[1:]))
            layer = replace(layer, groups=outputs) if layer.groups > 1 and lane is not None else layer
        else:
            k, n = (1, 0) if isinstance(layer, Gemm) and layer.trans_b else (weight.ndim - 2, weight.ndim - 1)
            shape[n] = outputs
            shape[k] = shape[k] if inputs is None else inputs
            fan = shape[k]
        names = [layer.inputs[0], self.keep(layer.inputs[1], self.weight(layer, tuple(shape), fan))]
        for name in layer.inputs[2:]:
            bias = self.network.constants[name]
            names.append(self.keep(name, self.bias(layer, bias, outputs)))
        return replace(layer, inputs=tuple(names))

    def weight(self, layer: Layer, shape: tuple[int, ...], fan: int) -> Array:
        """The weight of a product, of `shape`, with `fan` inputs an output."""
        return self.draw.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / fan))

    def bias(self, layer: Layer, bias: Array, outputs: int) -> Array:
        """What is added to the outputs of a product."""
        whole = (*bias.shape[:-1], outputs) if bias.size > 1 else bias.shape
        return np.resize(bias, whole).astype(bias.dtype)

    def margins(self, layer: Pad, number: int, more: int, margins: tuple[int, int]) -> tuple[int, int]:
        """Zero channels before and after those that `layer` pads, `more` in all, where it had `margins`."""
        before, after = margins
        return more * before // (before + after), more - more * before // (before + after)

    def per_channel(self, layer: Layer, place: int, value: Array, axis: int, lane: Lane) -> Array:
        """A constant (input number `place` of `layer`) with a value a channel along `axis`, at its new width."""
        order = np.arange(self.channels.width(lane, self.widths)) % value.shape[axis]
        made: Array = np.take(value, order, axis=axis)
        return made

    def _pad(self, layer: Pad, lane: Lane) -> Layer:
        source, number = self.channels.padded[layer.name]
        more = self.channels.size(number, self.widths) - self.channels.width(source, self.widths)
        if more < 0:
            raise WorkloadError(f"node '{layer.name}' (Pad): {-more} channels too many come in, widen what it adds to")
        pads = list(layer.pads)
        pads[lane.axis - 1] = self.margins(layer, number, more, layer.pads[lane.axis - 1])
        return replace(layer, pads=tuple(pads))

    def _constant(self, layer: Layer, place: int, name: str, lane: Lane) -> str:
        value = self.network.constants.get(name)
        if value is None:
            return name
        rank = len(self.network.types[layer.outputs[0]].shape) + 1
        axis = value.ndim - (rank - lane.axis)
        if layer.op == "BatchNormalization":
            axis = 0
        if axis < 0 or value.shape[axis] != self.channels.width(lane, {}):
            return name
        return self.keep(name, self.per_channel(layer, place, value, axis, lane))

    def keep(self, name: str, value: Array) -> str:
        """Under the constant's own name, or a free one where another layer reads it at another width."""
        number, chosen = 1, name
        while chosen in self.constants and not self.same(self.constants[chosen], value):
            number += 1
            chosen = f"{name}_{number}"
        self.constants[chosen] = value
        return chosen

    def same(self, one: Array, other: Array) -> bool:
        """Whether a constant that two layers read may stay one."""
        return one.shape == other.shape
