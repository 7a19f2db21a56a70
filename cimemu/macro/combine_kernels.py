"""Weighted code sums of all columns and row blocks into outputs."""

from cimemu.lanes.jit import kernel


@kernel
def combine_integer(sums, weight, lsb, zero, slice_sums, y):
    """y[p, n] = sum over row blocks and conversions v of weight[v] * (lsb * sums[p, rb, n*V + v] + zero * slice_sums[rb]).

    sums int32 or int64 [P, row blocks, >= N * V] (columns beyond are padding); y int64 [P, N].
    """
    conversions = weight.shape[0]
    whole = 0
    for v in range(conversions):
        whole += weight[v]
    for p in range(y.shape[0]):
        for n in range(y.shape[1]):
            total = 0
            for block in range(sums.shape[1]):
                part = 0
                for v in range(conversions):
                    part += weight[v] * sums[p, block, n * conversions + v]
                total += lsb * part + zero * whole * slice_sums[block]
            y[p, n] = total


def combine_integer_naive(sums, weight, lsb, zero, slice_sums, y):
    """The definition."""
    conversions = len(weight)
    y[:] = 0
    for block in range(sums.shape[1]):
        for v in range(conversions):
            column = sums[:, block, v : y.shape[1] * conversions : conversions].astype("int64")
            y += weight[v] * (lsb * column + zero * slice_sums[block])


@kernel
def level_sums(counts, order, levels, total):
    """total[p, c] = sum over ascending distinct levels of level * (sum of the counts of its codes), added one by one.

    counts int64 [P, C, codes]; order int64 and levels float64 [C or 1, codes]: codes and levels by ascending level.
    """
    for p in range(total.shape[0]):
        for c in range(total.shape[1]):
            row = c if levels.shape[0] > 1 else 0
            value = 0.0
            k = 0
            while k < levels.shape[1]:
                level = levels[row, k]
                count = counts[p, c, order[row, k]]
                k += 1
                while k < levels.shape[1] and levels[row, k] == level:
                    count += counts[p, c, order[row, k]]
                    k += 1
                value = value + level * count
            total[p, c] = value


def level_sums_naive(counts, order, levels, total):
    """The definition."""
    for p in range(total.shape[0]):
        for c in range(total.shape[1]):
            row = c if len(levels) > 1 else 0
            value = 0.0
            for level in sorted(set(levels[row].tolist())):
                codes = [code for code, own in zip(order[row].tolist(), levels[row].tolist()) if own == level]
                value = value + level * sum(int(counts[p, c, code]) for code in codes)
            total[p, c] = value
