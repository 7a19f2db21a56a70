"""Clipped columns as bit planes, from inputs to outputs, in registers of 32 or 64 bytes.

A code that is held to 2^bits - 1 needs no table: where a higher plane has a bit, all lower ones are set. What byte p of plane
k counts is 2^k times the input slices of position p as they are, so planes are weighed four at a time, by one instruction,
and the columns of an output are added in registers, the column of the largest weight first.
"""

import numpy as np

from cimemu.engines.output_kernels import turn_out
from cimemu.engines.planes.adder_kernels import KEPT, add_rows, add_rows_naive, pick_rows, pick_rows_naive
from cimemu.lanes.broad import (
    every32_as,
    high8,
    high16,
    load_as,
    low8,
    low16,
    register_bytes,
    shift_left32,
    weigh_bytes,
)
from cimemu.lanes.jit import kernel
from cimemu.lanes.nibbles import turn_bytes, turn_bytes_naive
from cimemu.lanes.registers import add32, differ, either, store


@kernel
def weigh_clipped(unit, planes, part, rule, block, totals):
    """totals[n, block] (+)= sum over the columns v of output n of weight v * sum_i 2^i * code of number KEPT + its place at (p, i).

    planes uint8 [.., P, R]; part = (how many outputs, the first, whether they begin at 0); codes are numbers held to
    2^bits - 1. rule = (bits, flip, order): with bytes b of a plane, what is weighed is b ^ flip as an unsigned number (`flip` 0,
    or 128, which adds 128 to a byte whose last slice counts negative); order int64 [V, 4] has a row for every column of an
    output, the largest weight first: (its place, by how many bits what was added before is shifted, the weights of planes 0 .. 3
    and 4 .. 7 as bytes, 0 from `bits` on). totals int32 [N, B, 4, R / 4], a register of 32 bits a position for each fourth.
    """
    bits, flip, order = rule
    width = register_bytes(unit)
    size = width * planes.shape[1]
    zero, turn = every32_as(unit, 0), every32_as(unit, flip * np.int64(0x01010101))
    for n in range(part[0]):
        l0, l1, l2, l3 = zero, zero, zero, zero
        h0, h1, h2, h3 = zero, zero, zero, zero
        for v in range(order.shape[0]):
            at = size * (KEPT + order.shape[0] * n + order[v, 0])
            above = zero
            for k in range(bits, planes.shape[1]):
                above = either(above, load_as(unit, planes, at + width * k))
            if order[v, 1] > 0:
                l0, l1 = shift_left32(l0, order[v, 1]), shift_left32(l1, order[v, 1])
                l2, l3 = shift_left32(l2, order[v, 1]), shift_left32(l3, order[v, 1])
                h0, h1 = shift_left32(h0, order[v, 1]), shift_left32(h1, order[v, 1])
                h2, h3 = shift_left32(h2, order[v, 1]), shift_left32(h3, order[v, 1])
            a = differ(either(load_as(unit, planes, at), above), turn)
            b = differ(either(load_as(unit, planes, at + width), above), turn)
            c = differ(either(load_as(unit, planes, at + 2 * width), above), turn)
            d = differ(either(load_as(unit, planes, at + 3 * width), above), turn)
            w = every32_as(unit, order[v, 2])
            x, y = low8(a, b), low8(c, d)
            l0, l1 = weigh_bytes(l0, low16(x, y), w), weigh_bytes(l1, high16(x, y), w)
            x, y = high8(a, b), high8(c, d)
            l2, l3 = weigh_bytes(l2, low16(x, y), w), weigh_bytes(l3, high16(x, y), w)
            if bits > 4:
                a = differ(either(load_as(unit, planes, at + 4 * width), above), turn)
                b = differ(either(load_as(unit, planes, at + 5 * width), above), turn)
                c = differ(either(load_as(unit, planes, at + 6 * width), above), turn)
                d = differ(either(load_as(unit, planes, at + 7 * width), above), turn)
                w = every32_as(unit, order[v, 3])
                x, y = low8(a, b), low8(c, d)
                h0, h1 = weigh_bytes(h0, low16(x, y), w), weigh_bytes(h1, high16(x, y), w)
                x, y = high8(a, b), high8(c, d)
                h2, h3 = weigh_bytes(h2, low16(x, y), w), weigh_bytes(h3, high16(x, y), w)
        l0, l1 = add32(l0, shift_left32(h0, 4)), add32(l1, shift_left32(h1, 4))
        l2, l3 = add32(l2, shift_left32(h2, 4)), add32(l3, shift_left32(h3, 4))
        out = ((part[1] + n) * totals.shape[1] + block) * 4 * width
        if not part[2]:
            l0, l1 = add32(l0, load_as(unit, totals, out)), add32(l1, load_as(unit, totals, out + width))
            l2, l3 = (
                add32(l2, load_as(unit, totals, out + 2 * width)),
                add32(l3, load_as(unit, totals, out + 3 * width)),
            )
        store(totals, out, l0)
        store(totals, out + width, l1)
        store(totals, out + 2 * width, l2)
        store(totals, out + 3 * width, l3)


def weigh_clipped_naive(unit, planes, part, rule, block, totals):
    """The definition."""
    bits, flip, order = rule
    width, scale = 32 * len(unit), np.cumsum(order[::-1, 1])[::-1] - order[:, 1]
    fourths = np.arange(width).reshape(-1, 4, 4).transpose(1, 0, 2).reshape(4, -1)  # of every 16 places
    for n in range(part[0]):
        total = np.zeros(width, dtype=np.int64)
        for (place, _, *words), shift in zip(order.tolist(), scale.tolist()):
            mine = planes[KEPT + len(order) * n + place]
            slices = np.unpackbits(mine, axis=1, bitorder="little").astype(np.int64).reshape(len(mine), width, 8)
            codes = np.minimum((slices << np.arange(len(mine))[:, None, None]).sum(axis=0), 2**bits - 1)
            weights = np.array(words).astype(np.int32).view(np.int8).astype(np.int64) << (shift + np.repeat([0, 4], 4))
            held = np.packbits((codes[None] >> np.arange(8)[:, None, None]) & 1, axis=2, bitorder="little")[..., 0]
            total += ((held ^ np.uint8(flip)).astype(np.int64) * weights[:, None]).sum(axis=0)
        if not part[2]:
            total[fourths] += totals[part[1] + n, block]
        totals[part[1] + n, block] = total[fourths]


@kernel
def turn_totals(unit, totals, lsb, rest, y):
    """y[p, n] = lsb * (what totals [N, B, 4, R / 4] has of output n at position p) + rest[p], as `weigh_clipped` leaves it.

    lsb within int32; rest int64 [P]; y int64 [P, N].
    """
    width = register_bytes(unit)
    stride = 4 * width * totals.shape[1]
    flat = totals.reshape(-1)
    for first in range(0, y.shape[1], 8):
        last = min(first + 8, y.shape[1])
        for p in range(0, y.shape[0], 8):  # of every 32 positions
            part, quarter = p >> 5, (p >> 3) & 3
            per_block = width >> 5
            at = first * stride + part // per_block * 4 * width + part % per_block * 32
            at += width * (quarter & 2) + 16 * (quarter & 1)
            if last - first == 8 and p + 8 <= y.shape[0]:
                turn_out(totals, (stride, at, at + width), lsb, rest, p, first, y)
                continue
            for lane in range(min(8, y.shape[0] - p)):
                place = (at + (lane >> 2) * width) // 4 + (lane & 3)
                for n in range(first, last):
                    y[p + lane, n] = lsb * np.int64(flat[place + (n - first) * (stride // 4)]) + rest[p + lane]


def turn_totals_naive(unit, totals, lsb, rest, y):
    """The definition: fourth q of a register has places 4q .. 4q + 3 of every 16, positions lie in ORDER."""
    from cimemu.lanes.nibbles import ORDER

    width = 32 * len(unit)
    order = np.concatenate([32 * h + ORDER for h in range(len(unit))])
    fourths = np.arange(width).reshape(-1, 4, 4).transpose(1, 0, 2).reshape(4, -1)
    for p, n in np.ndindex(*y.shape):
        where = np.argwhere(order[fourths] == p % width)[0]
        y[p, n] = lsb * int(totals[n, p // width, where[0], where[1]]) + rest[p]


@kernel
def fill_clipped(unit, x, given, scratch, scale, y):
    """y[p, n] int64 from inputs x uint8 [P, K], as many positions at once as the scratch arrays hold.

    given = (spans, listed, at_once, rule): (starts, stops) of the groups' rows, what `list_columns` makes of the columns of
    `at_once` outputs at once, the rule of `weigh_clipped`; scale = (lsb, rest) of `turn_totals`; scratch = (buffer uint8 [1024],
    turned uint8 [B, K rounded up to 16, R], rows uint8 [> rows of a group, R], planes uint8 [KEPT + COLUMNS, P, R], zeros on
    entry, totals int32 [N, B, 4, R / 4]).
    """
    spans, listed, at_once, rule = given
    buffer, turned, rows, planes, totals = scratch
    lists, steps, bounds = listed
    lsb, rest = scale
    width = register_bytes(unit)
    step, outputs = width * turned.shape[0], totals.shape[0]
    for first in range(0, x.shape[0], step):
        last = min(first + step, x.shape[0])
        some = turned[: (last - first + width - 1) // width]
        turn_bytes(x[first:last], buffer, some)
        for b in range(some.shape[0]):
            for g in range(bounds.shape[0]):
                pick_rows(unit, some, b, spans[0][g], spans[1][g], rows)
                for n in range(bounds.shape[1]):
                    add_rows(unit, rows, lists, steps, (bounds[g, n, 0], bounds[g, n, 1]), planes)
                    part = (min(at_once, outputs - at_once * n), at_once * n, g == 0)
                    weigh_clipped(unit, planes, part, rule, b, totals)
        turn_totals(unit, totals, lsb, rest[first:last], y[first:last])


def fill_clipped_naive(unit, x, given, scratch, scale, y):
    """The definition, by the naive twins."""
    spans, listed, at_once, rule = given
    buffer, turned, rows, planes, totals = scratch
    lists, steps, bounds = listed
    lsb, rest = scale
    step, outputs = 32 * len(unit) * len(turned), len(totals)
    for first in range(0, len(x), step):
        part = slice(first, first + step)
        turn_bytes_naive(x[part], buffer, turned)
        for b, g, n in np.ndindex(len(turned), *bounds.shape[:2]):
            pick_rows_naive(unit, turned, b, spans[0][g], spans[1][g], rows)
            add_rows_naive(unit, rows, lists, steps, bounds[g, n], planes)
            mine = (min(at_once, outputs - at_once * n), at_once * n, g == 0)
            weigh_clipped_naive(unit, planes, mine, rule, b, totals)
        turn_totals_naive(unit, totals, lsb, rest[part], y[part])
