"""One-bit cells behind nonlinear converters of real levels, as bit planes: which these are, and how they run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.combining import constants
from cimemu.engines.digits import level_digits, level_ranks
from cimemu.engines.engine import WhyNot, first_reason
from cimemu.engines.planes.adder_kernels import COLUMNS, KEPT, PLANES, list_columns
from cimemu.engines.planes.clipped import why_not_plain
from cimemu.engines.planes.rank_kernels import ranks_by_planes
from cimemu.engines.planes.tables import MOST_ENTRIES, entries_of, sum_tables
from cimemu.engines.scratch import aligned
from cimemu.lanes import broad
from cimemu.lanes.nibbles import ORDER, turn_bytes
from cimemu.macro.program import Matrix

MOST_GROUPS = 64  # of a row block: their ranks stay in the second-level cache


@dataclass(frozen=True, eq=False)
class RankPlanes:
    """A matrix as `ranks_by_planes` takes it."""

    unit: tuple[int, ...]
    listed: tuple[NDArray[Any], ...]
    converter: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64]]
    live: int
    signed: bool
    rows: int  # of the largest group
    planes: int  # of a sum
    groups: int  # of the largest row block

    def fill(self, x: NDArray[Any], matrix: Matrix, y: NDArray[Any]) -> bool:
        """Fill y [P, N] from inputs x [P, K]: whether the encoding's correction is made too."""
        factor, rest, corrected = constants(x, matrix, 1, 0)
        width = 32 * len(self.unit)
        turned = aligned((-(-len(x) // width), -(-x.shape[1] // 16) * 16, width), np.uint8)
        turn_bytes(x.astype(np.uint8, copy=False), aligned((1024,), np.uint8), turned)
        rows = aligned((self.rows + 1, width), np.uint8)
        numbers = aligned((KEPT + COLUMNS, self.planes, width), np.uint8)
        rows[:] = numbers[:] = 0
        ranks = aligned((self.groups, COLUMNS, 8, width), np.uint8)
        alive = aligned((width,), np.uint8)
        alive[:] = 255 * (self.live >> np.arange(width) % 8 & 1)
        value = aligned((y.shape[1], width + 8), np.float64)  # 8 more: outputs would share sets of the cache
        # Register r of `turned_sums` has places 2r and 2r + 1 of every 16.
        places = np.arange(width).reshape(-1, 8, 2).transpose(1, 0, 2).ravel()
        order = np.concatenate([32 * half + ORDER for half in range(width // 32)])
        given = (matrix.starts, matrix.stops, *self.listed, matrix.block_groups)
        rule = (len(matrix.columns.weight), float(factor), rest, order[places])
        marks = aligned((self.groups, 8, width), np.uint8)
        scratch = (rows, numbers, ranks, alive, np.zeros((2, COLUMNS), dtype=np.int64), marks, value)
        negative = 1 if self.signed else None
        ranks_by_planes(self.unit, turned, given, self.converter, rule, negative, scratch, y)
        return corrected


def make_rank_planes(matrix: Matrix) -> RankPlanes | WhyNot:
    """Planes of a matrix whose converters' levels are real, or why there are none."""
    macro, references = matrix.macro, matrix.references
    why = why_not_plain(matrix)
    if why is not None or references is None:
        return why or WhyNot("the converter is ideal and has no codes")
    one_bit = matrix.packed is not None and matrix.packed.shape[1] == 1 and macro.input.dac_bits == 1
    rows, groups = int((matrix.stops - matrix.starts).max()), max(matrix.layout.groups_per_block)
    counted = np.add.reduceat(matrix.seen, matrix.starts, axis=0, dtype=np.int64)
    most = int(counted.max())
    why = first_reason(
        (matrix.integer_result, "levels are integers, which tables add faster"),
        (not one_bit, "cells or input slices have more than one bit"),
        (macro.input_slices > 8, f"{macro.input_slices} input slices, a register holds 8"),
        (references[0].bits > 8, f"codes of {references[0].bits} bits, a register holds 8"),
        # A skipped step must be one whose code and level are 0 anyway.
        (
            macro.timing.skip_zero_slices
            and any(int(r.thresholds.min()) <= 0 or bool(r.levels[:, 0].any()) for r in references),
            "zero slices are skipped, and a psum of 0 has a code or a level",
        ),
        (groups > MOST_GROUPS, f"{groups} groups in a row block, its ranks leave the cache"),
    )
    if why is None and level_digits(matrix) is not None:
        why = WhyNot("levels lie on a grid, which tables add faster")
    ranked = None if why is not None else level_ranks(matrix)
    if ranked is None:
        return why or WhyNot("a column's weight is no power of two, a level times it would round")
    digits, levels = ranked
    tables = sum_tables(references, digits, most)
    entries = entries_of(tables, most)
    if entries > MOST_ENTRIES:
        return WhyNot(f"sums up to {most} are told apart, its tables hold {MOST_ENTRIES}")
    columns = matrix.seen_columns
    given = np.minimum(np.arange(entries), tables.shape[1] - 1)
    per_block = len(tables) // len(references)
    own = matrix.block_of[:, None] * per_block + np.arange(columns) % per_block
    signed = macro.input.signed
    return RankPlanes(
        unit=broad.BROAD if broad.HAS_BROAD else broad.NARROW,
        listed=list_columns(matrix.seen, matrix.starts, matrix.stops, COLUMNS),
        converter=(
            np.ascontiguousarray(tables[:, given], dtype=np.uint8),
            np.ascontiguousarray(own),
            np.ascontiguousarray(np.broadcast_to(levels, (len(levels), columns, levels.shape[2]))),
        ),
        live=255 if signed else (1 << macro.input_slices) - 1,
        signed=signed,
        rows=rows,
        planes=max(PLANES, most.bit_length()),
        groups=groups,
    )
