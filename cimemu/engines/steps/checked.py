"""A step's columns beside their checksum columns: what is put right before values are weighed and added."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.macro.checksums import Alarms
from cimemu.macro.codes import codes_of
from cimemu.macro.encode import input_slice
from cimemu.macro.program import Matrix


def amend_step(
    x: NDArray[Any],
    matrix: Matrix,
    step: tuple[int, int],
    codes: NDArray[np.int32] | None,
    counted: NDArray[np.int64],
    on: NDArray[np.bool_],
) -> Alarms:
    """Put `counted` [P, data columns] of step (group, slice) right where one column of a group is off.

    `counted` are codes of linear converters, values of others, psums of ideal ones (`codes` None); `on` [P]: inputs driven.
    """
    checks, (g, i) = matrix.checks, step
    assert checks is not None
    block, rows = int(matrix.block_of[g]), slice(int(matrix.starts[g]), int(matrix.stops[g]))
    psums = checks.psums(input_slice(x[:, rows], i, matrix.macro.input), rows)
    if codes is None:
        values, doubts, unit = np.concatenate([counted, psums], axis=1) // matrix.unit, None, matrix.unit
    else:
        every = np.concatenate([codes, codes_of(psums, matrix, block, checks.references_of)], axis=1)
        columns = np.concatenate([np.arange(matrix.seen_columns), checks.references_of])
        values, unit = _looked_up(checks.worth[block], every, columns), 1
        doubts = None if checks.lossless else _looked_up(checks.doubt[block], every, columns)
    p, column, more, alarms = checks.amend(values, doubts, on)
    counted[p, column] += more * unit
    return alarms


def _looked_up(table: NDArray[np.int64], codes: NDArray[np.int32], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """`table` [1 or data columns, codes] at every code [P, columns]."""
    return np.asarray(table[0][codes] if len(table) == 1 else table[columns, codes])
