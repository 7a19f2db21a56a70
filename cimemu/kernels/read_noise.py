"""Noise added to partial sums, a draw a conversion: integers from a counter-based generator and a quantile table."""

import numpy as np

from cimemu.kernels.jit import kernel
from cimemu.kernels.noise import philox, philox_naive

SIGMA_BITS = 8  # sigma has so many bits more than a psum: a small sigma keeps its first digits
_SHIFT = np.int64(SIGMA_BITS + 24)
_ROUND = np.int64(1 << (SIGMA_BITS + 23))


@kernel
def add_read_noise(psums, keys, columns, sigma, reads, group, step, quantiles):
    """psums[p, c] += (sigma[c] * quantile + half) >> 32, the quantile drawn for (image, position, group, step, column).

    psums int64 [P, C]; keys uint64, columns and sigma int64 [C]; reads = (first row, positions an image, replicas,
    replica). Eight neighbouring columns of one key share the 128 bits of one counter, 16 bits each.
    """
    low = np.uint64(0xFFFFFFFF)
    sixteen = np.uint64(16)
    for p in range(psums.shape[0]):
        row = reads[0] + p
        image = np.uint64(row // reads[1]) & low
        position = np.uint64((row % reads[1]) * reads[2] + reads[3])
        last = np.int64(-1)
        w0, w1, w2, w3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        for c in range(psums.shape[1]):
            octet = columns[c] >> 3
            if octet != last or keys[c] != keys[c - 1]:
                word = (np.uint64(group) << sixteen) | np.uint64(octet)
                w0, w1, w2, w3 = philox(image, position, word, np.uint64(step), keys[c])
                last = octet
            lane = columns[c] & 7
            word = w0 if lane < 2 else w1 if lane < 4 else w2 if lane < 6 else w3
            quantile = np.int64(quantiles[(word >> (sixteen * np.uint64(lane & 1))) & np.uint64(0xFFFF)])
            psums[p, c] += (sigma[c] * quantile + _ROUND) >> _SHIFT


def add_read_noise_naive(psums, keys, columns, sigma, reads, group, step, quantiles):
    """The definition, a conversion at a time, on Python integers."""
    for p, c in np.ndindex(*psums.shape):
        image, position = divmod(int(reads[0]) + p, int(reads[1]))
        octet, lane = divmod(int(columns[c]), 8)
        place = position * int(reads[2]) + int(reads[3])
        words = philox_naive(image % 2**32, place, int(group) * 2**16 + octet, step, keys[c])
        quantile = int(quantiles[words[lane // 2] // 2 ** (16 * (lane % 2)) % 2**16])
        psums[p, c] += (int(sigma[c]) * quantile + 2**31) // 2**32
