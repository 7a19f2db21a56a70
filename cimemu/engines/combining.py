"""Digits weighed by input slice, as registers leave them, into outputs: what table look-up and bit planes end with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.encoding import UNCORRECTED
from cimemu.engines.digits import Digits
from cimemu.engines.output_kernels import combine_lanes, combine_lanes_float, input_sums, spread_lanes
from cimemu.engines.scratch import scratch
from cimemu.engines.units import Units
from cimemu.macro.program import Matrix
from cimemu.macro.sums import Sums, converted_weights, driven_steps

SUMS_BYTES = 1 << 19  # weighed digits of so many bytes stay in the second-level cache until they are combined

# (first position, sums uint16 [U, G, columns, positions]): fills the sums of these positions
Convert = Callable[[int, NDArray[np.uint16]], None]


@dataclass(frozen=True, eq=False)
class Combining:
    """How weighed digits [U, G, columns, positions] of a matrix become outputs."""

    units: Units
    columns: int  # rows of sums of a unit and group
    groups: NDArray[np.int64]  # [row blocks, 2]
    grids: tuple[NDArray[Any], ...]  # lsb, zero [row blocks, 1 or C], sum of slice weights [row blocks]
    small: bool  # weighed sums of one output stay in 32 bits
    zero_is_zero: bool  # digit 0 stands for 0 everywhere
    terms: NDArray[np.int64] | None  # [J, 2] rows of sums and factors of output 0, where one integer rule serves all
    block_terms: NDArray[np.int64] | None  # [row blocks, J, 2] the same by row block for its column 0, weights apart
    lsb: int
    rest: int
    nonlinear: bool

    def plain(self, matrix: Matrix) -> bool:
        """Whether sums become outputs without a look at single columns; a skipped step of a nonlinear one gives level 0."""
        if self.nonlinear:
            return True
        skipped = matrix.macro.timing.skip_zero_slices and not self.zero_is_zero
        return matrix.flipped is None and matrix.scale is None and not skipped

    def fused(self, matrix: Matrix) -> bool:
        """Whether one integer factor and one rest make outputs of the sums of all columns."""
        return self.plain(matrix) and self.terms is not None and abs(self.lsb) < 1 << 30

    def step(self, positions: int, least: int) -> int:
        """How many of so many positions, rounded up to registers, are combined at once; `least` or more, if there are."""
        per_block = 64 * len(self.units.places) * int(self.groups[-1, 1]) * self.columns
        return min(max(least, 64 * max(1, SUMS_BYTES // (2 * per_block))), -(-positions // 64) * 64)

    def values(
        self, x: NDArray[Any], masked: NDArray[Any], matrix: Matrix, convert: Convert, y: NDArray[Any], least: int = 64
    ) -> bool | Sums:
        """Fill y [P, N] from inputs x [P, K] (`masked`: as bit patterns): True with the correction made, False without it.

        Sums by column, and no y, where a column's value needs more care. `least`: positions that are worth a call.
        """
        points, units, weight = len(masked), self.units, matrix.columns.weight
        step = self.step(points, least)
        sums = scratch("sums", (len(units.places), int(self.groups[-1, 1]), self.columns, step), np.uint16)
        rows = sums.view(np.int16).reshape(-1, step)
        fused = self.fused(matrix)
        floats = self.plain(matrix) and not matrix.integer_result and self.block_terms is not None
        total = np.zeros((8, 32), dtype=np.int32 if self.small else np.int64)
        value = np.empty((8, 32), dtype=np.float64)
        if fused:
            lsb, rest, corrected = constants(x, matrix, self.lsb, self.rest)
        elif not floats:
            by_column = np.empty((points, len(self.groups), matrix.seen_columns), dtype=np.int64)
        for start in range(0, points, step):
            convert(start, sums)
            part = slice(start, start + step)
            if fused:
                combine_lanes(rows, self.terms, len(weight), lsb, rest[part], total, y[part])
            elif floats:
                combine_lanes_float(rows, self.block_terms, weight, self.grids, value, y[part])
            else:
                spread_lanes(sums, self.groups, units.places, units.signed, total[0], by_column[part])
        if fused:
            return corrected
        if floats:
            return False
        if self.nonlinear:
            weights = converted_weights(matrix, points, None)
            by_column *= int(self.grids[0][0, 0])
            by_column += weights[:, :, None] * int(self.grids[1][0, 0])
            return Sums(by_column=by_column, weights=weights)
        active = driven_steps(masked, matrix) if matrix.macro.timing.skip_zero_slices else None
        return Sums(by_column=by_column, weights=converted_weights(matrix, points, active))


def make_combining(matrix: Matrix, digits: list[Digits], units: Units, top: int, columns: int) -> Combining:
    """How sums of digits up to `top` become outputs; `columns` are rows of sums of a unit and group."""
    groups = len(matrix.block_of)
    slice_weight = int(matrix.slice_weights.sum())
    grids = (
        _grid([d.lsb for d in digits]),
        _grid([d.zero for d in digits]),
        np.array(matrix.layout.groups_per_block, dtype=np.int64) * slice_weight,
    )
    weight = matrix.columns.weight
    largest = top * int(np.abs(weight).sum()) * int(np.abs(matrix.slice_weights).sum()) * groups
    one = matrix.integer_result and all((grid == grid[0, 0]).all() for grid in grids[:2])
    factors = weight[None, None, :] * units.places[:, None, None] * np.ones((1, groups, 1), dtype=np.int64)
    rows = (np.arange(len(units.places))[:, None, None] * groups + np.arange(groups)[:, None]) * columns
    flat = np.stack([(rows + np.arange(len(weight))).ravel(), factors.ravel()], axis=1)
    sums = np.abs(units.weights).sum(axis=1).max() * top
    fits = largest < 1 << 31 and int(np.abs(factors).max()) <= 32767 and int(sums) <= 32767
    if len(flat) % 2:
        flat = np.concatenate([flat, [[0, 0]]])
    return Combining(
        units=units,
        columns=columns,
        groups=matrix.block_groups,
        grids=grids,
        small=largest < 1 << 31,
        zero_is_zero=bool((grids[1] == 0).all()),
        terms=np.ascontiguousarray(flat) if one and fits else None,
        block_terms=_block_terms(matrix, units, columns) if fits else None,
        lsb=int(grids[0][0, 0]) if one else 0,
        rest=int(grids[1][0, 0]) * int(weight.sum()) * slice_weight * groups if one else 0,
        nonlinear=matrix.references is not None and matrix.references[0].lsb is None,
    )


def _block_terms(matrix: Matrix, units: Units, columns: int) -> NDArray[np.int64]:
    """Rows of sums (units outer, groups inner) and places of every row block, padded with factors of 0 to an even J."""
    per_block = matrix.layout.groups_per_block
    count = len(units.places) * max(per_block)
    terms = np.zeros((len(per_block), count + count % 2, 2), dtype=np.int64)
    for block in range(len(per_block)):
        mine = np.flatnonzero(matrix.block_of == block)
        rows = (np.arange(len(units.places))[:, None] * len(matrix.block_of) + mine).ravel() * columns
        terms[block, : len(rows)] = np.stack([rows, np.repeat(units.places, len(mine))], axis=1)
    return terms


def _grid(rows: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """[row blocks, 1 or C]."""
    wide = max(len(row) for row in rows)
    return np.ascontiguousarray(np.stack([np.broadcast_to(row, wide) for row in rows]))


def constants(x: NDArray[Any], matrix: Matrix, lsb: int, rest: int) -> tuple[int, NDArray[np.int64], bool]:
    """(lsb, what is added to every output of each input, whether that is the encoding's correction too)."""
    correction = matrix.macro.correction
    sums = np.full(len(x), rest, dtype=np.int64)
    if correction == UNCORRECTED:
        return lsb, sums, True
    if matrix.has_reference_column or matrix.row_group is not None:
        return lsb, sums, False
    input_sums(x, correction.of_inputs, correction.of_y * rest, sums)
    return correction.of_y * lsb, sums, True
