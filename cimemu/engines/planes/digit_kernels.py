"""Partial sums as bit planes into what their codes stand for, weighed by input slice: any converter is a table of bytes.

The eight planes of a register of positions are turned into bytes: byte i of a position is what its slice i summed. A table
gives the digit of each sum, and slices are weighed and added four bytes at a time.
"""

import numpy as np

from cimemu.engines.output_kernels import combine_lanes, combine_lanes_naive
from cimemu.engines.planes.adder_kernels import (
    COLUMNS,
    KEPT,
    PLANES,
    add_rows,
    add_rows_naive,
    pick_rows,
    pick_rows_naive,
)
from cimemu.lanes.broad import (
    every32_as,
    high8,
    high16,
    high32,
    least_bytes,
    load_as,
    look_up64,
    look_up128,
    look_up256,
    low8,
    low16,
    low32,
    pack_numbers,
    pick_bytes,
    register_bytes,
    same_bytes,
    store_parts,
    turn_bits,
    weigh_bytes,
    weigh_words,
)
from cimemu.lanes.jit import kernel
from cimemu.lanes.nibbles import ORDER, turn_bytes, turn_bytes_naive
from cimemu.lanes.registers import either

ENTRIES = (64, 128, 256)  # of a table, or a multiple of 256


@kernel
def turned_sums(s0, s1, s2, s3, s4, s5, s6, s7):
    """Eight planes as bytes: register r has those of places 2r and 2r + 1 of every 16, slices side by side."""
    a, b, c, d = low8(s7, s6), low8(s5, s4), low8(s3, s2), low8(s1, s0)
    e, f, g, h = low16(a, b), high16(a, b), low16(c, d), high16(c, d)
    a, b, c, d = high8(s7, s6), high8(s5, s4), high8(s3, s2), high8(s1, s0)
    i, j, k, m = low16(a, b), high16(a, b), low16(c, d), high16(c, d)
    return (
        turn_bits(low32(e, g), e),
        turn_bits(high32(e, g), e),
        turn_bits(low32(f, h), e),
        turn_bits(high32(f, h), e),
        turn_bits(low32(i, k), e),
        turn_bits(high32(i, k), e),
        turn_bits(low32(j, m), e),
        turn_bits(high32(j, m), e),
    )


def turned_sums_naive(*planes):
    """The definition: eight planes, the lowest first."""
    bits = np.unpackbits(np.stack(planes), axis=1, bitorder="little").astype(np.int64)
    numbers = (bits << np.arange(8)[:, None]).sum(axis=0).astype(np.uint8)  # 8 * place + slice
    by_place = numbers.reshape(-1, 8, 16)  # every 16 places in eights of two
    return tuple(np.ascontiguousarray(by_place[:, r].reshape(-1)) for r in range(8))


@kernel
def low_sums(unit, planes, at, above):
    """The lowest eight planes from byte `at` on as bytes (see `turned_sums`), all bits set where `above` has them."""
    width = register_bytes(unit)
    return turned_sums(
        either(load_as(unit, planes, at), above),
        either(load_as(unit, planes, at + width), above),
        either(load_as(unit, planes, at + 2 * width), above),
        either(load_as(unit, planes, at + 3 * width), above),
        either(load_as(unit, planes, at + 4 * width), above),
        either(load_as(unit, planes, at + 5 * width), above),
        either(load_as(unit, planes, at + 6 * width), above),
        either(load_as(unit, planes, at + 7 * width), above),
    )


def low_sums_naive(unit, planes, at, above):
    """The definition."""
    width = 32 * len(unit)
    mine = planes.reshape(-1)[at : at + 8 * width].reshape(8, width)
    return turned_sums_naive(*(mine | above))


@kernel
def high_sums(unit, planes, at, above):
    """Planes 8 .. 10 from byte `at` on as bytes, how many 256s a sum has; 7 of them where `above` has a bit."""
    width = register_bytes(unit)
    zero = every32_as(unit, 0)
    s0 = load_as(unit, planes, at + 8 * width)
    s1 = load_as(unit, planes, at + 9 * width) if planes.shape[1] > 9 else zero
    s2 = load_as(unit, planes, at + 10 * width) if planes.shape[1] > 10 else zero
    return turned_sums(either(s0, above), either(s1, above), either(s2, above), zero, zero, zero, zero, zero)


def high_sums_naive(unit, planes, at, above):
    """The definition."""
    width = 32 * len(unit)
    mine = np.zeros((8, width), np.uint8)
    count = min(3, planes.shape[1] - 8)
    mine[:count] = planes.reshape(-1)[at + 8 * width :][: count * width].reshape(count, width)
    mine[:3] |= above
    return turned_sums_naive(*mine)


@kernel
def looked_up(unit, tables, at, entries, sums, above):
    """Entries from byte `at` of tables on, the last one for sums beyond it.

    Sums are bytes and, where there are more than 256 entries, the 256s in `above`.
    """
    if entries == 64:
        return look_up64(tables, at, least_bytes(sums, every32_as(unit, 0x3F3F3F3F)))
    if entries == 128:
        return look_up128(tables, at, least_bytes(sums, every32_as(unit, 0x7F7F7F7F)))
    if entries == 256:
        return look_up256(tables, at, sums)
    last = every32_as(unit, ((entries >> 8) - 1) * 0x01010101)
    sums = pick_bytes(every32_as(unit, -1), sums, same_bytes(least_bytes(above, last), above))
    above = least_bytes(above, last)
    found = look_up256(tables, at, sums)
    for part in range(1, entries >> 8):
        here = same_bytes(above, every32_as(unit, part * 0x01010101))
        found = pick_bytes(found, look_up256(tables, at + 256 * part, sums), here)
    return found


def looked_up_naive(unit, tables, at, entries, sums, above):
    """The definition."""
    numbers = sums.astype(np.int64) + (256 * above.astype(np.int64) if entries > 256 else 0)
    return tables.reshape(-1)[at + np.minimum(numbers, entries - 1)]


@kernel
def sum_digits(unit, planes, part, converter, weighing, block, sums):
    """sums[u, first + j, place of p] = sum over the slices i of unit u of weight i * digit of number KEPT + j at (p, i).

    planes uint8 [.., P, R], P = PLANES or more; part = (how many numbers, first row of sums, first column);
    converter = (tables uint8 [T, entries], own int64 [C], the table of every column); weighing = (weights int8 [R] of slices in
    turn, units int64 [U] two words each for the sums of slices 0 .. 3 and 4 .. 7); block: registers of positions before this one;
    sums int16 [U, rows, >= R * (block + 1)], wide enough.
    """
    width = register_bytes(unit)
    tables, own = converter
    weights, units = weighing
    entries = tables.shape[1]
    held = entries <= 256
    zero = every32_as(unit, 0)
    w = load_as(unit, weights, 0)
    size = width * planes.shape[1]
    row_bytes = 2 * sums.shape[2]
    for j in range(part[0]):
        at = size * (KEPT + j)
        more = zero
        for k in range(PLANES if held else PLANES + 3, planes.shape[1]):
            more = either(more, load_as(unit, planes, at + width * k))
        s = low_sums(unit, planes, at, more)
        above = s if held else high_sums(unit, planes, at, more)
        table = entries * own[part[2] + j]
        a = weigh_bytes(zero, looked_up(unit, tables, table, entries, s[0], above[0]), w)
        b = weigh_bytes(zero, looked_up(unit, tables, table, entries, s[1], above[1]), w)
        ab = pack_numbers(a, b)
        a = weigh_bytes(zero, looked_up(unit, tables, table, entries, s[2], above[2]), w)
        b = weigh_bytes(zero, looked_up(unit, tables, table, entries, s[3], above[3]), w)
        cd = pack_numbers(a, b)
        a = weigh_bytes(zero, looked_up(unit, tables, table, entries, s[4], above[4]), w)
        b = weigh_bytes(zero, looked_up(unit, tables, table, entries, s[5], above[5]), w)
        ef = pack_numbers(a, b)
        a = weigh_bytes(zero, looked_up(unit, tables, table, entries, s[6], above[6]), w)
        b = weigh_bytes(zero, looked_up(unit, tables, table, entries, s[7], above[7]), w)
        gh = pack_numbers(a, b)
        out = row_bytes * (part[1] + j) + 2 * width * block
        for u in range(units.shape[0]):
            pair = every32_as(unit, units[u])
            store_parts(sums, out, 64, pack_numbers(weigh_words(ab, pair), weigh_words(cd, pair)))
            store_parts(sums, out + 32, 64, pack_numbers(weigh_words(ef, pair), weigh_words(gh, pair)))
            out += row_bytes * sums.shape[1]


def sum_digits_naive(unit, planes, part, converter, weighing, block, sums):
    """The definition, a position at a time."""
    width = 32 * len(unit)
    tables, own = converter
    weights, units = weighing
    order = np.concatenate([32 * h + ORDER for h in range(width // 32)])
    for j in range(part[0]):
        bits = np.unpackbits(planes[KEPT + j], axis=1, bitorder="little").astype(np.int64).reshape(-1, width, 8)
        numbers = (bits << np.arange(len(bits))[:, None, None]).sum(axis=0)
        mine = tables[own[part[2] + j]].astype(np.int64)
        weighed = mine[np.minimum(numbers, len(mine) - 1)] * weights.view(np.int8)[:8]
        for u, pair in enumerate(units.tolist()):
            low, high = np.array([pair & 65535, pair >> 16], dtype=np.uint16).view(np.int16).tolist()
            total = low * weighed[:, :4].sum(axis=1) + high * weighed[:, 4:].sum(axis=1)
            sums[u, part[1] + j, width * block + order] = total


@kernel
def convert_planes(unit, turned, spans, listed, converter, weighing, scratch, sums):
    """sums int16 [U, G * C, R * B]: digits of every group and column, weighed by input slice (see `sum_digits`).

    turned uint8 [B, K, R] as `turn_bytes` leaves it, spans = (starts, stops) of the groups' rows; listed = what
    `list_columns` makes of COLUMNS at once; converter = (tables, own int64 [G, C]); scratch = (rows uint8 [> rows of a group, R],
    planes uint8 [KEPT + COLUMNS, P, R]), zeros on entry.
    """
    rows, planes = scratch
    tables, own = converter
    lists, steps, bounds = listed
    columns = own.shape[1]
    for b in range(turned.shape[0]):
        for g in range(bounds.shape[0]):
            pick_rows(unit, turned, b, spans[0][g], spans[1][g], rows)
            for n in range(bounds.shape[1]):
                add_rows(unit, rows, lists, steps, (bounds[g, n, 0], bounds[g, n, 1]), planes)
                first, last = COLUMNS * n, min(COLUMNS * (n + 1), columns)
                part = (last - first, g * columns + first, first)
                sum_digits(unit, planes, part, (tables, own[g]), weighing, b, sums)


def convert_planes_naive(unit, turned, spans, listed, converter, weighing, scratch, sums):
    """The definition, by the naive twins."""
    rows, planes = scratch
    tables, own = converter
    lists, steps, bounds = listed
    columns = own.shape[1]
    for b, g, n in np.ndindex(len(turned), *bounds.shape[:2]):
        pick_rows_naive(unit, turned, b, spans[0][g], spans[1][g], rows)
        add_rows_naive(unit, rows, lists, steps, bounds[g, n], planes)
        first, last = COLUMNS * n, min(COLUMNS * (n + 1), columns)
        part = (last - first, g * columns + first, first)
        sum_digits_naive(unit, planes, part, (tables, own[g]), weighing, b, sums)


@kernel
def fill_digits(unit, x, given, scratch, combining, y):
    """y[p, n] int64 from inputs x uint8 [P, K], as many positions at once as the scratch arrays hold.

    given = (spans, listed, converter, weighing) as in `convert_planes`; combining = (terms, stride, lsb, rest, total) of
    `combine_lanes`; scratch = (buffer uint8 [1024], turned uint8 [B, K rounded up to 16, R], sums int16 [U, G * C, R * B],
    that of `convert_planes`). The call gives up the interpreter's lock once: calls of a few microseconds of Python each made
    two threads wait for each other.
    """
    spans, listed, converter, weighing = given
    terms, stride, lsb, rest, total = combining
    buffer, turned, sums, work = scratch
    width = register_bytes(unit)
    step = width * turned.shape[0]
    for first in range(0, x.shape[0], step):
        last = min(first + step, x.shape[0])
        some = turned[: (last - first + width - 1) // width]
        turn_bytes(x[first:last], buffer, some)
        convert_planes(unit, some, spans, listed, converter, weighing, work, sums)
        rows = sums.reshape(sums.shape[0] * sums.shape[1], sums.shape[2])
        combine_lanes(rows, terms, stride, lsb, rest[first:last], total, y[first:last])


def fill_digits_naive(unit, x, given, scratch, combining, y):
    """The definition, by the naive twins."""
    spans, listed, converter, weighing = given
    terms, stride, lsb, rest, total = combining
    buffer, turned, sums, work = scratch
    step = 32 * len(unit) * len(turned)
    for first in range(0, len(x), step):
        part = slice(first, first + step)
        turn_bytes_naive(x[part], buffer, turned)
        convert_planes_naive(unit, turned, spans, listed, converter, weighing, work, sums)
        rows = sums.reshape(-1, sums.shape[2])
        combine_lanes_naive(rows, terms, stride, lsb, rest[part], total, y[part])
