"""One-bit cells behind clipping converters of step 1, in registers of 32 bytes: which matrices these are, how they run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.combining import aligned, constants
from cimemu.engines.engine import WhyNot, first_reason
from cimemu.engines.packed.run import clip_rule
from cimemu.engines.planes.adder_kernels import COLUMNS, KEPT, PLANES, list_columns
from cimemu.engines.planes.clip_kernels import fill_planes
from cimemu.lanes.registers import AVAILABLE
from cimemu.macro.program import Matrix

SUMS_BYTES = 1 << 17  # what so many positions sum stays in the second-level cache, beside their outputs


@dataclass(frozen=True, eq=False)
class BitPlanes:
    """A matrix as `sum_planes` takes it."""

    listed: tuple[NDArray[Any], ...]
    rows: int  # of the largest group
    planes: int  # of a sum
    rule: tuple[NDArray[np.uint8], bool]  # masks of the code's planes, whether the last slice counts negative
    terms: NDArray[np.int64]  # [J, 2] rows of sums and weights of output 0

    def fill(self, x: NDArray[Any], matrix: Matrix, y: NDArray[Any]) -> bool:
        """Fill y [P, N] from inputs x [P, K]: whether the encoding's correction is made too."""
        lsb, rest, corrected = constants(x, matrix, 1, 0)
        columns = len(matrix.starts) * matrix.seen_columns
        blocks = min(-(-len(x) // 32), max(1, SUMS_BYTES // (64 * columns)))
        turned = aligned((blocks, -(-x.shape[1] // 16) * 16, 32), np.uint8)
        numbers = (aligned((self.rows + 1, 32), np.uint8), aligned((KEPT + COLUMNS, self.planes, 32), np.uint8))
        for array in numbers:
            array[:] = 0
        scratch = (aligned((1024,), np.uint8), turned, aligned((columns, 32 * blocks), np.int16), numbers)
        combining = (self.terms, len(matrix.columns.weight), lsb, rest, np.zeros((8, 32), dtype=np.int32))
        # A signed input of fewer than 8 bits repeats its last slice up to bit 7, which counts what one slice would.
        inputs = x.astype(np.uint8, copy=False)
        fill_planes(inputs, (matrix.starts, matrix.stops), self.listed, self.rule, scratch, combining, y)
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
    rows, groups, columns = int((matrix.stops - matrix.starts).max()), len(matrix.starts), matrix.seen_columns
    bits = min(rule[1].bit_length(), rows.bit_length())
    largest = min((1 << bits) - 1, rows) * ((1 << macro.input_slices) - 1)
    total = largest * int(np.abs(weight).sum()) * groups
    shifted = rule[0] != 0 or any(r.zero is None or r.zero.any() for r in references)
    why = why_not_plain(matrix) or first_reason(
        (shifted or not matrix.integer_result, "a converter does not count from 0 in ones"),
        (macro.input_slices > 8, f"{macro.input_slices} input slices, a register holds 8"),
        (bits >= PLANES, f"codes of {bits} bits, it weighs {PLANES - 1}"),
        (largest > 32767 or total >= 1 << 31, "sums of codes could leave 16 bits of a column or 32 of an output"),
    )
    if why is not None:
        return why
    masks = np.repeat(np.where(np.arange(PLANES) < bits, 255, 0).astype(np.uint8)[:, None], 32, axis=1)
    listed = list_columns(matrix.seen, matrix.starts, matrix.stops, COLUMNS)
    terms = np.stack(np.broadcast_arrays(columns * np.arange(groups)[:, None] + np.arange(len(weight)), weight), axis=2)
    flat = np.pad(terms.reshape(-1, 2), [(0, terms.size // 2 % 2), (0, 0)])
    return BitPlanes(listed, rows, max(PLANES, rows.bit_length()), (masks, macro.input.signed), flat.astype(np.int64))
