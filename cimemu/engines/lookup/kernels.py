"""Partial sums by table look-up: 32 positions of four input slices at once, four (row, bit) pairs a step.

What a column sums for four bits is one of 16 bytes; `pshufb` looks 32 of them up in one instruction and a byte
addition adds them: two operations for 32 conversions and four rows, whatever the cells hold. Levels wider than a
byte are two digits of base 64. Sums are held at the top of their type: min(psum, 255) or min(psum, 65535) is exact
for every converter whose last threshold is not above it.
"""

import numpy as np

from cimemu.engines.lookup.convert_kernels import (
    affine_words,
    affine_words_naive,
    clip_bytes,
    clip_bytes_naive,
    search_words,
    search_words_naive,
    table_bytes,
    table_bytes_naive,
    weigh_bytes,
    weigh_bytes_naive,
)
from cimemu.kernels.read_noise import noise_words, noise_words_naive, read_places, read_places_naive
from cimemu.lanes.jit import kernel
from cimemu.lanes.registers import (
    add8,
    add8_held,
    add16_held,
    every8,
    every16,
    interleave_high,
    interleave_low,
    load,
    load_table,
    lookup,
    store,
    weigh_pairs,
)

ZERO = np.zeros((1, 1), dtype=np.uint8)
COLUMNS = 32  # partial sums of so many columns wait in the first-level cache for their converter


@kernel
def sum_bytes(nibbles, tables, place, span, columns, psums):
    """psums[c, k, l] = min(255, sum over q in span of tables[columns[0] + c, q, nibbles[b, q, u, k, l]]).

    nibbles uint8 [B, Q, U, 4, 32], (b, u) = place; tables uint8 [C, Q, 16]; columns = (first, last), an even number;
    psums uint8 [>= columns, 4, 32].
    """
    count, units = nibbles.shape[1], nibbles.shape[2]
    start = (place[0] * count * units + place[1]) * 128
    for c in range(columns[0], columns[1], 2):
        table0 = c * count * 16
        table1 = table0 + count * 16
        a0 = every8(0)
        a1 = every8(0)
        a2 = every8(0)
        a3 = every8(0)
        b0 = every8(0)
        b1 = every8(0)
        b2 = every8(0)
        b3 = every8(0)
        at = start + span[0] * units * 128
        for q in range(span[0], span[1]):
            ta = load_table(tables, table0 + q * 16)
            tb = load_table(tables, table1 + q * 16)
            x = load(nibbles, at)
            a0 = add8_held(a0, lookup(ta, x))
            b0 = add8_held(b0, lookup(tb, x))
            x = load(nibbles, at + 32)
            a1 = add8_held(a1, lookup(ta, x))
            b1 = add8_held(b1, lookup(tb, x))
            x = load(nibbles, at + 64)
            a2 = add8_held(a2, lookup(ta, x))
            b2 = add8_held(b2, lookup(tb, x))
            x = load(nibbles, at + 96)
            a3 = add8_held(a3, lookup(ta, x))
            b3 = add8_held(b3, lookup(tb, x))
            at += units * 128
        out = (c - columns[0]) * 128
        store(psums, out, a0)
        store(psums, out + 32, a1)
        store(psums, out + 64, a2)
        store(psums, out + 96, a3)
        store(psums, out + 128, b0)
        store(psums, out + 160, b1)
        store(psums, out + 192, b2)
        store(psums, out + 224, b3)


def sum_bytes_naive(nibbles, tables, place, span, columns, psums):
    """The definition."""
    b, u = place
    for c in range(columns[0], columns[1]):
        for k in range(4):
            for lane in range(32):
                total = sum(int(tables[c, q, nibbles[b, q, u, k, lane]]) for q in range(span[0], span[1]))
                psums[c - columns[0], k, lane] = min(total, 255)


@kernel
def sum_words(nibbles, low, high, place, span, columns, flush, psums):
    """psums[c, k, l] = min(65535, sum over q of low + 64 * high), both looked up as in `sum_bytes`.

    low, high uint8 [C, Q, 16]: digits of base 64, `flush` of which sum to a byte at most; psums uint16
    [columns, 4, 32], l in the order of positions. The digits are joined every `flush` places.
    """
    count, units = nibbles.shape[1], nibbles.shape[2]
    start = (place[0] * count * units + place[1]) * 128
    digits = every16(1 | (64 << 8))
    zero = every8(0)
    for c in range(columns[0], columns[1]):
        table = c * count * 16
        out = (c - columns[0]) * 256
        for j in range(8):
            store(psums, out + 32 * j, zero)
        q = span[0]
        while q < span[1]:
            a0 = every8(0)
            a1 = every8(0)
            a2 = every8(0)
            a3 = every8(0)
            b0 = every8(0)
            b1 = every8(0)
            b2 = every8(0)
            b3 = every8(0)
            for now in range(q, min(q + flush, span[1])):
                ta = load_table(low, table + now * 16)
                tb = load_table(high, table + now * 16)
                at = start + now * units * 128
                x = load(nibbles, at)
                a0 = add8(a0, lookup(ta, x))
                b0 = add8(b0, lookup(tb, x))
                x = load(nibbles, at + 32)
                a1 = add8(a1, lookup(ta, x))
                b1 = add8(b1, lookup(tb, x))
                x = load(nibbles, at + 64)
                a2 = add8(a2, lookup(ta, x))
                b2 = add8(b2, lookup(tb, x))
                x = load(nibbles, at + 96)
                a3 = add8(a3, lookup(ta, x))
                b3 = add8(b3, lookup(tb, x))
            q += flush
            s = weigh_pairs(interleave_low(a0, b0), digits)
            store(psums, out, add16_held(load(psums, out), s))
            s = weigh_pairs(interleave_high(a0, b0), digits)
            store(psums, out + 32, add16_held(load(psums, out + 32), s))
            s = weigh_pairs(interleave_low(a1, b1), digits)
            store(psums, out + 64, add16_held(load(psums, out + 64), s))
            s = weigh_pairs(interleave_high(a1, b1), digits)
            store(psums, out + 96, add16_held(load(psums, out + 96), s))
            s = weigh_pairs(interleave_low(a2, b2), digits)
            store(psums, out + 128, add16_held(load(psums, out + 128), s))
            s = weigh_pairs(interleave_high(a2, b2), digits)
            store(psums, out + 160, add16_held(load(psums, out + 160), s))
            s = weigh_pairs(interleave_low(a3, b3), digits)
            store(psums, out + 192, add16_held(load(psums, out + 192), s))
            s = weigh_pairs(interleave_high(a3, b3), digits)
            store(psums, out + 224, add16_held(load(psums, out + 224), s))


def sum_words_naive(nibbles, low, high, place, span, columns, flush, psums):
    """The definition; `flush` says only when the digits are joined."""
    b, u = place
    order = [*range(0, 8), *range(16, 24), *range(8, 16), *range(24, 32)]
    for c in range(columns[0], columns[1]):
        for k in range(4):
            for lane in range(32):
                total = 0
                for q in range(span[0], span[1]):
                    n = nibbles[b, q, u, k, lane]
                    total += int(low[c, q, n]) + 64 * int(high[c, q, n])
                psums[c - columns[0], k, order[lane]] = min(total, 65535)


@kernel
def sum_words_of_bytes(nibbles, tables, place, span, columns, flush, psums):
    """psums[c, k, l] = min(65535, sum over q of what is looked up in `tables`), two columns at once.

    As `sum_words` for levels whose nibbles fit a byte: `flush` places sum to a byte at most; an even number of columns.
    """
    count, units = nibbles.shape[1], nibbles.shape[2]
    start = (place[0] * count * units + place[1]) * 128
    zero = every8(0)
    for c in range(columns[0], columns[1], 2):
        table0 = c * count * 16
        table1 = table0 + count * 16
        out = (c - columns[0]) * 256
        for j in range(16):
            store(psums, out + 32 * j, zero)
        q = span[0]
        while q < span[1]:
            a0 = every8(0)
            a1 = every8(0)
            a2 = every8(0)
            a3 = every8(0)
            b0 = every8(0)
            b1 = every8(0)
            b2 = every8(0)
            b3 = every8(0)
            for now in range(q, min(q + flush, span[1])):
                ta = load_table(tables, table0 + now * 16)
                tb = load_table(tables, table1 + now * 16)
                at = start + now * units * 128
                x = load(nibbles, at)
                a0 = add8(a0, lookup(ta, x))
                b0 = add8(b0, lookup(tb, x))
                x = load(nibbles, at + 32)
                a1 = add8(a1, lookup(ta, x))
                b1 = add8(b1, lookup(tb, x))
                x = load(nibbles, at + 64)
                a2 = add8(a2, lookup(ta, x))
                b2 = add8(b2, lookup(tb, x))
                x = load(nibbles, at + 96)
                a3 = add8(a3, lookup(ta, x))
                b3 = add8(b3, lookup(tb, x))
            q += flush
            s = load(psums, out)
            store(psums, out, add16_held(s, interleave_low(a0, zero)))
            s = load(psums, out + 32)
            store(psums, out + 32, add16_held(s, interleave_high(a0, zero)))
            s = load(psums, out + 64)
            store(psums, out + 64, add16_held(s, interleave_low(a1, zero)))
            s = load(psums, out + 96)
            store(psums, out + 96, add16_held(s, interleave_high(a1, zero)))
            s = load(psums, out + 128)
            store(psums, out + 128, add16_held(s, interleave_low(a2, zero)))
            s = load(psums, out + 160)
            store(psums, out + 160, add16_held(s, interleave_high(a2, zero)))
            s = load(psums, out + 192)
            store(psums, out + 192, add16_held(s, interleave_low(a3, zero)))
            s = load(psums, out + 224)
            store(psums, out + 224, add16_held(s, interleave_high(a3, zero)))
            s = load(psums, out + 256)
            store(psums, out + 256, add16_held(s, interleave_low(b0, zero)))
            s = load(psums, out + 288)
            store(psums, out + 288, add16_held(s, interleave_high(b0, zero)))
            s = load(psums, out + 320)
            store(psums, out + 320, add16_held(s, interleave_low(b1, zero)))
            s = load(psums, out + 352)
            store(psums, out + 352, add16_held(s, interleave_high(b1, zero)))
            s = load(psums, out + 384)
            store(psums, out + 384, add16_held(s, interleave_low(b2, zero)))
            s = load(psums, out + 416)
            store(psums, out + 416, add16_held(s, interleave_high(b2, zero)))
            s = load(psums, out + 448)
            store(psums, out + 448, add16_held(s, interleave_low(b3, zero)))
            s = load(psums, out + 480)
            store(psums, out + 480, add16_held(s, interleave_high(b3, zero)))


def sum_words_of_bytes_naive(nibbles, tables, place, span, columns, flush, psums):
    """The definition."""
    sum_words_naive(nibbles, tables, tables * 0, place, span, columns, flush, psums)


@kernel
def convert_by_bytes(nibbles, tables, spans, converter, weights, psums, sums):
    """sums[u, g, c, 32 * b + p]: weighed digits of unit u of group g's partial sums, which fit bytes.

    spans int64 [G, 2] are the places of every group; converter = (rules uint8 [1 or G, 1 or C, 2], digits uint8 [1 or
    G, 1 or C, entries], top, tabled): a clamp at `top`, or where `tabled` the digits of `table_bytes`; weights int64
    [U, 4]; psums uint8 [COLUMNS, 4, 32] is scratch.
    """
    rules, digits, top, tabled = converter
    total = tables.shape[0]
    for b in range(nibbles.shape[0]):
        for g in range(spans.shape[0]):
            rule = rules[g if rules.shape[0] > 1 else 0]
            table = digits[g if digits.shape[0] > 1 else 0]
            span = (spans[g, 0], spans[g, 1])
            for u in range(nibbles.shape[2]):
                for first in range(0, total, COLUMNS):
                    columns = (first, min(first + COLUMNS, total))
                    sum_bytes(nibbles, tables, (b, u), span, columns, psums)
                    if tabled:
                        table_bytes(psums, columns, rule, table)
                        weigh_bytes(psums, columns, weights[u], b, sums[u, g])
                    else:
                        clip_bytes(psums, columns, rule, top, weights[u], b, sums[u, g])


def convert_by_bytes_naive(nibbles, tables, spans, converter, weights, psums, sums):
    """The definition: one group, unit and block after the other by the naive twins."""
    rules, digits, top, tabled = converter
    columns = (0, len(tables))
    scratch = np.zeros((len(tables), 4, 32), dtype=np.uint8)
    for b, g, u in np.ndindex(len(nibbles), len(spans), nibbles.shape[2]):
        sum_bytes_naive(nibbles, tables, (b, u), spans[g], columns, scratch)
        if tabled:
            table_bytes_naive(scratch, columns, rules[g % len(rules)], digits[g % len(digits)])
            weigh_bytes_naive(scratch, columns, weights[u], b, sums[u, g])
        else:
            clip_bytes_naive(scratch, columns, rules[g % len(rules)], top, weights[u], b, sums[u, g])


@kernel
def convert_by_words(nibbles, tables, spans, converter, noise, weights, scratch, sums):
    """As `convert_by_bytes` for partial sums of 16 bits, with read noise.

    tables = (low, high, flush), high of no columns where one digit does; converter = (rules uint16 [1 or G, 1 or C, 4],
    trees uint8 [1 or G, 1 or C, 2, TREE_ROWS, 16], bits, digits uint8 [1 or G, 1 or C, 256] of codes or of no columns,
    top, searched); noise as `noise_words` takes it, or None; scratch = (psums uint16 [COLUMNS, 4, 32], codes
    uint8 [COLUMNS, 4, 32], places uint32 [2, 32], words uint32 [4, 32]).
    """
    rules, trees, bits, digits, top, searched = converter
    low, high, flush = tables
    total = low.shape[0]
    psums, codes, places, words = scratch
    for b in range(nibbles.shape[0]):
        if noise is not None:
            read_places(noise[4], b, places)
        for g in range(spans.shape[0]):
            rule = rules[g if rules.shape[0] > 1 else 0]
            tree = trees[g if trees.shape[0] > 1 else 0]
            table = digits[g if digits.shape[0] > 1 else 0]
            span = (spans[g, 0], spans[g, 1])
            for u in range(nibbles.shape[2]):
                for first in range(0, total, COLUMNS):
                    columns = (first, min(first + COLUMNS, total))
                    if high.shape[0] > 0:
                        sum_words(nibbles, low, high, (b, u), span, columns, flush, psums)
                    else:
                        sum_words_of_bytes(nibbles, low, (b, u), span, columns, flush, psums)
                    if noise is not None:
                        noise_words(psums, columns, (g, u), noise, places, words)
                    if searched:
                        search_words(psums, columns, tree, bits, codes)
                        if table.shape[0] > 0:
                            table_bytes(codes, columns, ZERO, table)
                        weigh_bytes(codes, columns, weights[u], b, sums[u, g])
                    else:
                        affine_words(psums, columns, rule, top, weights[u], b, sums[u, g])


def convert_by_words_naive(nibbles, tables, spans, converter, noise, weights, scratch, sums):
    """The definition: one group, unit and block after the other by the naive twins."""
    rules, trees, bits, digits, top, searched = converter
    low, high, flush = tables
    high = high if len(high) else low * 0
    columns = (0, len(low))
    psums, codes = (np.zeros((len(low), 4, 32), dtype=kind) for kind in (np.uint16, np.uint8))
    _, _, places, words = scratch
    for b, g, u in np.ndindex(len(nibbles), len(spans), nibbles.shape[2]):
        sum_words_naive(nibbles, low, high, (b, u), spans[g], columns, flush, psums)
        if noise is not None:
            read_places_naive(noise[4], b, places)
            noise_words_naive(psums, columns, (g, u), noise, places, words)
        if searched:
            search_words_naive(psums, columns, trees[g % len(trees)], bits, codes)
            if digits.shape[1]:
                table_bytes_naive(codes, columns, ZERO, digits[g % len(digits)])
            weigh_bytes_naive(codes, columns, weights[u], b, sums[u, g])
        else:
            affine_words_naive(psums, columns, rules[g % len(rules)], top, weights[u], b, sums[u, g])
