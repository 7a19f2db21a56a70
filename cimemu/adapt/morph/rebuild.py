"""A float network with other channels: some of its own, in another order, and new ones that say nothing at first."""

from collections.abc import Mapping

import numpy as np

from cimemu.adapt.morph.channels import Mask, Slots, slots_of
from cimemu.adapt.morph.norms import with_layers
from cimemu.fitting.channels import Channels, Lane
from cimemu.fitting.resize import Resize
from cimemu.layer.base import Array, Layer
from cimemu.layer.conv import Conv
from cimemu.layer.matmul import Gemm
from cimemu.layer.shape import Pad
from cimemu.workload.network import Network

SCALE, VARIANCE = 1, 4  # inputs of BatchNormalization


def rebuilt(
    network: Network,
    channels: Channels,
    kept: Mapping[int, Mask],
    widths: Mapping[int, int] | None = None,
    seed: int = 0,
) -> Network:
    """`network` with the channels `kept` by root (closed under `carried`), and new ones up to `widths`.

    Where the channels that go give zeros, nothing changes: a new channel is made by random weights (variance
    2 / inputs), but its readers multiply it by 0. A new channel that a Pad brings into an old one has a scale of 0.
    """
    slots, before = slots_of(network, channels, kept, widths)
    sizes = {root: len(each) for root, each in slots.items()}
    made = Rebuild(network, channels, sizes, np.random.default_rng(seed), slots, before)
    layers = [made.layer(layer) for layer in network.layers]
    return with_layers(network, layers, {**network.constants, **made.constants})


class Rebuild(Resize):
    """Layers at other widths; `slots` say which old channel each new one is, by root, and -1 for one that is new."""

    def __init__(
        self,
        network: Network,
        channels: Channels,
        widths: dict[int, int],
        draw: np.random.Generator,
        slots: Mapping[int, Slots],
        before: Mapping[str, int],
    ) -> None:
        super().__init__(network, channels, widths, draw)
        self.slots, self.before = slots, before
        self.muted = self._muted()

    def weight(self, layer: Layer, shape: tuple[int, ...], fan: int) -> Array:
        """Old weights where both channels are old, 0 for new inputs, random ones from old inputs to new outputs."""
        old = self.network.constants[layer.inputs[1]]
        made = super().weight(layer, shape, fan)
        outputs, inputs = (0, 1) if isinstance(layer, Conv) else (old.ndim - 1, old.ndim - 2)
        if isinstance(layer, Gemm) and layer.trans_b:
            outputs, inputs = 0, 1
        rows = self.places(Lane(0, (self.channels.made[layer.name],)))
        lane = self.channels.read.get(layer.name)
        depthwise = isinstance(layer, Conv) and layer.groups > 1
        reads = np.arange(old.shape[inputs]) if lane is None or depthwise else self.places(lane)
        made, old = np.moveaxis(made, (outputs, inputs), (0, 1)), np.moveaxis(old, (outputs, inputs), (0, 1))
        made[:, reads < 0] = 0
        kept = np.flatnonzero(rows >= 0)
        fresh = np.flatnonzero(reads >= 0)
        made[np.ix_(kept, fresh)] = old[np.ix_(rows[kept], reads[fresh])]
        return np.ascontiguousarray(np.moveaxis(made, (0, 1), (outputs, inputs)))

    def bias(self, layer: Layer, bias: Array, outputs: int) -> Array:
        """0 for new outputs."""
        if bias.size <= 1:
            return bias
        return self._taken(bias, bias.ndim - 1, self.places(Lane(0, (self.channels.made[layer.name],))), 0.0)

    def margins(self, layer: Pad, number: int, more: int, margins: tuple[int, int]) -> tuple[int, int]:
        """So many that the channels brought in meet their own."""
        if layer.name not in self.before:
            return super().margins(layer, number, more, margins)
        return self.before[layer.name], more - self.before[layer.name]

    def per_channel(self, layer: Layer, place: int, value: Array, axis: int, lane: Lane) -> Array:
        """New channels of a normalisation: the mean of the old scales, bias 0, statistics 0 and 1; else the first value."""
        slots = self.places(lane)
        if layer.op != "BatchNormalization":
            return np.take(value, np.maximum(slots, 0), axis=axis)
        fill = {SCALE: float(np.abs(value).mean()), VARIANCE: 1.0}.get(place, 0.0)
        made = self._taken(value, axis, slots, fill)
        if place == SCALE:
            first = 0
            for part in lane.parts:
                silent = self.muted.get(self.channels.root(part), np.zeros(0, np.int64))
                made[first + silent] = 0
                first += self.channels.size(part, self.widths)
        return made

    def same(self, one: Array, other: Array) -> bool:
        """Only if they are equal: readers may see channels in another order."""
        return np.array_equal(one, other)

    def _taken(self, value: Array, axis: int, slots: Slots, fill: float) -> Array:
        made = np.take(value, np.maximum(slots, 0), axis=axis)
        np.moveaxis(made, axis, 0)[slots < 0] = fill
        return made

    def places(self, lane: Lane) -> Slots:
        """Old place along a lane of each new one, -1 for new ones."""
        found, first = [], 0
        for part in lane.parts:
            root = self.channels.root(part)
            size = self.channels.sizes[root]
            own = self.slots.get(root, np.arange(size))
            found.append(np.where(own >= 0, own + first, -1))
            first += size
        places = np.concatenate(found)[:, None]
        spread = np.where(places >= 0, places * lane.repeat + np.arange(lane.repeat), -1)
        return spread.reshape(-1)

    def _muted(self) -> dict[int, Slots]:
        """Places of new channels that Pads bring into old ones, at once or over several, by root."""
        found: dict[int, Slots] = {}
        for name, start in reversed(list(self.before.items())):
            source, number = self.channels.padded[name]
            root = self.channels.root(number)
            silent = self.slots[root] >= 0
            silent[found.get(root, np.zeros(0, np.int64))] = True
            place = start
            for part in source.parts:
                own = self.slots.get(self.channels.root(part))
                size = self.channels.size(part, self.widths)
                if own is not None:
                    new = np.flatnonzero((own < 0) & silent[place : place + size])
                    before = found.get(self.channels.root(part), np.zeros(0, np.int64))
                    found[self.channels.root(part)] = np.union1d(before, new)
                place += size
        return found
