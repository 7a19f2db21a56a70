"""Weighted code sums of all columns and row blocks into outputs, in integers."""

from cimemu.kernels.jit import kernel


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
