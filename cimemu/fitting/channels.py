"""Which channel widths of a float network may change, and which of them must change together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cimemu.layer.activation import Activation
from cimemu.layer.arithmetic import Elementwise
from cimemu.layer.base import Layer
from cimemu.layer.conv import Conv
from cimemu.layer.matmul import Gemm, MatMul
from cimemu.layer.norm import BatchNormalization, LayerNormalization
from cimemu.layer.pool import GlobalPool, WindowPool
from cimemu.layer.reduce import Reduce
from cimemu.layer.shape import Concat, Identity, Pad, Reshape, Slice, Transpose
from cimemu.workload.network import Network

PRODUCTS = (Conv, Gemm, MatMul)


@dataclass(frozen=True)
class Lane:
    """The channels of a tensor: widths in order along `axis` (batch counted), `repeat` elements a channel."""

    axis: int
    parts: tuple[int, ...]
    repeat: int = 1


@dataclass
class Channels:
    """Widths by number (tied ones share a root), and the lanes that layers read and make.

    A tensor without a lane has a fixed width. `padded` maps a Pad that adds channels to the width it makes.
    """

    sizes: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    fixed: set[int] = field(default_factory=set)
    lanes: dict[str, Lane] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)  # product layer -> width of its outputs
    read: dict[str, Lane] = field(default_factory=dict)  # product layer -> lane of its inputs, where not fixed
    padded: dict[str, tuple[Lane, int]] = field(default_factory=dict)

    def new(self, size: int) -> int:
        """One more width."""
        self.sizes.append(size)
        self.parent.append(len(self.parent))
        return len(self.parent) - 1

    def root(self, number: int) -> int:
        """The width that stands for all those tied to `number`."""
        while self.parent[number] != number:
            number = self.parent[number]
        return number

    def tie(self, one: int, other: int) -> None:
        """Both change together."""
        a, b = self.root(one), self.root(other)
        if a != b:
            self.parent[b] = a
            if b in self.fixed:
                self.fixed.add(a)

    def fix(self, lane: Lane | None) -> None:
        """None of these may change."""
        if lane is not None:
            self.fixed.update(self.root(part) for part in lane.parts)

    def free(self) -> list[int]:
        """Roots that may change, in the order of the layers that make them."""
        roots = dict.fromkeys(self.root(number) for number in self.made.values())
        return [root for root in roots if root not in self.fixed]

    def makers(self, root: int) -> list[str]:
        """Layers whose outputs have this width."""
        return [name for name, number in self.made.items() if self.root(number) == root]

    def width(self, lane: Lane, widths: dict[int, int]) -> int:
        """Elements along a lane where roots have `widths` (others keep their size)."""
        return lane.repeat * sum(self.size(part, widths) for part in lane.parts)

    def size(self, number: int, widths: dict[int, int]) -> int:
        """One width."""
        root = self.root(number)
        return widths.get(root, self.sizes[root])


def trace_channels(network: Network) -> Channels:
    """The channel widths of a float network: which layers make them, and what ties or fixes them.

    An addition ties the channels it adds (residual connections), a depthwise convolution its inputs and outputs;
    inputs and outputs of the network, and channels that an operator picks or mixes otherwise, keep their width.
    """
    graph = Channels()
    for layer in network.layers:
        lanes = [graph.lanes.get(name) for name in layer.inputs if name in network.types]
        if isinstance(layer, PRODUCTS) and layer.inputs[1] in network.constants:
            lane: Lane | None = _product(graph, network, layer, lanes[0])
        else:
            lane = _follow(graph, network, layer, lanes)
        if lane is None:
            for before in lanes:
                graph.fix(before)
        elif len(layer.outputs) == 1:
            graph.lanes[layer.outputs[0]] = lane
    for name in network.outputs:
        graph.fix(graph.lanes.get(name))
    return graph


def _product(graph: Channels, network: Network, layer: Layer, before: Lane | None) -> Lane | None:
    source, target = network.types[layer.inputs[0]].shape, network.types[layer.outputs[0]].shape
    axis = 1 if isinstance(layer, Conv) else len(source)
    if before is not None and before.axis != axis:
        graph.fix(before)
        before = None
    if isinstance(layer, Conv) and layer.groups > 1:
        channels = source[0]
        if layer.groups == channels == target[0] and before is not None and len(before.parts) == 1:
            graph.made[layer.name], graph.read[layer.name] = before.parts[0], before
            return before
        graph.fix(before)
        number = graph.new(target[0])
        graph.fixed.add(number)
    else:
        number = graph.new(target[axis - 1])
        if before is not None:
            graph.read[layer.name] = before
    graph.made[layer.name] = number
    return Lane(axis, (number,))


def _follow(graph: Channels, network: Network, layer: Layer, lanes: Sequence[Lane | None]) -> Lane | None:
    """The lane behind a layer that is no product; None where its channels must keep their widths."""
    first = lanes[0] if lanes else None
    if isinstance(layer, Elementwise):
        return _together(graph, network, layer, lanes)
    if isinstance(layer, Concat) and any(lanes):
        return _joined(graph, network, layer, lanes)
    if first is None or len(lanes) != 1:
        return None
    axis = first.axis
    shape = network.types[next(n for n in layer.inputs if n in network.types)].shape
    if isinstance(layer, Activation | Identity | BatchNormalization) or (
        isinstance(layer, WindowPool | GlobalPool) and axis == 1
    ):
        mixed = getattr(layer, "axis", None)  # a softmax looks at a whole axis
        return first if mixed is None or mixed % (len(shape) + 1) != axis else None
    if isinstance(layer, LayerNormalization):
        return first if axis == len(shape) and layer.axis % (len(shape) + 1) == axis and first.repeat == 1 else None
    if isinstance(layer, Reduce) and axis not in layer.axes:
        return first if layer.keepdims else replace(first, axis=axis - sum(a < axis for a in layer.axes))
    if isinstance(layer, Transpose):
        return replace(first, axis=layer.perm.index(axis))
    if isinstance(layer, Slice):
        return None if axis in layer.axes else first
    if isinstance(layer, Pad):
        return _more(graph, layer, first)
    if isinstance(layer, Reshape) and axis == 1:
        inner = int(np.prod(shape[1:], dtype=np.int64))
        if len(layer.shape) == 1:
            return Lane(1, first.parts, first.repeat * inner)
        if inner == 1 and layer.shape[0] == shape[0]:
            return first
    return None


def _together(graph: Channels, network: Network, layer: Layer, lanes: Sequence[Lane | None]) -> Lane | None:
    """Elementwise operands: those that have all the channels are tied."""
    known = [lane for lane in lanes if lane is not None]
    if not known:
        return None
    first = known[0]
    size = network.types[layer.outputs[0]].shape[first.axis - 1]
    names = [name for name in layer.inputs if name in network.types]
    for name, lane in zip(names, lanes):
        if network.types[name].shape[first.axis - 1] != size:
            if network.types[name].shape[first.axis - 1] != 1:
                return None
            if lane is not None and lane.axis == first.axis:
                graph.fix(lane)
            continue
        if lane is None or (lane.axis, lane.repeat, len(lane.parts)) != (first.axis, first.repeat, len(first.parts)):
            return None
        sizes = [[graph.sizes[graph.root(part)] for part in each.parts] for each in (lane, first)]
        if sizes[0] != sizes[1]:
            return None
        for one, other in zip(first.parts, lane.parts):
            graph.tie(one, other)
    return first


def _joined(graph: Channels, network: Network, layer: Concat, lanes: Sequence[Lane | None]) -> Lane | None:
    names = [name for name in layer.inputs if name in network.types]
    axis = next(lane.axis for lane in lanes if lane is not None)
    rank = len(network.types[layer.outputs[0]].shape) + 1
    if layer.axis % rank != axis or len(names) != len(layer.inputs):
        return None
    if any(lane is not None and (lane.axis != axis or lane.repeat != 1) for lane in lanes):
        return None
    parts: list[int] = []
    for name, lane in zip(names, lanes):
        if lane is None:
            number = graph.new(network.types[name].shape[axis - 1])
            graph.fixed.add(number)
            parts.append(number)
        else:
            parts += lane.parts
    return Lane(axis, tuple(parts))


def _more(graph: Channels, layer: Pad, first: Lane) -> Lane | None:
    """A Pad that adds channels (option-A shortcuts) makes a width of its own, no smaller than what it pads."""
    before, after = layer.pads[first.axis - 1]
    if (before, after) == (0, 0):
        return first
    if layer.mode != "constant" or before < 0 or after < 0 or first.repeat != 1:
        return None
    number = graph.new(before + after + graph.width(first, {}))
    graph.padded[layer.name] = (first, number)
    return Lane(first.axis, (number,))
