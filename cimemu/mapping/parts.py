"""What each phase does for a layer that is larger than the chip: which outputs it begins, goes on with and finishes.

An output's sum runs over the row blocks of its columns. Where these are in different phases, the sum so far is kept in the
global buffer (off-chip where that is too small) from the first of them to the last; an output is finished in the last.
"""

from dataclasses import dataclass

from cimemu.mapping.layout import widest_accumulator
from cimemu.mapping.plan import LayerPlan, Plan


@dataclass(frozen=True)
class Part:
    """One phase of one layer; bits are of one output position."""

    begun: int  # outputs whose first row block is here
    finished: int  # outputs whose last row block is here
    finished_before: int  # in earlier phases
    read_bits: int  # sums of earlier phases that are read here
    kept_bits: int  # sums that are written here for later phases
    held_bits: int  # sums of earlier phases or for later ones that need room while the phase runs

    def share(self, total: int, outputs: int) -> int:
        """This phase's part of an amount that belongs to the finished outputs; the parts of all phases add up to it."""
        before = total * self.finished_before // outputs
        return total * (self.finished_before + self.finished) // outputs - before


def layer_parts(plan: Plan, layer: LayerPlan) -> dict[int, Part]:
    """The parts of a layer on macros by phase; they are worked out once for a plan."""
    key = ("parts", layer.index)
    if key not in plan.kept:
        plan.kept[key] = _parts(plan, layer)
    found: dict[int, Part] = plan.kept[key]
    return found


@dataclass
class _Columns:
    """Outputs that are summed over the same blocks: how many, the bits of their sums, and the first and last phase of these."""

    outputs: int
    bits: int
    first: int
    last: int


def _parts(plan: Plan, layer: LayerPlan) -> dict[int, Part]:
    columns: dict[tuple[int, int], _Columns] = {}
    touched: dict[int, dict[tuple[int, int], _Columns]] = {phase: {} for phase in layer.phases}
    bits = [_sum_bits(plan, layer, unit) for unit in range(len(layer.units))]
    for p in plan.placed:  # phase by phase
        if p.layer != layer.cells_of:
            continue
        block = layer.blocks[p.block]
        key = (block.unit, block.col_block)
        if key not in columns:
            columns[key] = _Columns(block.outputs, block.outputs * bits[block.unit], p.phase, p.phase)
        columns[key].last = p.phase
        if p.phase in touched:
            touched[p.phase][key] = columns[key]
    return {
        phase: Part(
            begun=sum(c.outputs for c in here.values() if c.first == phase),
            finished=sum(c.outputs for c in here.values() if c.last == phase),
            finished_before=sum(c.outputs for c in columns.values() if c.last < phase),
            read_bits=sum(c.bits for c in here.values() if c.first < phase),
            kept_bits=sum(c.bits for c in here.values() if c.last > phase),
            held_bits=sum(c.bits for c in columns.values() if c.first < c.last and c.first <= phase <= c.last),
        )
        for phase, here in touched.items()
    }


def _sum_bits(plan: Plan, layer: LayerPlan, unit: int) -> int:
    """Bits of one output's sum over row blocks: the widest accumulator, and the carries of adding as many."""
    layout = layer.layouts[unit]
    return widest_accumulator(plan.arch.macro, layout) + (len(layout.row_blocks) - 1).bit_length()
