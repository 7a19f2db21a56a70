"""Inputs as bit patterns, the steps that drive them, and the weighted sums of codes that a chunk of them gives."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.macro.encode import input_slice
from cimemu.macro.matrix import Matrix


@dataclass(frozen=True, eq=False)
class Sums:
    """Weighted sums of one chunk of inputs, before levels are applied.

    `by_column` int64 [P, row blocks, converted columns]: sums of codes (linear), values (integer levels of a
    nonlinear converter) or psums (ideal). `by_code` int64 [P, row blocks, converted columns, codes] replaces it
    where nonlinear levels are no integers, `levels` float64 [P, row blocks, converted columns] where a row block is
    one conversion then. `weights` int64 [P, row blocks]: the sum of slice weights converted.
    """

    by_column: NDArray[np.integer]
    weights: NDArray[np.int64]
    by_code: NDArray[np.int64] | None = None
    levels: NDArray[np.float64] | None = None


def masked_inputs(x: NDArray[Any], matrix: Matrix) -> NDArray[Any]:
    """Inputs as the unsigned bit patterns that the slices are cut from."""
    if not matrix.macro.input.signed:
        return x
    masked = x.astype(np.int16) & (2**matrix.macro.input.bits - 1)
    made: NDArray[Any] = masked.astype(np.uint8 if matrix.macro.input.bits <= 8 else np.int16)
    return made


def driven_steps(x: NDArray[Any], matrix: Matrix) -> NDArray[np.bool_]:
    """nonzero[p, g, i]: whether any input of group g is not zero in slice i."""
    given = matrix.macro.input
    return np.stack(
        [
            np.stack(
                [input_slice(x[:, a:b], i, given).any(axis=1) for i in range(matrix.macro.input_slices)],
                axis=1,
            )
            for a, b in zip(matrix.starts, matrix.stops)
        ],
        axis=1,
    )


def converted_weights(matrix: Matrix, points: int, active: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """Z[p, rb]: the sum of slice weights of the steps that were converted."""
    blocks = len(matrix.layout.row_blocks)
    if active is None:
        groups = np.array(matrix.layout.groups_per_block, dtype=np.int64)
        return np.broadcast_to(groups * matrix.slice_weights.sum(), (points, blocks))
    per_group = active @ matrix.slice_weights
    return np.stack([per_group[:, matrix.block_of == block].sum(axis=1) for block in range(blocks)], axis=1)


def group_in_block(matrix: Matrix, g: int) -> int:
    """Number of group g inside its row block."""
    return g - int(np.searchsorted(matrix.block_of, matrix.block_of[g]))


def converts_once(matrix: Matrix) -> bool:
    """Whether a row block is one conversion of every column: one slice, all its rows raised together."""
    return matrix.macro.input_slices == 1 and len(matrix.starts) == len(matrix.layout.row_blocks)
