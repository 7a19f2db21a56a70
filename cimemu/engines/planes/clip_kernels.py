"""Clipped columns as bit planes in registers of 32 bytes, from inputs to outputs.

A code that is held to 2^bits - 1 needs no table: where a higher plane has a bit, all lower ones are set. Bytes of two planes
side by side are weighed by one instruction.
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
from cimemu.lanes.bits import without
from cimemu.lanes.broad import NARROW
from cimemu.lanes.jit import kernel
from cimemu.lanes.nibbles import ORDER, turn_bytes, turn_bytes_naive
from cimemu.lanes.registers import (
    add16,
    both,
    either,
    every8,
    every16,
    interleave_high,
    interleave_low,
    load,
    store,
    weigh_pairs,
)


@kernel
def clip_planes(planes, part, masks, signed, block, sums):
    """sums[j, 32 * block + p] = sum_i 2^i * code of number j at (p, i), -2^7 for i = 7 where `signed`.

    planes uint8 [.., P, 32], lanes in ORDER: numbers j of part = (first, last) from row KEPT on. Codes are numbers
    held to 2^bits - 1, bits <= 7: masks uint8 [PLANES, 32] are all ones in planes below it. sums int16 [C, P], modulo 2^16.
    """
    zero = every8(0)
    size = 32 * planes.shape[1]
    w01, w23, w45, w6 = every16(0x0201), every16(0x0804), every16(0x2010), every16(0x0040)
    for j in range(part[0], part[1]):
        at = size * (KEPT + j - part[0])
        above = load(planes, at + 224)
        for k in range(PLANES, planes.shape[1]):
            above = either(above, load(planes, at + 32 * k))
        for k in range(1, PLANES - 1):
            above = either(above, without(load(planes, at + 32 * k), load(masks, 32 * k)))
        s0 = either(load(planes, at), above)
        s1 = both(either(load(planes, at + 32), above), load(masks, 32))
        s2 = both(either(load(planes, at + 64), above), load(masks, 64))
        s3 = both(either(load(planes, at + 96), above), load(masks, 96))
        s4 = both(either(load(planes, at + 128), above), load(masks, 128))
        s5 = both(either(load(planes, at + 160), above), load(masks, 160))
        s6 = both(either(load(planes, at + 192), above), load(masks, 192))
        a, b, c, d = interleave_low(s0, s1), interleave_low(s2, s3), interleave_low(s4, s5), interleave_low(s6, zero)
        out = (j * sums.shape[1] + 32 * block) * 2
        if signed:
            a, b, c, d = weigh_pairs(w01, a), weigh_pairs(w23, b), weigh_pairs(w45, c), weigh_pairs(w6, d)
        else:
            a, b, c, d = weigh_pairs(a, w01), weigh_pairs(b, w23), weigh_pairs(c, w45), weigh_pairs(d, w6)
        store(sums, out, add16(add16(a, b), add16(c, d)))
        a, b, c, d = (
            interleave_high(s0, s1),
            interleave_high(s2, s3),
            interleave_high(s4, s5),
            interleave_high(s6, zero),
        )
        if signed:
            a, b, c, d = weigh_pairs(w01, a), weigh_pairs(w23, b), weigh_pairs(w45, c), weigh_pairs(w6, d)
        else:
            a, b, c, d = weigh_pairs(a, w01), weigh_pairs(b, w23), weigh_pairs(c, w45), weigh_pairs(d, w6)
        store(sums, out + 32, add16(add16(a, b), add16(c, d)))


def clip_planes_naive(planes, part, masks, signed, block, sums):
    """The definition, a position at a time."""
    bits = int((masks[:, 0] == 255).sum())
    for j in range(*part):
        mine = planes[KEPT + j - part[0]]
        numbers = np.unpackbits(mine, axis=1, bitorder="little").astype(np.int64).reshape(len(mine), 32, 8)
        codes = np.minimum((numbers << np.arange(len(mine))[:, None, None]).sum(axis=0), 2**bits - 1)
        total = codes @ np.array([1, 2, 4, 8, 16, 32, 64, -128 if signed else 128])
        sums[j, 32 * block + ORDER] = (total + 32768) % 65536 - 32768


@kernel
def sum_planes(turned, spans, listed, rule, scratch, sums):
    """sums[g * C + c, 32 * b + p] = sum over input slices of 2^i * min(psum, 2^bits - 1); signed: the last one negative.

    turned uint8 [B, K, 32] as `turn_bytes` leaves it, spans = (starts, stops) of the groups' rows; listed = what
    `list_columns` makes of COLUMNS at once; rule = (masks, signed) of `clip_planes`; scratch = (rows uint8 [R + 1, 32],
    planes uint8 [KEPT + COLUMNS, P, 32]), zeros on entry; sums int16 [G * C, 32 * B].
    """
    rows, planes = scratch
    masks, signed = rule
    lists, steps, bounds = listed
    columns = sums.shape[0] // bounds.shape[0]
    for b in range(turned.shape[0]):
        for g in range(bounds.shape[0]):
            pick_rows(NARROW, turned, b, spans[0][g], spans[1][g], rows)
            for n in range(bounds.shape[1]):
                add_rows(NARROW, rows, lists, steps, (bounds[g, n, 0], bounds[g, n, 1]), planes)
                first, last = COLUMNS * n, min(COLUMNS * (n + 1), columns)
                clip_planes(planes, (g * columns + first, g * columns + last), masks, signed, b, sums)


def sum_planes_naive(turned, spans, listed, rule, scratch, sums):
    """The definition, by the naive twins."""
    rows, planes = scratch
    lists, steps, bounds = listed
    columns = len(sums) // len(bounds)
    for b, g, n in np.ndindex(len(turned), *bounds.shape[:2]):
        pick_rows_naive(NARROW, turned, b, spans[0][g], spans[1][g], rows)
        add_rows_naive(NARROW, rows, lists, steps, bounds[g, n], planes)
        first, last = g * columns + COLUMNS * n, g * columns + min(COLUMNS * (n + 1), columns)
        clip_planes_naive(planes, (first, last), *rule, b, sums)


@kernel
def fill_planes(x, spans, listed, rule, scratch, combining, y):
    """y[p, n] int64 from inputs x uint8 [P, K], as many positions at once as the scratch arrays hold.

    spans, listed, rule as in `sum_planes`; combining = (terms, stride, lsb, rest, total) of `combine_lanes`; scratch =
    (buffer uint8 [1024], turned uint8 [B, K rounded up to 16, 32], sums int16 [G * C, 32 * B], that of `sum_planes`).
    """
    terms, stride, lsb, rest, total = combining
    buffer, turned, sums, planes = scratch
    step = 32 * turned.shape[0]
    for first in range(0, x.shape[0], step):
        last = min(first + step, x.shape[0])
        some = turned[: (last - first + 31) // 32]
        turn_bytes(x[first:last], buffer, some)
        sum_planes(some, spans, listed, rule, planes, sums)
        combine_lanes(sums, terms, stride, lsb, rest[first:last], total, y[first:last])


def fill_planes_naive(x, spans, listed, rule, scratch, combining, y):
    """The definition, by the naive twins."""
    terms, stride, lsb, rest, total = combining
    buffer, turned, sums, planes = scratch
    step = 32 * len(turned)
    for first in range(0, len(x), step):
        part = slice(first, first + step)
        turn_bytes_naive(x[part], buffer, turned)
        sum_planes_naive(turned, spans, listed, rule, planes, sums)
        combine_lanes_naive(sums, terms, stride, lsb, rest[part], total, y[part])
