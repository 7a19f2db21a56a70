"""Real levels of one-bit cells by bit planes: where a code was reached is a register, and its bytes are the counts.

Byte p of the plane "code is k" has a bit for every input slice, so it is sum_i 2^i * [code = k] as it is: the integer that
the specification multiplies with level k. The plane is cut from unary tables of the partial sums: "at least t" is
`high[h + 1] | high[h] & low[l]` for t = 8 * h + l. Levels are added in ascending order in float64, those between the
smallest and the largest partial sum of a column's 32 positions; the others would add 0.
"""

import numpy as np

from cimemu.engines.planes.adder_kernels import KEPT, PLANES, add_rows, add_rows_naive, pick_rows, pick_rows_naive
from cimemu.lanes.bits import load_listed, without
from cimemu.lanes.broad import NARROW
from cimemu.lanes.floats import add64, every64, mul64, sub64
from cimemu.lanes.jit import kernel
from cimemu.lanes.nibbles import ORDER
from cimemu.lanes.registers import (
    add16,
    any_bit,
    both,
    differ,
    either,
    every8,
    every16,
    interleave_high,
    interleave_high_words,
    interleave_low,
    interleave_low_words,
    load,
    store,
)
from cimemu.lanes.turns import interleave_high32, interleave_low32

LOW, HIGH = 8, 34  # entries of a table: the lowest three bits, the five others
ENTRIES = LOW + HIGH
AT_ONCE = 16  # columns whose tables stay in the first-level cache


@kernel
def make_unary(numbers, columns, upper, tables):
    """tables[j, l]: bits 0 .. 2 of number j are at least l; tables[j, LOW + h]: number >> 3 is at least h.

    numbers uint8 [.., PLANES, 32], from row KEPT on; tables uint8 [>= columns, ENTRIES, 32]. Entries of h > 16 stay as they
    are unless `upper`: zeros on entry serve numbers up to 135.
    """
    ones = every8(255)
    for j in range(columns):
        at = 256 * (KEPT + j)
        out = 32 * ENTRIES * j
        a = load(numbers, at)
        b = load(numbers, at + 32)
        c = load(numbers, at + 64)
        some = either(a, b)
        all_ = both(a, b)
        store(tables, out, ones)
        store(tables, out + 32, either(c, some))
        store(tables, out + 64, either(c, b))
        store(tables, out + 96, either(c, all_))
        store(tables, out + 128, c)
        store(tables, out + 160, both(c, some))
        store(tables, out + 192, both(c, b))
        store(tables, out + 224, both(c, all_))
        a = load(numbers, at + 96)
        b = load(numbers, at + 128)
        c = load(numbers, at + 160)
        d = load(numbers, at + 192)
        e = load(numbers, at + 224)
        some = either(a, b)
        all_ = both(a, b)
        either_ = either(c, d)
        both_ = both(c, d)
        out += 32 * LOW
        store(tables, out, ones)
        store(tables, out + 32, either(e, either(either_, some)))
        store(tables, out + 64, either(e, either(either_, b)))
        store(tables, out + 96, either(e, either(either_, all_)))
        store(tables, out + 128, either(e, either_))
        store(tables, out + 160, either(e, either(d, both(c, some))))
        store(tables, out + 192, either(e, either(d, both(c, b))))
        store(tables, out + 224, either(e, either(d, both(c, all_))))
        store(tables, out + 256, either(e, d))
        store(tables, out + 288, either(e, either(both_, both(d, some))))
        store(tables, out + 320, either(e, either(both_, both(d, b))))
        store(tables, out + 352, either(e, either(both_, both(d, all_))))
        store(tables, out + 384, either(e, both_))
        store(tables, out + 416, either(e, both(both_, some)))
        store(tables, out + 448, either(e, both(both_, b)))
        store(tables, out + 480, either(e, both(both_, all_)))
        store(tables, out + 512, e)
        if upper:
            store(tables, out + 544, both(e, either(either_, some)))
            store(tables, out + 576, both(e, either(either_, b)))
            store(tables, out + 608, both(e, either(either_, all_)))
            store(tables, out + 640, both(e, either_))
            store(tables, out + 672, both(e, either(d, both(c, some))))
            store(tables, out + 704, both(e, either(d, both(c, b))))
            store(tables, out + 736, both(e, either(d, both(c, all_))))
            store(tables, out + 768, both(e, d))
            store(tables, out + 800, both(e, either(both_, both(d, some))))
            store(tables, out + 832, both(e, either(both_, both(d, b))))
            store(tables, out + 864, both(e, either(both_, both(d, all_))))
            store(tables, out + 896, both(e, both_))
            store(tables, out + 928, both(e, both(both_, some)))
            store(tables, out + 960, both(e, both(both_, b)))
            store(tables, out + 992, both(e, both(both_, all_)))


def make_unary_naive(numbers, columns, upper, tables):
    """The definition."""
    for j in range(columns):
        number = bits_of(numbers[KEPT + j])
        for entry in range(ENTRIES - 2 if upper else LOW + 17):
            reached = number % 8 >= entry if entry < LOW else number // 8 >= entry - LOW
            tables[j, entry] = np.packbits(reached, bitorder="little")


@kernel
def find_range(tables, columns, live, bits, ranges):
    """ranges[:, j]: the least and the largest of number j where `live` has a bit, below 2^bits.

    tables as `make_unary` leaves them; live a byte, of the slices that there are; ranges int64 [2, >= columns]. A bit of all
    columns is decided after the other.
    """
    alive = every8(live)
    least, most = ranges[0], ranges[1]
    least[:] = 0
    most[:] = 0
    for k in range(bits - 1, -1, -1):
        for j in range(columns):
            at = 32 * ENTRIES * j
            u = np.uintp(j)  # an index that needs no look at its sign
            t = least[u] + (1 << k)
            high = at + 32 * (LOW + (t >> 3))
            reached = either(load(tables, high + 32), both(load(tables, high), load(tables, at + 32 * (t & 7))))
            least[u] += (1 - any_bit(without(alive, reached))) << k
            t = most[u] + (1 << k)
            high = at + 32 * (LOW + (t >> 3))
            reached = either(load(tables, high + 32), both(load(tables, high), load(tables, at + 32 * (t & 7))))
            most[u] += any_bit(both(alive, reached)) << k


def find_range_naive(tables, columns, live, bits, ranges):
    """The definition."""
    slices = np.tile(live >> np.arange(8) & 1, 32) == 1
    for j in range(columns):
        reached = np.unpackbits(tables[j], axis=1, bitorder="little").astype(np.int64)
        numbers = reached[1:LOW].sum(axis=0) + 8 * reached[LOW + 1 :].sum(axis=0)
        ranges[:, j] = numbers[slices].min(), numbers[slices].max()


@kernel
def count_codes(tables, j, groups, places, rule, counts):
    """counts[k - first, p] = sum over groups and slices i of 2^i * [number j is at least place k and not k + 1].

    tables uint8 [>= groups, >= columns, ENTRIES, 32]; places uint16: three first bytes of entries for "at least" every
    threshold, those from first (the highest that all numbers reach) to last are taken; rule = (live, signed, first, last).
    Where `signed`, 2^7 counts negative and 128 * groups is added. counts uint16 [> last - first, 32], positions in order.
    """
    zero = every8(0)
    alive = every8(rule[0])
    flip = every8(128 if rule[1] else 0)  # a signed byte plus 128
    for g in range(groups):
        table = tables[g, j]
        before = alive
        at, out = 3 * rule[2], 0
        for _ in range(rule[2], rule[3] + 1):
            both_ = both(load_listed(table, places, at + 1), load_listed(table, places, at + 2))
            reached = either(load_listed(table, places, at), both_)
            mine = differ(without(before, reached), flip)
            before = reached
            low = interleave_low(mine, zero)
            high = interleave_high(mine, zero)
            if g > 0:
                low = add16(low, load(counts, out))
                high = add16(high, load(counts, out + 32))
            store(counts, out, low)
            store(counts, out + 32, high)
            at += 3
            out += 64


def count_codes_naive(tables, j, groups, places, rule, counts):
    """The definition, from the entries."""
    live, signed, first, last = rule
    bits = np.unpackbits(tables[:groups, j], axis=2, bitorder="little").astype(np.int64)
    alive = live >> np.arange(256) % 8 & 1
    at_least = places.astype(np.int64).reshape(-1, 3) // 32
    reached = [bits[:, high] | bits[:, low] & bits[:, lowest] for high, low, lowest in at_least[first : last + 1]]
    weights = np.array([1, 2, 4, 8, 16, 32, 64, -128 if signed else 128])
    for k, (before, after) in enumerate(zip([alive[None] + 0 * reached[0], *reached], reached)):
        total = (before & ~after & 1).sum(axis=0).reshape(32, 8) @ weights + (128 * groups if signed else 0)
        counts[k, ORDER] = total


@kernel
def add_products(counts, levels, first, last, base, total):
    """total[place of p] += sum over k ascending of levels[k] * (counts[k - first, p] - base), for k = first .. last.

    counts uint16 [> last - first, 32], levels float64, base an integer, total float64 [32] in the order of PLACES. Every
    product and sum is rounded by itself; the sum starts from 0.
    """
    zero = every8(0)
    lowest = every64(1048576.0 + base)
    exponent = every16(0x4130)  # of 2^20: its upper 32 bits are this and a number below 2^16 to add
    s0 = zero
    s1 = zero
    s2 = zero
    s3 = zero
    s4 = zero
    s5 = zero
    s6 = zero
    s7 = zero
    at = 0
    for k in range(np.uintp(first), np.uintp(last + 1)):
        level = every64(levels[k])
        a = load(counts, at)
        b = load(counts, at + 32)
        d = interleave_low_words(a, exponent)
        s0 = add64(s0, mul64(level, sub64(interleave_low32(zero, d), lowest)))
        s1 = add64(s1, mul64(level, sub64(interleave_high32(zero, d), lowest)))
        d = interleave_high_words(a, exponent)
        s2 = add64(s2, mul64(level, sub64(interleave_low32(zero, d), lowest)))
        s3 = add64(s3, mul64(level, sub64(interleave_high32(zero, d), lowest)))
        d = interleave_low_words(b, exponent)
        s4 = add64(s4, mul64(level, sub64(interleave_low32(zero, d), lowest)))
        s5 = add64(s5, mul64(level, sub64(interleave_high32(zero, d), lowest)))
        d = interleave_high_words(b, exponent)
        s6 = add64(s6, mul64(level, sub64(interleave_low32(zero, d), lowest)))
        s7 = add64(s7, mul64(level, sub64(interleave_high32(zero, d), lowest)))
        at += 64
    store(total, 0, add64(load(total, 0), s0))
    store(total, 32, add64(load(total, 32), s1))
    store(total, 64, add64(load(total, 64), s2))
    store(total, 96, add64(load(total, 96), s3))
    store(total, 128, add64(load(total, 128), s4))
    store(total, 160, add64(load(total, 160), s5))
    store(total, 192, add64(load(total, 192), s6))
    store(total, 224, add64(load(total, 224), s7))


def add_products_naive(counts, levels, first, last, base, total):
    """The definition."""
    for v in range(32):
        mine = 0.0
        for k in range(first, last + 1):
            mine += levels[k] * (int(counts[k - first, PLACES[v]]) - int(base))
        total[v] += mine


@kernel
def sum_levels(tables, columns, ranges, converter, rule, counts, value):
    """value[c // V] += sum over codes k ascending of levels[c, k] * A; A = sum over groups and slices of 2^i * [code = k].

    tables uint8 [groups, >= columns, ENTRIES, 32] of columns = (first, last, V); ranges int64 [2, ..] of their numbers in all
    groups. converter = (places uint16 [1 or C, 3 * K], firsts int64 [1 or C, 257]: the code of each number, levels float64
    [C, K]); rule = (live, signed). counts uint16 [K, 32] is scratch; value float64 [N, 32] in the order of PLACES.
    """
    places, firsts, levels = converter
    groups = tables.shape[0]
    base = 128 * groups if rule[1] else 0
    for c in range(columns[0], columns[1]):
        j = c - columns[0]
        row = c if places.shape[0] > 1 else 0
        first, last = firsts[row, ranges[0, j]], firsts[row, ranges[1, j]]
        count_codes(tables, j, groups, places[row], (rule[0], rule[1], first, last), counts)
        add_products(counts, levels[c], first, last, base, value[c // columns[2]])


def sum_levels_naive(tables, columns, ranges, converter, rule, counts, value):
    """The definition, every code of every column."""
    _, firsts, levels = converter
    weights = (2 ** np.arange(8) - 256 * (rule[1] * (np.arange(8) == 7))) * (rule[0] >> np.arange(8) & 1)
    where = [int(np.flatnonzero(PLACES[v] == ORDER)[0]) for v in range(32)]  # the byte of each place
    for c in range(columns[0], columns[1]):
        reached = np.unpackbits(tables[:, c - columns[0]], axis=2, bitorder="little").astype(np.int64)
        numbers = reached[:, 1:LOW].sum(axis=1) + 8 * reached[:, LOW + 1 :].sum(axis=1)
        codes = firsts[c % len(firsts)][numbers].reshape(len(tables), 32, 8)
        for v in range(32):
            total = 0.0
            for k, level in enumerate(levels[c].tolist()):
                total += level * int((weights * (codes[:, where[v]] == k)).sum())
            value[c // columns[2], v] += total


PLACES = np.array([16 * (v >> 4) + 2 * (v >> 2 & 3) + 8 * (v >> 1 & 1) + (v & 1) for v in range(32)])


@kernel
def put_places(value, first, factor, rest, y):
    """y[first + p, n] = factor * value[n, place of p] + rest[first + p] for the positions that there are."""
    for v in range(32):
        p = first + 16 * (v >> 4) + 2 * ((v >> 2) & 3) + 8 * ((v >> 1) & 1) + (v & 1)
        if p < y.shape[0]:
            more = np.float64(rest[p])
            for n in range(y.shape[1]):
                y[p, n] = factor * value[n, v] + more


def put_places_naive(value, first, factor, rest, y):
    """The definition."""
    for v, n in np.ndindex(32, y.shape[1]):
        if first + PLACES[v] < len(y):
            y[first + PLACES[v], n] = factor * value[n, v] + rest[first + PLACES[v]]


@kernel
def levels_by_planes(turned, spans, listed, converter, rule, scratch, y):
    """y[p, n] = factor * (sum over row blocks and columns, ascending, of the levels that partial sums reach) + rest[p].

    turned, spans, listed as in `sum_planes`, of AT_ONCE columns a chunk; converter = (places, firsts, levels [row blocks,
    ..] of `sum_levels`, blocks int64 [row blocks, 2] of groups); rule = (live, signed, bits of a number, columns of an
    output, columns, factor, rest int64 [P]), both exact in float64; scratch = (rows uint8 [groups of a block, R + 1, 32],
    numbers uint8 [KEPT + AT_ONCE, PLANES, 32], tables, all zeros on entry, counts, ranges int64 [2, 2, AT_ONCE], value
    float64 [N, 32]).
    """
    lists, steps, bounds = listed
    places, firsts, levels, blocks = converter
    live, signed, bits, per_output, total, factor, rest = rule
    rows, numbers, tables, counts, ranges, value = scratch
    for b in range(turned.shape[0]):
        value[:] = 0.0
        for block in range(blocks.shape[0]):
            start, stop = blocks[block, 0], blocks[block, 1]
            for g in range(start, stop):
                pick_rows(NARROW, turned, b, spans[0][g], spans[1][g], rows[g - start])
            mine = tables[: stop - start]
            own = (places[block], firsts[block], levels[block])
            for n in range(bounds.shape[1]):
                first, last = AT_ONCE * n, min(AT_ONCE * (n + 1), total)
                for g in range(start, stop):
                    part = (bounds[g, n, 0], bounds[g, n, 1])
                    add_rows(NARROW, rows[g - start], lists, steps, part, numbers)
                    make_unary(numbers, last - first, bits == PLANES, mine[g - start])
                    find_range(mine[g - start], last - first, live, bits, ranges[1])
                    for j in range(last - first):
                        held = g == start
                        ranges[0, 0, j] = ranges[1, 0, j] if held else min(ranges[0, 0, j], ranges[1, 0, j])
                        ranges[0, 1, j] = ranges[1, 1, j] if held else max(ranges[0, 1, j], ranges[1, 1, j])
                sum_levels(mine, (first, last, per_output), ranges[0], own, (live, signed), counts, value)
        put_places(value, 32 * b, factor, rest, y)


def levels_by_planes_naive(turned, spans, listed, converter, rule, scratch, y):
    """The definition, by the naive twins."""
    lists, steps, bounds = listed
    places, firsts, levels, blocks = converter
    live, signed, bits, per_output, total, factor, rest = rule
    rows, numbers, tables, counts, ranges, value = scratch
    for b in range(len(turned)):
        value[:] = 0.0
        for block, (start, stop) in enumerate(blocks):
            own = (places[block], firsts[block], levels[block])
            for n, first in enumerate(range(0, total, AT_ONCE)):
                last = min(first + AT_ONCE, total)
                for g in range(start, stop):
                    pick_rows_naive(NARROW, turned, b, spans[0][g], spans[1][g], rows[g - start])
                    add_rows_naive(NARROW, rows[g - start], lists, steps, bounds[g, n], numbers)
                    make_unary_naive(numbers, last - first, bits == PLANES, tables[g - start])
                mine = tables[: stop - start]
                sum_levels_naive(mine, (first, last, per_output), ranges[0], own, (live, signed), counts, value)
        put_places_naive(value, 32 * b, factor, rest, y)


def bits_of(planes):
    """The 256 numbers that `planes` [PLANES, 32] stand for."""
    bits = np.unpackbits(planes, axis=1, bitorder="little").astype(np.int64)
    return (bits << np.arange(PLANES)[:, None]).sum(axis=0)
