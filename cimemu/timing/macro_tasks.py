"""Tasks of a layer on macros: windows into tiles, operations, partial sums out, the digital unit's finish."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cimemu.events import Cause, Counter, Kind
from cimemu.layer.macro_layer import Geometry
from cimemu.mapping.layout import accumulator_width
from cimemu.mapping.plan import Block, LayerPlan, Placed
from cimemu.timing.digital_tasks import digital_row_cycles
from cimemu.timing.feeds import Feeds, fetch_cause
from cimemu.timing.graph import Ids
from cimemu.timing.routes import Routes
from cimemu.timing.storage import buffer_rows

Span = tuple[int, int]


@dataclass
class _Tile:
    """What one tile does for one layer: its blocks by replica."""

    number: int
    blocks: dict[int, list[tuple[Block, int]]]  # replica -> (block, macro)

    @property
    def distinct(self) -> list[Block]:
        """Blocks held, each once."""
        return list({block.index: block for pairs in self.blocks.values() for block, _ in pairs}.values())


def macro_layer(
    feeds: Feeds,
    routes: Routes,
    layer: LayerPlan,
    placed: Sequence[Placed],
    sharers: dict[int, int],
    is_output: bool,
) -> Ids:
    """Emit `layer` placed as `placed`; the tasks that write its output rows.

    `sharers` says how many layers share a tile's buffers at the same time.
    """
    graph, geometry = feeds.graph, _geometry(layer)
    tiles: dict[int, _Tile] = {}
    for p in placed:
        tile = tiles.setdefault(p.macro // feeds.arch.tile.macros, _Tile(p.macro // feeds.arch.tile.macros, {}))
        tile.blocks.setdefault(p.replica, []).append((layer.blocks[p.block], p.macro))
    spans = [geometry.input_rows(row) for row in range(geometry.height_out)]
    wanted = np.unique(np.concatenate([np.arange(*span) for span in spans]))
    fetched = np.full(geometry.height_in, -1, dtype=np.int64)
    fetched[wanted] = feeds.fetch(layer, 0, wanted)
    arrivals: list[list[Ids]] = [[] for _ in range(geometry.height_out)]
    for number in sorted(tiles):
        tile = tiles[number]
        windows, release = _bring_rows(feeds, routes, layer, tile, spans, fetched, sharers[number])
        loads = [
            _operate(feeds, routes, layer, tile, replica, windows, arrivals, sharers[number])
            for replica in sorted(tile.blocks)
        ]
        release([pair for replica in loads for pair in replica])
    crossing = sum(b.outputs for t in tiles.values() for b in _summed(t.distinct)) - geometry.channels_out
    operations = layer.digital_ops + max(0, crossing) * geometry.positions
    rows = geometry.height_out
    work = graph.add(
        Kind.DIGITAL, graph.unit("digital"), digital_row_cycles(feeds, operations, rows), layer.index, rows
    )
    graph.count(layer.index, Counter.DIGITAL_OPS, layer.digital_ops)
    for row, packets in enumerate(arrivals):
        graph.wait_all(work[row : row + 1], np.concatenate(packets), routes.cause)
    written = feeds.store(layer, rows, is_output)
    graph.wait(written, work, Cause.DATA)
    return written


def _geometry(layer: LayerPlan) -> Geometry:
    assert layer.geometry is not None
    return layer.geometry


def _summed(blocks: Sequence[Block]) -> list[Block]:
    """One block for every set of outputs that the tile accumulator adds up (row blocks of the same outputs)."""
    return list({(b.unit, b.col_block): b for b in blocks}.values())


def _row_bits(layer: LayerPlan, tile: _Tile) -> int:
    """Bits of one input row that the tile's blocks need: their channels, each once."""
    geometry = _geometry(layer)
    channels: set[int] = set()
    for block in tile.distinct:
        start, stop = layer.layouts[block.unit].row_blocks[block.row_block]
        first = layer.units[block.unit].row_start
        channels.update(range((first + start) // geometry.kernel_area, (first + stop - 1) // geometry.kernel_area + 1))
    return -(-layer.input_types[0].bits * len(channels) // (geometry.channels_in * geometry.height_in))


def _bring_rows(feeds, routes, layer, tile, spans, fetched, sharers):  # type: ignore[no-untyped-def]
    """Move input rows into the tile's buffer: (windows [output row] -> meeting point, release).

    `release` is told the load tasks by output row; a row of the buffer is filled again when they are done.
    """
    graph, geometry = feeds.graph, _geometry(layer)
    served = {p % layer.replicas for p in range(min(geometry.positions, layer.replicas))} & set(tile.blocks)
    rows_out = sorted({p // geometry.width_out for r in served for p in range(r, geometry.positions, layer.replicas)})
    needed = np.unique(np.concatenate([np.arange(*spans[row]) for row in rows_out]))
    bits = _row_bits(layer, tile)
    widest = max(stop - first for first, stop in spans)
    buffer = feeds.arch.tile.input_buffer
    capacity = min(len(needed), buffer_rows(layer, "input_buffer", bits, buffer.size_kib, sharers, widest))
    first_hop, arrived = routes.send(graph, tile.number, False, layer.index, np.full(len(needed), bits))
    graph.count(layer.index, Counter.BUFFER_WRITE_BITS, bits * len(needed))
    graph.wait(first_hop, fetched[needed], fetch_cause(feeds, layer, 0))
    index = {int(row): i for i, row in enumerate(needed)}
    windows = np.full(geometry.height_out, -1, dtype=np.int64)
    windows[rows_out] = graph.meet(layer.index, len(rows_out))
    for row in rows_out:
        graph.wait_all(windows[row : row + 1], arrived[[index[i] for i in range(*spans[row])]], routes.cause)

    def release(loads: list[tuple[int, Ids]]) -> None:
        done = np.full(geometry.height_out, -1, dtype=np.int64)
        done[rows_out] = graph.meet(layer.index, len(rows_out))
        for row, tasks in loads:
            graph.wait(done[row], tasks, Cause.BUFFER)
        for i in range(len(needed)):
            before = (i - capacity) % len(needed)
            users = [row for row in rows_out if spans[row][0] <= needed[before] < spans[row][1]]
            graph.wait(first_hop[i], done[users], Cause.BUFFER, lag=0 if i >= capacity else 1)

    return windows, release


def _operate(feeds, routes, layer, tile, replica, windows, arrivals, sharers):  # type: ignore[no-untyped-def]
    """Load, operate and add up every position of one replica on one tile; (output row, its load tasks) pairs."""
    graph, geometry, arch = feeds.graph, _geometry(layer), feeds.arch
    positions = np.arange(replica, geometry.positions, layer.replicas)
    count, rows = len(positions), positions // geometry.width_out
    pairs = tile.blocks[replica]
    blocks = [block for block, _ in pairs]
    load_bits = sum(b.rows_used for b in {(b.unit, b.row_block): b for b in blocks}.values()) * arch.macro.input.bits
    name = f"tile{tile.number}"
    loads = graph.add(
        Kind.LOAD,
        graph.unit(f"{name}/load"),
        -(-load_bits // arch.tile.input_buffer.read_bits_per_cycle),
        layer.index,
        count,
        positions,
    )
    graph.count(layer.index, Counter.BUFFER_READ_BITS, load_bits * count)
    graph.wait(loads, windows[rows], routes.cause)
    added = sum(block.outputs for block in blocks)
    out_bits = _output_bits(layer, blocks, arch.macro)
    add_cycles = max(-(-added // arch.tile.adder_lanes), -(-out_bits // arch.tile.output_buffer.write_bits_per_cycle))
    adds = graph.add(Kind.PSUM, graph.unit(f"{name}/adder"), add_cycles, layer.index, count, positions)
    for block, macro in pairs:
        unit = graph.unit(f"{name}/macro{macro % arch.tile.macros}")
        work = graph.add(Kind.MACRO, unit, block.op_cycles, layer.index, count, positions, block.index)
        graph.wait(work, loads, Cause.BUFFER)
        graph.wait(adds, work, Cause.ADC)
        _two_deep(graph, loads, work, Cause.ADC)  # input registers hold two vectors
        _two_deep(graph, work, adds, Cause.BUFFER)  # output registers hold two results
    half = buffer_rows(layer, "output_buffer", out_bits, arch.tile.output_buffer.size_kib, 2 * sharers, 1)
    in_row = np.arange(count) - np.searchsorted(rows, rows)  # how many positions of this replica before it in its row
    width = int(in_row.max()) + 1
    key = rows * (width // half + 1) + in_row // half
    _, segment, sizes = np.unique(key, return_inverse=True, return_counts=True)
    first_hop, arrived = routes.send(graph, tile.number, True, layer.index, sizes * out_bits)
    graph.count(layer.index, Counter.BUFFER_WRITE_BITS, out_bits * count)
    graph.count(layer.index, Counter.BUFFER_READ_BITS, out_bits * count)
    graph.wait(first_hop[segment], adds, Cause.DATA)
    late = segment >= 2
    graph.wait(adds[late], first_hop[segment[late] - 2], Cause.BUFFER)
    total = len(sizes)
    graph.wait(
        adds[~late],
        first_hop[(segment[~late] - 2) % total if total > 1 else segment[~late]],
        Cause.BUFFER,
        lag=1,
    )
    segment_row = rows[np.unique(segment, return_index=True)[1]]
    for row in np.unique(segment_row):
        arrivals[row].append(arrived[segment_row == row])
    return [(int(row), loads[rows == row]) for row in np.unique(rows)]


def _output_bits(layer: LayerPlan, blocks, macro) -> int:  # type: ignore[no-untyped-def]
    """Bits of one position's sums that leave the tile."""
    return sum(
        b.outputs
        * max(accumulator_width(macro, layer.layouts[b.unit], i) for i in range(len(layer.layouts[b.unit].row_blocks)))
        for b in _summed(blocks)
    )


def _two_deep(graph, tasks: Ids, on: Ids, cause: Cause) -> None:  # type: ignore[no-untyped-def]
    """tasks[k] waits on on[k - 2]; the first two on the last two of the image before."""
    count = len(tasks)
    graph.wait(tasks[2:], on[:-2], cause)
    graph.wait(tasks[:2], on[[max(0, count - 2 + k) if count > 1 else 0 for k in range(min(2, count))]], cause, lag=1)
