"""One-bit cells behind clipping converters of step 1, as bit planes: which matrices these are, how they run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.combining import constants
from cimemu.engines.engine import WhyNot, first_reason
from cimemu.engines.packed.run import clip_rule
from cimemu.engines.planes.adder_kernels import COLUMNS, KEPT, PLANES, list_columns
from cimemu.engines.planes.clip_kernels import fill_clipped
from cimemu.engines.scratch import scratch
from cimemu.lanes import broad
from cimemu.lanes.registers import AVAILABLE
from cimemu.macro.program import Matrix

TOTALS_BYTES = 1 << 17  # what so many positions sum stays in the second-level cache, beside their outputs
LARGEST = 10  # odd part of a column's weight: eight times it, and four times it, by two bytes stay within 16 bits


@dataclass(frozen=True, eq=False)
class BitPlanes:
    """A matrix as `fill_clipped` takes it."""

    unit: tuple[int, ...]
    listed: tuple[NDArray[Any], ...]
    rows: int  # of the largest group
    planes: int  # of a sum
    at_once: int  # outputs of a chunk
    rule: tuple[
        int, int, NDArray[np.int64]
    ]  # bits of a code, what bytes are turned by, the columns of an output in order
    rest: int  # what turning the bytes adds to an output

    def fill(self, x: NDArray[Any], matrix: Matrix, y: NDArray[Any]) -> bool:
        """Fill y [P, N] from inputs x [P, K]: whether the encoding's correction is made too."""
        lsb, rest, corrected = constants(x, matrix, 1, -self.rest)
        width = 32 * len(self.unit)
        blocks = min(-(-len(x) // width), max(1, TOTALS_BYTES // (4 * width * y.shape[1])))
        turned = scratch("clipped turned", (blocks, -(-x.shape[1] // 16) * 16, width), np.uint8)
        numbers = (
            scratch("clipped rows", (self.rows + 1, width), np.uint8),
            scratch("clipped planes", (KEPT + COLUMNS, self.planes, width), np.uint8),
        )
        for array in numbers:
            array[:] = 0
        totals = scratch("clipped totals", (y.shape[1], blocks, 4, width // 4), np.int32)
        work = (scratch("clipped bytes", (1024,), np.uint8), turned, *numbers, totals)
        # A signed input of fewer than 8 bits repeats its last slice up to bit 7, which counts what one slice would.
        inputs = x.astype(np.uint8, copy=False)
        given = ((matrix.starts, matrix.stops), self.listed, self.at_once, self.rule)
        fill_clipped(self.unit, inputs, given, work, (lsb, rest), y)
        return corrected


def why_not_plain(matrix: Matrix) -> WhyNot | None:
    """None where cells are ideal, converters the macro's own, and nothing is done to columns besides converting them."""
    return first_reason(
        (not AVAILABLE, "the processor has no AVX2"),
        (matrix.references is None, "the converter is ideal and has no codes"),
        (matrix.holding, "the accumulator may overflow and is held step by step"),
        (matrix.cells is not None or bool(matrix.noise), "cells are not ideal"),
        (matrix.scale is not None, "columns have scales"),
        (matrix.flipped is not None, "columns are stored flipped"),
        (matrix.base is not None or bool(matrix.bow), "drivers or converters have an error of their own"),
    )


def make_planes(matrix: Matrix) -> BitPlanes | WhyNot:
    """Planes of a matrix whose converters are all `min(psum, top)`, or why there are none."""
    macro, weight, rule = matrix.macro, matrix.columns.weight, clip_rule(matrix)
    if isinstance(rule, WhyNot):
        return rule
    references = matrix.references or ()
    rows, groups = int((matrix.stops - matrix.starts).max()), len(matrix.starts)
    bits = min(rule[1].bit_length(), rows.bit_length())
    order = _in_order(weight, bits)
    flip = 128 if macro.input.signed else 0
    largest = ((1 << bits) - 1) * int(np.abs(weight).sum()) * groups
    shifted = rule[0] != 0 or any(r.zero is None or r.zero.any() for r in references)
    why = why_not_plain(matrix) or first_reason(
        (shifted or not matrix.integer_result, "a converter does not count from 0 in ones"),
        (macro.input_slices > 8, f"{macro.input_slices} input slices, a register holds 8"),
        (bits > PLANES, f"codes of {bits} bits, it weighs {PLANES}"),
        (largest * 255 >= 1 << 31, "sums of codes could leave the 32 bits of an output"),
        (matrix.seen_columns % len(weight) != 0, "reference columns are converted too"),
        (len(weight) > COLUMNS, f"{len(weight)} columns an output, it adds {COLUMNS} at once"),
        (order is None, "weights of columns are no powers of 2 times numbers below 11"),
    )
    if why is not None or order is None:
        return why or WhyNot("")
    at_once = COLUMNS // len(weight)
    return BitPlanes(
        unit=broad.BROAD if broad.HAS_BROAD else broad.NARROW,
        listed=list_columns(matrix.seen, matrix.starts, matrix.stops, at_once * len(weight)),
        rows=rows,
        planes=max(PLANES, rows.bit_length()),
        at_once=at_once,
        rule=(bits, flip, order),
        rest=flip * ((1 << bits) - 1) * int(weight.sum()) * groups,
    )


def _in_order(weight: NDArray[np.int64], bits: int) -> NDArray[np.int64] | None:
    """The columns of an output as `weigh_clipped` takes them, the largest power of 2 first; None where a weight is no such."""
    shifts = np.array([(int(w) & -int(w)).bit_length() - 1 if w else 0 for w in weight])
    shifts -= shifts.min()  # what all have in common stays with the numbers
    numbers = weight >> shifts
    if np.abs(numbers).max() > LARGEST:
        return None
    order = np.argsort(-shifts, kind="stable")
    planes = np.where(np.arange(8) < bits, 1 << np.arange(8) % 4, 0)
    words = (numbers[:, None] * planes).astype(np.int8).view(np.int32).astype(np.int64)
    moved = -np.diff(shifts[order], prepend=shifts[order[0]])
    return np.column_stack([order, moved, words[order]]).astype(np.int64)
