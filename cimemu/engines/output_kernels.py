"""Weighted code sums in registers into outputs: what look-up and bit planes end with."""

import numpy as np

from cimemu.lanes.broad import BROAD
from cimemu.lanes.floats import add64, doubles, mul64, real_as
from cimemu.lanes.jit import kernel
from cimemu.lanes.registers import (
    add32,
    every8,
    every32,
    interleave_high_words,
    interleave_low_words,
    load,
    store,
    weigh_word_pairs,
)
from cimemu.lanes.turns import (
    high_halves,
    interleave_high32,
    interleave_high64,
    interleave_low32,
    interleave_low64,
    load_halves,
    low_halves,
    store_scaled,
)


@kernel
def turn_out(total, place, lsb, rest, point, first, y):
    """y[point + p, first + n] = lsb * total[n, p] + rest[point + p], p and n below 8.

    total int32, place = (stride, low, high): positions 0 .. 3 of output n are 4 numbers from byte low + n * stride on, those of
    4 .. 7 from high + n * stride on; lsb within int32; y int64 [P, N].
    """
    stride, low, high = place
    a = load_halves(total, low, high)
    b = load_halves(total, low + stride, high + stride)
    c = load_halves(total, low + 2 * stride, high + 2 * stride)
    d = load_halves(total, low + 3 * stride, high + 3 * stride)
    e, f = interleave_low32(a, b), interleave_high32(a, b)
    g, h = interleave_low32(c, d), interleave_high32(c, d)
    l0, l1 = interleave_low64(e, g), interleave_high64(e, g)
    l2, l3 = interleave_low64(f, h), interleave_high64(f, h)
    a = load_halves(total, low + 4 * stride, high + 4 * stride)
    b = load_halves(total, low + 5 * stride, high + 5 * stride)
    c = load_halves(total, low + 6 * stride, high + 6 * stride)
    d = load_halves(total, low + 7 * stride, high + 7 * stride)
    e, f = interleave_low32(a, b), interleave_high32(a, b)
    g, h = interleave_low32(c, d), interleave_high32(c, d)
    h0, h1 = interleave_low64(e, g), interleave_high64(e, g)
    h2, h3 = interleave_low64(f, h), interleave_high64(f, h)
    row = 8 * y.shape[1]
    at = point * row + 8 * first
    store_scaled(y, at, low_halves(l0, h0), lsb, rest[point])
    store_scaled(y, at + row, low_halves(l1, h1), lsb, rest[point + 1])
    store_scaled(y, at + 2 * row, low_halves(l2, h2), lsb, rest[point + 2])
    store_scaled(y, at + 3 * row, low_halves(l3, h3), lsb, rest[point + 3])
    store_scaled(y, at + 4 * row, high_halves(l0, h0), lsb, rest[point + 4])
    store_scaled(y, at + 5 * row, high_halves(l1, h1), lsb, rest[point + 5])
    store_scaled(y, at + 6 * row, high_halves(l2, h2), lsb, rest[point + 6])
    store_scaled(y, at + 7 * row, high_halves(l3, h3), lsb, rest[point + 7])


def turn_out_naive(total, place, lsb, rest, point, first, y):
    """The definition."""
    stride, low, high = place
    flat = total.reshape(-1)
    for p, n in np.ndindex(8, 8):
        at = ((low if p < 4 else high) + n * stride) // 4 + p % 4
        y[point + p, first + n] = lsb * int(flat[at]) + rest[point + p]


@kernel
def combine_lanes(sums, terms, stride, lsb, rest, total, y):
    """y[p, n] = lsb * (sum over j of terms[j, 1] * sums[stride * n + terms[j, 0], p]) + rest[p].

    sums int16 [rows, P rounded up to 32]; terms int64 [J, 2], J even, factors within int16; total int32 [8, 32] is
    scratch wide enough for the sum; lsb within int32; rest int64 [P]; y int64 [P, N]. Two terms are multiplied and added at
    once.
    """
    points, outputs = y.shape
    width = sums.shape[1]
    for b in range(0, points, 32):
        for first in range(0, outputs, 8):
            last = min(first + 8, outputs)
            for n in range(first, last):
                a0 = every8(0)
                a1 = every8(0)
                a2 = every8(0)
                a3 = every8(0)
                for j in range(0, terms.shape[0], 2):
                    at = ((stride * n + terms[j, 0]) * width + b) * 2
                    other = ((stride * n + terms[j + 1, 0]) * width + b) * 2
                    factors = every32((terms[j, 1] & 65535) | ((terms[j + 1, 1] & 65535) << 16))
                    s = load(sums, at)
                    t = load(sums, other)
                    a0 = add32(a0, weigh_word_pairs(interleave_low_words(s, t), factors))
                    a1 = add32(a1, weigh_word_pairs(interleave_high_words(s, t), factors))
                    s = load(sums, at + 32)
                    t = load(sums, other + 32)
                    a2 = add32(a2, weigh_word_pairs(interleave_low_words(s, t), factors))
                    a3 = add32(a3, weigh_word_pairs(interleave_high_words(s, t), factors))
                at = (n - first) * 128
                store(total, at, a0)
                store(total, at + 32, a1)
                store(total, at + 64, a2)
                store(total, at + 96, a3)
            if last - first == 8 and b + 32 <= points:
                for quarter in range(4):  # what interleaving words of 64 bytes leaves: 0 .. 3 and 8 .. 11, then 4 .. 7
                    low = 32 * (quarter & 2) + 16 * (quarter & 1)
                    turn_out(total, (128, low, low + 32), lsb, rest, b + 8 * quarter, first, y)
                continue
            for lane in range(min(32, points - b)):
                place = (lane & 16) | ((lane & 4) << 1) | ((lane & 8) >> 1) | (lane & 3)  # the order of interleaving
                base = rest[b + lane]
                for n in range(first, last):
                    y[b + lane, n] = lsb * np.int64(total[n - first, place]) + base


def combine_lanes_naive(sums, terms, stride, lsb, rest, total, y):
    """The definition."""
    for p, n in np.ndindex(*y.shape):
        y[p, n] = lsb * sum(int(f) * int(sums[stride * n + r, p]) for r, f in terms) + rest[p]


@kernel
def combine_lanes_float(sums, terms, weight, references, value, y):
    """y[p, n] = sum over row blocks rb and conversions v, in this order, of lsb * A + zero * Z in float64.

    A = weight[v] * (sum over j of terms[rb, j, 1] * sums[terms[rb, j, 0] + n*V + v, p]), exact; Z = weight[v] *
    weights[rb]; every product and sum is rounded by itself. sums int16 [rows, P rounded up to 32]; terms int64 [row
    blocks, J, 2], J even, weight * factor within int16; references = (lsb, zero float64 [row blocks, 1 or C], weights
    int64 [row blocks]); value float64 [8, 32] is scratch. A fits 32 bits.
    """
    lsbs, zeros, weights = references
    conversions = weight.shape[0]
    points, outputs = y.shape
    width = sums.shape[1]
    for b in range(0, points, 32):
        for first in range(0, outputs, 8):
            last = min(first + 8, outputs)
            for n in range(first, last):
                f0 = real_as(BROAD, 0.0)
                f1 = f0
                f2 = f0
                f3 = f0
                for block in range(terms.shape[0]):
                    for v in range(conversions):
                        c = n * conversions + v
                        a0 = every8(0)
                        a1 = every8(0)
                        a2 = every8(0)
                        a3 = every8(0)
                        for j in range(0, terms.shape[1], 2):
                            at = ((terms[block, j, 0] + c) * width + b) * 2
                            other = ((terms[block, j + 1, 0] + c) * width + b) * 2
                            one = (weight[v] * terms[block, j, 1]) & 65535
                            factors = every32(one | (((weight[v] * terms[block, j + 1, 1]) & 65535) << 16))
                            s = load(sums, at)
                            t = load(sums, other)
                            a0 = add32(a0, weigh_word_pairs(interleave_low_words(s, t), factors))
                            a1 = add32(a1, weigh_word_pairs(interleave_high_words(s, t), factors))
                            s = load(sums, at + 32)
                            t = load(sums, other + 32)
                            a2 = add32(a2, weigh_word_pairs(interleave_low_words(s, t), factors))
                            a3 = add32(a3, weigh_word_pairs(interleave_high_words(s, t), factors))
                        lsb = real_as(BROAD, lsbs[block, c if lsbs.shape[1] > 1 else 0])
                        zero = zeros[block, c if zeros.shape[1] > 1 else 0]
                        rest = real_as(BROAD, zero * (weight[v] * weights[block]))
                        f0 = add64(f0, add64(mul64(lsb, doubles(a0)), rest))
                        f1 = add64(f1, add64(mul64(lsb, doubles(a1)), rest))
                        f2 = add64(f2, add64(mul64(lsb, doubles(a2)), rest))
                        f3 = add64(f3, add64(mul64(lsb, doubles(a3)), rest))
                at = 256 * (n - first)
                store(value, at, f0)
                store(value, at + 64, f1)
                store(value, at + 128, f2)
                store(value, at + 192, f3)
            for lane in range(min(32, points - b)):
                place = (lane & 16) | ((lane & 4) << 1) | ((lane & 8) >> 1) | (lane & 3)  # the order of interleaving
                for n in range(first, last):
                    y[b + lane, n] = value[n - first, place]


def combine_lanes_float_naive(sums, terms, weight, references, value, y):
    """The definition, in the order of the specification."""
    lsbs, zeros, weights = references
    conversions = len(weight)
    for p, n in np.ndindex(*y.shape):
        y[p, n] = 0.0
        for block in range(len(terms)):
            for v in range(conversions):
                c = n * conversions + v
                a = int(weight[v]) * sum(int(f) * int(sums[r + c, p]) for r, f in terms[block])
                lsb, zero = (float(grid[block, c if grid.shape[1] > 1 else 0]) for grid in (lsbs, zeros))
                y[p, n] += lsb * a + zero * (int(weight[v]) * int(weights[block]))


@kernel
def spread_lanes(sums, blocks, places, signed, total, by_column):
    """by_column[p, rb, c] = sum over units u and the groups of row block rb of places[u] * sums[u, g, c, p].

    by_column int64 [P, row blocks, C]; the rest as in `combine_lanes_float`.
    """
    units = sums.shape[0]
    points, _, columns = by_column.shape
    for b in range(0, points, 32):
        for block in range(blocks.shape[0]):
            for c in range(columns):
                for lane in range(32):
                    total[lane] = 0
                for u in range(units):
                    for g in range(blocks[block, 0], blocks[block, 1]):
                        add_lanes(sums[u, g, c, b : b + 32], places[u], signed and u == units - 1, total)
                for lane in range(min(32, points - b)):
                    by_column[b + lane, block, c] = total[lane]


def spread_lanes_naive(sums, blocks, places, signed, total, by_column):
    """The definition."""
    wide = signed_sums(sums, signed)
    for p, block, c in np.ndindex(*by_column.shape):
        first, last = blocks[block]
        by_column[p, block, c] = (wide[:, first:last, c, p] * places[:, None]).sum()


@kernel
def input_sums(x, factor, rest, sums):
    """sums[p] = rest + factor * sum over r of x[p, r]."""
    for p in range(x.shape[0]):
        total = np.int32(0)
        for r in range(x.shape[1]):
            total += np.int32(x[p, r])
        sums[p] = rest + factor * np.int64(total)


def input_sums_naive(x, factor, rest, sums):
    """The definition."""
    sums[:] = rest + factor * x.sum(axis=1, dtype=np.int64)


@kernel
def add_lanes(sums, factor, signed, total):
    """total[l] += factor * sums[l]; uint16 sums, int16 where `signed`."""
    if signed:
        for lane in range(32):
            total[lane] += factor * np.int64(np.int16(sums[lane]))
    else:
        for lane in range(32):
            total[lane] += factor * np.int64(sums[lane])


def add_lanes_naive(sums, factor, signed, total):
    """The definition."""
    total += factor * sums.view(np.int16 if signed else np.uint16).astype(np.int64)


def signed_sums(sums, signed):
    """sums uint16 [U, ...] as int64, the last unit read as int16 where `signed`."""
    wide = sums.astype(np.int64)
    if signed:
        wide[-1] = sums[-1].view(np.int16)
    return wide
