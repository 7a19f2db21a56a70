"""Weights written into cells: everything about a matrix that does not depend on the inputs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc
from cimemu.arch.macro import Macro
from cimemu.errors import ArchError
from cimemu.layer.column_scale import ColumnScale
from cimemu.macro.accumulator import check_accumulator
from cimemu.macro.checksums import Checks, make_checks
from cimemu.macro.encode import (
    checked_weights,
    columns_of,
    fixed_point_levels,
    input_slice_weights,
    inside_groups,
)
from cimemu.macro.flipping import flip_columns
from cimemu.macro.levels import level_table
from cimemu.macro.matrix import Matrix as Matrix
from cimemu.macro.matrix import check_sums, has_reference_column, reference_cells_per_row
from cimemu.macro.read_noise import ReadNoise
from cimemu.macro.references import make_references, prove_affine
from cimemu.macro.scaled import check_scale, scaled_references
from cimemu.mapping.layout import Layout, make_layout


@dataclass(frozen=True, eq=False)
class Writing:
    """How a matrix is written, beside its weights and macro.

    `row_group`, `out_group` give the convolution group of every row and output (off-block cells hold level 0),
    `adc` replaces the macro's converter, `cells` [K, N * columns_per_output] are effective levels that replace the
    ideal ones, `noise` is added to every partial sum and needs `cells` (their fixed point is the noise's too), `scale`
    multiplies what row blocks and columns give.
    """

    layout: Layout | None = None
    row_group: NDArray[np.int64] | None = None
    out_group: NDArray[np.int64] | None = None
    adc: Adc | None = None
    cells: NDArray[np.floating] | None = None
    noise: tuple[ReadNoise, ...] = ()
    scale: ColumnScale | None = None


def write_matrix(w: NDArray[Any], macro: Macro, how: Writing = Writing()) -> Matrix:
    """Write integer weights `w` [K, N] into cells of `macro`.

    Raises WorkloadError for a weight out of range, ArchError for references or noise of another shape.
    """
    layout, row_group, out_group, noise, scale = how.layout, how.row_group, how.out_group, how.noise, how.scale
    inside = inside_groups(row_group, out_group)
    weights = checked_weights(w, macro, inside)
    layout = make_layout(weights.shape[0], weights.shape[1], macro) if layout is None else layout
    adc = macro.adc if how.adc is None else how.adc
    shape = (weights.shape[0], weights.shape[1] * macro.columns_per_output)
    fixed = None if how.cells is None else fixed_point_levels(how.cells, macro, shape)
    columns = columns_of(macro)
    flipped = flipped_levels = None
    if macro.weight.column_flipping:
        if fixed is not None:
            raise ArchError("weight.column_flipping with given cell levels: not defined, turn one of them off")
        levels = level_table(macro).levels(weights, inside)
        flipped_levels, flipped = flip_columns(levels, macro, layout, inside)
    references = make_references(
        adc, layout, macro.conversions_per_output, 0 if fixed is None else macro.cell.fraction_bits
    )
    check_accumulator(macro, references, fixed is None, adc)
    if flipped is not None and references is not None and not all(r.integer for r in references):
        raise ArchError("weight.column_flipping with converter levels that are no integers: not defined, use lsb 1")
    if scale is not None:
        check_scale(scale, layout, macro)
    _check_noise(noise, fixed is None, (len(layout.row_blocks), weights.shape[1] * len(columns.weight)))
    spans = layout.group_spans
    starts = np.array([first for _, first, _ in spans], dtype=np.int64)
    stops = np.array([last for _, _, last in spans], dtype=np.int64)
    matrix = Matrix(
        macro=macro,
        adc=adc,
        layout=layout,
        weights=weights,
        row_group=row_group,
        out_group=out_group,
        flipped_levels=flipped_levels,
        cells=fixed,
        columns=columns,
        references=references,
        affine=tuple(None for _ in layout.row_blocks),
        slice_weights=input_slice_weights(macro),
        row_levels=np.zeros(0, dtype=np.int64),
        psum_range=(0, 0),
        starts=starts,
        stops=stops,
        block_of=np.array([block for block, _, _ in spans], dtype=np.int64),
        flipped=flipped,
        noise=noise,
        scale=scale,
        values=None if scale is None or references is None else scaled_references(references, scale),
    )
    if macro.repair.checksum_columns:
        matrix = replace(matrix, checks=_checks(matrix))
    row_levels, (low, high) = _sums_of_cells(matrix)
    if matrix.checks is not None:
        row_levels += matrix.checks.cells.sum(axis=1, dtype=np.int64)
    if fixed is None and references is not None:
        matrix = replace(matrix, affine=tuple(prove_affine(r, low, high) for r in references))
    if matrix.has_reference_column:
        row_levels += matrix.unit * reference_cells_per_row(matrix)
    matrix = replace(matrix, row_levels=row_levels, psum_range=(low, high))
    check_sums(matrix)
    return matrix


def _checks(matrix: Matrix) -> Checks:
    """The checksum columns of a matrix, as ideal cells hold them. ArchError where its psums cannot be compared."""
    if matrix.scale is not None:
        raise ArchError(
            f"macro.repair.checksum_columns = {matrix.macro.repair.checksum_columns} with column scales of a network: psums of "
            "columns are not compared; set it to 0, or take a network without"
        )
    check_whole(matrix)
    return make_checks(matrix.levels_of(slice(None)), matrix.macro, matrix.layout, matrix.references, matrix.unit)


def check_whole(matrix: Matrix, checks: NDArray[np.integer] | None = None) -> None:
    """ArchError where an ideal converter would compare sums of levels that are not whole: no two would be equal."""
    if matrix.references is not None or matrix.cells is None:
        return
    parts = [matrix.cells] if checks is None else [matrix.cells, checks]
    if any((part % matrix.unit).any() for part in parts):
        raise ArchError(
            f"macro.repair.checksum_columns = {matrix.macro.repair.checksum_columns} with an ideal converter and cells of levels "
            "that are not whole: their sums are never equal; give a macro.adc that rounds psums, or set it to 0"
        )


def _sums_of_cells(matrix: Matrix) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """(what the cells of every row add up to, smallest and largest psum); levels are made a few rows at a time."""
    macro, layout, table = matrix.macro, matrix.layout, level_table(matrix.macro)
    spans = [(first, last) for _, first, last in layout.group_spans]
    if matrix.cells is None and matrix.flipped_levels is None and matrix.columns.alone:
        of_rows, high = table.sums(matrix.weights, matrix.inside(slice(None)), spans)
        return of_rows, _with_reference(0, high, layout, macro, 1)
    of_rows = np.empty(layout.rows, dtype=np.int64)
    for rows in (slice(first, last) for first, last in spans):
        stored = matrix.levels_of(rows) if matrix.cells is None else matrix.cells[rows]
        of_rows[rows] = stored.sum(axis=1, dtype=np.int64)
    return of_rows, psum_range(matrix.seen_of, layout, macro, matrix.unit)


def psum_range(
    seen_of: Callable[[slice], NDArray[np.integer]], layout: Layout, macro: Macro, unit: int
) -> tuple[int, int]:
    """Smallest and largest psum that any group and column can see, a reference column where there is one.

    `seen_of` rows is what a conversion sees of them, `unit` what a cell level of 1 is there.
    """
    low = high = 0
    for _, first, last in layout.group_spans:
        rows = seen_of(slice(first, last))
        if (rows < 0).any():
            low = min(low, int(np.minimum(rows, 0).sum(axis=0, dtype=np.int64).min()))
            rows = np.maximum(rows, 0)
        high = max(high, int(rows.sum(axis=0, dtype=np.int64).max()))
    return _with_reference(low, high, layout, macro, unit)


def _with_reference(low: int, high: int, layout: Layout, macro: Macro, unit: int) -> tuple[int, int]:
    """The range of psums whose levels add up to low .. high, that of a reference column with it."""
    if has_reference_column(macro):
        high = max(high, max(last - first for _, first, last in layout.group_spans) * unit)
    largest_input = 2**macro.input.dac_bits - 1
    return low * largest_input, high * largest_input


def _check_noise(noise: tuple[ReadNoise, ...], ideal_cells: bool, shape: tuple[int, int]) -> None:
    if noise and ideal_cells:
        raise ArchError("read noise with ideal cells: give cells, the ideal levels where nothing else varies")
    for source in noise:
        if source.keys.shape != shape or source.sigma.shape != shape or source.columns.shape != shape[1:]:
            raise ArchError(
                f"read noise: keys {source.keys.shape}, sigma {source.sigma.shape}, columns {source.columns.shape}, "
                f"must be [row blocks, converted columns] = {list(shape)} (twice) and [{shape[1]}]"
            )
