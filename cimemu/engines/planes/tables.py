"""One-bit cells behind any converter, as bit planes: what each sum of a column stands for is a table of bytes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.combining import Combining, constants, make_combining
from cimemu.engines.digits import Digits, level_digits
from cimemu.engines.engine import WhyNot, first_reason
from cimemu.engines.planes.adder_kernels import COLUMNS, KEPT, PLANES, list_columns
from cimemu.engines.planes.digit_kernels import ENTRIES, convert_planes, fill_digits
from cimemu.engines.scratch import aligned
from cimemu.engines.units import Units
from cimemu.lanes import broad
from cimemu.lanes.nibbles import turn_bytes
from cimemu.macro.program import Matrix
from cimemu.macro.references import References
from cimemu.macro.sums import Sums

MOST_ENTRIES = 2048  # of a table: sums of eleven bits
FUSED_BYTES = 1 << 17  # what so many positions sum stays in the second-level cache, beside their outputs


@dataclass(frozen=True, eq=False)
class DigitPlanes:
    """A matrix as `convert_planes` takes it."""

    unit: tuple[int, ...]
    listed: tuple[NDArray[Any], ...]
    rows: int  # of the largest group
    planes: int  # of a sum
    converter: tuple[NDArray[np.uint8], NDArray[np.int64]]  # tables [T, entries], own [G, C]
    weighing: tuple[NDArray[np.uint8], NDArray[np.int64]]
    combining: Combining

    def values(self, x: NDArray[Any], masked: NDArray[Any], matrix: Matrix, y: NDArray[Any]) -> bool | Sums:
        """Fill y [P, N] from inputs x [P, K], as `Combining.values` does."""
        inputs, width = masked.astype(np.uint8, copy=False), 32 * len(self.unit)
        rows = aligned((self.rows + 1, width), np.uint8)
        numbers = aligned((KEPT + COLUMNS, self.planes, width), np.uint8)
        rows[:] = numbers[:] = 0
        scratch, spans, combining = (rows, numbers), (matrix.starts, matrix.stops), self.combining
        given = (spans, self.listed, self.converter, self.weighing)
        padded = -(-x.shape[1] // 16) * 16
        if combining.fused(matrix):
            lsb, rest, corrected = constants(x, matrix, combining.lsb, combining.rest)
            sums_rows = len(combining.units.places) * len(matrix.starts) * combining.columns
            blocks = min(-(-len(x) // width), max(1, FUSED_BYTES // (2 * width * sums_rows)))
            sums = aligned(
                (len(combining.units.places), sums_rows // len(combining.units.places), width * blocks), np.int16
            )
            buffers = (aligned((1024,), np.uint8), aligned((blocks, padded, width), np.uint8), sums, scratch)
            total = np.zeros((8, 32), dtype=np.int32)
            fill_digits(
                self.unit, inputs, given, buffers, (combining.terms, len(matrix.columns.weight), lsb, rest, total), y
            )
            return corrected
        turned = aligned((-(-len(x) // width), padded, width), np.uint8)
        turn_bytes(inputs, aligned((1024,), np.uint8), turned)

        def convert(start: int, sums: NDArray[np.uint16]) -> None:
            some = turned[start // width : (start + sums.shape[3]) // width]
            convert_planes(self.unit, some, *given, scratch, sums.view(np.int16).reshape(len(sums), -1, sums.shape[3]))

        return combining.values(x, masked, matrix, convert, y)


def make_digit_planes(matrix: Matrix) -> DigitPlanes | WhyNot:
    """Planes and tables of a matrix, or why its cells, partial sums or converter do not fit."""
    macro, references = matrix.macro, matrix.references
    why = first_reason(
        (
            not broad.HAS_BROAD,
            "the processor has no AVX-512 with VBMI, VNNI and GFNI, and the converter is no plain clamp",
        ),
        (references is None, "the converter is ideal and has no codes"),
        (matrix.holding, "the accumulator may overflow and is held step by step"),
        (matrix.cells is not None or bool(matrix.noise), "cells are not ideal"),
        (matrix.base is not None or bool(matrix.bow), "drivers or converters have an error of their own"),
        (int(matrix.seen.min()) < 0 or int(matrix.seen.max()) > 1, "cells have more than one bit, or a sign"),
        (macro.input.dac_bits != 1, "input slices have more than one bit"),
        (macro.input_slices > 8, f"{macro.input_slices} input slices, a register holds 8"),
    )
    if why is not None or references is None:
        return why or WhyNot("the converter is ideal and has no codes")
    digits = level_digits(matrix)
    if digits is None:
        return WhyNot("levels lie on no grid")
    counted = np.add.reduceat(matrix.seen, matrix.starts, axis=0, dtype=np.int64)
    most = int(counted.max())
    tables = sum_tables(references, digits, most)
    top = int(tables.max())
    entries = entries_of(tables, most)
    skipped = macro.timing.skip_zero_slices and any(
        int(r.thresholds.min()) <= 0 or (r.lsb is None and bool(r.levels[:, 0].any())) for r in references
    )
    why = first_reason(
        (top > 255, f"codes up to {top} are reached, a register holds bytes"),
        (entries > MOST_ENTRIES, f"sums up to {most} are told apart, its tables hold {MOST_ENTRIES}"),
        (skipped, "zero slices are skipped, and a psum of 0 has a code or a level"),
    )
    units = None if why is not None else _units(matrix, top)
    if units is None:
        return why or WhyNot(f"codes up to {top}, weighed by their slices, leave 16 bits")
    columns = matrix.seen_columns
    combining = make_combining(matrix, digits, units, top, columns)
    if combining.nonlinear and not matrix.integer_result and combining.block_terms is None:
        return WhyNot("sums of codes are too large for the kernels that make floats of them")
    given = np.minimum(np.arange(entries), tables.shape[1] - 1)
    per_block = len(tables) // len(references)
    own = matrix.block_of[:, None] * per_block + np.arange(columns) % per_block
    return DigitPlanes(
        unit=broad.BROAD,
        listed=list_columns(matrix.seen, matrix.starts, matrix.stops, COLUMNS),
        rows=int((matrix.stops - matrix.starts).max()),
        planes=max(PLANES, most.bit_length()),
        converter=(np.ascontiguousarray(tables[:, given], dtype=np.uint8), np.ascontiguousarray(own)),
        weighing=_weighing(matrix, units),
        combining=combining,
    )


def sum_tables(references: tuple[References, ...], digits: list[Digits], most: int) -> NDArray[np.int64]:
    """Digits [row blocks * (1 or C), most + 1] of every sum 0 .. most, with one row a block where columns are alike."""
    count = max(max(len(r.thresholds), len(d.table)) for r, d in zip(references, digits))
    made = []
    for r, d in zip(references, digits):
        thresholds = np.broadcast_to(np.clip(r.thresholds, 0, most + 1), (count, r.thresholds.shape[1]))
        reached = np.zeros((count, most + 2), dtype=np.int64)
        np.add.at(reached, (np.arange(count)[:, None], thresholds), 1)
        codes = np.cumsum(reached, axis=1)[:, : most + 1]
        made.append(np.take_along_axis(np.broadcast_to(d.table, (count, d.table.shape[1])), codes, axis=1))
    return np.concatenate(made)


def entries_of(tables: NDArray[np.int64], most: int) -> int:
    """How many entries a table has in registers: until nothing changes any more, or the largest sum."""
    last = min(most, _changes_until(tables))
    return next((e for e in ENTRIES if last < e), -(-(last + 1) // 256) * 256)


def _changes_until(tables: NDArray[np.int64]) -> int:
    """The sum from which on no digit changes any more; digits that do not ascend may equal the last ones before, too."""
    other = np.flatnonzero((tables != tables[:, -1:]).any(axis=0))
    return int(other[-1]) + 1 if len(other) else 0


def _units(matrix: Matrix, top: int) -> Units | None:
    """All slices in one unit of 16 bits where their sum fits, else those of the lower and the upper half of a byte apart."""
    weights = np.zeros(8, dtype=np.int64)
    weights[: len(matrix.slice_weights)] = matrix.slice_weights
    if int(np.abs(weights).sum()) * top <= 32767:
        return Units(8, weights[None], np.array([1]), signed=True)
    if int(np.abs(weights[:4]).sum()) * top > 32767:
        return None
    return Units(4, np.stack([weights[:4], weights[4:] // 16]), np.array([1, 16]), signed=True)


def _weighing(matrix: Matrix, units: Units) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Weights of slices as bytes, those of the upper half of a byte a sixteenth; two words for the halves of every unit."""
    weights = np.zeros(8, dtype=np.int64)
    weights[: len(matrix.slice_weights)] = matrix.slice_weights
    weights[4:] //= 16
    halves = [1 | 16 << 16] if len(units.places) == 1 else [1, 1 << 16]
    return np.tile(weights, 8).astype(np.int8).view(np.uint8), np.array(halves, dtype=np.int64)
