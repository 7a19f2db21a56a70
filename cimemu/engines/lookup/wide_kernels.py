"""Partial sums beyond 16 bits by table look-up: three digits of base 64, sums and converters of 32 bits.

As `mvm_lookup` where rows, spread or fraction bits ask for more: a level's four-row sum has 18 bits, a partial sum 30.
"""

import numpy as np

from cimemu.kernels.read_noise import noise_words, noise_words_naive, read_places, read_places_naive
from cimemu.lanes.jit import kernel
from cimemu.lanes.registers import (
    add8,
    add16,
    add32,
    both,
    every8,
    every16,
    every32,
    interleave_high,
    interleave_high_words,
    interleave_low,
    interleave_low_words,
    load,
    load_table,
    lookup,
    low16,
    shift_right,
    store,
    weigh_pairs,
    weigh_word_pairs,
)
from cimemu.lanes.wide import (
    above32,
    add64,
    every64,
    gather32,
    join_high,
    join_low,
    max32,
    merge32,
    min32,
    multiply32,
    pack32,
    sub32,
)

WIDE_COLUMNS = 16  # partial sums of so many columns wait in the first-level cache for their converter
FLUSH = 4  # digits of base 64 that sum to a byte at most


@kernel
def sum_wide(nibbles, tables, place, span, columns, psums):
    """psums[c, k, l] = sum over q in span of low + 64 * middle + 4096 * high, looked up as in `mvm_lookup.sum_bytes`.

    tables = (low, middle, high) uint8 [C, Q, 16], digits of base 64; psums int32 [>= columns, 4, 32], l in the order of
    positions. Two slices at a time; digits are joined every four places.
    """
    low, middle, high = tables
    count, units = nibbles.shape[1], nibbles.shape[2]
    start = (place[0] * count * units + place[1]) * 128
    digits = every16(1 | (64 << 8))
    places = every32(1 | (4096 << 16))
    zero = every8(0)
    for c in range(columns[0], columns[1]):
        table = c * count * 16
        for pair in range(2):
            out = (c - columns[0]) * 512 + 256 * pair
            for j in range(8):
                store(psums, out + 32 * j, zero)
            q = span[0]
            while q < span[1]:
                a0 = every8(0)
                a1 = every8(0)
                b0 = every8(0)
                b1 = every8(0)
                c0 = every8(0)
                c1 = every8(0)
                for now in range(q, min(q + FLUSH, span[1])):
                    at = start + now * units * 128 + 64 * pair
                    x = load(nibbles, at)
                    y = load(nibbles, at + 32)
                    digit = load_table(low, table + now * 16)
                    a0 = add8(a0, lookup(digit, x))
                    a1 = add8(a1, lookup(digit, y))
                    digit = load_table(middle, table + now * 16)
                    b0 = add8(b0, lookup(digit, x))
                    b1 = add8(b1, lookup(digit, y))
                    digit = load_table(high, table + now * 16)
                    c0 = add8(c0, lookup(digit, x))
                    c1 = add8(c1, lookup(digit, y))
                q += FLUSH
                s = weigh_pairs(interleave_low(a0, b0), digits)
                t = interleave_low(c0, zero)
                u = weigh_word_pairs(interleave_low_words(s, t), places)
                v = weigh_word_pairs(interleave_high_words(s, t), places)
                store(psums, out, add32(load(psums, out), u))
                store(psums, out + 32, add32(load(psums, out + 32), v))
                s = weigh_pairs(interleave_high(a0, b0), digits)
                t = interleave_high(c0, zero)
                u = weigh_word_pairs(interleave_low_words(s, t), places)
                v = weigh_word_pairs(interleave_high_words(s, t), places)
                store(psums, out + 64, add32(load(psums, out + 64), u))
                store(psums, out + 96, add32(load(psums, out + 96), v))
                s = weigh_pairs(interleave_low(a1, b1), digits)
                t = interleave_low(c1, zero)
                u = weigh_word_pairs(interleave_low_words(s, t), places)
                v = weigh_word_pairs(interleave_high_words(s, t), places)
                store(psums, out + 128, add32(load(psums, out + 128), u))
                store(psums, out + 160, add32(load(psums, out + 160), v))
                s = weigh_pairs(interleave_high(a1, b1), digits)
                t = interleave_high(c1, zero)
                u = weigh_word_pairs(interleave_low_words(s, t), places)
                v = weigh_word_pairs(interleave_high_words(s, t), places)
                store(psums, out + 192, add32(load(psums, out + 192), u))
                store(psums, out + 224, add32(load(psums, out + 224), v))
            for k in range(2):  # so far: positions 0 .. 3 and 8 .. 11, 4 .. 7 and 12 .. 15, then the other half
                at = out + 128 * k
                s = load(psums, at)
                t = load(psums, at + 32)
                u = load(psums, at + 64)
                v = load(psums, at + 96)
                store(psums, at, join_low(s, t))
                store(psums, at + 32, join_high(s, t))
                store(psums, at + 64, join_low(u, v))
                store(psums, at + 96, join_high(u, v))


def sum_wide_naive(nibbles, tables, place, span, columns, psums):
    """The definition."""
    low, middle, high = tables
    b, u = place
    order = [*range(0, 8), *range(16, 24), *range(8, 16), *range(24, 32)]
    for c in range(columns[0], columns[1]):
        for k in range(4):
            for lane in range(32):
                total = 0
                for q in range(span[0], span[1]):
                    n = nibbles[b, q, u, k, lane]
                    total += int(low[c, q, n]) + 64 * int(middle[c, q, n]) + 4096 * int(high[c, q, n])
                psums[c - columns[0], k, order[lane]] = total


@kernel
def affine_wide(psums, columns, rules, top, weights, block, sums):
    """sums[c, 32 * block + p] = sum_k weights[k] * min(top, (max(psum - base, 0) * gain + bias) >> (32 + shift)).

    psums int32 [columns, 4, 32]; rules int64 [1 or C, 4] = (base, gain below 2^32, bias, shift); sums uint16 [C, P],
    modulo 2^16.
    """
    highest = every32(top)
    zero = every32(0)
    points = sums.shape[1]
    for c in range(columns[0], columns[1]):
        rule = 0 if rules.shape[0] == 1 else c
        base = every32(rules[rule, 0])
        gain = every64(rules[rule, 1])
        bias = every64(rules[rule, 2])
        shift = rules[rule, 3]
        for half in range(2):
            total = every16(0)
            for k in range(4):
                at = (c - columns[0]) * 512 + 128 * k + 64 * half
                v = max32(sub32(load(psums, at), base), zero)
                w = max32(sub32(load(psums, at + 32), base), zero)
                v = merge32(
                    shift_right(add64(multiply32(v, gain), bias), 32 + shift),
                    shift_right(add64(multiply32(shift_right(v, 32), gain), bias), shift),
                )
                w = merge32(
                    shift_right(add64(multiply32(w, gain), bias), 32 + shift),
                    shift_right(add64(multiply32(shift_right(w, 32), gain), bias), shift),
                )
                codes = pack32(min32(v, highest), min32(w, highest))
                total = add16(total, low16(codes, every16(weights[k])))
            store(sums, (c * points + 32 * block) * 2 + 32 * half, total)


def affine_wide_naive(psums, columns, rules, top, weights, block, sums):
    """The definition."""
    for c in range(columns[0], columns[1]):
        base, gain, bias, shift = (int(v) for v in rules[0 if len(rules) == 1 else c])
        for p in range(32):
            total = 0
            for k in range(4):
                code = max(int(psums[c - columns[0], k, p]) - base, 0) * gain + bias >> (32 + shift)
                total += int(weights[k]) * min(code, int(top))
            sums[c, 32 * block + p] = total % 65536


@kernel
def search_wide(psums, columns, thresholds, bits, weights, block, sums):
    """sums[c, 32 * block + p] = sum_k weights[k] * (how many of column c's thresholds are <= psum), by halving.

    psums int32 [columns, 4, 32]; thresholds int32 [1 or C, 2^bits], ascending, the last one not looked at.
    """
    one = every32(1)
    points = sums.shape[1]
    for c in range(columns[0], columns[1]):
        first = 0 if thresholds.shape[0] == 1 else c * thresholds.shape[1]
        for half in range(2):
            total = every16(0)
            for k in range(4):
                at = (c - columns[0]) * 512 + 128 * k + 64 * half
                v = add32(load(psums, at), one)
                w = add32(load(psums, at + 32), one)
                i = every32(0)
                j = every32(0)
                for level in range(bits - 1, -1, -1):
                    step = every32(1 << level)
                    middle = every32(first + (1 << level) - 1)
                    i = add32(i, both(above32(v, gather32(thresholds, add32(i, middle))), step))
                    j = add32(j, both(above32(w, gather32(thresholds, add32(j, middle))), step))
                total = add16(total, low16(pack32(i, j), every16(weights[k])))
            store(sums, (c * points + 32 * block) * 2 + 32 * half, total)


def search_wide_naive(psums, columns, thresholds, bits, weights, block, sums):
    """The definition."""
    for c in range(columns[0], columns[1]):
        mine = [int(t) for t in thresholds[0 if len(thresholds) == 1 else c][: 2 ** int(bits) - 1]]
        for p in range(32):
            total = 0
            for k in range(4):
                psum = int(psums[c - columns[0], k, p])
                total += int(weights[k]) * sum(1 for t in mine if t <= psum)
            sums[c, 32 * block + p] = total % 65536


@kernel
def convert_wide(nibbles, tables, spans, converter, noise, weights, scratch, sums):
    """As `mvm_lookup.convert_by_words` for partial sums of 32 bits.

    tables = (low, middle, high); converter = (rules int64 [1 or G, 1 or C, 4], thresholds int32 [1 or G, 1 or C,
    2^bits], bits, top, searched); scratch = (psums int32 [WIDE_COLUMNS, 4, 32], places, words) as there.
    """
    rules, thresholds, bits, top, searched = converter
    total = tables[0].shape[0]
    psums, places, words = scratch
    for b in range(nibbles.shape[0]):
        if noise is not None:
            read_places(noise[4], b, places)
        for g in range(spans.shape[0]):
            rule = rules[g if rules.shape[0] > 1 else 0]
            threshold = thresholds[g if thresholds.shape[0] > 1 else 0]
            span = (spans[g, 0], spans[g, 1])
            for u in range(nibbles.shape[2]):
                for first in range(0, total, WIDE_COLUMNS):
                    columns = (first, min(first + WIDE_COLUMNS, total))
                    sum_wide(nibbles, tables, (b, u), span, columns, psums)
                    if noise is not None:
                        noise_words(psums, columns, (g, u), noise, places, words)
                    if searched:
                        search_wide(psums, columns, threshold, bits, weights[u], b, sums[u, g])
                    else:
                        affine_wide(psums, columns, rule, top, weights[u], b, sums[u, g])


def convert_wide_naive(nibbles, tables, spans, converter, noise, weights, scratch, sums):
    """The definition: one group, unit and block after the other by the naive twins."""
    rules, thresholds, bits, top, searched = converter
    columns = (0, len(tables[0]))
    psums = np.zeros((columns[1], 4, 32), dtype=np.int32)
    _, places, words = scratch
    for b, g, u in np.ndindex(len(nibbles), len(spans), nibbles.shape[2]):
        sum_wide_naive(nibbles, tables, (b, u), spans[g], columns, psums)
        if noise is not None:
            read_places_naive(noise[4], b, places)
            noise_words_naive(psums, columns, (g, u), noise, places, words)
        if searched:
            search_wide_naive(psums, columns, thresholds[g % len(thresholds)], bits, weights[u], b, sums[u, g])
        else:
            affine_wide_naive(psums, columns, rules[g % len(rules)], top, weights[u], b, sums[u, g])
