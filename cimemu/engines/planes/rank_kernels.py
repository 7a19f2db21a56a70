"""Real levels of one-bit cells by bit planes: partial sums into ranks of levels, ranks counted by comparing, levels added.

The sums of a column's input slices stand side by side, eight bytes a position (see `turned_sums`), and a table gives the rank
of the level of each. Where a register is compared with one rank, the eight bits of a position are sum_i 2^i * [rank = k] as
they are: the integer that the specification multiplies with level k. Levels are added in ascending order in float64, those
between the smallest and the largest rank of a register's positions; the others would add 0.
"""

import numpy as np

from cimemu.engines.planes.adder_kernels import (
    COLUMNS,
    KEPT,
    PLANES,
    add_rows,
    add_rows_naive,
    pick_rows,
    pick_rows_naive,
)
from cimemu.engines.planes.digit_kernels import (
    high_sums,
    high_sums_naive,
    looked_up,
    looked_up_naive,
    low_sums,
    low_sums_naive,
)
from cimemu.lanes.broad import every32_as, least_bytes, load_as, most_bytes, register_bytes
from cimemu.lanes.floats import add64, mul64, real_as
from cimemu.lanes.jit import inlined, kernel
from cimemu.lanes.registers import both, differ, either, store
from cimemu.lanes.turns import high_halves, interleave_high64, interleave_low64, low_halves
from cimemu.lanes.weights import largest_byte, least_byte, signed_weights_where_same, weights_where_same


@inlined
def fill_ranks(unit, planes, part, converter, ranks):
    """ranks[j, r] = the ranks of number KEPT + j, register r of `turned_sums`.

    planes uint8 [.., P, R]; part = (how many numbers, first column); converter = (tables uint8 [T, entries], own int64 [C], the
    table of every column); ranks uint8 [>= numbers, 8, R].
    """
    width = register_bytes(unit)
    tables, own = converter
    entries = tables.shape[1]
    held = entries <= 256
    for j in range(part[0]):
        at = width * planes.shape[1] * (KEPT + j)
        more = every32_as(unit, 0)
        for k in range(PLANES if held else PLANES + 3, planes.shape[1]):
            more = either(more, load_as(unit, planes, at + width * k))
        s = low_sums(unit, planes, at, more)
        above = s if held else high_sums(unit, planes, at, more)
        table = entries * own[part[1] + j]
        out = 8 * width * j
        store(ranks, out, looked_up(unit, tables, table, entries, s[0], above[0]))
        store(ranks, out + width, looked_up(unit, tables, table, entries, s[1], above[1]))
        store(ranks, out + 2 * width, looked_up(unit, tables, table, entries, s[2], above[2]))
        store(ranks, out + 3 * width, looked_up(unit, tables, table, entries, s[3], above[3]))
        store(ranks, out + 4 * width, looked_up(unit, tables, table, entries, s[4], above[4]))
        store(ranks, out + 5 * width, looked_up(unit, tables, table, entries, s[5], above[5]))
        store(ranks, out + 6 * width, looked_up(unit, tables, table, entries, s[6], above[6]))
        store(ranks, out + 7 * width, looked_up(unit, tables, table, entries, s[7], above[7]))


def fill_ranks_naive(unit, planes, part, converter, ranks):
    """The definition."""
    width = 32 * len(unit)
    tables, own = converter
    entries = tables.shape[1]
    for j in range(part[0]):
        at = width * planes.shape[1] * (KEPT + j)
        more = np.zeros(width, dtype=np.uint8)
        for plane in planes[KEPT + j, PLANES if entries <= 256 else PLANES + 3 :]:
            more |= plane
        low = low_sums_naive(unit, planes, at, more)
        above = low if entries <= 256 else high_sums_naive(unit, planes, at, more)
        for r in range(8):
            ranks[j, r] = looked_up_naive(unit, tables, entries * own[part[1] + j], entries, low[r], above[r])


@inlined
def rank_ranges(unit, ranks, columns, groups, alive, ranges):
    """ranges[:, j] = (least, largest) rank of column j in all groups, of slices where `alive`, bytes of 255 or 0, says so.

    ranks uint8 [>= groups, >= columns, 8, R], alive uint8 [R], ranges int64 [2, >= columns]. All columns before their levels
    are added: a range that were waited for would take as long as the sum.
    """
    width = register_bytes(unit)
    here = load_as(unit, alive, 0)
    dead = differ(here, every32_as(unit, -1))
    for j in range(columns):
        least = every32_as(unit, -1)
        most = every32_as(unit, 0)
        for g in range(groups):
            at = 8 * width * (ranks.shape[1] * g + j)
            for r in range(8):
                mine = load_as(unit, ranks, at + width * r)
                least = least_bytes(least, mine)
                most = most_bytes(most, mine)
        ranges[0, j] = least_byte(either(least, dead))
        ranges[1, j] = largest_byte(both(most, here))


def rank_ranges_naive(unit, ranks, columns, groups, alive, ranges):
    """The definition."""
    for j in range(columns):
        mine = ranks[:groups, j].reshape(-1, 32 * len(unit))[:, alive > 0]
        ranges[:, j] = mine.min(), mine.max()


@inlined
def level_product(ranks, at, rank, level, rule, negative):
    """level * what the slices of `rank` weigh, of the register of ranks at byte `at`, and of as many groups as there are.

    `rank` and `level` are registers; rule = (unit, groups, bytes of a group, live slices as the bits of a byte); `negative`: not
    None where bit 7 weighs -128.
    """
    unit, groups, stride, live = rule
    weight = rank_weights(load_as(unit, ranks, at), rank, live, negative)
    for g in range(1, groups):
        weight = add64(weight, rank_weights(load_as(unit, ranks, at + stride * g), rank, live, negative))
    return mul64(level, weight)


@inlined
def rank_weights(mine, rank, live, negative):
    """The weights of one register, the last slice's negative or not."""
    if negative is not None:
        return signed_weights_where_same(mine, rank, live)
    return weights_where_same(mine, rank, live)


def rank_weights_naive(mine, rank, live, negative):
    """The definition, eight bytes a number."""
    weights = 2 ** np.arange(8) - 256 * ((negative is not None) * (np.arange(8) == 7))
    return ((mine == rank).reshape(-1, 8) * (live >> np.arange(8) & 1)) @ weights


def level_product_naive(ranks, at, rank, level, rule, negative):
    """The definition, of one rank and one level."""
    unit, groups, stride, live = rule
    flat = ranks.reshape(-1)
    parts = [flat[at + stride * g :][: 32 * len(unit)] for g in range(groups)]
    return level * sum(rank_weights_naive(part, rank, live, negative) for part in parts)


@inlined
def add_ranked(unit, ranks, j, rule, levels, negative, value):
    """value[v] += sum over ranks k ascending of levels[k] * A; A = sum over groups and slices of 2^i * [rank = k].

    ranks uint8 [>= groups, >= columns, 8, R]; rule = (groups, live slices as the bits of a byte, first and last rank); levels
    float64; value float64 [R]: register r of `turned_sums` has places R / 8 * r on. Every product and sum is rounded by itself;
    the sum starts from 0.
    """
    width = register_bytes(unit)
    groups, live, first, last = rule
    start = 8 * width * j
    given = (unit, groups, 8 * width * ranks.shape[1], live)
    s0 = every32_as(unit, 0)
    s1 = s0
    s2 = s0
    s3 = s0
    s4 = s0
    s5 = s0
    s6 = s0
    s7 = s0
    for k in range(first, last + 1):
        rank = every32_as(unit, 0x01010101 * k)
        level = real_as(unit, levels[k])
        s0 = add64(s0, level_product(ranks, start, rank, level, given, negative))
        s1 = add64(s1, level_product(ranks, start + width, rank, level, given, negative))
        s2 = add64(s2, level_product(ranks, start + 2 * width, rank, level, given, negative))
        s3 = add64(s3, level_product(ranks, start + 3 * width, rank, level, given, negative))
        s4 = add64(s4, level_product(ranks, start + 4 * width, rank, level, given, negative))
        s5 = add64(s5, level_product(ranks, start + 5 * width, rank, level, given, negative))
        s6 = add64(s6, level_product(ranks, start + 6 * width, rank, level, given, negative))
        s7 = add64(s7, level_product(ranks, start + 7 * width, rank, level, given, negative))
    store(value, 0, add64(load_as(unit, value, 0), s0))
    store(value, width, add64(load_as(unit, value, width), s1))
    store(value, 2 * width, add64(load_as(unit, value, 2 * width), s2))
    store(value, 3 * width, add64(load_as(unit, value, 3 * width), s3))
    store(value, 4 * width, add64(load_as(unit, value, 4 * width), s4))
    store(value, 5 * width, add64(load_as(unit, value, 5 * width), s5))
    store(value, 6 * width, add64(load_as(unit, value, 6 * width), s6))
    store(value, 7 * width, add64(load_as(unit, value, 7 * width), s7))


def add_ranked_naive(unit, ranks, j, rule, levels, negative, value):
    """The definition, a position at a time."""
    groups, live, first, last = rule
    weights = (2 ** np.arange(8) - 256 * ((negative is not None) * (np.arange(8) == 7))) * (live >> np.arange(8) & 1)
    mine = ranks[:groups, j].reshape(groups, 32 * len(unit), 8)
    for v in range(32 * len(unit)):
        total = 0.0
        for k in range(first, last + 1):
            total += levels[k] * int((weights * (mine[:, v] == k)).sum())
        value[v] += total


@inlined
def put_four(value, at, stride, scale, place, y):
    """y = factor * value + rest of four positions and four outputs, turned in registers: a register of y is a position's.

    value float64 [N, R]: its four positions begin at byte `at`, outputs lie `stride` bytes apart; scale = (factor, the four
    rests, the bytes at which the four positions' rows of y begin); `place` is the first output's byte in a row of y.
    """
    factor, rests, rows = scale
    a, b = load_as((0,), value, at), load_as((0,), value, at + stride)
    c, d = load_as((0,), value, at + 2 * stride), load_as((0,), value, at + 3 * stride)
    e, f = interleave_low64(a, b), interleave_high64(a, b)
    g, h = interleave_low64(c, d), interleave_high64(c, d)
    times = real_as((0,), factor)
    store(y, rows[0] + place, add64(mul64(times, low_halves(e, g)), real_as((0,), rests[0])))
    store(y, rows[1] + place, add64(mul64(times, low_halves(f, h)), real_as((0,), rests[1])))
    store(y, rows[2] + place, add64(mul64(times, high_halves(e, g)), real_as((0,), rests[2])))
    store(y, rows[3] + place, add64(mul64(times, high_halves(f, h)), real_as((0,), rests[3])))


def put_four_naive(value, at, stride, scale, place, y):
    """The definition."""
    factor, rests, rows = scale
    flat, given = y.reshape(-1), value.reshape(-1)
    for v, n in np.ndindex(4, 4):
        flat[(rows[v] + place) // 8 + n] = factor * given[(at + n * stride) // 8 + v] + rests[v]


@kernel
def put_ranked(value, places, first, factor, rest, y):
    """y[first + places[v], n] = factor * value[n, v] + rest[first + places[v]] for the positions that there are.

    value float64 [N, at least as many as places], y float64 [P, N]; whole groups of four outputs are turned in registers.
    """
    outputs, stride = y.shape[1], 8 * value.shape[1]
    # Only a block of which every position is one of y is turned: the last block is shorter.
    fours = outputs // 4 * 4 if first + places.shape[0] <= y.shape[0] else 0
    for v in range(0, places.shape[0] if fours else 0, 4):
        p, q, r, s = first + places[v], first + places[v + 1], first + places[v + 2], first + places[v + 3]
        rests = (np.float64(rest[p]), np.float64(rest[q]), np.float64(rest[r]), np.float64(rest[s]))
        scale = (factor, rests, (8 * outputs * p, 8 * outputs * q, 8 * outputs * r, 8 * outputs * s))
        for n in range(0, fours, 4):
            put_four(value, stride * n + 8 * v, stride, scale, 8 * n, y)
    for v in range(places.shape[0]):
        p = first + places[v]
        if p < y.shape[0]:
            more = np.float64(rest[p])
            for n in range(fours, outputs):
                y[p, n] = factor * value[n, v] + more


def put_ranked_naive(value, places, first, factor, rest, y):
    """The definition."""
    for v, n in np.ndindex(len(places), y.shape[1]):
        if first + places[v] < len(y):
            y[first + places[v], n] = factor * value[n, v] + rest[first + places[v]]


@kernel
def ranks_by_planes(unit, turned, matrix, converter, rule, negative, scratch, y):
    """y[p, n] = factor * (sum over row blocks and columns, ascending, of the levels that partial sums reach) + rest[p].

    turned uint8 [B, K, R]; matrix = (starts, stops, lists, steps, bounds, blocks int64 [row blocks, 2] of groups), lists of
    COLUMNS columns a chunk; converter = (tables uint8 [T, entries], own int64 [G, C], levels float64 [row blocks, C, ranks]);
    rule = (live slices, columns of an output, factor, rest int64 [P], places int64 [R]), factor and rest exact in float64;
    scratch = (rows uint8 [> rows of a group, R], planes uint8 [KEPT + COLUMNS, P, R], ranks uint8 [groups of a block, COLUMNS, 8,
    R], alive uint8 [R]: 255 where a slice is live, ranges int64 [2, COLUMNS], value float64 [N, R or more]).
    """
    starts, stops, lists, steps, bounds, blocks = matrix
    tables, own, levels = converter
    live, per_output, factor, rest, places = rule
    rows, planes, ranks, alive, ranges, value = scratch
    columns = own.shape[1]
    for b in range(turned.shape[0]):
        value[:] = 0.0
        for block in range(blocks.shape[0]):
            start, stop = blocks[block, 0], blocks[block, 1]
            for n in range(bounds.shape[1]):
                first, last = COLUMNS * n, min(COLUMNS * (n + 1), columns)
                for g in range(start, stop):
                    if n == 0 or stop - start > 1:
                        pick_rows(unit, turned, b, starts[g], stops[g], rows)
                    add_rows(unit, rows, lists, steps, (bounds[g, n, 0], bounds[g, n, 1]), planes)
                    fill_ranks(unit, planes, (last - first, first), (tables, own[g]), ranks[g - start])
                rank_ranges(unit, ranks, last - first, stop - start, alive, ranges)
                for j in range(last - first):
                    c = first + j
                    given = (stop - start, live, ranges[0, j], ranges[1, j])
                    add_ranked(unit, ranks, j, given, levels[block, c], negative, value[c // per_output])
        put_ranked(value, places, register_bytes(unit) * b, factor, rest, y)


def ranks_by_planes_naive(unit, turned, matrix, converter, rule, negative, scratch, y):
    """The definition, by the naive twins, every rank of every column."""
    starts, stops, lists, steps, bounds, blocks = matrix
    tables, own, levels = converter
    live, per_output, factor, rest, places = rule
    rows, planes, ranks, _, _, value = scratch
    columns = own.shape[1]
    for b in range(len(turned)):
        value[:] = 0.0
        for block, (start, stop) in enumerate(blocks):
            for n, first in enumerate(range(0, columns, COLUMNS)):
                last = min(first + COLUMNS, columns)
                for g in range(start, stop):
                    pick_rows_naive(unit, turned, b, starts[g], stops[g], rows)
                    add_rows_naive(unit, rows, lists, steps, bounds[g, n], planes)
                    fill_ranks_naive(unit, planes, (last - first, first), (tables, own[g]), ranks[g - start])
                for c in range(first, last):
                    given = (stop - start, live, 0, levels.shape[2] - 1)
                    add_ranked_naive(unit, ranks, c - first, given, levels[block, c], negative, value[c // per_output])
        put_ranked_naive(value, places, 32 * len(unit) * b, factor, rest, y)
