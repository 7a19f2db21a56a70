"""What happens in every step of a written matrix, on all its macros: codes, values, and what reference columns give."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.programmed import Programmed
from cimemu.engines.steps.run import seen_psums
from cimemu.macro.combine import reference_steps
from cimemu.macro.matrix import Matrix
from cimemu.macro.read_noise import Reads
from cimemu.macro.sums import masked_inputs

Ints = NDArray[np.int64]
SKIPPED_CODE = 65535


@dataclass(frozen=True, eq=False)
class UnitSteps:
    """Steps of P inputs: groups of all row blocks, input slices, converted columns."""

    matrix: Matrix
    x: NDArray[Any]  # [P, K]
    masked: Ints  # [P, K] as unsigned bit patterns
    reads: Reads
    codes: Ints  # [P, G, I, C]; psums of an ideal converter; 0 where a step is skipped
    driven: NDArray[np.bool_]  # [P, G, I]
    y: NDArray[Any]  # [P, N] after the digital unit

    @property
    def values(self) -> Ints:
        """Integer values of all codes, 0 where a step is skipped."""
        made = self.codes
        if self.matrix.references is not None:
            made = np.zeros_like(self.codes)
            for g, block in enumerate(self.matrix.block_of):
                made[:, g] = looked_up(self.codes[:, g], self.matrix.references[block].levels)
        return np.where(self.driven[..., None], made, 0)


def unit_steps(programmed: Programmed, x: NDArray[Any], reads: Reads) -> UnitSteps:
    """The steps of inputs `x` [P, K], which are read at `reads`."""
    matrix = programmed.matrix
    result = programmed.run(x, codes=True, path="serial", reads=reads)
    shape = (len(x), matrix.layout.groups, matrix.macro.input_slices, matrix.seen_columns)
    driven = np.ones(shape[:3], dtype=np.bool_) if result.nonzero is None else result.nonzero
    masked = masked_inputs(x, matrix)
    if result.codes is not None:
        codes = result.codes.astype(np.int64)
    else:
        codes = np.empty(shape, dtype=np.int64)
        for g, i, psums in seen_psums(masked, matrix, matrix.packed is not None, reads):
            codes[:, g, i] = psums if matrix.base is None else psums + matrix.base[matrix.block_of[g]]
    codes[~driven] = 0
    return UnitSteps(matrix, x, masked.astype(np.int64), reads, codes, driven, result.y)


def looked_up(codes: Ints, levels: NDArray[np.float64]) -> Ints:
    """Integer levels of codes [..., C] by a table [C or 1, codes]."""
    table = np.broadcast_to(levels, (codes.shape[-1], levels.shape[1])).astype(np.int64)
    return np.asarray(table[np.arange(codes.shape[-1]), codes])


def served_groups(matrix: Matrix, outputs: slice) -> NDArray[np.int64]:
    """Convolution groups with a reference column in the column block of `outputs`; 0 stands for all rows."""
    return np.zeros(1, np.int64) if matrix.out_group is None else np.unique(matrix.out_group[outputs])


def rows_of(matrix: Matrix, group: int) -> NDArray[np.bool_]:
    """The rows [K] on which the reference column of a convolution group has a 1."""
    if matrix.row_group is None:
        return np.ones(matrix.layout.rows, dtype=np.bool_)
    return np.asarray(matrix.row_group == group)


def reference_codes(steps: UnitSteps, block: int, outputs: slice) -> Ints:
    """Codes [P, groups of the row block, I, reference columns] of one macro; psums of an ideal converter."""
    matrix = steps.matrix
    first = int(np.searchsorted(matrix.block_of, block))
    served = served_groups(matrix, outputs)
    shape = (len(steps.x), matrix.layout.groups_per_block[block], matrix.macro.input_slices, len(served))
    made = np.zeros(shape, dtype=np.int64)
    last = np.array([outputs.stop * matrix.macro.conversions_per_output - 1])
    masked = masked_inputs(steps.x, matrix)
    for number, group in enumerate(served):
        read = (steps.reads, number + 1)
        for g, i, codes, on in reference_steps(masked, matrix, block, last, rows_of(matrix, int(group)), read):
            made[:, g - first, i, number] = np.where(on, codes, 0)
    return made
