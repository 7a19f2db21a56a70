"""Zero points and weight offsets of layers with column scales: the digital unit's corrections, in float64."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.encoding import UNCORRECTED
from cimemu.macro.matrix import Matrix
from cimemu.macro.scaled import added_up, correction_factors, input_sums


def finished(
    y: NDArray[Any], x: NDArray[Any], matrix: Matrix, zeros: NDArray[np.int64], bias: NDArray[np.int64]
) -> NDArray[np.float64]:
    """`sum (u - zx) * w + bias` [P, N] from `y = sum u * (w without its offset)`; w in units of the output stage's scale.

    `zeros` [P] are the inputs' zero points as the wordlines see them. Every sum runs over row blocks in ascending order.
    """
    scale = matrix.scale
    assert scale is not None
    result: NDArray[np.float64] = y + (bias - zeros[:, None] * sums_of_weights(matrix))
    if scale.offset is None:
        return result
    sums = input_sums(x, matrix.layout, matrix.row_group, matrix.out_group)
    inside = rows_inside(matrix)
    return result + added_up(scale.offset, sums - zeros[:, None, None] * inside)


def rows_inside(matrix: Matrix) -> NDArray[np.int64]:
    """How many rows of a row block belong to an output, [row blocks, N]: all but off-block cells."""
    ones = np.ones((1, matrix.layout.rows), dtype=np.int64)
    counted = input_sums(ones, matrix.layout, matrix.row_group, matrix.out_group)[0]
    return np.broadcast_to(counted, (len(counted), matrix.layout.outputs))


def sums_of_weights(matrix: Matrix) -> NDArray[np.float64]:
    """sum over rows of the weights without their offset [N], from the levels that the cells should hold."""
    macro, scale = matrix.macro, matrix.scale
    assert scale is not None
    outputs, place = matrix.layout.outputs, matrix.columns.weight
    levels = matrix.levels.astype(np.int64).reshape(matrix.layout.rows, outputs, macro.columns_per_output)
    seen = np.einsum("kns,vs->knv", levels, matrix.columns.mix)
    total = np.zeros(outputs, dtype=np.float64)
    for block, (start, stop) in enumerate(matrix.layout.row_blocks):
        columns = seen[start:stop].sum(axis=0)
        factor = scale.scale[block].reshape(outputs, -1)
        for v in range(len(place)):
            total = total + factor[:, v] * (columns[:, v] * place[v])
    top = added_up(correction_factors(scale, len(place)), rows_inside(matrix)[None])[0]
    return np.asarray(total if macro.correction == UNCORRECTED else macro.correction.applied(total, top))
