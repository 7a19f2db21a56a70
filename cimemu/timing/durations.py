"""How long macro operations take whose zero slices are skipped: from the values that really flowed."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cimemu.mapping.cycles import skipped_op_cycles
from cimemu.mapping.plan import Plan
from cimemu.timing.build import macro_op_columns
from cimemu.timing.graph import Template

Nonzero = Mapping[int, Sequence[NDArray[np.bool_]]]  # by layer: per unit [images * positions, groups, slices]


def block_steps(plan: Plan, nonzero: Nonzero, layer: int, block: int) -> NDArray[np.bool_]:
    """[images * positions, groups of the block's row block, slices]: which steps are driven."""
    piece = plan.layers[layer].blocks[block]
    sizes = plan.layers[layer].layouts[piece.unit].groups_per_block
    first = sum(sizes[: piece.row_block])
    return nonzero[layer][piece.unit][:, first : first + sizes[piece.row_block]]


def duration_table(plan: Plan, template: Template, nonzero: Nonzero, images: int) -> NDArray[np.int32]:
    """durations[image, c]: cycles of the macro operation that `template.dynamic` numbers c."""
    columns = int(template.dynamic.max(initial=-1)) + 1
    table = np.zeros((images, columns), dtype=np.int32)
    for layer, block, positions, where in macro_op_columns(plan, template):
        steps = block_steps(plan, nonzero, layer, block)
        cycles = skipped_op_cycles(plan.arch.macro, plan.layers[layer].blocks[block].columns_used, steps)
        table[:, where] = np.maximum(cycles, 1).reshape(images, -1)[:, positions]  # an empty operation takes a cycle
    return table
