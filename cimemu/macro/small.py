"""Counts and conversions by kernels, or in NumPy where there is little to do (see `cimemu.lanes.small`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.lanes.small import Either
from cimemu.macro import activity_kernels, combine_kernels, convert_kernels

Ints = NDArray[Any]
Pair = tuple[int, int]


def count_windows_numpy(
    strip: Ints, table: Ints, stride: Pair, dilation: Pair, out_shape: Pair, lines: Ints, counts: Ints
) -> None:
    """`activity_kernels.count_windows`: whole rows are added first."""
    seen = table[strip.astype(np.intp) & (len(table) - 1)]
    for i in range(counts.shape[2]):
        first = i * dilation[0]
        rows = seen[:, :, first : first + (out_shape[0] - 1) * stride[0] + 1 : stride[0]].sum(axis=2)
        for j in range(counts.shape[3]):
            first = j * dilation[1]
            counts[:, :, i, j] += rows[:, :, first : first + (out_shape[1] - 1) * stride[1] + 1 : stride[1]].sum(axis=2)


def count_nibble_windows_numpy(
    strip: Ints, low: Ints, high: Ints, dilation: Pair, out_shape: Pair, seen: Ints, edges: Ints, counts: Ints
) -> None:
    """`activity_kernels.count_nibble_windows`, by the table that its nibbles stand for."""
    x = np.arange(256)
    table = low[x & 15].astype(np.int64) + high[x >> 4]
    count_windows_numpy(strip, table, (1, 1), dilation, out_shape, edges, counts)


def affine_codes_numpy(psums: Ints, gain: Ints, bias: Ints, shift: int, top: int, codes: Ints) -> None:
    """`convert_kernels.affine_codes`."""
    codes[...] = np.clip((psums * gain + bias) >> shift, 0, top)


def search_codes_numpy(psums: Ints, thresholds: Ints, codes: Ints) -> None:
    """`convert_kernels.search_codes`, column by column where they differ."""
    if len(thresholds) > 1:
        for c, mine in enumerate(thresholds):
            codes[:, c] = np.searchsorted(mine, psums[:, c], side="right")
    elif (
        psums.size and int(psums.max()) - int(psums.min()) < psums.size
    ):  # a table of psums is made faster than each is searched
        low, high = int(psums.min()), int(psums.max())
        codes[...] = np.searchsorted(thresholds[0], np.arange(low, high + 1), side="right")[psums - low]
    else:
        codes[...] = np.searchsorted(thresholds[0], psums, side="right")


def add_by_code_numpy(codes: Ints, weight: int, active: NDArray[np.bool_], sums: Ints) -> None:
    """`convert_kernels.add_by_code`: every input and column has one code."""
    sums[np.arange(codes.shape[0])[:, None], np.arange(codes.shape[1]), codes] += weight * active[:, None]


def level_sums_numpy(counts: Ints, order: Ints, levels: NDArray[np.float64], total: NDArray[np.float64]) -> None:
    """`combine_kernels.level_sums`, all columns at once: a run of equal levels is added where it ends."""
    sorted_counts = np.take_along_axis(counts, np.broadcast_to(order[None], counts.shape), axis=2)
    last = np.append(levels[:, 1:] != levels[:, :-1], np.ones((len(levels), 1), dtype=np.bool_), axis=1)
    total[...] = 0
    run = np.zeros(total.shape, dtype=np.int64)
    for k in range(levels.shape[1]):
        run += sorted_counts[:, :, k]
        ends = last[:, k]
        np.add(total, levels[:, k] * run, out=total, where=ends)
        run *= ~ends


count_windows = Either(activity_kernels.count_windows, count_windows_numpy)
count_nibble_windows = Either(activity_kernels.count_nibble_windows, count_nibble_windows_numpy)
count_inputs = Either(activity_kernels.count_inputs, activity_kernels.count_inputs_naive)
count_nibbles = Either(activity_kernels.count_nibbles, activity_kernels.count_nibbles_naive)
affine_codes = Either(convert_kernels.affine_codes, affine_codes_numpy)
search_codes = Either(convert_kernels.search_codes, search_codes_numpy)
add_weighted = Either(convert_kernels.add_weighted, convert_kernels.add_weighted_naive)
add_by_code = Either(convert_kernels.add_by_code, add_by_code_numpy)
combine_integer = Either(combine_kernels.combine_integer, combine_kernels.combine_integer_naive)
level_sums = Either(combine_kernels.level_sums, level_sums_numpy)
