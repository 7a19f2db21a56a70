"""How long macro operations take whose zero slices are skipped, and writings of activations: from what really flowed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import MappingError
from cimemu.events import Kind
from cimemu.mapping.cycles import skipped_op_cycles
from cimemu.mapping.plan import Plan
from cimemu.timing.build import macro_op_columns
from cimemu.timing.graph import Template

Nonzero = Mapping[int, Sequence[NDArray[np.bool_]]]  # by layer: per unit [images * positions, groups, slices]
RowPulses = Mapping[int, NDArray[np.int64]]  # by layer whose cells are written for every image: [images, blocks]
LONGEST_TASK = 2**31 - 1


def block_steps(plan: Plan, nonzero: Nonzero, layer: int, block: int) -> NDArray[np.bool_]:
    """[images * positions, groups of the block's row block, slices]: which steps are driven."""
    piece = plan.layers[layer].blocks[block]
    sizes = plan.layers[layer].layouts[piece.unit].groups_per_block
    first = sum(sizes[: piece.row_block])
    return nonzero[layer][piece.unit][:, first : first + sizes[piece.row_block]]


def with_writings(template: Template) -> Template:
    """`template` whose writings of activations depend on data too: `dynamic` numbers them behind the operations."""
    dynamic, writings = template.dynamic.copy(), np.flatnonzero(template.kind == Kind.PROGRAM)
    dynamic[writings] = int(dynamic.max(initial=-1)) + 1 + np.arange(len(writings), dtype=np.int32)
    return replace(template, dynamic=dynamic)


def duration_table(
    plan: Plan, template: Template, nonzero: Nonzero, images: int, pulses: RowPulses | None = None
) -> NDArray[np.int32]:
    """durations[image, c]: cycles of the macro operation, or of the writing of `pulses`, that `template.dynamic` numbers c."""
    columns = int(template.dynamic.max(initial=-1)) + 1
    table = np.zeros((images, columns), dtype=np.int32)
    for layer, block, positions, where in macro_op_columns(plan, template):
        steps = block_steps(plan, nonzero, layer, block)
        cycles = skipped_op_cycles(plan.arch.macro, plan.layers[layer].blocks[block].columns_used, steps)
        table[:, where] = np.maximum(cycles, 1).reshape(images, -1)[:, positions]  # an empty operation takes a cycle
    for task in np.flatnonzero((template.dynamic >= 0) & (template.kind == Kind.PROGRAM)):
        layer, block = int(template.layer[task]), int(template.position[task])
        assert pulses is not None
        written = pulses[layer][:images, block] * plan.arch.programming.row_write_cycles
        if int(written.max(initial=0)) > LONGEST_TASK:
            raise MappingError(
                f"layer {plan.layers[layer].name}: writing an image takes {int(written.max())} cycles, must be <= "
                f"{LONGEST_TASK}; make programming.row_write_cycles smaller"
            )
        table[:, template.dynamic[task]] = np.maximum(written, 1)
    return table
