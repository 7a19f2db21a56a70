"""Channels that live or die together, and what must be kept because of others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimemu.adapt.morph.norms import with_layers
from cimemu.errors import WorkloadError
from cimemu.fitting.channels import PRODUCTS, Channels, trace_channels
from cimemu.layer.arithmetic import Elementwise
from cimemu.layer.base import Layer
from cimemu.layer.norm import BatchNormalization
from cimemu.workload.network import Network

Mask = NDArray[np.bool_]
Slots = NDArray[np.int64]


@dataclass(frozen=True)
class Width:
    """Channels of one width: number i of all its makers (joined by residual additions) is one decision."""

    root: int
    size: int
    makers: tuple[str, ...]
    norms: tuple[str, ...]  # the BatchNormalization behind each maker
    droppable: bool  # without any channel a residual branch goes, and nothing else


def widths_of(network: Network, channels: Channels) -> list[Width]:
    """Widths that may be pruned: every maker's outputs go into a BatchNormalization alone. WorkloadError without any."""
    readers: dict[str, list[Layer]] = {}
    for layer in network.layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)
    by_name = {layer.name: layer for layer in network.layers}
    found = []
    for root in channels.free():
        makers = channels.makers(root)
        behind = [readers.get(by_name[name].outputs[0], []) for name in makers]
        if all(len(each) == 1 and isinstance(each[0], BatchNormalization) for each in behind):
            norms = tuple(each[0].name for each in behind)
            drop = without_branches(network, makers) is not None
            found.append(Width(root, channels.sizes[root], tuple(makers), norms, drop))
    if not found:
        raise WorkloadError(
            f"network {network.name}: no width of its convolutions may change (inputs, outputs, and channels that an operator "
            "picks or mixes are fixed), two_stage needs one"
        )
    return found


def carried(network: Network, channels: Channels, alive: Mapping[int, Mask]) -> dict[int, Mask]:
    """`alive` by root, with every channel that a Pad (an option-A shortcut) brings a living one into."""
    kept = {root: mask.copy() for root, mask in alive.items()}
    for name, (source, number) in channels.padded.items():
        target = channels.root(number)
        if target in kept:
            first = _offset(network, name, source.axis)
            for part in source.parts:
                root, size = channels.root(part), channels.sizes[channels.root(part)]
                kept[target][first : first + size] |= kept.get(root, np.ones(size, np.bool_))
                first += size
    return kept


def slots_of(
    network: Network, channels: Channels, kept: Mapping[int, Mask], widths: Mapping[int, int] | None = None
) -> tuple[dict[int, Slots], dict[str, int]]:
    """(which old channel each new one is, by root; zero channels in front of each Pad), -1 for a channel that is new.

    `kept` is what `carried` gives, `widths` (default: as many as are kept) at least as many. Channels behind a Pad change
    places so that those it brings in stay neighbours.
    """
    wanted = {root: int(mask.sum()) for root, mask in kept.items()} | dict(widths or {})
    slots = {root: _filled(np.flatnonzero(mask), wanted[root]) for root, mask in kept.items()}
    before: dict[str, int] = {}
    placed: set[int] = set()
    for name, (source, number) in channels.padded.items():
        target = channels.root(number)
        if target not in slots:
            continue
        if target in placed:
            raise WorkloadError(f"node '{name}' (Pad): a second one that makes the same channels, two_stage takes one")
        placed.add(target)
        first = _offset(network, name, source.axis)
        fed: list[int] = []
        for part in source.parts:
            root = channels.root(part)
            own = slots.get(root, np.arange(channels.sizes[root]))
            fed += [first + int(s) if s >= 0 else -1 for s in own]
            first += channels.sizes[root]
        free = [int(s) for s in np.flatnonzero(kept[target]) if s not in set(fed)]
        new = wanted[target] - len(free) - len([s for s in fed if s >= 0])
        for place, slot in enumerate(fed):
            if slot < 0:
                if new > 0:
                    new -= 1
                elif free:  # an old channel gets what a new one says, which is nothing at first
                    fed[place] = free.pop()
        start = _offset(network, name, source.axis)
        front = [s for s in free if s < start]
        slots[target] = np.array(front + fed + [s for s in free if s >= start] + [-1] * new, np.int64)
        before[name] = len(front)
    return slots, before


def without_branches(network: Network, makers: Sequence[str]) -> Network | None:
    """`network` without what the layers `makers` make: additions take their other operand. None where none would be left."""
    gone: set[str] = set()
    same: dict[str, str] = {}
    layers = []
    for layer in network.layers:
        named = tuple(same.get(name, name) for name in layer.inputs)
        layer = replace(layer, inputs=named)
        running = [name for name in named if name in network.types or name in gone]
        dead = [name for name in running if name in gone]
        if layer.name in makers or (dead and len(dead) == len(running)):
            gone.update(layer.outputs)
        elif not dead:
            layers.append(layer)
        elif isinstance(layer, Elementwise) and layer.op == "Add" and len(running) == 2:
            same[layer.outputs[0]] = next(name for name in running if name not in gone)
        else:
            return None
    if any(name in gone or name in same for name in network.outputs):
        return None
    try:
        made = with_layers(network, layers, network.constants)
    except WorkloadError:
        return None
    return None if _makerless(made) else made


def _makerless(network: Network) -> bool:
    """Whether a Pad makes channels that no product adds to."""
    channels = trace_channels(network)
    return any(not channels.makers(channels.root(number)) for _, number in channels.padded.values())


def _filled(kept: Slots, width: int) -> Slots:
    return np.concatenate([kept, np.full(max(0, width - len(kept)), -1, np.int64)])


def _offset(network: Network, pad: str, axis: int) -> int:
    layer = next(layer for layer in network.layers if layer.name == pad)
    return int(layer.pads[axis - 1][0])  # type: ignore[attr-defined]


def products(network: Network) -> list[Layer]:
    """Layers with weights."""
    return [layer for layer in network.layers if isinstance(layer, PRODUCTS) and layer.inputs[1] in network.constants]
