"""Weights written into cells: everything about a matrix that does not depend on the inputs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc
from cimemu.arch.macro import Macro
from cimemu.errors import ArchError
from cimemu.layer.column_scale import ColumnScale
from cimemu.macro.accumulator import check_accumulator
from cimemu.macro.encode import (
    Columns,
    cell_levels,
    checked_weights,
    columns_of,
    fixed_point_levels,
    input_slice_weights,
)
from cimemu.macro.flipping import flip_columns
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
    inside = None
    if row_group is not None and out_group is not None:
        inside = row_group[:, None] == out_group[None, :]
    weights = checked_weights(w, macro, inside)
    if inside is not None:
        weights = weights * inside
    layout = make_layout(weights.shape[0], weights.shape[1], macro) if layout is None else layout
    adc = macro.adc if how.adc is None else how.adc
    levels = cell_levels(weights, macro, inside)
    fixed = None if how.cells is None else fixed_point_levels(how.cells, macro, levels.shape)
    columns = columns_of(macro)
    flipped = None
    if macro.weight.column_flipping:
        if fixed is not None:
            raise ArchError("weight.column_flipping with given cell levels: not defined, turn one of them off")
        levels, flipped = flip_columns(levels, macro, layout, inside)
    stored: NDArray[np.integer] = levels if fixed is None else fixed
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
        weights=weights.astype(np.int16),  # at most 9 bits
        row_group=row_group,
        out_group=out_group,
        levels=levels,
        cells=fixed,
        seen=seen,
        columns=columns,
        references=references,
        affine=affine,
        slice_weights=input_slice_weights(macro),
        row_levels=stored.sum(axis=1, dtype=np.int64),
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


def fixed_seen(stored: NDArray[np.integer], columns: Columns, layout: Layout) -> NDArray[np.integer]:
    """What a conversion sees per unit of input [K, converted columns], from levels [K, physical columns].

    The levels themselves where every column is converted alone; a network's cells are most of what its emulator holds.
    """
    if np.array_equal(columns.mix, np.eye(len(columns.weight), dtype=np.int64)):
        return stored
    split = stored.astype(np.int64).reshape(layout.rows, layout.outputs, -1)
    made = np.einsum("kns,vs->knv", split, columns.mix).reshape(layout.rows, -1)
    largest = int(np.abs(made).max(initial=0))
    kind: type[np.signedinteger[Any]] = np.int16 if largest < 2**15 else np.int32 if largest < 2**31 else np.int64
    narrow: NDArray[np.integer] = made.astype(kind)
    return narrow


def psum_range(seen: NDArray[np.integer], layout: Layout, macro: Macro, unit: int) -> tuple[int, int]:
    """Smallest and largest psum that any group and column can see, a reference column where there is one.

    `unit` is what a cell level of 1 is in `seen`.
    """
    low = high = 0
    signed = bool((seen < 0).any())
    for _, first, last in layout.group_spans:
        rows = seen[first:last]
        if signed:
            low = min(low, int(np.minimum(rows, 0).sum(axis=0, dtype=np.int64).min()))
            rows = np.maximum(rows, 0)
        high = max(high, int(rows.sum(axis=0, dtype=np.int64).max()))
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
