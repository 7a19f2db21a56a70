"""How often wordlines are raised: the counts behind driver and array energy."""

import numpy as np

from cimemu.kernels.jit import kernel


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
