"""Tasks of a layer on the digital unit: rows in, operations, rows out."""

import numpy as np

from cimemu.events import Cause, Counter, Kind
from cimemu.mapping.plan import LayerPlan
from cimemu.timing.feeds import Feeds, fetch_cause
from cimemu.timing.graph import Ids
from cimemu.timing.spans import consumer_rows, needed_rows, output_rows


def digital_row_cycles(feeds: Feeds, operations: int, rows: int) -> int:
    """Cycles of one row's share of `operations`."""
    unit = feeds.arch.chip.digital
    each = -(-operations // rows)
    return unit.startup_cycles - (-each // unit.lanes)


def digital_layer(feeds: Feeds, layer: LayerPlan, is_output: bool) -> Ids:
    """Emit `layer`; the tasks that write its output rows."""
    graph = feeds.graph
    rows = output_rows(layer)
    work = graph.add(
        Kind.DIGITAL,
        graph.unit("digital"),
        digital_row_cycles(feeds, layer.digital_ops, rows),
        layer.index,
        rows,
    )
    graph.count(layer.index, Counter.DIGITAL_OPS, layer.digital_ops)
    if not layer.inputs and feeds.barrier is not None:
        graph.wait(work, feeds.barrier, Cause.DATA)
    for which in range(len(layer.inputs)):
        height = consumer_rows(layer, which)
        fetched = feeds.fetch(layer, which, np.arange(height))
        cause = fetch_cause(feeds, layer, which)
        spans = needed_rows(layer, which)
        feeds.used_up(layer, which, fetched, work)
        if all(span == (0, height) for span in spans):
            whole = graph.meet(layer.index)
            graph.wait_all(whole, fetched, cause)
            graph.wait(work, whole, cause)
            continue
        for row, (first, stop) in enumerate(spans):
            graph.wait_all(work[row : row + 1], fetched[first:stop], cause)
    if layer.table_bits:
        graph.wait(work, feeds.look_up(layer, rows), Cause.MEMORY)
    feeds.entering.setdefault(layer.index, []).append((np.arange(rows), work))
    written = feeds.store(layer, rows, is_output)
    graph.wait(written, work, Cause.DATA)
    return written
