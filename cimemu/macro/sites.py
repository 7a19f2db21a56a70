"""Where the blocks of a matrix lie: which macro, which column, after how many earlier writes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cimemu.mapping.layout import Layout
from cimemu.mapping.plan import Plan


@dataclass(frozen=True)
class Site:
    """One block's place; it starts at row 0 of the macro."""

    macro: int
    first_column: int  # physical
    write: int  # earlier writes of this macro in the run


Sites = Mapping[tuple[int, int], Site]  # by (row block, column block)


def own_macros(layout: Layout) -> Sites:
    """A matrix alone on a chip: every block in a macro of its own, row blocks outer."""
    count = len(layout.col_blocks)
    return {
        (rb, cb): Site(macro=rb * count + cb, first_column=0, write=0)
        for rb in range(len(layout.row_blocks))
        for cb in range(count)
    }


def planned_sites(plan: Plan) -> dict[str, list[list[Sites]]]:
    """By layer name: the sites of every replica and unit, `[replica][unit]`."""
    written: dict[int, set[int]] = {}
    for placed in plan.placed:
        written.setdefault(placed.macro, set()).add(placed.phase)
    found: dict[str, list[list[dict[tuple[int, int], Site]]]] = {
        layer.name: [[{} for _ in layer.units] for _ in range(layer.replicas)] for layer in plan.layers if layer.blocks
    }
    for placed in plan.placed:
        layer = plan.layers[placed.layer]
        block = layer.blocks[placed.block]
        earlier = sum(phase < placed.phase for phase in written[placed.macro])
        site = Site(macro=placed.macro, first_column=placed.first_column, write=earlier)
        found[layer.name][placed.replica][block.unit][block.row_block, block.col_block] = site
    made: dict[str, list[list[Sites]]] = {
        name: [list(replica) for replica in replicas] for name, replicas in found.items()
    }
    return {layer.name: made[plan.layers[layer.cells_of].name] for layer in plan.layers if layer.blocks}


def by_placed(plan: Plan, writes: Mapping[tuple[str, int, int, int, int], Any]) -> dict[tuple[int, int, int], Any]:
    """What is kept by (layer name, replica, unit, row block, column block), by (layer, block, replica) of the plan."""
    found = {}
    for placed in plan.placed:
        layer = plan.layers[placed.layer]
        block = layer.blocks[placed.block]
        key = (layer.name, placed.replica, block.unit, block.row_block, block.col_block)
        if key in writes:
            found[placed.layer, placed.block, placed.replica] = writes[key]
    return found
