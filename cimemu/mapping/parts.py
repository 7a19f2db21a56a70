"""What each phase does for a layer that is larger than the chip: which outputs it begins, goes on with and finishes.

An output's sum runs over the row blocks of its columns. Where these are in different phases, the sum so far is kept in the
global buffer (off-chip where that is too small) from the first of them to the last; an output is finished in the last.
"""

from dataclasses import dataclass

from cimemu.mapping.layout import accumulator_width
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
    """The parts of a layer on macros by phase."""
    phases: dict[tuple[int, int], set[int]] = {}
    outputs: dict[tuple[int, int], int] = {}
    for p in plan.placed:
        if p.layer == layer.cells_of:
            block = layer.blocks[p.block]
            phases.setdefault((block.unit, block.col_block), set()).add(p.phase)
            outputs[block.unit, block.col_block] = block.outputs
    bits = {key: count * _sum_bits(plan, layer, key[0]) for key, count in outputs.items()}
    parts = {}
    for phase in layer.phases:
        touched = [key for key, where in phases.items() if phase in where]
        parts[phase] = Part(
            begun=sum(outputs[key] for key in touched if min(phases[key]) == phase),
            finished=sum(outputs[key] for key in touched if max(phases[key]) == phase),
            finished_before=sum(outputs[key] for key, where in phases.items() if max(where) < phase),
            read_bits=sum(bits[key] for key in touched if min(phases[key]) < phase),
            kept_bits=sum(bits[key] for key in touched if max(phases[key]) > phase),
            held_bits=sum(
                bits[key] for key, where in phases.items() if len(where) > 1 and min(where) <= phase <= max(where)
            ),
        )
    return parts


def _sum_bits(plan: Plan, layer: LayerPlan, unit: int) -> int:
    """Bits of one output's sum over row blocks: the widest accumulator, and the carries of adding as many."""
    layout = layer.layouts[unit]
    blocks = range(len(layout.row_blocks))
    return max(accumulator_width(plan.arch.macro, layout, i) for i in blocks) + (len(blocks) - 1).bit_length()
