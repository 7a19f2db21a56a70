"""Noise added to partial sums, a draw a conversion: integers from a counter-based generator and a quantile table."""

import numpy as np

from cimemu.kernels.noise import HALF, LOW, M0, M1, W0, W1, philox, philox_naive
from cimemu.lanes.broad import NARROW, every64_as, load_as, register_bytes
from cimemu.lanes.jit import inlined, kernel
from cimemu.lanes.registers import (
    add16,
    add16_held,
    add32,
    both,
    differ,
    every16,
    every32,
    load,
    shift_left,
    shift_right,
    store,
)
from cimemu.lanes.wide import (
    add64,
    every64,
    gather32,
    merge32,
    multiply32,
    multiply32_signed,
    pack32,
    shift_right32,
)

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
    """places[:, l] = (global image index modulo 2^32, output position) of row 32 * block + l; uint32."""
    for lane in range(32):
        row = reads[0] + 32 * block + lane
        places[0, lane] = np.uint64(row // reads[1]) & LOW
        places[1, lane] = (row % reads[1]) * reads[2] + reads[3]


def read_places_naive(reads, block, places):
    """The definition."""
    for lane in range(32):
        image, position = divmod(int(reads[0]) + 32 * int(block) + lane, int(reads[1]))
        places[:, lane] = image % 2**32, position * int(reads[2]) + int(reads[3])


@inlined
def philox_lanes(unit, places, counter, key, words):
    """words[:, l] = philox(places[0, l], places[1, l], counter[0], counter[1], key), a register of `unit` at once.

    places uint32 [2, 32], words uint32 [4, 32]. Numbers of 32 bits stand in 64; a product ignores what is above them,
    so nothing clears it: eight operations a round for half of a register. The counters share their first product.
    """
    m0 = every64_as(unit, M0)
    m1 = every64_as(unit, M1)
    w0 = every64_as(unit, W0)
    w1 = every64_as(unit, W1)
    k0 = key & LOW
    k1 = key >> HALF
    product = M1 * counter[0]
    first = every64_as(unit, (product >> HALF) ^ k0)
    second = every64_as(unit, product & LOW)
    third = every64_as(unit, counter[1] ^ k1)
    key0 = every64_as(unit, k0)
    key1 = every64_as(unit, k1)
    for at in range(0, 128, register_bytes(unit)):
        image = load_as(unit, places, at)
        position = load_as(unit, places, at + 128)
        d = multiply32(image, m0)
        h = multiply32(shift_right(image, 32), m0)
        a = differ(position, first)
        e = differ(shift_right(position, 32), first)
        b = second
        f = second
        c = differ(shift_right(d, 32), third)
        g = differ(shift_right(h, 32), third)
        k = key0
        m = key1
        for _ in range(9):
            k = add64(k, w0)
            m = add64(m, w1)
            p0 = multiply32(a, m0)
            p1 = multiply32(c, m1)
            a = differ(differ(shift_right(p1, 32), b), k)
            b = p1
            c = differ(differ(shift_right(p0, 32), d), m)
            d = p0
            p0 = multiply32(e, m0)
            p1 = multiply32(g, m1)
            e = differ(differ(shift_right(p1, 32), f), k)
            f = p1
            g = differ(differ(shift_right(p0, 32), h), m)
            h = p0
        store(words, at, merge32(a, shift_left(e, 32)))
        store(words, at + 128, merge32(b, shift_left(f, 32)))
        store(words, at + 256, merge32(c, shift_left(g, 32)))
        store(words, at + 384, merge32(d, shift_left(h, 32)))


def philox_lanes_naive(unit, places, counter, key, words):
    """The definition, a lane at a time."""
    for lane in range(32):
        words[:, lane] = philox_naive(places[0, lane], places[1, lane], counter[0], counter[1], key)


@kernel
def add_draws(words, place, sigma, margin, quantiles, psums):
    """psums[l] += margin + draw, the draw of sigma and 16 bits of lane l at `place` of its octet.

    words uint32 [4, 32] by `philox_lanes`; psums uint16 [32], held at 65535, or int32 [32]; no draw is below -margin,
    sigma fits 31 bits, a draw 15 or 31. The product with a quantile has 64 bits: its high half, rounded, is the draw.
    """
    low = every64(0x0000FFFF0000FFFF)
    half = every64(_ROUND)
    scale = every64(sigma)
    offset = every32(margin)
    shift = 16 * (place & 1)
    start = (place >> 1) * 128
    for at in range(0, 128, 64):
        p = gather32(quantiles, both(shift_right32(load(words, start + at), shift), low))
        q = gather32(quantiles, both(shift_right32(load(words, start + at + 32), shift), low))
        p = merge32(
            shift_right(add64(multiply32_signed(p, scale), half), 32),
            add64(multiply32_signed(shift_right(p, 32), scale), half),
        )
        q = merge32(
            shift_right(add64(multiply32_signed(q, scale), half), 32),
            add64(multiply32_signed(shift_right(q, 32), scale), half),
        )
        if psums.itemsize == 2:
            store(psums, at >> 1, add16_held(load(psums, at >> 1), add16(pack32(p, q), every16(margin))))
        else:
            store(psums, at, add32(load(psums, at), add32(p, offset)))
            store(psums, at + 32, add32(load(psums, at + 32), add32(q, offset)))


def add_draws_naive(words, place, sigma, margin, quantiles, psums):
    """The definition, on Python integers."""
    for lane in range(32):
        quantile = int(quantiles[int(words[place // 2, lane]) // 2 ** (16 * (place % 2)) % 2**16])
        total = int(psums[lane]) + int(margin) + (int(sigma) * quantile + 2**31) // 2**32
        psums[lane] = min(total, 65535) if psums.itemsize == 2 else total


@kernel
def noise_words(psums, columns, step, noise, places, words):
    """psums[c, k, l] += the margins and draws of all sources, held at 65535 where psums are uint16.

    psums uint16 or int32 [>= columns, 4, 32] of group g and unit u = step; noise = (keys uint64 [S, G, C], numbers int64 [S, C],
    sigma int64 [S, G, C], group of g in its block int64 [G], reads int64 [4], quantiles, (margins int64 [S], slices,
    slices of a unit)), no draw of source s below -margins[s]; places uint32 [2, 32] by `read_places`; words uint32
    [4, 32] is scratch. The draw is `add_read_noise`'s.
    """
    keys, numbers, sigmas, groups, _, quantiles, limits = noise
    margins, slices, per_unit = limits
    g, u = step
    for k in range(min(per_unit, slices - u * per_unit)):
        for s in range(keys.shape[0]):
            c = columns[0]
            while c < columns[1]:
                key = keys[s, g, c]
                octet = numbers[s, c] >> 3
                counter = (np.uint64((groups[g] << 16) | octet), np.uint64(u * per_unit + k))
                philox_lanes(NARROW, places, counter, key, words)
                while c < columns[1] and numbers[s, c] >> 3 == octet and keys[s, g, c] == key:
                    add_draws(
                        words, numbers[s, c] & 7, sigmas[s, g, c], margins[s], quantiles, psums[c - columns[0], k]
                    )
                    c += 1


def noise_words_naive(psums, columns, step, noise, places, words):
    """The definition, a conversion at a time."""
    keys, numbers, sigmas, groups, _, quantiles, (margins, slices, per_unit) = noise
    g, u = step
    for k in range(per_unit):
        if u * per_unit + k < slices:
            for c in range(columns[0], columns[1]):
                for lane in range(32):
                    drawn = int(margins.sum())
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
                    total = int(psums[c - columns[0], k, lane]) + drawn
                    psums[c - columns[0], k, lane] = min(total, 65535) if psums.itemsize == 2 else total
