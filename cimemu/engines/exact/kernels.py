"""Exact integer convolutions without a window matrix: what macros give where no converter can leave its exact range."""

import numpy as np

from cimemu.engines.exact.pair_kernels import OUTPUTS, POSITIONS, madd_tile
from cimemu.lanes.jit import kernel


@kernel
def interleave(strip, first, second, line, pairs):
    """pairs[b, k, py, px, 2 * (h * line + w) ..+2] = strip[b, (first[k], second[k]), h * sy + py, w * sx + px].

    strip uint8 or int16 [images, channels, rows, columns]; pairs int16 [images, K, sy, sx, places]. Places that no
    element of the strip has stay as they are.
    """
    rows, columns, down, right = strip.shape[2], strip.shape[3], pairs.shape[2], pairs.shape[3]
    for b in range(strip.shape[0]):
        for k in range(first.shape[0]):
            for row in range(rows):
                a, z = strip[b, first[k], row], strip[b, second[k], row]
                for px in range(min(right, columns)):
                    target = pairs[b, k, row % down, px, 2 * line * (row // down) :]
                    if right == 1:
                        for w in range(columns):
                            target[2 * w] = a[w]
                            target[2 * w + 1] = z[w]
                    else:
                        for w in range((columns - px + right - 1) // right):
                            target[2 * w] = a[w * right + px]
                            target[2 * w + 1] = z[w * right + px]


def interleave_naive(strip, first, second, line, pairs):
    """The definition, one element at a time."""
    down, right = pairs.shape[2:4]
    for b, k, row, column in np.ndindex(strip.shape[0], len(first), *strip.shape[2:]):
        place = 2 * (row // down * line + column // right)
        pair = strip[b, first[k], row, column], strip[b, second[k], row, column]
        pairs[b, k, row % down, column % right, place : place + 2] = pair


@kernel
def convolve_pairs(pairs, image_step, group_step, offsets, weights, start, y):
    """y[b, g, n, p] = start[b, g, n] + sum_t x0 * w0 + x1 * w1.

    (x0, x1) are two elements of pairs from b * image_step + g * group_step + offsets[t] + 2p on.

    pairs int16 [elements]; offsets int64 [T]; weights int32 [groups, T, N], two 16-bit numbers each (the first in the
    low half), N a multiple of 4; start int32 [images, groups, N]; y int32 [images, groups, N, positions], positions a
    multiple of 16. Sums wrap at 32 bits.
    """
    for b in range(y.shape[0]):
        for g in range(y.shape[1]):
            base = b * image_step + g * group_step
            first, target = start[b, g], y[b, g]
            matrix = weights[g]
            for p in range(0, target.shape[1], POSITIONS):
                for n in range(0, target.shape[0], OUTPUTS):
                    madd_tile(pairs, offsets, matrix, first, target, (base + 2 * p, n, p))


def convolve_pairs_naive(pairs, image_step, group_step, offsets, weights, start, y):
    """The definition, on Python integers."""
    for b, g, n, p in np.ndindex(*y.shape):
        total = int(start[b, g, n])
        for t, offset in enumerate(offsets):
            place = b * image_step + g * group_step + int(offset) + 2 * p
            low, high = (int(v) for v in weights[g, t, n : n + 1].copy().view(np.int16))
            total += int(pairs[place]) * low + int(pairs[place + 1]) * high
        y[b, g, n, p] = (total + 2**31) % 2**32 - 2**31


@kernel
def convolve_depthwise(strip, weights, stride, dilation, out_shape, start, y):
    """y[b, c, h * width + w] = start[b, c] + sum_ij strip[b, c, h * stride + i * dilation ..] * weights[c, i, j].

    strip uint8 or int16 [images, channels, rows, columns], weights int32 [channels, kernel rows, kernel columns],
    start int32 [images, channels], y int32 [images, channels, height * width]; pairs are (vertical, horizontal).
    """
    height, width = out_shape
    for b in range(strip.shape[0]):
        for c in range(strip.shape[1]):
            for h in range(height):
                target = y[b, c, h * width : (h + 1) * width]
                target[:] = start[b, c]
                for i in range(weights.shape[1]):
                    line = strip[b, c, h * stride[0] + i * dilation[0]]
                    for j in range(weights.shape[2]):
                        weight = weights[c, i, j]
                        seen = line[j * dilation[1] :]
                        if stride[1] == 1:
                            for w in range(width):
                                target[w] += weight * np.int32(seen[w])
                        else:
                            for w in range(width):
                                target[w] += weight * np.int32(seen[w * stride[1]])


def convolve_depthwise_naive(strip, weights, stride, dilation, out_shape, start, y):
    """The definition, on Python integers."""
    for b, c, h, w in np.ndindex(*strip.shape[:2], *out_shape):
        total = int(start[b, c]) + sum(
            int(strip[b, c, h * stride[0] + i * dilation[0], w * stride[1] + j * dilation[1]]) * int(weights[c, i, j])
            for i, j in np.ndindex(*weights.shape[1:])
        )
        y[b, c, h * out_shape[1] + w] = (total + 2**31) % 2**32 - 2**31
