"""A float network of more channels that computes the same: copies, whose readers share their weight (Net2WiderNet)."""

import numpy as np

from cimemu.adapt.morph.channels import Slots
from cimemu.adapt.morph.norms import with_layers
from cimemu.adapt.morph.rebuild import Rebuild
from cimemu.fitting.channels import Channels, trace_channels
from cimemu.layer.base import Array, Layer
from cimemu.layer.conv import Conv
from cimemu.layer.matmul import Gemm
from cimemu.workload.network import Network

UNEVEN = (0.5, 1.5)  # a copy's share of a reader's weight, before all shares are made 1 together


def widened(network: Network, times: int, seed: int = 0) -> Network:
    """`network` with `times` as many channels of every width that may change, after Chen et al., ICLR 2016, section 2.3.

    A reader's weight is shared out over the copies unevenly, by `seed`: with equal shares copies would stay equal in training.
    """
    if times == 1:
        return network
    channels = trace_channels(network)
    slots, before = _copies(network, channels, times)
    sizes = {root: len(each) for root, each in slots.items()}
    draws = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, 4))))
    made = _Widen(network, channels, sizes, draws, slots, before)
    layers = [made.layer(layer) for layer in network.layers]
    return with_layers(network, layers, {**network.constants, **made.constants})


def _copies(network: Network, channels: Channels, times: int) -> tuple[dict[int, Slots], dict[str, int]]:
    """(which old channel each new one is, by root; zero channels in front of each Pad), as `slots_of` has it.

    Channels behind a Pad are in the order in which it brings them in.
    """
    slots = {root: np.tile(np.arange(channels.sizes[root]), times) for root in channels.free()}
    before: dict[str, int] = {}
    for layer in network.layers:
        if layer.name not in channels.padded:
            continue
        source, number = channels.padded[layer.name]
        target = channels.root(number)
        if target not in slots:
            continue
        first = start = int(layer.pads[source.axis - 1][0])  # type: ignore[attr-defined]
        fed = []
        for part in source.parts:
            root = channels.root(part)
            fed.append(first + slots.get(root, np.arange(channels.sizes[root])))
            first += channels.sizes[root]
        front, back = np.arange(start), np.arange(first, channels.sizes[target])
        middle = np.concatenate(fed)
        spare = times * (first - start) - len(middle)  # of channels that come in once: their copies are zeros behind
        again = np.tile(np.arange(start, first), times)[len(middle) :] if spare else np.zeros(0, np.int64)
        slots[target] = np.concatenate([np.tile(front, times), middle, np.tile(back, times), again])
        before[layer.name] = times * len(front)
    return slots, before


class _Widen(Rebuild):
    """Copies; a reader's weight is shared out over them."""

    def weight(self, layer: Layer, shape: tuple[int, ...], fan: int) -> Array:
        """Old weights of both channels' copies, in shares that add up to 1 over the copies of an input."""
        made = super().weight(layer, shape, fan)
        lane = self.channels.read.get(layer.name)
        if lane is None or (isinstance(layer, Conv) and layer.groups > 1):
            return made
        axis = 1 if isinstance(layer, Conv) or (isinstance(layer, Gemm) and layer.trans_b) else made.ndim - 2
        reads = self.places(lane)
        inputs = np.moveaxis(made, axis, 0).astype(np.float64)
        share = self.draw.uniform(*UNEVEN, inputs.shape)
        for old in np.unique(reads):
            copies = np.flatnonzero(reads == old)
            share[copies] /= share[copies].sum(axis=0)
        return np.ascontiguousarray(np.moveaxis(inputs * share, 0, axis), dtype=np.float32)
