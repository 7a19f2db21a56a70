"""Tables of what a column sums for each of the 16 nibbles of four (row, DAC bit) places; see `nibbles`.

`source[q, j]` is 16 * row + DAC bit of place q's bit j, or -1 for none. A table holds its sums above the column's least
one, so that all entries are >= 0, as digits: 8 bits; or 6 bits and 8 more; or 6, 6 and 6.
"""

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def weighed(seen, place, c):
    """What column c adds to a sum where the bit of `place` is set; 0 for a place that is none."""
    if place < 0:
        return np.int64(0)
    return np.int64(seen[place >> 4, c]) << (place & 15)


def weighed_naive(seen, place, c):
    """The same in Python's integers."""
    return 0 if place < 0 else int(seen[place // 16, c]) * 2 ** (int(place) % 16)


@kernel
def nibble_ranges(seen, source, least, spread):
    """Range of every column's sum over all nibbles; returns the largest entry that a table of `source` will hold.

    seen [K, C], source int64 [Q, 4]; least, spread int64 [C]: the smallest sum, and the largest above it.
    """
    largest = np.int64(0)
    least[:] = 0
    spread[:] = 0
    for q in range(source.shape[0]):
        for c in range(seen.shape[1]):
            size = np.int64(0)
            for j in range(4):
                value = weighed(seen, source[q, j], c)
                least[c] += min(value, 0)
                size += abs(value)
            spread[c] += size
            largest = max(largest, size)
    return largest


def nibble_ranges_naive(seen, source, least, spread):
    """The definition: every nibble's sum of every column."""
    sums = nibble_sums(seen, source)
    least[:] = sums.min(axis=2).sum(axis=0)
    spread[:] = sums.max(axis=2).sum(axis=0) - least
    return int((sums.max(axis=2) - sums.min(axis=2)).max(initial=0))


@kernel
def fill_tables(seen, source, low, high, highest):
    """Digits of all sums of `source`, uint8 [C or more, Q, 16] each; `high`, `highest` without columns: fewer digits."""
    bits = 8 if high.shape[0] == 0 else 6
    more = 8 if highest.shape[0] == 0 else 6
    for q in range(source.shape[0]):
        for c in range(seen.shape[1]):
            v0, v1 = weighed(seen, source[q, 0], c), weighed(seen, source[q, 1], c)
            v2, v3 = weighed(seen, source[q, 2], c), weighed(seen, source[q, 3], c)
            least = min(v0, 0) + min(v1, 0) + min(v2, 0) + min(v3, 0)
            for n in range(16):
                total = (n & 1) * v0 + ((n >> 1) & 1) * v1 + ((n >> 2) & 1) * v2 + (n >> 3) * v3 - least
                low[c, q, n] = total & ((1 << bits) - 1)
                if high.shape[0] > 0:
                    high[c, q, n] = (total >> bits) & ((1 << more) - 1)
                if highest.shape[0] > 0:
                    highest[c, q, n] = total >> (bits + more)


def fill_tables_naive(seen, source, low, high, highest):
    """The same by whole arrays."""
    sums = nibble_sums(seen, source)
    sums = (sums - sums.min(axis=2, keepdims=True)).transpose(1, 0, 2)
    widths = (8, 8, 8) if not len(high) else (6, 8, 8) if not len(highest) else (6, 6, 8)
    for table, width in zip((low, high, highest), widths):
        table[: len(sums)] = (sums & ((1 << width) - 1))[: len(table)]
        sums = sums >> width


def nibble_sums(seen, source):
    """sums[q, c, n]: what column c sums for nibble n of place q: levels `seen` [K, C] weighed by their DAC bit."""
    rows, bits = source >> 4, source & 15
    levels = np.where(
        (source >= 0)[:, :, None], seen.astype(np.int64)[np.maximum(rows, 0)] << bits[:, :, None], 0
    )  # [Q, 4, C]
    chosen = (np.arange(16)[None, :] >> np.arange(4)[:, None]) & 1  # [4, 16]
    return np.einsum("qjc,jn->qcn", levels, chosen)
