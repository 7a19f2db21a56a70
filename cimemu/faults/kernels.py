"""What a changed cell does to the codes of its column, one input slice at a time, and products of a few outputs."""

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def code_changes(words, psums, thresholds, values, slices, where, out):
    """out[f, p, v] += weighted change of column v's values by fault f; out[f, p, V] counts the codes that change.

    words int [P, K] inputs as bit patterns; psums int64 [P, groups, I, V] without a fault; thresholds int64 [blocks, V, T],
    ascending, T = 0 for an ideal converter; values int64 [blocks, V, T + 1] by code; slices int64 [I, 3] (shift, mask,
    weight); where int64 [F, 3 + V] (row, group, row block, what a unit of input adds to every column's psum).
    """
    columns = psums.shape[3]
    count = thresholds.shape[2]
    for f in range(where.shape[0]):
        row = where[f, 0]
        group = where[f, 1]
        block = where[f, 2]
        for p in range(words.shape[0]):
            word = words[p, row]
            if word == 0:
                continue
            for i in range(slices.shape[0]):
                piece = (word >> slices[i, 0]) & slices[i, 1]
                if piece == 0:
                    continue
                for v in range(columns):
                    step = where[f, 3 + v] * piece
                    if step == 0:
                        continue
                    if count == 0:
                        out[f, p, v] += slices[i, 2] * step
                        out[f, p, columns] += 1
                        continue
                    psum = psums[p, group, i, v]
                    low = 0
                    high = count
                    while low < high:
                        middle = (low + high) >> 1
                        if thresholds[block, v, middle] <= psum:
                            low = middle + 1
                        else:
                            high = middle
                    code = low
                    while code < count and thresholds[block, v, code] <= psum + step:
                        code += 1
                    while code > 0 and thresholds[block, v, code - 1] > psum + step:
                        code -= 1
                    if code != low:
                        out[f, p, v] += slices[i, 2] * (values[block, v, code] - values[block, v, low])
                        out[f, p, columns] += 1


def code_changes_naive(words, psums, thresholds, values, slices, where, out):
    """The definition, on Python integers: both psums are converted by counting thresholds."""
    points, groups, _, columns = psums.shape
    for f, (row, group, block, *steps) in enumerate(where.tolist()):
        for p in range(points):
            for i, (shift, mask, weight) in enumerate(slices.tolist()):
                piece = (int(words[p, row]) >> shift) & mask
                for v in range(columns):
                    old = int(psums[p, group, i, v])
                    new = old + steps[v] * piece
                    if thresholds.shape[2] == 0:
                        out[f, p, v] += weight * (new - old)
                        out[f, p, columns] += new != old
                        continue
                    table = thresholds[block, v].tolist()
                    before, after = (sum(t <= psum for t in table) for psum in (old, new))
                    out[f, p, v] += weight * (int(values[block, v, after]) - int(values[block, v, before]))
                    out[f, p, columns] += before != after
    assert groups


@kernel
def some_products(x, images, weights, y):
    """y[j, p, n] = the sum over k of x[images[j], p, k] * weights[n, k].

    x [I, positions, K] of small integers, images int64 [J], weights int64 [N, K], y int64 [J, positions, N].
    """
    for j in range(images.shape[0]):
        for p in range(x.shape[1]):
            for n in range(weights.shape[0]):
                total = np.int64(0)
                for k in range(x.shape[2]):
                    total += np.int64(x[images[j], p, k]) * weights[n, k]
                y[j, p, n] = total


def some_products_naive(x, images, weights, y):
    """The definition, on Python integers."""
    for j, p, n in np.ndindex(*y.shape):
        given = x[images[j], p].tolist()
        y[j, p, n] = sum(a * int(b) for a, b in zip(given, weights[n]))
