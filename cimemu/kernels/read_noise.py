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


@kernel
def read_places(reads, block, places):
    """places[:, l] = (global image index modulo 2^32, output position) of row 32 * block + l."""
    for lane in range(32):
        row = reads[0] + 32 * block + lane
        places[0, lane] = np.uint64(row // reads[1]) & np.uint64(0xFFFFFFFF)
        places[1, lane] = np.uint64((row % reads[1]) * reads[2] + reads[3])


def read_places_naive(reads, block, places):
    """The definition."""
    for lane in range(32):
        image, position = divmod(int(reads[0]) + 32 * int(block) + lane, int(reads[1]))
        places[:, lane] = image % 2**32, position * int(reads[2]) + int(reads[3])


@kernel
def noise_words(psums, columns, step, noise, places, words):
    """psums[c, k, l] = min(65535, psum + margin + the draws of all sources), held at 0 below.

    psums uint16 [>= columns, 4, 32] of group g and unit u = step; noise = (keys uint64 [S, G, C], numbers int64 [S, C],
    sigma int64 [S, G, C], group of g in its block int64 [G], reads int64 [4], quantiles, (margin, slices, slices of a
    unit)); places uint64 [2, 32] by `read_places`; words uint64 [4, 32] is scratch. The draw is `add_read_noise`'s.
    """
    keys, numbers, sigmas, groups, _, quantiles, limits = noise
    margin, slices, per_unit = limits
    g, u = step
    low = np.uint64(0xFFFFFFFF)
    mask = np.uint64(0xFFFF)
    for k in range(per_unit):
        slice_ = u * per_unit + k
        if slice_ >= slices:
            break
        for s in range(keys.shape[0]):
            c = columns[0]
            while c < columns[1]:
                key = keys[s, g, c]
                octet = numbers[s, c] >> 3
                end = c + 1
                while end < columns[1] and numbers[s, end] >> 3 == octet and keys[s, g, end] == key:
                    end += 1
                word = (np.uint64(groups[g]) << np.uint64(16)) | np.uint64(octet)
                for lane in range(32):
                    w0, w1, w2, w3 = philox(places[0, lane] & low, places[1, lane] & low, word, np.uint64(slice_), key)
                    words[0, lane] = w0
                    words[1, lane] = w1
                    words[2, lane] = w2
                    words[3, lane] = w3
                for column in range(c, end):
                    place = numbers[s, column] & 7
                    shift = np.uint64(16 * (place & 1))
                    sigma = sigmas[s, g, column]
                    offset = margin if s == 0 else 0
                    row = psums[column - columns[0], k]
                    drawn = words[place >> 1]
                    for lane in range(32):
                        quantile = np.int64(quantiles[(drawn[lane] >> shift) & mask])
                        total = np.int64(row[lane]) + offset + ((sigma * quantile + _ROUND) >> _SHIFT)
                        row[lane] = min(max(total, 0), 65535)
                c = end


def noise_words_naive(psums, columns, step, noise, places, words):
    """The definition, a conversion at a time."""
    keys, numbers, sigmas, groups, _, quantiles, (margin, slices, per_unit) = noise
    g, u = step
    for k in range(per_unit):
        if u * per_unit + k < slices:
            for c in range(columns[0], columns[1]):
                for lane in range(32):
                    drawn = 0
                    for s in range(len(keys)):
                        octet, number = divmod(int(numbers[s, c]), 8)
                        word = philox_naive(
                            places[0, lane],
                            places[1, lane],
                            int(groups[g]) * 2**16 + octet,
                            u * per_unit + k,
                            keys[s, g, c],
                        )[number // 2]
                        quantile = int(quantiles[word // 2 ** (16 * (number % 2)) % 2**16])
                        drawn += (int(sigmas[s, g, c]) * quantile + 2**31) // 2**32
                    psum = int(psums[c - columns[0], k, lane]) + int(margin) + drawn
                    psums[c - columns[0], k, lane] = min(max(psum, 0), 65535)
