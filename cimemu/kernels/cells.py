"""What happens to the levels of a block of cells: each cell's draw turned into its level, in IEEE float64.

Only additions, multiplications, divisions and square roots in a fixed order stand between a draw and a level: these
are correctly rounded on every machine. Whatever needs an exponential comes out of a table that was rounded exactly.
"""

import numpy as np

from cimemu.kernels.noise import LOW, cell_words, philox, philox_naive
from cimemu.lanes.jit import kernel

SIGMA = 1.0 / (1 << 24)  # a quantile in units of sigma


@kernel
def scale_by_lanes(levels, lanes, table):
    """levels[r, c] *= table[lanes[r, c]], not below 0."""
    for r in range(levels.shape[0]):
        for c in range(levels.shape[1]):
            levels[r, c] = max(levels[r, c] * table[lanes[r, c]], 0.0)


def scale_by_lanes_naive(levels, lanes, table):
    """The definition."""
    levels[:] = np.maximum(levels * table[lanes], 0.0)


@kernel
def add_by_lanes(levels, targets, lanes, sigma, quantiles):
    """levels[r, c] += sigma[targets[r, c]] * quantile of lanes[r, c], not below 0."""
    for r in range(levels.shape[0]):
        for c in range(levels.shape[1]):
            moved = levels[r, c] + sigma[targets[r, c]] * (quantiles[lanes[r, c]] * SIGMA)
            levels[r, c] = max(moved, 0.0)


def add_by_lanes_naive(levels, targets, lanes, sigma, quantiles):
    """The definition."""
    levels[:] = np.maximum(levels + sigma[targets] * (quantiles[lanes] / 2**24), 0.0)


@kernel
def stick(levels, words, at_low, at_high, low, high):
    """levels[r, c] = low where the word's low half is < at_low, high where it is in at_low .. at_high - 1."""
    for r in range(levels.shape[0]):
        for c in range(levels.shape[1]):
            drawn = words[r, c] & LOW
            if drawn < at_low:
                levels[r, c] = low
            elif drawn < at_high:
                levels[r, c] = high


def stick_naive(levels, words, at_low, at_high, low, high):
    """The definition, on Python integers."""
    for r, c in np.ndindex(*levels.shape):
        drawn = int(words[r, c]) % 2**32
        if drawn < int(at_low):
            levels[r, c] = low
        elif drawn < int(at_high):
            levels[r, c] = high


@kernel
def find_stuck(key, place, at_low, at_high, words, found):
    """Put every stuck cell of a block into found[n] = (row, column, high), row by row; gives how many there are.

    place = (macro, rows, first column): words as `cell_words` draws them for the first writing, and `stick` decides: the low
    half is < at_low, or in at_low .. at_high - 1 (high). words uint64 [1, columns] is scratch; found int64 [>= cells, 3].
    """
    macro, rows, first_column = place
    count = 0
    for r in range(rows):
        cell_words(key, macro, r, first_column, 0, 0, words)
        for c in range(words.shape[1]):
            drawn = words[0, c] & LOW
            if drawn < at_high:
                found[count, 0] = r
                found[count, 1] = c
                found[count, 2] = np.int64(drawn >= at_low)
                count += 1
    return count


def find_stuck_naive(key, place, at_low, at_high, words, found):
    """The definition, a cell at a time."""
    macro, rows, first_column = place
    count = 0
    for r, c in np.ndindex(int(rows), words.shape[1]):
        word = philox_naive(macro, r * 2**16 + int(first_column) + c, 0, 0, key)[0]
        if word < int(at_high):
            found[count] = r, c, word >= int(at_low)
            count += 1
    return count


@kernel
def write_and_verify(levels, place, key, sigma, tolerance, quantiles, pulses):
    """Write targets (in `levels`) until within `tolerance`: each pulse lands at target + sigma * a fresh quantile.

    place = (macro, first column, write count, most pulses); pulses[r, c] are those taken,
    the last one stays whatever it gave. Levels are not below 0.
    """
    for r in range(levels.shape[0]):
        for c in range(levels.shape[1]):
            target = levels[r, c]
            where = (np.uint64(r) << np.uint64(16)) | np.uint64(place[1] + c)
            landed = target
            taken = 0
            while taken < place[3]:
                w0, _, _, _ = philox(np.uint64(place[0]), where, np.uint64(place[2]), np.uint64(taken), key)
                landed = max(target + sigma * (quantiles[w0 & np.uint64(0xFFFF)] * SIGMA), 0.0)
                taken += 1
                if abs(landed - target) <= tolerance:
                    break
            levels[r, c] = landed
            pulses[r, c] = taken


def write_and_verify_naive(levels, place, key, sigma, tolerance, quantiles, pulses):
    """The definition, a cell at a time."""
    macro, first_column, write, most = (int(v) for v in place[:4])
    for r, c in np.ndindex(*levels.shape):
        target = float(levels[r, c])
        for taken in range(1, most + 1):
            word = philox_naive(macro, r * 2**16 + first_column + c, write, taken - 1, key)[0] % 2**16
            levels[r, c] = max(target + sigma * (int(quantiles[word]) / 2**24), 0.0)
            pulses[r, c] = taken
            if abs(float(levels[r, c]) - target) <= tolerance:
                break


@kernel
def round_levels(levels, scale, largest, first_row, first_column, cells):
    """cells[first_row + r, first_column + c] = levels[r, c] * scale rounded to nearest (ties to even), 0 .. largest."""
    for r in range(levels.shape[0]):
        for c in range(levels.shape[1]):
            cells[first_row + r, first_column + c] = np.int64(np.rint(max(min(levels[r, c] * scale, largest), 0.0)))


def round_levels_naive(levels, scale, largest, first_row, first_column, cells):
    """The definition, on Python's own rounding."""
    for r, c in np.ndindex(*levels.shape):
        cells[first_row + r, first_column + c] = round(max(min(float(levels[r, c]) * scale, largest), 0.0))
