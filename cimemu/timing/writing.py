"""Tasks that write a product's right operand into its macros before every image's operations."""

from collections.abc import Sequence

import numpy as np

from cimemu.events import Cause, Counter, Kind
from cimemu.mapping.plan import Block, LayerPlan
from cimemu.timing.feeds import Feeds, fetch_cause
from cimemu.timing.graph import Ids
from cimemu.timing.routes import Routes
from cimemu.timing.spans import tensor_rows

Writes = dict[tuple[int, int], Ids]  # the task that writes a block, by (block, macro)


def write_operand(
    feeds: Feeds, routes: Routes, layer: LayerPlan, tiles: dict[int, Sequence[tuple[Block, int]]]
) -> Writes:
    """Fetch the right operand, send every tile what its macros hold, and write them row by row, each by itself.

    `tiles` gives the (block, macro) pairs of every tile.
    """
    graph, arch, kind = feeds.graph, feeds.arch, layer.input_types[1]
    rows = tensor_rows(kind)
    fetched = feeds.fetch(layer, 1, np.arange(rows), whole=True)
    cells = sum(block.cells for block in layer.blocks)
    writes: Writes = {}
    for number in sorted(tiles):
        held = sum(block.cells for block, _ in tiles[number])
        bits = np.full(rows, -(-kind.bits * held // (cells * rows)))
        first_hop, arrived = routes.send(graph, number, False, layer.index, bits)
        graph.wait(first_hop, fetched, fetch_cause(feeds, layer, 1))
        feeds.has_left(layer, 1, np.arange(rows), first_hop)
        for counter in (Counter.BUFFER_WRITE_BITS, Counter.BUFFER_READ_BITS):
            graph.count(layer.index, counter, int(bits.sum()))
        for block, macro in tiles[number]:
            unit = graph.unit(f"tile{number}/macro{macro % arch.tile.macros}")
            cycles = block.rows_used * arch.programming.row_write_cycles
            task = graph.add(Kind.PROGRAM, unit, cycles, layer.index, 1, block.index)
            graph.wait_all(task, arrived, routes.cause)
            writes[block.index, macro] = task
    return writes


def hold_until_done(feeds: Feeds, layer: LayerPlan, write: Ids, work: Ids) -> None:
    """Operations wait for their cells, and the next image's writing for all of them."""
    graph = feeds.graph
    graph.wait(work, write, Cause.PROGRAMMING)
    over = graph.meet(layer.index)
    graph.wait_all(over, work, Cause.DATA)
    graph.wait(write, over, Cause.DATA, lag=1)


def fetch_zero_points(feeds: Feeds, layer: LayerPlan, finishing: Ids) -> None:
    """Zero points that are computed reach the digital unit before it finishes a row."""
    for which in range(2, len(layer.inputs)):
        fetched = feeds.fetch(layer, which, np.arange(tensor_rows(layer.input_types[which])), whole=True)
        feeds.has_left(layer, which, np.arange(len(fetched)), fetched)
        whole = feeds.graph.meet(layer.index)
        feeds.graph.wait_all(whole, fetched, fetch_cause(feeds, layer, which))
        feeds.graph.wait(finishing, whole, fetch_cause(feeds, layer, which))
