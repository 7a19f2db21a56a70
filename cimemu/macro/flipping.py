"""ISAAC's column flipping: a column that could overrun its converter is stored inverted (Shafiee et al., ISCA 2016, V).

`sum_k x (L - level) = L sum_k x - sum_k x level` with L = 2^cell.bits - 1: a flipped column's value is taken off
`L * sum_k x`, the sum over the rows of its array, which the offset's correction has anyway. No column's levels then
sum to more than half of what they could, which saves the converter one bit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.mapping.layout import Layout


def flip_columns(
    levels: NDArray[np.uint8], macro: Macro, layout: Layout, inside: NDArray[np.bool_] | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(levels [K, columns] as stored, flipped [row blocks, columns]); off-block cells stay at level 0."""
    top = 2**macro.cell.bits - 1
    programmed = np.ones(levels.shape, dtype=np.bool_)
    if inside is not None:
        programmed = np.repeat(inside, macro.columns_per_output, axis=1)
    stored = levels.copy()
    flipped = np.zeros((len(layout.row_blocks), levels.shape[1]), dtype=np.bool_)
    for block, (start, stop) in enumerate(layout.row_blocks):
        here, mine = levels[start:stop].astype(np.int64), programmed[start:stop]
        flipped[block] = 2 * here.sum(axis=0) > top * mine.sum(axis=0)
        turned = np.where(mine, top - here, 0)
        stored[start:stop] = np.where(flipped[block], turned, here)
    return stored, flipped


def unflipped(
    y: NDArray[np.int64],
    values: NDArray[np.int64],
    x: NDArray[Any],
    flipped: NDArray[np.bool_],
    weight: NDArray[np.int64],
    macro: Macro,
    layout: Layout,
    groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
) -> NDArray[np.int64]:
    """`y` [P, N] with its flipped columns put right: `value -> L * sum_k x - value`.

    `values` [P, row blocks, columns] are the columns' shift-added values, `weight` [slices] their weights in y, and
    `groups` the convolution groups of rows and outputs where several share the matrix.
    """
    top = 2**macro.cell.bits - 1
    points, outputs = y.shape
    for block, (start, stop) in enumerate(layout.row_blocks):
        rows = x[:, start:stop].astype(np.int64)
        if groups is None:
            sums = np.broadcast_to(rows.sum(axis=1)[:, None], (points, outputs))
        else:
            row_group, out_group = groups
            mine = row_group[start:stop, None] == out_group[None, :]
            sums = rows @ mine.astype(np.int64)
        factor = flipped[block].reshape(outputs, -1) * weight  # [outputs, slices]
        mine_values = values[:, block].reshape(points, outputs, -1)
        y = y + top * sums * factor.sum(axis=1) - 2 * (mine_values * factor).sum(axis=2)
    return y
