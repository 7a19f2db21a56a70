"""Levels that no byte stands for: how often each was reached, by weight, then `level * count` added in float64.

The specification adds a nonlinear converter's real levels in ascending order, one integer count a level: counts are made
for 32 positions at once, levels that none of them reached are passed over (they would add 0).
"""

import numpy as np

from cimemu.engines.lookup.convert_kernels import (
    search_words,
    search_words_naive,
    table_bytes,
    table_bytes_naive,
)
from cimemu.engines.lookup.kernels import (
    COLUMNS,
    ZERO,
    sum_bytes,
    sum_bytes_naive,
    sum_words,
    sum_words_naive,
    sum_words_of_bytes,
)
from cimemu.kernels.read_noise import noise_words, noise_words_naive, read_places, read_places_naive
from cimemu.lanes.jit import kernel
from cimemu.lanes.registers import add8, any_bit, both, every8, load, same8, store


@kernel
def add_levels(ranks, groups, columns, masks, signed, levels, scratch, value):
    """value[c // V, l] += sum over k ascending of levels[c, k] * A; A = weighted count of rank k in lane l, an integer.

    ranks uint8 [groups * U, >= columns, 4, 32], columns = (first, last, V); masks uint8 [U, 4, 32]: weights of the
    slices, which fit a byte together, signed where `signed`; levels float64 [1 or C, K]; every product and sum is
    rounded by itself. scratch = (group uint8 [32], count int32 [32], total float64 [32]); value float64 [N, 32].
    """
    group, count, total = scratch
    units, stride = masks.shape[0], ranks.shape[1] * 128
    for c in range(columns[0], columns[1]):
        row = levels[c if levels.shape[0] > 1 else 0]
        at = (c - columns[0]) * 128
        for lane in range(32):
            total[lane] = 0.0
        for k in range(row.shape[0]):
            key = every8(k)
            for lane in range(32):
                count[lane] = 0
            reached = 0
            for g in range(groups):
                sum_ = every8(0)
                for u in range(units):
                    start = at + (g * units + u) * stride
                    a = both(same8(load(ranks, start), key), load(masks, 128 * u))
                    b = both(same8(load(ranks, start + 32), key), load(masks, 128 * u + 32))
                    d = both(same8(load(ranks, start + 64), key), load(masks, 128 * u + 64))
                    e = both(same8(load(ranks, start + 96), key), load(masks, 128 * u + 96))
                    sum_ = add8(sum_, add8(add8(a, b), add8(d, e)))
                if any_bit(sum_):
                    reached = 1
                    store(group, 0, sum_)
                    if signed:
                        for lane in range(32):
                            count[lane] += np.int32(np.int8(group[lane]))
                    else:
                        for lane in range(32):
                            count[lane] += np.int32(group[lane])
            if reached:
                level = row[k]
                for lane in range(32):
                    total[lane] += level * np.float64(count[lane])
        mine = value[c // columns[2]]
        for lane in range(32):
            mine[lane] += total[lane]


def add_levels_naive(ranks, groups, columns, masks, signed, levels, scratch, value):
    """The definition, levels that none reached included."""
    weights = masks.view(np.int8 if signed else np.uint8).astype(np.int64)
    for c in range(columns[0], columns[1]):
        mine = ranks[: groups * len(masks), c - columns[0]].reshape(groups, len(masks), 4, 32)
        for lane in range(32):
            total = 0.0
            for k, level in enumerate(levels[c % len(levels)].tolist()):
                total += level * int((weights[:, :, lane] * (mine[..., lane] == k)).sum())
            value[c // columns[2], lane] += total


@kernel
def put_lanes(value, first, y):
    """y[first + p, n] = value[n, lane of p] for the positions that there are."""
    for lane in range(32):
        half = (lane >> 3) & 3
        p = first + (lane & 7) + (16 if half == 1 else 8 if half == 2 else 8 * half)
        if p < y.shape[0]:
            for n in range(y.shape[1]):
                y[p, n] = value[n, lane]


def put_lanes_naive(value, first, y):
    """The definition."""
    order = [*range(0, 8), *range(16, 24), *range(8, 16), *range(24, 32)]
    for lane, n in np.ndindex(32, y.shape[1]):
        if first + order[lane] < len(y):
            y[first + order[lane], n] = value[n, lane]


@kernel
def levels_by_bytes(nibbles, tables, spans, converter, summing, scratch, y):
    """y[32 * b + p, n]: sum over row blocks and columns, ascending, of the levels that partial sums of bytes reach.

    nibbles, tables, spans as in `convert_by_bytes`; converter = (rules, ranks of `table_bytes`); summing = (blocks
    int64 [row blocks, 2] of groups, masks, signed, levels float64 [row blocks, 1 or C, K], V, columns); scratch =
    (ranks, as `add_levels` and itself take them, value float64 [N, 32]).
    """
    rules, digits = converter
    blocks, masks, signed, levels, per_output, total = summing
    ranks, parts, value = scratch
    units = masks.shape[0]
    for b in range(nibbles.shape[0]):
        value[:] = 0.0
        for block in range(blocks.shape[0]):
            for first in range(0, total, COLUMNS):
                last = min(first + COLUMNS, total)
                columns = (first, last + (last & 1))
                for g in range(blocks[block, 0], blocks[block, 1]):
                    rule = rules[g if rules.shape[0] > 1 else 0]
                    table = digits[g if digits.shape[0] > 1 else 0]
                    for u in range(units):
                        mine = ranks[(g - blocks[block, 0]) * units + u]
                        sum_bytes(nibbles, tables, (b, u), (spans[g, 0], spans[g, 1]), columns, mine)
                        table_bytes(mine, columns, rule, table)
                groups = blocks[block, 1] - blocks[block, 0]
                add_levels(ranks, groups, (first, last, per_output), masks, signed, levels[block], parts, value)
        put_lanes(value, 32 * b, y)


def levels_by_bytes_naive(nibbles, tables, spans, converter, summing, scratch, y):
    """The definition, by the naive twins."""
    rules, digits = converter
    blocks, masks, signed, levels, per_output, total = summing
    columns = (0, len(tables))
    for b in range(len(nibbles)):
        value = np.zeros_like(scratch[2])
        for block, (start, stop) in enumerate(blocks):
            ranks = np.zeros(((stop - start) * len(masks), len(tables), 4, 32), dtype=np.uint8)
            for g, u in np.ndindex(stop - start, len(masks)):
                mine = ranks[g * len(masks) + u]
                sum_bytes_naive(nibbles, tables, (b, u), spans[start + g], columns, mine)
                table_bytes_naive(mine, columns, rules[(start + g) % len(rules)], digits[(start + g) % len(digits)])
            own = (0, total, per_output)
            add_levels_naive(ranks, stop - start, own, masks, signed, levels[block], scratch[1], value)
        put_lanes_naive(value, 32 * b, y)


@kernel
def levels_by_words(nibbles, tables, spans, converter, noise, summing, scratch, y):
    """As `levels_by_bytes` for partial sums of 16 bits, with read noise.

    tables, noise as in `convert_by_words`; converter = (trees, bits, ranks of codes [1 or G, 1 or C, 256]); scratch =
    (ranks, parts, value, psums uint16 [COLUMNS, 4, 32], places, words).
    """
    trees, bits, digits = converter
    low, high, flush = tables
    blocks, masks, signed, levels, per_output, total = summing
    ranks, parts, value, psums, places, words = scratch
    units = masks.shape[0]
    for b in range(nibbles.shape[0]):
        value[:] = 0.0
        if noise is not None:
            read_places(noise[4], b, places)
        for block in range(blocks.shape[0]):
            for first in range(0, total, COLUMNS):
                last = min(first + COLUMNS, total)
                columns = (first, last + (last & 1))
                for g in range(blocks[block, 0], blocks[block, 1]):
                    tree = trees[g if trees.shape[0] > 1 else 0]
                    table = digits[g if digits.shape[0] > 1 else 0]
                    span = (spans[g, 0], spans[g, 1])
                    for u in range(units):
                        mine = ranks[(g - blocks[block, 0]) * units + u]
                        if high.shape[0] > 0:
                            sum_words(nibbles, low, high, (b, u), span, columns, flush, psums)
                        else:
                            sum_words_of_bytes(nibbles, low, (b, u), span, columns, flush, psums)
                        if noise is not None:
                            noise_words(psums, columns, (g, u), noise, places, words)
                        search_words(psums, columns, tree, bits, mine)
                        table_bytes(mine, columns, ZERO, table)
                groups = blocks[block, 1] - blocks[block, 0]
                add_levels(ranks, groups, (first, last, per_output), masks, signed, levels[block], parts, value)
        put_lanes(value, 32 * b, y)


def levels_by_words_naive(nibbles, tables, spans, converter, noise, summing, scratch, y):
    """The definition, by the naive twins."""
    trees, bits, digits = converter
    low, high, flush = tables
    high = high if len(high) else low * 0
    blocks, masks, signed, levels, per_output, total = summing
    _, parts, value, _, places, words = scratch
    columns = (0, len(low))
    psums = np.zeros((len(low), 4, 32), dtype=np.uint16)
    for b in range(len(nibbles)):
        value = np.zeros_like(value)
        if noise is not None:
            read_places_naive(noise[4], b, places)
        for block, (start, stop) in enumerate(blocks):
            ranks = np.zeros(((stop - start) * len(masks), len(low), 4, 32), dtype=np.uint8)
            for g, u in np.ndindex(stop - start, len(masks)):
                mine = ranks[g * len(masks) + u]
                sum_words_naive(nibbles, low, high, (b, u), spans[start + g], columns, flush, psums)
                if noise is not None:
                    noise_words_naive(psums, columns, (start + g, u), noise, places, words)
                search_words_naive(psums, columns, trees[(start + g) % len(trees)], bits, mine)
                table_bytes_naive(mine, columns, ZERO, digits[(start + g) % len(digits)])
            own = (0, total, per_output)
            add_levels_naive(ranks, stop - start, own, masks, signed, levels[block], parts, value)
        put_lanes_naive(value, 32 * b, y)
