"""Tasks of a layer on macros: windows into tiles, operations, partial sums out, the digital unit's finish."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cimemu.arch.macro import Macro
from cimemu.events import Cause, Counter, Kind
from cimemu.layer.macro_layer import Geometry
from cimemu.mapping.cycles import pipeline_cycles
from cimemu.mapping.layout import widest_accumulator
from cimemu.mapping.parts import Part
from cimemu.mapping.plan import Block, LayerPlan, Placed
from cimemu.timing.digital_tasks import digital_row_cycles
from cimemu.timing.feeds import Feeds, fetch_cause
from cimemu.timing.graph import GraphBuilder, Ids
from cimemu.timing.routes import Routes
from cimemu.timing.storage import buffer_rows
from cimemu.timing.writing import Writes, fetch_zero_points, hold_until_done, write_operand

Span = tuple[int, int]


@dataclass
class _Tile:
    """What one tile does for one layer: its blocks by replica."""

    number: int
    blocks: dict[int, list[tuple[Block, int]]]  # replica -> (block, macro)
    writes: Writes  # of a product of two activations, else empty

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
    part: Part,
) -> Ids:
    """Emit `layer` placed as `placed`; the tasks that write its output rows, or sums for a later phase.

    `sharers` says how many layers share a tile's buffers at the same time, `part` what this phase does of the layer.
    """
    graph, geometry = feeds.graph, _geometry(layer)
    tiles: dict[int, _Tile] = {}
    for p in placed:
        tile = tiles.setdefault(p.macro // feeds.arch.tile.macros, _Tile(p.macro // feeds.arch.tile.macros, {}, {}))
        tile.blocks.setdefault(p.replica, []).append((layer.blocks[p.block], p.macro))
    spans = np.array([geometry.input_rows(row) for row in range(geometry.height_out)], dtype=np.int64)
    wanted = np.unique(_ranges(spans)[1])
    fetched = np.full(geometry.height_in, -1, dtype=np.int64)
    fetched[wanted] = feeds.fetch(layer, 0, wanted, whole=layer.written)
    if layer.written:
        writes = write_operand(feeds, routes, layer, {n: tile.blocks[0] for n, tile in tiles.items()})
        for tile in tiles.values():
            tile.writes = writes
    arrivals: list[tuple[Ids, Ids]] = []
    leaving: list[tuple[Ids, Ids]] = []
    for number in sorted(tiles):
        tile = tiles[number]
        windows, release = _bring_rows(feeds, routes, layer, tile, spans, fetched, sharers[number])
        release(
            [
                _operate(feeds, routes, layer, tile, replica, windows, (arrivals, leaving), sharers[number])
                for replica in sorted(tile.blocks)
            ]
        )
    crossing = sum(b.outputs for t in tiles.values() for b in _summed(t.distinct)) - part.begun
    finishing = part.share(layer.digital_ops, geometry.channels_out)
    operations = finishing + max(0, crossing) * geometry.positions
    rows = geometry.height_out
    work = graph.add(
        Kind.DIGITAL, graph.unit("digital"), digital_row_cycles(feeds, operations, rows), layer.index, rows
    )
    graph.count(layer.index, Counter.DIGITAL_OPS, finishing)
    if layer.written:
        fetch_zero_points(feeds, layer, work)
    of_row, packets = (np.concatenate(parts) for parts in zip(*arrivals))
    feeds.entering.setdefault(layer.index, []).extend(leaving)
    order = np.argsort(of_row, kind="stable")
    graph.wait(work[of_row[order]], packets[order], routes.cause)
    if part.read_bits:
        sums = feeds.read_sums(layer, rows, part.read_bits * geometry.width_out)
        graph.wait(work, sums, Cause.MEMORY if layer.index in feeds.storage.sums_offchip else Cause.BUFFER)
    written = []
    if part.kept_bits:
        written.append(feeds.keep_sums(layer, rows, part.kept_bits * geometry.width_out))
    if part.finished:
        bits = part.share(sum(t.bits for t in layer.output_types), geometry.channels_out)
        written.append(feeds.store(layer, rows, is_output, bits))
    for tasks in written:
        graph.wait(tasks, work, Cause.DATA)
    return np.concatenate(written)


def _geometry(layer: LayerPlan) -> Geometry:
    assert layer.geometry is not None
    return layer.geometry


def _summed(blocks: Sequence[Block]) -> list[Block]:
    """One block for every set of outputs that the tile accumulator adds up (row blocks of the same outputs)."""
    return list({(b.unit, b.col_block): b for b in blocks}.values())


def _row_bits(layer: LayerPlan, tile: _Tile) -> int:
    """Bits of one input row that the tile's blocks need: their channels, each once."""
    geometry = _geometry(layer)
    needed = np.zeros(geometry.channels_in, dtype=np.bool_)
    for unit, row_block in {(block.unit, block.row_block) for block in tile.distinct}:
        start, stop = layer.layouts[unit].row_blocks[row_block]
        first = layer.units[unit].row_start
        needed[(first + start) // geometry.kernel_area : (first + stop - 1) // geometry.kernel_area + 1] = True
    return -(-layer.input_types[0].bits * int(needed.sum()) // (geometry.channels_in * geometry.height_in))


def _ranges(spans: Ids) -> tuple[Ids, Ids]:
    """Every number of `spans` [n, 2] (first, stop), one span behind the other: (which span, number)."""
    counts = np.maximum(spans[:, 1] - spans[:, 0], 0)
    which = np.repeat(np.arange(len(spans)), counts)
    before = np.cumsum(counts) - counts
    return which, np.arange(len(which)) - before[which] + spans[which, 0]


def _bring_rows(
    feeds: Feeds, routes: Routes, layer: LayerPlan, tile: _Tile, spans: Ids, fetched: Ids, sharers: int
) -> tuple[Ids, Callable[[list[tuple[Ids, Ids]]], None]]:
    """Move input rows into the tile's buffer: (windows [output row] -> meeting point, release).

    `release` is told (output rows, load tasks) of every replica; a row of the buffer is filled again when they are done.
    """
    graph, geometry = feeds.graph, _geometry(layer)
    served = {p % layer.replicas for p in range(min(geometry.positions, layer.replicas))} & set(tile.blocks)
    positions = np.arange(geometry.positions)
    rows_out = np.unique(positions[np.isin(positions % layer.replicas, list(served))] // geometry.width_out)
    own = spans[rows_out]
    needed = np.unique(_ranges(own)[1])
    bits = _row_bits(layer, tile)
    widest = int((spans[:, 1] - spans[:, 0]).max())
    buffer = feeds.arch.tile.input_buffer
    capacity = min(len(needed), buffer_rows(layer, "input_buffer", bits, buffer.size_kib, sharers, widest))
    first_hop, arrived = routes.send(graph, tile.number, False, layer.index, np.full(len(needed), bits))
    graph.count(layer.index, Counter.BUFFER_WRITE_BITS, bits * len(needed))
    graph.wait(first_hop, fetched[needed], fetch_cause(feeds, layer, 0))
    feeds.has_left(layer, 0, needed, first_hop)
    windows = np.full(geometry.height_out, -1, dtype=np.int64)
    windows[rows_out] = graph.meet(layer.index, len(rows_out))
    which, row_in = _ranges(own)
    graph.wait(windows[rows_out[which]], arrived[np.searchsorted(needed, row_in)], routes.cause)

    def release(loads: list[tuple[Ids, Ids]]) -> None:
        done = np.full(geometry.height_out, -1, dtype=np.int64)
        done[rows_out] = graph.meet(layer.index, len(rows_out))
        for rows, tasks in loads:
            graph.wait(done[rows], tasks, Cause.BUFFER)
        # Windows move downwards: the users of an input row are output rows that follow each other.
        before = needed[(np.arange(len(needed)) - capacity) % len(needed)]
        first, stop = np.searchsorted(own[:, 1], before, side="right"), np.searchsorted(own[:, 0], before, side="right")
        which, user = _ranges(np.stack([first, stop], axis=1))
        for chosen, lag in ((which < capacity, 1), (which >= capacity, 0)):
            graph.wait(first_hop[which[chosen]], done[rows_out[user[chosen]]], Cause.BUFFER, lag=lag)

    return windows, release


def _operate(
    feeds: Feeds,
    routes: Routes,
    layer: LayerPlan,
    tile: _Tile,
    replica: int,
    windows: Ids,
    packets: tuple[list[tuple[Ids, Ids]], list[tuple[Ids, Ids]]],
    sharers: int,
) -> tuple[Ids, Ids]:
    """Load, operate and add up every position of one replica on one tile; (output rows, load tasks).

    The last and the first task of packets of sums, with the output rows that they belong to, are added to `packets`.
    """
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
        if tile.writes:
            hold_until_done(feeds, layer, tile.writes[block.index, macro], work)
        _two_deep(graph, loads, work, Cause.ADC)  # input registers hold two vectors
        for stage, cycles in enumerate(_stages(arch.macro, block)):
            later = graph.add(
                Kind.SHIFT_ADD,
                graph.unit(f"{name}/pipeline{macro % arch.tile.macros}.{stage}"),
                cycles,
                layer.index,
                count,
                positions,
            )
            graph.wait(later, work, Cause.ADC)
            _two_deep(graph, work, later, Cause.ADC)
            work = later
        graph.wait(adds, work, Cause.ADC)
        _two_deep(graph, work, adds, Cause.BUFFER)  # output registers hold two results
    half = buffer_rows(layer, "output_buffer", out_bits, arch.tile.output_buffer.size_kib, 2 * sharers, 1)
    in_row = np.arange(count) - np.searchsorted(rows, rows)  # how many positions of this replica before it in its row
    width = int(in_row.max()) + 1
    key = rows * (width // half + 1) + in_row // half
    new = np.ones(count, dtype=np.bool_)
    new[1:] = key[1:] != key[:-1]  # it never falls
    segment, starts = np.cumsum(new) - 1, np.flatnonzero(new)
    sizes = np.diff(starts, append=count)
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
    for kept, tasks in zip(packets, (arrived, first_hop)):
        kept.append((rows[starts], tasks))
    return rows, loads


def _stages(macro: Macro, block: Block) -> list[int]:
    """Cycles that results spend in pipeline registers, in parts no longer than an operation: each holds another's."""
    whole = pipeline_cycles(macro, block.columns_used)
    parts = -(-whole // max(1, block.op_cycles))
    return [whole * (n + 1) // parts - whole * n // parts for n in range(parts)]


def _output_bits(layer: LayerPlan, blocks: Sequence[Block], macro: Macro) -> int:
    """Bits of one position's sums that leave the tile."""
    widths = {unit: widest_accumulator(macro, layer.layouts[unit]) for unit in {b.unit for b in blocks}}
    return sum(b.outputs * widths[b.unit] for b in _summed(blocks))


def _two_deep(graph: GraphBuilder, tasks: Ids, on: Ids, cause: Cause) -> None:
    """tasks[k] waits on on[k - 2]; the first two on the last two of the image before."""
    count = len(tasks)
    graph.wait(tasks[2:], on[:-2], cause)
    graph.wait(tasks[:2], on[[max(0, count - 2 + k) if count > 1 else 0 for k in range(min(2, count))]], cause, lag=1)
