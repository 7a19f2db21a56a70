"""Weights written into cells: everything about a matrix that does not depend on the inputs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, LinearAdc
from cimemu.arch.macro import Macro
from cimemu.errors import ArchError
from cimemu.layer.column_scale import ColumnScale, multiplications
from cimemu.macro.accumulator import check_accumulator, check_sums, may_overflow
from cimemu.macro.encode import (
    Columns,
    cell_levels,
    checked_weights,
    columns_of,
    fixed_point_levels,
    input_slice_weights,
)
from cimemu.macro.flipping import flip_columns
from cimemu.macro.gated import GatedReads
from cimemu.macro.read_noise import ReadNoise
from cimemu.macro.references import Affine, References, make_references, prove_affine
from cimemu.macro.scaled import check_scale, scaled_references
from cimemu.macro.toggles import factor_cells, whole_levels
from cimemu.macro.traps import Traps
from cimemu.macro.words import pack_cells
from cimemu.mapping.layout import Layout, make_layout


@dataclass(frozen=True, eq=False)
class Matrix:
    """A programmed matrix. Converted columns run over (output, conversion), physical ones over (output, slice)."""

    macro: Macro
    adc: Adc
    layout: Layout
    weights: NDArray[np.int64]  # [K, N], off-block entries 0
    row_group: NDArray[np.int64] | None
    out_group: NDArray[np.int64] | None
    levels: NDArray[np.uint8]  # [K, physical columns] ideal levels as stored
    cells: NDArray[np.int64] | None  # [K, physical columns] x 2^fraction_bits, None: ideal
    seen: NDArray[np.int64]  # [K, converted columns]: what a conversion sees per unit of input, x 2^fraction_bits
    columns: Columns
    references: tuple[References, ...] | None  # by row block; None: ideal converter
    affine: tuple[Affine | None, ...]  # by row block
    slice_weights: NDArray[np.int64]  # [I]
    row_levels: NDArray[np.int64]  # [K], x 2^fraction_bits where cells are given
    psum_range: tuple[int, int]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    block_of: NDArray[np.int64]
    flipped: NDArray[np.bool_] | None  # [row blocks, columns] stored inverted; None: column flipping is off
    noise: tuple[ReadNoise, ...]  # sources of read noise; none: reads are exact
    traps: tuple[Traps, ...] = ()  # sources of trap noise
    base: NDArray[np.int64] | None = None  # [row blocks, converted columns] that an ideal converter sees besides inputs
    bow: tuple[NDArray[np.int64], ...] = ()  # [K, converted columns] more than slice value x cell, by slice value
    gated: GatedReads | None = None  # reads that are solved by themselves, in the place of sums of cells
    kept_switches: tuple[int, ...] | None = None  # of references before each converter's own errors
    scale: ColumnScale | None = None  # factors of row blocks and columns, applied behind the converters
    values: tuple[References, ...] | None = None  # references whose levels, lsb and zero have been multiplied by them

    @property
    def unit(self) -> int:
        """What an integer psum of 1 is here: 2^fraction_bits for given cells."""
        return 1 if self.cells is None else 2**self.macro.cell.fraction_bits

    @cached_property
    def packed(self) -> NDArray[np.uint64] | None:
        """Ideal cells as words of 64 rows [groups, planes, words, converted columns]; None where a cell is no number 0 .. 255."""
        if self.cells is not None or int(self.seen.min()) < 0 or int(self.seen.max()) > 255:
            return None
        planes = max(1, int(self.seen.max()).bit_length())
        words = -(-int((self.stops - self.starts).max()) // 64)
        return pack_cells(self.seen.astype(np.uint8), self.starts, self.stops, planes, words)

    @cached_property
    def row_factors(self) -> NDArray[np.int64]:
        """[factors, K]: digital cells on every row by what their products change by (see `factor_cells`)."""
        levels = self.levels.astype(np.int64) if self.cells is None else whole_levels(self.macro, self.cells)
        found = factor_cells(self.macro, levels)
        if self.has_reference_column:
            found[0] += reference_cells_per_row(self)
        return found

    @property
    def has_reference_column(self) -> bool:
        """Whether sum_k x comes from converted all-ones columns."""
        return has_reference_column(self.macro)

    @property
    def reference_columns(self) -> int:
        """Reference columns of all column blocks together: one per macro and convolution group in it."""
        if not self.has_reference_column:
            return 0
        if self.out_group is None:
            return len(self.layout.col_blocks)
        return sum(len(np.unique(self.out_group[a:b])) for a, b in self.layout.col_blocks)

    @property
    def integer_result(self) -> bool:
        """Whether y is int64: all levels are integers, and no column has a scale."""
        return self.scale is None and self.integer_levels

    @property
    def integer_levels(self) -> bool:
        """Whether all levels are integers."""
        if self.references is None:
            return self.unit == 1
        return all(r.integer for r in self.references)

    @cached_property
    def holding(self) -> bool:
        """Whether running sums have to be held to the accumulator step by step: they could leave it."""
        return may_overflow(self)

    @property
    def multiplications(self) -> int:
        """Scale multiplications of one output position that the requantisation's own cannot do."""
        adc, layout = self.adc, self.layout
        psums = "layer"
        if isinstance(adc, LinearAdc):  # a table of levels holds its scale already
            grid = adc.lsb if isinstance(adc.lsb, list) else adc.zero
            if isinstance(grid, list):
                psums = "array" if len(grid[0]) == len(layout.col_blocks) else "column"
        made = multiplications(
            layout.outputs,
            len(layout.row_blocks),
            self.macro.conversions_per_output,
            weights="layer" if self.scale is None else self.scale.granularity,
            slices=self.scale is not None and self.scale.slices,
            psums=psums,
        )
        return made if made > layout.outputs else 0

    @property
    def moved_thresholds(self) -> tuple[NDArray[np.int64], ...] | None:
        """Thresholds by row block where converters have errors of their own, else None: they follow from `adc`."""
        if self.kept_switches is None or self.references is None:
            return None
        return tuple(r.thresholds for r in self.references)

    @property
    def switches(self) -> tuple[int, ...]:
        """Reference switches of one step, all column blocks together, by row block."""
        if self.kept_switches is not None:
            return self.kept_switches
        if self.references is None:
            return tuple(0 for _ in self.layout.row_blocks)
        return tuple(
            r.switches(self.macro.columns_per_adc, self.macro.conversions_per_output, self.layout)
            for r in self.references
        )


def write_matrix(
    w: NDArray[Any],
    macro: Macro,
    *,
    layout: Layout | None = None,
    row_group: NDArray[np.int64] | None = None,
    out_group: NDArray[np.int64] | None = None,
    adc: Adc | None = None,
    cells: NDArray[np.floating] | None = None,
    noise: tuple[ReadNoise, ...] = (),
    scale: ColumnScale | None = None,
) -> Matrix:
    """Write integer weights `w` [K, N] into cells of `macro`.

    `row_group`, `out_group` give the convolution group of every row and output (off-block cells hold level 0),
    `adc` replaces the macro's converter, `cells` [K, N * columns_per_output] are effective levels that replace the
    ideal ones, `noise` is added to every partial sum and needs `cells` (their fixed point is the noise's too), `scale`
    multiplies what row blocks and columns give.
    Raises WorkloadError for a weight out of range, ArchError for references or noise of another shape.
    """
    inside = None
    if row_group is not None and out_group is not None:
        inside = row_group[:, None] == out_group[None, :]
    weights = checked_weights(w, macro, inside)
    if inside is not None:
        weights = weights * inside
    layout = make_layout(weights.shape[0], weights.shape[1], macro) if layout is None else layout
    adc = macro.adc if adc is None else adc
    levels = cell_levels(weights, macro, inside)
    fixed = None if cells is None else fixed_point_levels(cells, macro, levels.shape)
    columns = columns_of(macro)
    flipped = None
    if macro.weight.column_flipping:
        if fixed is not None:
            raise ArchError("weight.column_flipping with given cell levels: not defined, turn one of them off")
        levels, flipped = flip_columns(levels, macro, layout, inside)
    stored = levels.astype(np.int64) if fixed is None else fixed
    seen = fixed_seen(stored, columns, layout)
    references = make_references(
        adc, layout, macro.conversions_per_output, 0 if fixed is None else macro.cell.fraction_bits
    )
    check_accumulator(macro, references, fixed is None, adc)
    if flipped is not None and references is not None and not all(r.integer for r in references):
        raise ArchError("weight.column_flipping with converter levels that are no integers: not defined, use lsb 1")
    low, high = psum_range(seen, layout, macro, 1 if fixed is None else 2**macro.cell.fraction_bits)
    affine = tuple(prove_affine(r, low, high) if fixed is None else None for r in (references or ())) or tuple(
        None for _ in layout.row_blocks
    )
    if scale is not None:
        check_scale(scale, layout, macro)
    _check_noise(noise, fixed is None, (len(layout.row_blocks), seen.shape[1]))
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
        levels=levels,
        cells=fixed,
        seen=seen,
        columns=columns,
        references=references,
        affine=affine,
        slice_weights=input_slice_weights(macro),
        row_levels=stored.sum(axis=1),
        psum_range=(low, high),
        starts=starts,
        stops=stops,
        block_of=np.array([block for block, _, _ in spans], dtype=np.int64),
        flipped=flipped,
        noise=noise,
        scale=scale,
        values=None if scale is None or references is None else scaled_references(references, scale),
    )
    if matrix.has_reference_column:
        matrix.row_levels[:] += matrix.unit * reference_cells_per_row(matrix)
    check_sums(matrix)
    return matrix


def fixed_seen(stored: NDArray[np.int64], columns: Columns, layout: Layout) -> NDArray[np.int64]:
    """What a conversion sees per unit of input [K, converted columns], from levels [K, physical columns]."""
    if np.array_equal(columns.mix, np.eye(len(columns.weight), dtype=np.int64)):
        return stored
    split = stored.reshape(layout.rows, layout.outputs, -1)
    return np.einsum("kns,vs->knv", split, columns.mix).reshape(layout.rows, -1)


def reference_cells_per_row(matrix: Matrix) -> NDArray[np.int64]:
    """Reference cells (level 1) on each row, all column blocks together."""
    if matrix.row_group is None or matrix.out_group is None:
        return np.full(matrix.layout.rows, len(matrix.layout.col_blocks))
    served = [np.unique(matrix.out_group[a:b]) for a, b in matrix.layout.col_blocks]
    return np.sum([np.isin(matrix.row_group, groups) for groups in served], axis=0)


def has_reference_column(macro: Macro) -> bool:
    """Whether sum_k x comes from converted all-ones columns."""
    return macro.weight.correction == "reference_column" and macro.needs_input_sums


def psum_range(seen: NDArray[np.int64], layout: Layout, macro: Macro, unit: int) -> tuple[int, int]:
    """Smallest and largest psum that any group and column can see, a reference column where there is one.

    `unit` is what a cell level of 1 is in `seen`.
    """
    low = high = 0
    signed = bool((seen < 0).any())
    for _, first, last in layout.group_spans:
        rows = seen[first:last]
        if signed:
            low = min(low, int(np.minimum(rows, 0).sum(axis=0).min()))
            rows = np.maximum(rows, 0)
        high = max(high, int(rows.sum(axis=0).max()))
        if has_reference_column(macro):
            high = max(high, (last - first) * unit)
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
