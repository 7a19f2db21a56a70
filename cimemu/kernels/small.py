"""Draws of cells and reads by kernels, or in NumPy where there are few (see `cimemu.lanes.small`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.kernels import cells, noise, read_noise
from cimemu.lanes.jit import interpreted
from cimemu.lanes.small import Either

Array = NDArray[Any]
_philox = interpreted(noise.philox)  # on arrays it is what it is on numbers


def cell_words_numpy(
    key: np.uint64, macro: int, first_row: int, first_column: int, write: int, draw: int, words: Array
) -> None:
    """`noise.cell_words`."""
    rows = np.arange(first_row, first_row + words.shape[0]).astype(np.uint64)[:, None] << noise.SIXTEEN
    columns = np.arange(first_column, first_column + words.shape[1]).astype(np.uint64)
    w0, w1, _, _ = _philox(np.uint64(macro), rows | columns, np.uint64(write), np.uint64(draw), key)
    words[...] = w0 | (w1 << noise.HALF)


def cell_lanes_numpy(
    key: np.uint64, macro: int, first_row: int, first_column: int, write: int, draw: int, lanes: Array
) -> None:
    """`noise.cell_lanes`: whole octets, of which the asked columns are taken."""
    first, last = first_column >> 3, -(-(first_column + lanes.shape[1]) // 8)
    rows = np.arange(first_row, first_row + lanes.shape[0]).astype(np.uint64)[:, None] << noise.SIXTEEN
    octets = np.arange(first, last).astype(np.uint64)
    words = _philox(np.uint64(macro), rows | octets, np.uint64(write), np.uint64(draw), key)
    drawn = np.stack([word >> (noise.SIXTEEN * np.uint64(half)) for word in words for half in (0, 1)], axis=2)
    begin = first_column - 8 * first
    lanes[...] = (drawn & np.uint64(0xFFFF)).reshape(len(lanes), -1)[:, begin : begin + lanes.shape[1]]


def stick_numpy(levels: Array, words: Array, at_low: int, at_high: int, low: float, high: float) -> None:
    """`cells.stick`."""
    drawn = words & noise.LOW
    levels[drawn < at_low] = low
    levels[(drawn >= at_low) & (drawn < at_high)] = high


def find_stuck_numpy(
    key: np.uint64, place: tuple[int, int, int], at_low: np.uint64, at_high: np.uint64, words: Array, found: Array
) -> int:
    """`cells.find_stuck`, all rows at once."""
    macro, rows, first_column = place
    drawn = np.empty((rows, words.shape[1]), dtype=np.uint64)
    cell_words_numpy(key, macro, 0, first_column, 0, 0, drawn)
    drawn &= noise.LOW
    row, column = np.nonzero(drawn < at_high)
    found[: len(row)] = np.stack([row, column, drawn[row, column] >= at_low], axis=1)
    return len(row)


def round_levels_numpy(
    levels: Array, scale: float, largest: float, first_row: int, first_column: int, made: Array
) -> None:
    """`cells.round_levels`."""
    rounded = np.rint(np.maximum(np.minimum(levels * scale, largest), 0.0)).astype(np.int64)
    made[first_row : first_row + levels.shape[0], first_column : first_column + levels.shape[1]] = rounded


def add_read_noise_numpy(
    psums: Array, keys: Array, columns: Array, sigma: Array, reads: Array, group: int, step: int, quantiles: Array
) -> None:
    """`read_noise.add_read_noise`: one counter for every run of columns that share it."""
    if not psums.size:
        return
    octets = columns >> 3
    first = np.flatnonzero(np.append(True, (octets[1:] != octets[:-1]) | (keys[1:] != keys[:-1])))
    run = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(columns))))
    rows = np.arange(reads[0], reads[0] + len(psums))[:, None]
    image = (rows // reads[1]).astype(np.uint64) & noise.LOW
    position = (rows % reads[1] * reads[2] + reads[3]).astype(np.uint64)
    word = (np.uint64(group) << noise.SIXTEEN) | octets[first].astype(np.uint64)
    words = np.stack(_philox(image, position, word, np.uint64(step), keys[first]))
    lane = columns & 7
    drawn = words[lane >> 1, :, run] >> (noise.SIXTEEN * (lane & 1).astype(np.uint64))[:, None]
    quantile = quantiles[drawn & np.uint64(0xFFFF)].astype(np.int64).T
    psums += (sigma * quantile + np.int64(1 << read_noise.SIGMA_BITS + 23)) >> np.int64(read_noise.SIGMA_BITS + 24)


cell_words = Either(noise.cell_words, cell_words_numpy)
cell_lanes = Either(noise.cell_lanes, cell_lanes_numpy)
scale_by_lanes = Either(cells.scale_by_lanes, cells.scale_by_lanes_naive)
add_by_lanes = Either(cells.add_by_lanes, cells.add_by_lanes_naive)
stick = Either(cells.stick, stick_numpy)
find_stuck = Either(cells.find_stuck, find_stuck_numpy)
round_levels = Either(cells.round_levels, round_levels_numpy)
add_read_noise = Either(read_noise.add_read_noise, add_read_noise_numpy)
