"""Layers that share cells take turns on a pipelined chip: the steps of an image one after the other, then those of the next."""

from collections import Counter
from collections.abc import Iterable

from cimemu.events import Cause
from cimemu.mapping.plan import LayerPlan
from cimemu.timing.feeds import Feeds
from cimemu.timing.graph import Ids


class Turns:
    """Whose turn it is at every matrix that several of `members` use; a layer fetches nothing before its turn.

    So the tile's buffers hold the inputs of one of them at a time, and have one part for all.
    """

    def __init__(self, feeds: Feeds, members: Iterable[LayerPlan]) -> None:
        self.feeds = feeds
        self.left = Counter(layer.cells_of for layer in members if layer.on_macros)
        self.shared = {cells for cells, count in self.left.items() if count > 1}
        self.gates: dict[int, Ids] = {}  # before the first layer of an image
        self.ends: dict[int, Ids] = {}  # behind the last layer so far

    def begin(self, layer: LayerPlan) -> None:
        """Have the layer's fetches wait for its turn."""
        cells = layer.cells_of
        if cells not in self.shared:
            return
        if cells not in self.gates:
            self.gates[cells] = self.ends[cells] = self.feeds.graph.meet(layer.index)
        self.feeds.barrier = self.ends[cells]

    def end(self, layer: LayerPlan, written: Ids) -> None:
        """Its results are `written`: the next one's turn, in the end the next image's."""
        cells, graph = layer.cells_of, self.feeds.graph
        if cells not in self.shared:
            return
        self.feeds.barrier = None
        self.ends[cells] = graph.meet(layer.index)
        graph.wait(self.ends[cells], written, Cause.DATA)
        self.left[cells] -= 1
        if not self.left[cells]:
            graph.wait(self.gates[cells], self.ends[cells], Cause.DATA, lag=1)
