"""One-bit cells behind nonlinear converters of real, ascending levels, as bit planes: which these are, and how they run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.combining import constants
from cimemu.engines.digits import level_digits
from cimemu.engines.engine import WhyNot, first_reason
from cimemu.engines.planes.adder_kernels import KEPT, PLANES, list_columns
from cimemu.engines.planes.clipped import why_not_plain
from cimemu.engines.planes.level_kernels import AT_ONCE, ENTRIES, LOW, levels_by_planes
from cimemu.engines.scratch import aligned
from cimemu.lanes.nibbles import turn_bytes
from cimemu.macro.program import Matrix

MOST_GROUPS = 64  # of a row block: its counts fit 16 bits


@dataclass(frozen=True, eq=False)
class LevelPlanes:
    """A matrix as `levels_by_planes` takes it."""

    listed: tuple[NDArray[Any], ...]
    converter: tuple[NDArray[Any], ...]
    rule: tuple[int, bool, int, int, int]
    rows: int  # of the largest group
    groups: int  # of the largest row block

    def fill(self, x: NDArray[Any], matrix: Matrix, y: NDArray[Any]) -> bool:
        """Fill y [P, N] from inputs x [P, K]: whether the encoding's correction is made too."""
        factor, rest, corrected = constants(x, matrix, 1, 0)
        turned = aligned((-(-len(x) // 32), -(-x.shape[1] // 16) * 16, 32), np.uint8)
        turn_bytes(x.astype(np.uint8, copy=False), aligned((1024,), np.uint8), turned)
        rows = aligned((self.groups, self.rows + 1, 32), np.uint8)
        numbers = aligned((KEPT + AT_ONCE, PLANES, 32), np.uint8)
        tables = aligned((self.groups, AT_ONCE, ENTRIES, 32), np.uint8)
        for array in (rows, numbers, tables):
            array[:] = 0
        counts = aligned((self.converter[2].shape[2], 32), np.uint16)
        ranges = np.zeros((2, 2, AT_ONCE), dtype=np.int64)
        value = aligned((y.shape[1], 32), np.float64)
        scratch = (rows, numbers, tables, counts, ranges, value)
        rule = (*self.rule, float(factor), rest)
        levels_by_planes(turned, (matrix.starts, matrix.stops), self.listed, self.converter, rule, scratch, y)
        return corrected


def make_level_planes(matrix: Matrix) -> LevelPlanes | WhyNot:
    """Planes of a matrix whose converters' levels are real and ascend with the code, or why there are none."""
    macro, weight, references = matrix.macro, matrix.columns.weight, matrix.references
    why = why_not_plain(matrix)
    if why is not None or references is None:
        return why or WhyNot("the converter is ideal and has no codes")
    one_bit = matrix.packed is not None and matrix.packed.shape[1] == 1 and macro.input.dac_bits == 1
    magnitude = np.abs(weight)
    skipping = macro.timing.skip_zero_slices
    rows, groups = int((matrix.stops - matrix.starts).max()), max(matrix.layout.groups_per_block)
    why = first_reason(
        (matrix.integer_result, "levels are integers, which tables add faster"),
        (not one_bit, "cells or input slices have more than one bit"),
        (macro.input_slices > 8, f"{macro.input_slices} input slices, a register holds 8"),
        (references[0].bits > 8, f"codes of {references[0].bits} bits, a register holds 8"),
        (any((np.diff(r.levels, axis=1) <= 0).any() for r in references), "levels do not ascend with the code"),
        # A level times the weight of its column would round.
        (bool((magnitude & (magnitude - 1)).any() or (magnitude == 0).any()), "a column's weight is no power of two"),
        # A skipped step must be one whose code and level are 0 anyway.
        (
            skipping and any(int(r.thresholds.min()) <= 0 or bool(r.levels[:, 0].any()) for r in references),
            "zero slices are skipped, and a psum of 0 has a code or a level",
        ),
        (rows >= 1 << PLANES, f"{rows} rows are raised together, its adders hold {(1 << PLANES) - 1}"),
        (groups > MOST_GROUPS, f"{groups} groups in a row block, its counts hold {MOST_GROUPS}"),
    )
    if why is None and level_digits(matrix) is not None:
        why = WhyNot("levels lie on a grid, which tables add faster")
    if why is not None:
        return why
    columns = matrix.seen_columns
    thresholds = _stacked([np.clip(r.thresholds, 0, 256) for r in references])
    cuts = np.pad(thresholds, [(0, 0), (0, 0), (0, 1)], constant_values=256)
    places = 32 * np.stack([LOW + 1 + (cuts >> 3), LOW + (cuts >> 3), cuts & 7], axis=3).astype(np.uint16)
    firsts = (thresholds[..., None] <= np.arange(257)).sum(axis=2)
    levels = np.stack([np.broadcast_to(r.levels, (columns, r.levels.shape[1])) for r in references])
    levels = levels * np.tile(weight, matrix.layout.outputs)[:, None]
    most = max(1, int(np.add.reduceat(matrix.seen, matrix.starts, axis=0, dtype=np.int64).max()))
    signed = macro.input.signed
    live = 255 if signed else (1 << macro.input_slices) - 1
    return LevelPlanes(
        listed=list_columns(matrix.seen, matrix.starts, matrix.stops, AT_ONCE),
        converter=(
            places.reshape(*places.shape[:2], -1),
            firsts.astype(np.int64),
            np.ascontiguousarray(levels),
            matrix.block_groups,
        ),
        rule=(live, signed, most.bit_length(), len(weight), columns),
        rows=rows,
        groups=groups,
    )


def _stacked(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Parts [1 or C, T] of all row blocks as one array [row blocks, 1 or C, T]."""
    columns = max(len(p) for p in parts)
    return np.stack([np.broadcast_to(p, (columns, p.shape[1])) for p in parts])
