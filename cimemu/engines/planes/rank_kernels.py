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
from cimemu.lanes.broad import every32_as, least_bytes, load_as, most_bytes, register_bytes, turn_bits
from cimemu.lanes.extremes import largest_byte, least_byte
from cimemu.lanes.floats import add64, mul64, real_as, real_of
from cimemu.lanes.jit import inlined, kernel
from cimemu.lanes.registers import both, differ, either, lookup, store, sub8
from cimemu.lanes.turns import high_halves, interleave_high64, interleave_low64, low_halves
from cimemu.lanes.wide import add64 as add_integers

# One bit for each of the bytes 0 .. 7, none above, of every 16 entries: `turn_bits` makes byte d of the bits d.
HOT = np.tile(np.array([*(1 << np.arange(8)), *[0] * 8], dtype=np.uint8), 4)
BACKWARDS = np.tile(np.array([*range(7, -1, -1), *range(15, 7, -1)], dtype=np.uint8), 4)  # of every 8 bytes
# By d: the place of byte d of every 8, with nothing in the other seven; places are within 16 bytes.
PICKS = np.tile(np.where(np.arange(16) % 8 == 0, np.arange(8)[:, None] + np.arange(16), 255).astype(np.uint8), (1, 4))


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
def mark_ranks(unit, ranks, j, rule, alive, negative, marks):
    """Byte d of every 8 of marks[g, r]: which of these 8 bytes of ranks[g, j, r] are `base` + d, as bits, of live slices alone.

    rule = (groups, base); marks uint8 [>= groups, 8, R]; where `negative` is not None bit 7 is turned over, so that the byte
    less 128 is what slices weigh of which the last is negative.
    """
    width = register_bytes(unit)
    groups, base = rule
    hot = load_as(unit, HOT, 0)
    backwards = load_as(unit, BACKWARDS, 0)
    dead = differ(lookup(load_as(unit, alive, 0), backwards), every32_as(unit, -1))
    order = either(backwards, dead)  # what is dead is taken from nowhere
    from_base = every32_as(unit, 0x01010101 * base)
    beyond = every32_as(unit, 0x0F0F0F0F)
    top = every32_as(unit, -0x7F7F7F80)
    for g in range(groups):
        at = 8 * width * (ranks.shape[1] * g + j)
        for r in range(8):
            place = least_bytes(sub8(load_as(unit, ranks, at + width * r), from_base), beyond)
            marked = lookup(lookup(hot, place), order)
            marked = turn_bits(marked, marked)
            if negative is not None:
                marked = differ(marked, top)
            store(marks, width * (8 * g + r), marked)


def mark_ranks_naive(unit, ranks, j, rule, alive, negative, marks):
    """The definition."""
    groups, base = rule
    for g, r in np.ndindex(groups, 8):
        mine = ranks[g, j, r].reshape(-1, 8).astype(np.int64)
        for d in range(8):
            bits = (mine == base + d) & (alive.reshape(-1, 8) > 0)
            marks[g, r, d::8] = np.packbits(bits, axis=1, bitorder="little")[:, 0] ^ (0 if negative is None else 128)


@inlined
def level_product(marks, at, pick, level, rule, negative):
    """level * what the slices weigh that byte `at` of marks and on marks, of as many groups as there are.

    `pick` takes the byte of the rank out of every 8, `level` is a register too; rule = (unit, groups, bytes of a group).
    """
    unit, groups, stride = rule
    weight = lookup(load_as(unit, marks, at), pick)
    for g in range(1, groups):
        weight = add_integers(weight, lookup(load_as(unit, marks, at + stride * g), pick))
    real = real_of(weight, weight)
    if negative is not None:
        real = add64(real, real_as(unit, -128.0 * groups))
    return mul64(level, real)


def level_product_naive(marks, at, d, level, rule, negative):
    """The definition, of byte d of every 8."""
    unit, groups, stride = rule
    flat = marks.reshape(-1)
    parts = [flat[at + stride * g :][: 32 * len(unit)][d::8].astype(np.float64) for g in range(groups)]
    return level * (sum(parts) - (0 if negative is None else 128 * groups))


@inlined
def add_ranked(unit, ranks, j, rule, levels, given, value):
    """value[v] += sum over ranks k ascending of levels[k] * A; A = sum over groups and live slices of 2^i * [rank = k].

    ranks uint8 [>= groups, >= columns, 8, R]; rule = (groups, first and last rank); levels float64; given = (alive uint8 [R],
    `negative`: not None where bit 7 weighs -128, marks uint8 [>= groups, 8, R]); value float64 [R]: register r of `turned_sums`
    has places R / 8 * r on. Every product and sum is rounded by itself; the sum starts from 0.
    """
    width = register_bytes(unit)
    groups, first, last = rule
    alive, negative, marks = given
    one = (unit, groups, 8 * width)
    s0 = every32_as(unit, 0)
    s1 = s0
    s2 = s0
    s3 = s0
    s4 = s0
    s5 = s0
    s6 = s0
    s7 = s0
    for base in range(first, last + 1, 8):
        mark_ranks(unit, ranks, j, (groups, base), alive, negative, marks)
        for k in range(base, min(base + 8, last + 1)):
            pick = load_as(unit, PICKS, 64 * (k - base))
            level = real_as(unit, levels[k])
            s0 = add64(s0, level_product(marks, 0, pick, level, one, negative))
            s1 = add64(s1, level_product(marks, width, pick, level, one, negative))
            s2 = add64(s2, level_product(marks, 2 * width, pick, level, one, negative))
            s3 = add64(s3, level_product(marks, 3 * width, pick, level, one, negative))
            s4 = add64(s4, level_product(marks, 4 * width, pick, level, one, negative))
            s5 = add64(s5, level_product(marks, 5 * width, pick, level, one, negative))
            s6 = add64(s6, level_product(marks, 6 * width, pick, level, one, negative))
            s7 = add64(s7, level_product(marks, 7 * width, pick, level, one, negative))
    store(value, 0, add64(load_as(unit, value, 0), s0))
    store(value, width, add64(load_as(unit, value, width), s1))
    store(value, 2 * width, add64(load_as(unit, value, 2 * width), s2))
    store(value, 3 * width, add64(load_as(unit, value, 3 * width), s3))
    store(value, 4 * width, add64(load_as(unit, value, 4 * width), s4))
    store(value, 5 * width, add64(load_as(unit, value, 5 * width), s5))
    store(value, 6 * width, add64(load_as(unit, value, 6 * width), s6))
    store(value, 7 * width, add64(load_as(unit, value, 7 * width), s7))


def add_ranked_naive(unit, ranks, j, rule, levels, given, value):
    """The definition, a position at a time."""
    groups, first, last = rule
    alive, negative, _ = given
    weights = (2 ** np.arange(8) - 256 * ((negative is not None) * (np.arange(8) == 7))) * (alive[:8] > 0)
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
    rule = (columns of an output, factor, rest int64 [P], places int64 [R]), factor and rest exact in float64;
    scratch = (rows uint8 [> rows of a group, R], planes uint8 [KEPT + COLUMNS, P, R], ranks uint8 [groups of a block, COLUMNS, 8,
    R], alive uint8 [R]: 255 where a slice is live, ranges int64 [2, COLUMNS], marks uint8 [groups of a block, 8, R], value
    float64 [N, R or more]).
    """
    starts, stops, lists, steps, bounds, blocks = matrix
    tables, own, levels = converter
    per_output, factor, rest, places = rule
    rows, planes, ranks, alive, ranges, marks, value = scratch
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
                    found = (stop - start, ranges[0, j], ranges[1, j])
                    add_ranked(
                        unit, ranks, j, found, levels[block, c], (alive, negative, marks), value[c // per_output]
                    )
        put_ranked(value, places, register_bytes(unit) * b, factor, rest, y)


def ranks_by_planes_naive(unit, turned, matrix, converter, rule, negative, scratch, y):
    """The definition, by the naive twins, every rank of every column."""
    starts, stops, lists, steps, bounds, blocks = matrix
    tables, own, levels = converter
    per_output, factor, rest, places = rule
    rows, planes, ranks, alive, _, marks, value = scratch
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
                    every = (stop - start, 0, levels.shape[2] - 1)
                    given = (alive, negative, marks)
                    add_ranked_naive(unit, ranks, c - first, every, levels[block, c], given, value[c // per_output])
        put_ranked_naive(value, places, 32 * len(unit) * b, factor, rest, y)
