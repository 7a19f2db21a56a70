"""How often wordlines are raised: the counts behind driver and array energy."""

import numpy as np

from cimemu.lanes.jit import kernel
from cimemu.lanes.nibbles import ORDER
from cimemu.lanes.registers import (
    add8,
    add16,
    add64,
    both,
    distance8,
    every8,
    interleave_high,
    interleave_low,
    load,
    load_table,
    lookup,
    shift_right,
    store,
)

POSITIONS = 128  # so many bytes sum to 16 bits


@kernel
def count_inputs(x, first, table, counts):
    """counts[b, r] += table[x - first], over the positions of image b; x is uint8 or int16 [images * positions, rows]."""
    positions = x.shape[0] // counts.shape[0]
    for b in range(counts.shape[0]):
        for p in range(b * positions, (b + 1) * positions):
            for r in range(x.shape[1]):
                counts[b, r] += table[np.int64(x[p, r]) - first]


def count_inputs_naive(x, first, table, counts):
    """The definition by table look-up."""
    counts += table[x.astype(np.int64) - first].reshape(len(counts), -1, x.shape[1]).sum(axis=1)


@kernel
def count_nibbles(x, low, high, words, counts):
    """counts[b, r] += low[x & 15] + high[x >> 4], over the positions of image b: 32 rows at once.

    x uint8 [images * positions, rows], C-contiguous; low, high uint8 [16], whose sums fit a byte; words uint16 [32] is
    scratch; counts int64 [images, rows].
    """
    positions, rows = x.shape[0] // counts.shape[0], x.shape[1]
    nibble, zero = every8(15), every8(0)
    lows, highs = load_table(low, 0), load_table(high, 0)
    for b in range(counts.shape[0]):
        for start in range(b * positions, (b + 1) * positions, POSITIONS):
            stop = min(start + POSITIONS, (b + 1) * positions)
            for r in range(0, rows - 31, 32):
                even = zero
                odd = zero
                for p in range(start, stop):
                    value = load(x, p * rows + r)
                    upper = lookup(highs, both(shift_right(value, 4), nibble))
                    value = add8(lookup(lows, both(value, nibble)), upper)
                    even = add16(even, interleave_low(value, zero))
                    odd = add16(odd, interleave_high(value, zero))
                store(words, 0, even)
                store(words, 32, odd)
                for j in range(32):
                    counts[b, r + ORDER[j]] += np.int64(words[j])
        for p in range(b * positions, (b + 1) * positions):
            for r in range(rows - rows % 32, rows):
                counts[b, r] += np.int64(low[x[p, r] & 15]) + np.int64(high[x[p, r] >> 4])


def count_nibbles_naive(x, low, high, words, counts):
    """The definition."""
    made = low[x & 15].astype(np.int64) + high[x >> 4]
    counts += made.reshape(len(counts), -1, x.shape[1]).sum(axis=1)


@kernel
def count_windows(strip, table, stride, dilation, out_shape, lines, counts):
    """counts[b, c, i, j] += sum over output rows h and columns w of table[x] with
    x = strip[b, c, h * stride + i * dilation, w * stride + j * dilation]: what wordline (c, i, j) is given.

    strip uint8 or int16 [images, channels, rows, columns], table int64 indexed by x & (its length - 1), a power of two;
    lines int32 [kernel rows + 1, columns] is room to work in; pairs are (vertical, horizontal).
    """
    taps, mask = counts.shape[2], table.shape[0] - 1
    seen = lines[taps]
    for b in range(strip.shape[0]):
        for c in range(strip.shape[1]):
            lines[:taps] = 0
            for row in range(strip.shape[2]):
                line = strip[b, c, row]
                for w in range(seen.shape[0]):
                    seen[w] = table[np.int64(line[w]) & mask]
                for i in range(taps):
                    above = row - i * dilation[0]
                    if above >= 0 and above % stride[0] == 0 and above // stride[0] < out_shape[0]:
                        total = lines[i]
                        for w in range(seen.shape[0]):
                            total[w] += seen[w]
            for i in range(taps):
                for j in range(counts.shape[3]):
                    count = np.int64(0)
                    for w in range(out_shape[1]):
                        count += lines[i, w * stride[1] + j * dilation[1]]
                    counts[b, c, i, j] += count


def count_windows_naive(strip, table, stride, dilation, out_shape, lines, counts):
    """The definition."""
    for b, c, i, j in np.ndindex(*counts.shape):
        for h, w in np.ndindex(*out_shape):
            x = int(strip[b, c, h * stride[0] + i * dilation[0], w * stride[1] + j * dilation[1]])
            counts[b, c, i, j] += table[x % len(table)]


@kernel
def count_plane(seen, inside, dilation, out_shape, edges, counts):
    """counts[i, j] += sum of `seen` over the rows i * dilation .. and columns j * dilation .. that `out_shape` says.

    seen uint8 [rows * columns], all of them together `inside`; edges int64 [columns or more] is scratch.
    """
    tall, wide, reach = out_shape[0], out_shape[1], (counts.shape[1] - 1) * dilation[1]
    columns = wide + reach
    for p in range(tall * columns, seen.shape[0]):
        inside -= seen[p]
    for w in range(columns):
        if w < reach or w >= wide:  # columns at either side that some wordline does not meet
            column = np.int64(0)
            for h in range(tall):
                column += seen[h * columns + w]
            edges[w] = column
    for i in range(counts.shape[0]):  # the window of a wordline's rows goes down, that of its columns to the right
        count = inside
        for w in range(wide, columns):
            count -= edges[w]
        counts[i, 0] += count
        for j in range(1, counts.shape[1]):
            for w in range((j - 1) * dilation[1], j * dilation[1]):
                count += edges[wide + w] - edges[w]
            counts[i, j] += count
        if i == counts.shape[0] - 1:
            break
        for h in range(i * dilation[0], (i + 1) * dilation[0]):
            above, below = seen[h * columns :][:columns], seen[(h + tall) * columns :][:columns]
            for w in range(columns):
                inside += np.int64(below[w]) - np.int64(above[w])
            for w in range(columns):
                if w < reach or w >= wide:
                    edges[w] += np.int64(below[w]) - np.int64(above[w])


def count_plane_naive(seen, inside, dilation, out_shape, edges, counts):
    """The definition; `inside` and `edges` are not needed."""
    plane = seen.reshape(-1, out_shape[1] + (counts.shape[1] - 1) * dilation[1])
    for i, j in np.ndindex(*counts.shape):
        rows = plane[i * dilation[0] : i * dilation[0] + out_shape[0]]
        counts[i, j] += rows[:, j * dilation[1] : j * dilation[1] + out_shape[1]].sum(dtype=np.int64)


@kernel
def count_nibble_windows(strip, low, high, dilation, out_shape, seen, edges, counts):
    """`count_windows` of stride 1 with table[x] = low[x & 15] + high[x >> 4]: all of a plane, less the rows and columns
    that a wordline does not meet.

    strip uint8 [images, channels, rows, columns], C-contiguous; low, high uint8 [16], whose sums fit a byte; scratch: seen
    uint8 [rows * columns], edges int64 [columns, at least 4].
    """
    nibble, zero = every8(15), every8(0)
    lows, highs = load_table(low, 0), load_table(high, 0)
    size = strip.shape[2] * strip.shape[3]
    last = size - size % 32
    flat = strip.reshape(-1)
    for b in range(strip.shape[0]):
        for c in range(strip.shape[1]):
            first = (b * strip.shape[1] + c) * size
            sums = zero
            for p in range(0, last, 32):
                value = load(flat, first + p)
                upper = lookup(highs, both(shift_right(value, 4), nibble))
                value = add8(lookup(lows, both(value, nibble)), upper)
                store(seen, p, value)
                sums = add64(sums, distance8(value, zero))
            store(edges, 0, sums)
            total = edges[0] + edges[1] + edges[2] + edges[3]
            for p in range(last, size):
                seen[p] = low[flat[first + p] & 15] + high[flat[first + p] >> 4]
                total += seen[p]
            count_plane(seen, total, dilation, out_shape, edges, counts[b, c])


def count_nibble_windows_naive(strip, low, high, dilation, out_shape, seen, edges, counts):
    """The definition."""
    x = np.arange(256)
    count_windows_naive(strip, low[x & 15].astype(np.int64) + high[x >> 4], (1, 1), dilation, out_shape, edges, counts)
