"""Partial sums into codes and values by a row block's references."""

import numpy as np
from numpy.typing import NDArray

from cimemu.macro.matrix import Matrix
from cimemu.macro.references import References
from cimemu.macro.small import affine_codes, search_codes


def codes_of(
    psums: NDArray[np.int64], matrix: Matrix, block: int, columns: slice | NDArray[np.int64]
) -> NDArray[np.int32]:
    """Codes of `psums` [P, c] by the references of `columns` of row block `block`."""
    assert matrix.references is not None
    references, affine = matrix.references[block], matrix.affine[block]
    codes = np.empty(psums.shape, dtype=np.int32)
    if affine is not None:
        gain, bias = (np.broadcast_to(v, matrix.seen_columns)[columns] for v in (affine.gain, affine.bias))
        affine_codes(
            psums,
            np.ascontiguousarray(gain),
            np.ascontiguousarray(bias),
            affine.shift,
            2**references.bits - 1,
            codes,
        )
    else:
        thresholds = references.thresholds if references.uniform else references.thresholds[columns]
        search_codes(psums, np.ascontiguousarray(thresholds), codes)
    return codes


def chosen_levels(codes: NDArray[np.int32], references: References) -> NDArray[np.float64]:
    """Levels [P, columns] of codes [P, columns]."""
    if references.uniform:
        return np.asarray(references.levels[0][codes])
    return np.asarray(references.levels[np.arange(codes.shape[1]), codes])


def integer_values(
    codes: NDArray[np.int32], references: References, columns: slice | NDArray[np.int64]
) -> NDArray[np.int64]:
    """Integer levels of codes."""
    table = references.levels.astype(np.int64)
    if references.uniform:
        made: NDArray[np.int64] = table[0][codes]
        return made
    return np.take_along_axis(table[columns], codes.T.astype(np.int64), axis=1).T
