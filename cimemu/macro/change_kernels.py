"""Input slices that follow each other on a wordline: what the bits of digital products change by."""

import numpy as np

from cimemu.lanes.jit import kernel
from cimemu.lanes.popcount import popcount


@kernel
def count_meetings(strip, first, last, stride, dilation, out_shape, lines, counts):
    """counts[b, c, i, j] += ones of first[x] & last[y], summed over neighbouring output positions, y before x.

    Wordline (c, i, j) is given strip[b, c, h * stride + i * dilation, w * stride + j * dilation] at output (h, w), row
    after row. strip uint8 or int16 [images, channels, rows, columns]; first, last int64 [a power of two] by the value's
    code; lines int64 [kernel rows + 3, columns] is room to work in; pairs are (vertical, horizontal).
    """
    taps, mask, width = counts.shape[2], first.shape[0] - 1, strip.shape[3]
    step, down = stride[1], stride[0]
    heads = lines[taps]
    tails = lines[taps + 1]
    meets = lines[taps + 2]
    for b in range(strip.shape[0]):
        for c in range(strip.shape[1]):
            plane = strip[b, c]
            lines[:taps] = 0
            for row in range(plane.shape[0]):
                for w in range(width):
                    code = np.int64(plane[row, w]) & mask
                    heads[w] = first[code]
                    tails[w] = last[code]
                for w in range(step, width):
                    meets[w] = popcount(np.uint64(heads[w] & tails[w - step]))
                for i in range(taps):
                    above = row - i * dilation[0]
                    if above >= 0 and above % down == 0 and above // down < out_shape[0]:
                        total = lines[i]
                        for w in range(step, width):
                            total[w] += meets[w]
            for i in range(taps):
                for j in range(counts.shape[3]):
                    left, right = j * dilation[1], (out_shape[1] - 1) * step + j * dilation[1]
                    count = np.int64(0)
                    for w in range(1, out_shape[1]):
                        count += lines[i, w * step + left]
                    for h in range(1, out_shape[0]):
                        row = h * down + i * dilation[0]
                        head = first[np.int64(plane[row, left]) & mask]
                        count += popcount(np.uint64(head & last[np.int64(plane[row - down, right]) & mask]))
                    counts[b, c, i, j] += count


def count_meetings_naive(strip, first, last, stride, dilation, out_shape, lines, counts):
    """The definition, position by position."""
    for b, c, i, j in np.ndindex(*counts.shape):
        before = 0
        for h, w in np.ndindex(*out_shape):
            x = int(strip[b, c, h * stride[0] + i * dilation[0], w * stride[1] + j * dilation[1]]) % len(first)
            counts[b, c, i, j] += bin(int(first[x]) & before).count("1")
            before = int(last[x])


@kernel
def count_turns(strip, tables, stride, dilation, out_shape, counts):
    """What each of R replicas is given where output position p is replica p mod R's: counts [3, R, b, c, i, j].

    counts[0] += tables[0, x] over its positions; counts[1] += ones of tables[1, x] & tables[2, y], y its position
    before x; counts[2] = ones of tables[2] of its last position (0 where it has none). tables int64 [3, a power of two].
    """
    mask, replicas = tables.shape[1] - 1, counts.shape[1]
    for r in range(replicas):
        for b in range(strip.shape[0]):
            for c in range(strip.shape[1]):
                for i in range(counts.shape[4]):
                    for j in range(counts.shape[5]):
                        before = np.int64(0)
                        for p in range(r, out_shape[0] * out_shape[1], replicas):
                            h = p // out_shape[1]
                            w = p - h * out_shape[1]
                            x = strip[b, c, h * stride[0] + i * dilation[0], w * stride[1] + j * dilation[1]]
                            code = np.int64(x) & mask
                            counts[0, r, b, c, i, j] += tables[0, code]
                            counts[1, r, b, c, i, j] += popcount(np.uint64(tables[1, code] & before))
                            before = tables[2, code]
                        counts[2, r, b, c, i, j] = popcount(np.uint64(before))


def count_turns_naive(strip, tables, stride, dilation, out_shape, counts):
    """The definition: every replica's positions in a list."""
    places = list(np.ndindex(*out_shape))
    for r, b, c, i, j in np.ndindex(*counts.shape[1:]):
        given = [strip[b, c, h * stride[0] + i * dilation[0], w * stride[1] + j * dilation[1]] for h, w in places]
        codes = [int(x) % tables.shape[1] for x in given[r :: counts.shape[1]]]
        counts[0, r, b, c, i, j] += sum(int(tables[0, x]) for x in codes)
        for x, y in zip(codes[1:], codes[:-1]):
            counts[1, r, b, c, i, j] += bin(int(tables[1, x]) & int(tables[2, y])).count("1")
        counts[2, r, b, c, i, j] = bin(int(tables[2, codes[-1]])).count("1") if codes else 0
