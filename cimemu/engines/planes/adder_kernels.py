"""One-bit cells as bit planes: 32 positions of eight input slices a register, rows of a column added by bit adders.

Byte p of a row's register is the input of position p as it is: its bits are its slices. What a column sums is the count of
its rows, whose list is known when the cells are written; bit k of all 256 counts is plane k. Two bits are kept as
one of them and their exclusive or, which makes two full adders eight instructions (A. Kojevnikov, A. Kulikov, G.
Yaroslavtsev: Finding efficient circuits using SAT-solvers, SAT 2009: MDFA). Byte p of plane k then weighs its slices by
itself: sum_i 2^i * code = sum_k 2^k * byte.
"""

import numpy as np

from cimemu.lanes.bits import carry_of, load_listed, without
from cimemu.lanes.jit import kernel
from cimemu.lanes.nibbles import ORDER
from cimemu.lanes.popcount import popcount
from cimemu.lanes.registers import (
    add16,
    both,
    differ,
    either,
    every8,
    every16,
    interleave_high,
    interleave_low,
    load,
    store,
    weigh_pairs,
)

PLANES = 8  # of a partial sum: at most 255 rows in a group
STEP = 4  # rows of a list are a multiple of it
COLUMNS = 32  # of a chunk: their partial sums wait in the first-level cache for the converter
KEPT = 1 + COLUMNS // 2  # numbers before those of columns: 0, and what pairs of columns have in common
LEAST_SHARED = 24  # rows: adding fewer twice costs less than keeping their sum


@kernel
def add_pairs(a, x, x_y, u, u_v):
    """(s, c, c ^ d) of a + x + y + u + v = s + 2 * (c + d) on single bits; x_y = x ^ y, u_v = u ^ v."""
    half = differ(a, x_y)
    more = without(differ(u, half), u_v)
    return differ(half, u_v), differ(half, more), differ(either(x_y, differ(x, a)), more)


def add_pairs_naive(a, x, x_y, u, u_v):
    """The definition, a bit at a time."""
    bits = [np.unpackbits(v) for v in (a, x, x ^ x_y, u, u ^ u_v)]
    total = np.sum(bits, axis=0, dtype=np.int64)
    first = np.sum(bits[:3], axis=0, dtype=np.int64)
    second = (first & 1) + bits[3] + bits[4] >> 1
    return np.packbits(total & 1), np.packbits(second), np.packbits((first >> 1) ^ second)


@kernel
def add_rows(rows, lists, steps, part, planes):
    """planes[target] = planes[source] + how many of the listed rows have each bit set, bit k in plane k, step by step.

    rows uint8 [.., 32]; lists uint16: first bytes of rows; steps int64 [S, 4] = (first, last, source, target), those of
    part = (first step, last step) are taken: last - first is a multiple of STEP, `first` .. are places of `lists`; planes
    uint8 [.., PLANES, 32], whose numbers stay below 2^PLANES.
    """
    for step in range(part[0], part[1]):
        at = 256 * steps[step, 2]
        s0 = load(planes, at)
        s1 = load(planes, at + 32)
        s2 = load(planes, at + 64)
        s3 = load(planes, at + 96)
        s4 = load(planes, at + 128)
        s5 = load(planes, at + 160)
        s6 = load(planes, at + 192)
        s7 = load(planes, at + 224)
        j, last = steps[step, 0], steps[step, 1]
        while j + 16 <= last:
            x = load_listed(rows, lists, j)
            u = load_listed(rows, lists, j + 2)
            x_y, u_v = differ(x, load_listed(rows, lists, j + 1)), differ(u, load_listed(rows, lists, j + 3))
            s0, b, b_ = add_pairs(s0, x, x_y, u, u_v)
            x = load_listed(rows, lists, j + 4)
            u = load_listed(rows, lists, j + 6)
            x_y, u_v = differ(x, load_listed(rows, lists, j + 5)), differ(u, load_listed(rows, lists, j + 7))
            s0, c, c_ = add_pairs(s0, x, x_y, u, u_v)
            s1, d, d_ = add_pairs(s1, b, b_, c, c_)
            x = load_listed(rows, lists, j + 8)
            u = load_listed(rows, lists, j + 10)
            x_y, u_v = differ(x, load_listed(rows, lists, j + 9)), differ(u, load_listed(rows, lists, j + 11))
            s0, b, b_ = add_pairs(s0, x, x_y, u, u_v)
            x = load_listed(rows, lists, j + 12)
            u = load_listed(rows, lists, j + 14)
            x_y, u_v = differ(x, load_listed(rows, lists, j + 13)), differ(u, load_listed(rows, lists, j + 15))
            s0, c, c_ = add_pairs(s0, x, x_y, u, u_v)
            s1, e, e_ = add_pairs(s1, b, b_, c, c_)
            s2, b, b_ = add_pairs(s2, d, d_, e, e_)
            c = carry_of(s3, b, b_)
            s3 = differ(s3, b_)
            d = both(s4, c)
            s4 = differ(s4, c)
            c = both(s5, d)
            s5 = differ(s5, d)
            s7 = differ(s7, both(s6, c))
            s6 = differ(s6, c)
            j += 16
        while j < last:
            x = load_listed(rows, lists, j)
            u = load_listed(rows, lists, j + 2)
            x_y, u_v = differ(x, load_listed(rows, lists, j + 1)), differ(u, load_listed(rows, lists, j + 3))
            s0, b, b_ = add_pairs(s0, x, x_y, u, u_v)
            c = carry_of(s1, b, b_)
            s1 = differ(s1, b_)
            d = both(s2, c)
            s2 = differ(s2, c)
            c = both(s3, d)
            s3 = differ(s3, d)
            d = both(s4, c)
            s4 = differ(s4, c)
            c = both(s5, d)
            s5 = differ(s5, d)
            s7 = differ(s7, both(s6, c))
            s6 = differ(s6, c)
            j += 4
        at = 256 * steps[step, 3]
        store(planes, at, s0)
        store(planes, at + 32, s1)
        store(planes, at + 64, s2)
        store(planes, at + 96, s3)
        store(planes, at + 128, s4)
        store(planes, at + 160, s5)
        store(planes, at + 192, s6)
        store(planes, at + 224, s7)


def add_rows_naive(rows, lists, steps, part, planes):
    """The definition, a bit at a time."""
    for first, last, source, target in steps[part[0] : part[1]].tolist():
        total = (np.unpackbits(planes[source], axis=1).astype(np.int64) << np.arange(PLANES)[:, None]).sum(axis=0)
        for row in lists[first:last]:
            total += np.unpackbits(rows.reshape(-1)[row : row + 32])
        planes[target] = np.packbits(total >> np.arange(PLANES)[:, None] & 1, axis=1)


@kernel
def clip_planes(planes, part, masks, signed, block, sums):
    """sums[j, 32 * block + p] = sum_i 2^i * code of number j at (p, i), -2^7 for i = 7 where `signed`.

    planes uint8 [.., PLANES, 32], lanes in ORDER: numbers j of part = (first, last) from row KEPT on. Codes are numbers
    held to 2^bits - 1, bits <= 7: masks uint8 [PLANES, 32] are all ones in planes below it. sums int16 [C, P], modulo 2^16.
    """
    zero = every8(0)
    w01, w23, w45, w6 = every16(0x0201), every16(0x0804), every16(0x2010), every16(0x0040)
    for j in range(part[0], part[1]):
        at = 256 * (KEPT + j - part[0])
        above = load(planes, at + 224)
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
        numbers = np.unpackbits(mine, axis=1, bitorder="little").astype(np.int64).reshape(PLANES, 32, 8)
        codes = np.minimum((numbers << np.arange(PLANES)[:, None, None]).sum(axis=0), 2**bits - 1)
        total = codes @ np.array([1, 2, 4, 8, 16, 32, 64, -128 if signed else 128])
        sums[j, 32 * block + ORDER] = (total + 32768) % 65536 - 32768


@kernel
def pick_rows(turned, block, first, last, rows):
    """Rows first .. last - 1 of a block of `turned` [B, K, 32] as the first of rows [> last - first, 32]."""
    at = block * turned.shape[1] * 32
    for r in range(first, last):
        store(rows, 32 * (r - first), load(turned, at + 32 * r))


def pick_rows_naive(turned, block, first, last, rows):
    """The definition."""
    rows[: last - first] = turned[block, first:last]


@kernel
def sum_planes(turned, spans, listed, rule, scratch, sums):
    """sums[g * C + c, 32 * b + p] = sum over input slices of 2^i * min(psum, 2^bits - 1); signed: the last one negative.

    turned uint8 [B, K, 32] as `turn_bytes` leaves it, spans = (starts, stops) of the groups' rows; listed = what
    `list_columns` makes of COLUMNS at once; rule = (masks, signed) of `clip_planes`; scratch = (rows uint8 [R + 1, 32],
    planes uint8 [KEPT + COLUMNS, PLANES, 32]), zeros on entry; sums int16 [G * C, 32 * B].
    """
    rows, planes = scratch
    masks, signed = rule
    lists, steps, bounds = listed
    columns = sums.shape[0] // bounds.shape[0]
    for b in range(turned.shape[0]):
        for g in range(bounds.shape[0]):
            pick_rows(turned, b, spans[0][g], spans[1][g], rows)
            for n in range(bounds.shape[1]):
                add_rows(rows, lists, steps, (bounds[g, n, 0], bounds[g, n, 1]), planes)
                first, last = COLUMNS * n, min(COLUMNS * (n + 1), columns)
                clip_planes(planes, (g * columns + first, g * columns + last), masks, signed, b, sums)


def sum_planes_naive(turned, spans, listed, rule, scratch, sums):
    """The definition, by the naive twins."""
    rows, planes = scratch
    lists, steps, bounds = listed
    columns = len(sums) // len(bounds)
    for b, g, n in np.ndindex(len(turned), *bounds.shape[:2]):
        pick_rows_naive(turned, b, spans[0][g], spans[1][g], rows)
        add_rows_naive(rows, lists, steps, bounds[g, n], planes)
        first, last = g * columns + COLUMNS * n, g * columns + min(COLUMNS * (n + 1), columns)
        clip_planes_naive(planes, (first, last), *rule, b, sums)


@kernel
def pair_columns(words, at_once, least, partner):
    """partner[c]: the column of the same chunk of `at_once` that shares most rows with c, `least` or more, or -1.

    words uint64 [C, W], a bit for every row; partner int64 [C], symmetric: each column takes the best that is left.
    """
    count = words.shape[0]
    partner[:] = -1
    for c in range(count):
        if partner[c] >= 0:
            continue
        most, best = least - 1, -1
        for other in range(c + 1, min(count, (c // at_once + 1) * at_once)):
            if partner[other] < 0:
                shared = 0
                for w in range(words.shape[1]):
                    shared += popcount(words[c, w] & words[other, w])
                if shared > most:
                    most, best = shared, other
        if best >= 0:
            partner[c] = best
            partner[best] = c


def pair_columns_naive(words, at_once, least, partner):
    """The definition."""
    partner[:] = -1
    for c in range(len(words)):
        left = [o for o in range(c + 1, len(words)) if o // at_once == c // at_once and partner[o] < 0]
        shared = [sum(int(w).bit_count() for w in words[c] & words[o]) for o in left]
        if partner[c] < 0 and shared and max(shared) >= least:
            best = left[shared.index(max(shared))]
            partner[c], partner[best] = best, c


def list_columns(levels, starts, stops, at_once):
    """(lists uint16, steps int64 [S, 4], bounds int64 [G, N, 2]) of one-bit levels [K, C]: what `add_rows` adds.

    Steps bounds[g, n] are columns n * at_once .. of group g, numbers KEPT .. in this order. Rows that two columns share are
    summed first, in numbers 1 .. (a multiple of STEP of them), and both columns go on from there. Steps are taken by length,
    so that branches repeat. Row j of a group is at byte 32 * j, the row of zeros behind the rows of the largest group.
    """
    columns, most = np.arange(levels.shape[1]), int((stops - starts).max())
    lists, steps, bounds, done, begun = [], [], [], 0, 0
    for first, last in zip(starts, stops):
        own = np.ascontiguousarray(levels[first:last].T != 0)
        partner = np.empty(len(columns), dtype=np.int64)
        pair_columns(_packed(own), at_once, LEAST_SHARED, partner)
        leads = np.flatnonzero(partner > columns)
        common = own[leads] & own[partner[leads]]
        count = np.cumsum(common, axis=1)
        common &= count <= count[:, -1:] // STEP * STEP
        new_chunk = np.searchsorted(leads, leads // at_once * at_once)
        source = np.zeros(len(columns), dtype=np.int64)
        source[leads] = source[partner[leads]] = 1 + np.arange(len(leads)) - new_chunk
        own[leads] &= ~common
        own[partner[leads]] &= ~common
        rows = np.concatenate([common, own])
        chunk = np.concatenate([leads, columns]) // at_once
        table = np.stack([np.append(0 * leads, source), np.append(source[leads], KEPT + columns % at_once)], axis=1)
        lengths = -(-rows.sum(axis=1) // STEP) * STEP
        order = np.lexsort((lengths, np.arange(len(rows)) >= len(leads), chunk))
        step, row = np.nonzero(rows[order])
        ends = np.cumsum(lengths[order])
        begins = ends - lengths[order]
        mine = np.full(ends[-1], 32 * most, dtype=np.uint16)
        mine[begins[step] + np.arange(len(step)) - np.searchsorted(step, np.arange(len(rows)))[step]] = 32 * row
        lists.append(mine)
        steps.append(np.column_stack([done + begins, done + ends, table[order]]))
        cuts = np.searchsorted(chunk[order], np.arange(chunk.max() + 2))
        bounds.append(begun + np.stack([cuts[:-1], cuts[1:]], axis=1))
        done, begun = done + len(mine), begun + len(rows)
    return np.concatenate(lists), np.concatenate(steps), np.stack(bounds)


def _packed(bits):
    """uint64 words [C, W] of bits [C, R]."""
    padded = np.pad(bits, [(0, 0), (0, -bits.shape[1] % 64)])
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
