"""From a plan to the task graphs of its phases."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cimemu.events import Cause, Counter, Kind, Pulses
from cimemu.mapping.parts import layer_parts
from cimemu.mapping.plan import Plan
from cimemu.timing.digital_tasks import digital_layer
from cimemu.timing.feeds import Feeds
from cimemu.timing.graph import GraphBuilder, Template
from cimemu.timing.macro_tasks import macro_layer
from cimemu.timing.routes import Routes
from cimemu.timing.storage import place_tensors
from cimemu.timing.turns import Turns


def phase_template(plan: Plan, phase: int, units: dict[str, int] | None = None, images: int = 1) -> Template:
    """The task graph of one image in `phase`. `units` numbers units by name, shared between phases; `images` are how many
    go through it before the next.

    Raises MappingError where a window does not fit a tile's buffer.
    """
    arch = plan.arch
    graph = GraphBuilder(len(plan.layers), {} if units is None else units)
    storage = place_tensors(plan, phase, images)
    members = [layer for layer in plan.layers if phase in layer.phases]
    crossing = frozenset(i for layer in members for i in layer.inputs if i >= 0 and plan.layers[i].phase < phase)
    feeds = Feeds(arch, graph, storage, crossing)
    routes = Routes(arch)
    placed = plan.by_phase[phase]
    residents: dict[int, set[int]] = {}
    for p in placed:
        residents.setdefault(p.macro // arch.tile.macros, set()).add(p.layer)
    together = arch.schedule == "pipelined"
    sharers = {tile: len(layers) if together else 1 for tile, layers in residents.items()}
    turns = Turns(feeds, members if together else ())
    for layer in members:
        is_output = layer.is_output
        if layer.on_macros:
            own = [p for p in placed if p.layer == layer.cells_of]
            part = layer_parts(plan, layer)[phase]
            turns.begin(layer)
            written = macro_layer(feeds, routes, layer, own, sharers, is_output, part)
            turns.end(layer, written)
        else:
            written = digital_layer(feeds, layer, is_output)
        if not together:
            feeds.barrier = graph.meet(layer.index)
            graph.wait(feeds.barrier, written, Cause.DATA)
    feeds.reserve()
    return graph.build(storage.in_flight, arch.macro.timing.skip_zero_slices)


Written = Mapping[tuple[int, int, int], Pulses]  # by (layer, block, replica)


def programming_template(plan: Plan, phase: int, units: dict[str, int], written: Written | None = None) -> Template:
    """Writing the weights of `phase`: from off-chip, then row by row, every macro by itself.

    A block that is not in `written` takes one pulse a row and cell.
    """
    arch = plan.arch
    graph = GraphBuilder(len(plan.layers), units)
    memory = arch.chip.offchip
    for p in (p for p in plan.by_phase[phase] if not plan.layers[p.layer].written):
        block = plan.layers[p.layer].blocks[p.block]
        bits = block.cells * arch.macro.cell.bits
        cycles = memory.latency_cycles - (-bits // memory.bits_per_cycle)
        load = graph.add(Kind.OFFCHIP, graph.unit("offchip"), cycles, p.layer, 1)
        macro = graph.unit(f"tile{p.macro // arch.tile.macros}/macro{p.macro % arch.tile.macros}")
        pulses = (written or {}).get((p.layer, p.block, p.replica), Pulses(block.cells, block.rows_used))
        write = graph.add(Kind.PROGRAM, macro, pulses.rows * arch.programming.row_write_cycles, p.layer, 1)
        graph.wait(write, load, Cause.MEMORY)
        graph.count(p.layer, Counter.OFFCHIP_READ_BITS, bits)
        graph.count(p.layer, Counter.CELL_WRITES, pulses.cells)
    return graph.build(1, False)


def macro_op_columns(plan: Plan, template: Template) -> list[tuple[int, int, NDArray[np.int32], NDArray[np.int64]]]:
    """(layer, block, positions, columns of the duration table) of the template's data-dependent operations."""
    chosen = np.flatnonzero((template.dynamic >= 0) & (template.block >= 0))
    keys = template.layer[chosen].astype(np.int64) << 32 | template.block[chosen]
    return [
        (
            int(key >> 32),
            int(key & 0xFFFFFFFF),
            template.position[chosen[keys == key]],
            template.dynamic[chosen[keys == key]].astype(np.int64),
        )
        for key in np.unique(keys)
    ]
