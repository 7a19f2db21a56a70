"""Converters on registers: partial sums of 32 positions and four input slices into codes, weighed and added.

A byte's converter is a clamp, or a table of what each of its values becomes, looked up in registers. A word's is one
multiplication and a clamp where that was proven equal, else a binary search of thresholds (up to 8 bits; TREE_ROWS rows
of 16 bytes a column). What they give need not be the code: any byte that stands for the code's level serves.
"""

import numpy as np

from cimemu.lanes.jit import kernel
from cimemu.lanes.registers import (
    above16,
    add8,
    add8_held,
    add16,
    add16_held,
    both,
    differ,
    every8,
    every16,
    high16,
    interleave_high,
    interleave_low,
    load,
    load_table,
    lookup,
    low16,
    merge,
    min8,
    min16,
    pack_words,
    store,
    sub8,
    sub8_held,
    sub16_held,
    weigh_pairs,
)
from cimemu.lanes.tables import lookup1, lookup2, lookup4, lookup8, lookup16

TREE_ROWS = 19  # levels 0 .. 4 of the search in a row each, then 2, 4 and 8 rows


@kernel
def clip_bytes(psums, columns, rules, top, weights, block, sums):
    """sums[c, 32 * block + p] = sum_k weights[k] * min(max(min(psum + up, 255) - down, 0), top).

    psums uint8 [columns, 4, 32] as `sum_bytes` leaves them, columns = (first, last); rules uint8 [1 or C, 2] = (up,
    down); weights int64 [4] of -64 .. 64; sums uint16 [C, P], modulo 2^16.
    """
    w01 = every16((weights[0] & 255) | ((weights[1] & 255) << 8))
    w23 = every16((weights[2] & 255) | ((weights[3] & 255) << 8))
    highest = every8(top)
    one = rules.shape[0] == 1
    points = sums.shape[1]
    for c in range(columns[0], columns[1]):
        rule = 0 if one else c
        at = (c - columns[0]) * 128
        a = load(psums, at)
        b = load(psums, at + 32)
        d = load(psums, at + 64)
        e = load(psums, at + 96)
        if rules[rule, 0] != 0 or rules[rule, 1] != 0:
            up = every8(rules[rule, 0])
            down = every8(rules[rule, 1])
            a = sub8_held(add8_held(a, up), down)
            b = sub8_held(add8_held(b, up), down)
            d = sub8_held(add8_held(d, up), down)
            e = sub8_held(add8_held(e, up), down)
        a = min8(a, highest)
        b = min8(b, highest)
        d = min8(d, highest)
        e = min8(e, highest)
        out = (c * points + 32 * block) * 2
        store(sums, out, add16(weigh_pairs(interleave_low(a, b), w01), weigh_pairs(interleave_low(d, e), w23)))
        store(sums, out + 32, add16(weigh_pairs(interleave_high(a, b), w01), weigh_pairs(interleave_high(d, e), w23)))


def clip_bytes_naive(psums, columns, rules, top, weights, block, sums):
    """The definition."""
    order = [*range(0, 8), *range(16, 24), *range(8, 16), *range(24, 32)]
    for c in range(columns[0], columns[1]):
        up, down = (int(v) for v in rules[0 if len(rules) == 1 else c])
        for lane in range(32):
            total = 0
            for k in range(4):
                psum = min(int(psums[c - columns[0], k, lane]) + up, 255)
                total += int(weights[k]) * min(max(psum - down, 0), int(top))
            sums[c, 32 * block + order[lane]] = total % 65536


@kernel
def table_bytes(values, columns, rules, tables):
    """values[c, k, l] becomes tables[c, min(max(value - down, 0), last)]: any function of a byte, of each column.

    values uint8 [columns, 4, 32], columns = (first, last); rules uint8 [1 or C, 1] = down; tables uint8 [1 or C, 16,
    32, 64, 128 or 256], `last` the index of the last entry.
    """
    entries = tables.shape[1]
    highest = every8(entries - 1)
    stride = 0 if tables.shape[0] == 1 else entries
    one = rules.shape[0] == 1
    for c in range(columns[0], columns[1]):
        down = every8(rules[0 if one else c, 0])
        table = c * stride
        at = (c - columns[0]) * 128
        a = min8(sub8_held(load(values, at), down), highest)
        b = min8(sub8_held(load(values, at + 32), down), highest)
        d = min8(sub8_held(load(values, at + 64), down), highest)
        e = min8(sub8_held(load(values, at + 96), down), highest)
        if entries == 16:
            store(values, at, lookup1(tables, table, a))
            store(values, at + 32, lookup1(tables, table, b))
            store(values, at + 64, lookup1(tables, table, d))
            store(values, at + 96, lookup1(tables, table, e))
        elif entries == 32:
            store(values, at, lookup2(tables, table, a))
            store(values, at + 32, lookup2(tables, table, b))
            store(values, at + 64, lookup2(tables, table, d))
            store(values, at + 96, lookup2(tables, table, e))
        elif entries == 64:
            store(values, at, lookup4(tables, table, a))
            store(values, at + 32, lookup4(tables, table, b))
            store(values, at + 64, lookup4(tables, table, d))
            store(values, at + 96, lookup4(tables, table, e))
        elif entries == 128:
            store(values, at, lookup8(tables, table, a))
            store(values, at + 32, lookup8(tables, table, b))
            store(values, at + 64, lookup8(tables, table, d))
            store(values, at + 96, lookup8(tables, table, e))
        else:
            store(values, at, lookup16(tables, table, a))
            store(values, at + 32, lookup16(tables, table, b))
            store(values, at + 64, lookup16(tables, table, d))
            store(values, at + 96, lookup16(tables, table, e))


def table_bytes_naive(values, columns, rules, tables):
    """The definition."""
    for c in range(columns[0], columns[1]):
        table, down = tables[c % len(tables)], int(rules[c % len(rules), 0])
        for k, lane in np.ndindex(4, 32):
            index = max(int(values[c - columns[0], k, lane]) - down, 0)
            values[c - columns[0], k, lane] = table[min(index, len(table) - 1)]


@kernel
def weigh_bytes(values, columns, weights, block, sums):
    """sums[c, 32 * block + p] = sum_k weights[k] * values[c, k, lane of p], modulo 2^16; the rest as in `clip_bytes`."""
    w01 = every16((weights[0] & 255) | ((weights[1] & 255) << 8))
    w23 = every16((weights[2] & 255) | ((weights[3] & 255) << 8))
    points = sums.shape[1]
    for c in range(columns[0], columns[1]):
        at = (c - columns[0]) * 128
        a = load(values, at)
        b = load(values, at + 32)
        d = load(values, at + 64)
        e = load(values, at + 96)
        out = (c * points + 32 * block) * 2
        store(sums, out, add16(weigh_pairs(interleave_low(a, b), w01), weigh_pairs(interleave_low(d, e), w23)))
        store(sums, out + 32, add16(weigh_pairs(interleave_high(a, b), w01), weigh_pairs(interleave_high(d, e), w23)))


def weigh_bytes_naive(values, columns, weights, block, sums):
    """The definition."""
    order = [*range(0, 8), *range(16, 24), *range(8, 16), *range(24, 32)]
    for c in range(columns[0], columns[1]):
        for lane in range(32):
            total = sum(int(weights[k]) * int(values[c - columns[0], k, lane]) for k in range(4))
            sums[c, 32 * block + order[lane]] = total % 65536


@kernel
def affine_words(psums, columns, rules, top, weights, block, sums):
    """sums[c, 32 * block + p] = sum_k weights[k] * min(top, code); code = max(min(psum + up, 65535) - down, 0), scaled.

    psums uint16 [columns, 4, 32]; rules uint16 [1 or C, 4] = (up, down, gain, fall): where the gain is not 0, the code
    becomes (code * gain) >> 16, then where the
    fall is not 0, (code * fall) >> 16. weights int64 [4]; sums uint16 [C, P], modulo 2^16.
    """
    highest = every16(top)
    one = rules.shape[0] == 1
    points = sums.shape[1]
    for c in range(columns[0], columns[1]):
        rule = 0 if one else c
        up = every16(rules[rule, 0])
        down = every16(rules[rule, 1])
        gain = every16(rules[rule, 2])
        fall = every16(rules[rule, 3])
        scaled = rules[rule, 2] != 0
        twice = rules[rule, 3] != 0
        low = every16(0)
        high = every16(0)
        for k in range(4):
            weight = every16(weights[k])
            at = (c - columns[0]) * 256 + 64 * k
            a = sub16_held(add16_held(load(psums, at), up), down)
            b = sub16_held(add16_held(load(psums, at + 32), up), down)
            if scaled:
                a = high16(a, gain)
                b = high16(b, gain)
            if twice:
                a = high16(a, fall)
                b = high16(b, fall)
            low = add16(low, low16(min16(a, highest), weight))
            high = add16(high, low16(min16(b, highest), weight))
        out = (c * points + 32 * block) * 2
        store(sums, out, low)
        store(sums, out + 32, high)


def affine_words_naive(psums, columns, rules, top, weights, block, sums):
    """The definition."""
    for c in range(columns[0], columns[1]):
        up, down, gain, fall = (int(v) for v in rules[0 if len(rules) == 1 else c])
        for p in range(32):
            total = 0
            for k in range(4):
                code = max(min(int(psums[c - columns[0], k, p]) + up, 65535) - down, 0)
                code = code * gain // 65536 if gain else code
                code = code * fall // 65536 if fall else code
                total += int(weights[k]) * min(code, int(top))
            sums[c, 32 * block + p] = total % 65536


@kernel
def search_words(psums, columns, trees, bits, codes):
    """codes[c, k, lane of p] = how many of column c's thresholds are <= psums[c, k, p].

    psums uint16 [columns, 4, 32]; trees uint8 [1 or C, 2, TREE_ROWS, 16], low and high bytes, made by `search_tree` of
    at most 8 bits; codes uint8 [columns, 4, 32], lanes in the order of `clip_bytes`.
    The code stands in both bytes of a word while it is searched: each finds its half of the threshold.
    """
    one = every16(1)
    sign = every16(32768)
    low_byte = every16(255)
    half = TREE_ROWS * 16
    stride = 0 if trees.shape[0] == 1 else 2 * half
    for c in range(columns[0], columns[1]):
        for k in range(4):
            at = (c - columns[0]) * 256 + 64 * k
            v0 = differ(add16_held(load(psums, at), one), sign)
            v1 = differ(add16_held(load(psums, at + 32), one), sign)
            k0 = every8(0)
            k1 = every8(0)
            tree = c * stride
            for level in range(min(bits, 5)):
                ta = load_table(trees, tree + level * 16)
                tb = load_table(trees, tree + level * 16 + half)
                k0 = sub8(add8(k0, k0), above16(v0, merge(lookup(ta, k0), lookup(tb, k0))))
                k1 = sub8(add8(k1, k1), above16(v1, merge(lookup(ta, k1), lookup(tb, k1))))
            tree += 80
            if bits > 5:
                t0 = merge(lookup2(trees, tree, k0), lookup2(trees, tree + half, k0))
                t1 = merge(lookup2(trees, tree, k1), lookup2(trees, tree + half, k1))
                k0 = sub8(add8(k0, k0), above16(v0, t0))
                k1 = sub8(add8(k1, k1), above16(v1, t1))
            tree += 32
            if bits > 6:
                t0 = merge(lookup4(trees, tree, k0), lookup4(trees, tree + half, k0))
                t1 = merge(lookup4(trees, tree, k1), lookup4(trees, tree + half, k1))
                k0 = sub8(add8(k0, k0), above16(v0, t0))
                k1 = sub8(add8(k1, k1), above16(v1, t1))
            tree += 64
            if bits > 7:
                t0 = merge(lookup8(trees, tree, k0), lookup8(trees, tree + half, k0))
                t1 = merge(lookup8(trees, tree, k1), lookup8(trees, tree + half, k1))
                k0 = sub8(add8(k0, k0), above16(v0, t0))
                k1 = sub8(add8(k1, k1), above16(v1, t1))
            store(codes, (c - columns[0]) * 128 + 32 * k, pack_words(both(k0, low_byte), both(k1, low_byte)))


def search_words_naive(psums, columns, trees, bits, codes):
    """By the thresholds that the tree was made of."""
    order = [*range(0, 8), *range(16, 24), *range(8, 16), *range(24, 32)]
    for c in range(columns[0], columns[1]):
        tree = trees[0 if len(trees) == 1 else c].astype(np.int64)
        thresholds = tree_thresholds(tree[0] + 256 * tree[1], bits, 32768)
        for k, lane in np.ndindex(4, 32):
            psum = min(int(psums[c - columns[0], k, order[lane]]), 65534)
            codes[c - columns[0], k, lane] = sum(1 for t in thresholds if t <= psum)


def _places(bits):
    """(row, entry, threshold) of every threshold in a tree: level l asks for the middle of 2^l ranges."""
    rows = [0, 1, 2, 3, 4, 5, 7, 11]
    for level in range(bits):
        for entry in range(1 << level):
            middle = (entry << (bits - level)) + (1 << (bits - 1 - level)) - 1
            yield rows[level] + entry // 16, entry % 16, middle


def search_tree(thresholds, sign):
    """Entries [..., TREE_ROWS, 16] of ascending thresholds [..., 2^bits - 1]; sign = 128 (bytes) or 32768 (words).

    A psum (0 .. 2 * sign - 2) is compared as psum + 1 > threshold, both turned into signed numbers. Thresholds are
    held to 0 (always reached) .. 2 * sign - 1 (never).
    """
    bits = (thresholds.shape[-1] + 1).bit_length() - 1
    held = np.clip(thresholds, 0, 2 * sign - 1) ^ sign
    tree = np.zeros((*thresholds.shape[:-1], TREE_ROWS, 16), dtype=np.int64)
    for row, entry, middle in _places(bits):
        tree[..., row, entry] = held[..., middle]
    return tree


def tree_thresholds(tree, bits, sign):
    """The thresholds of one column's tree [TREE_ROWS, 16], in order."""
    found = [0] * ((1 << bits) - 1)
    for row, entry, middle in _places(bits):
        found[middle] = int(tree[row, entry]) ^ sign
    return found
