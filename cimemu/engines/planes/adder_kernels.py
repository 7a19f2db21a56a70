"""One-bit cells as bit planes: positions of eight input slices in a register, rows of a column added by bit adders.

Byte p of a row's register is the input of position p as it is: its bits are its slices. What a column sums is the count of
its rows, whose list is known when the cells are written; bit k of all counts is plane k. How two bits are kept until they
are added: see `cimemu.lanes.adders`. A register has 32 or 64 positions, as the `unit` says that every kernel is given.
"""

import numpy as np

from cimemu.lanes.adders import add_pairs, carry_of, second, sum_of
from cimemu.lanes.broad import listed_as, load_as, register_bytes
from cimemu.lanes.jit import kernel
from cimemu.lanes.popcount import popcount
from cimemu.lanes.registers import any_bit, both, differ, store
from cimemu.lanes.small import Either

PLANES = 8  # of a partial sum are added in registers; groups of more than 255 rows have as many more in memory
STEP = 4  # rows of a list are a multiple of it
COLUMNS = 32  # of a chunk: their partial sums wait in the first-level cache for the converter
KEPT = 1 + COLUMNS // 2  # numbers before those of columns: 0, and what pairs of columns have in common
SEGMENT = 256  # rows that are added to all columns before the next: as registers they stay in the first-level cache
LEAST_SHARED = 24  # rows: adding fewer twice costs less than keeping their sum


@kernel
def add_above(unit, planes, at, carry):
    """Add the bits `carry` to plane PLANES of the number from byte `at` of planes on, and their carries to those above."""
    width = register_bytes(unit)
    for k in range(PLANES, planes.shape[1]):
        held = load_as(unit, planes, at + width * k)
        store(planes, at + width * k, differ(held, carry))
        carry = both(held, carry)


def add_above_naive(unit, planes, at, carry):
    """The definition: the carry weighs 2^PLANES."""
    number = planes.reshape(-1)[at : at + 32 * len(unit) * planes.shape[1]].reshape(planes.shape[1], -1)
    weights = np.arange(len(number))[:, None]
    total = (np.unpackbits(number, axis=1).astype(np.int64) << weights).sum(axis=0)
    total += np.unpackbits(carry).astype(np.int64) << PLANES
    number[:] = np.packbits(total >> weights & 1, axis=1)


@kernel
def add_rows(unit, rows, lists, steps, part, planes):
    """planes[target] = planes[source] + how many of the listed rows have each bit set, bit k in plane k, step by step.

    rows uint8 [.., R], R bytes a register; lists uint16: rows; steps int64 [S, 4] = (first, last, source, target), those of
    part = (first step, last step) are taken: last - first is a multiple of STEP, `first` .. are places of `lists`; planes
    uint8 [.., P, R], P >= PLANES, whose numbers stay below 2^P.
    """
    width = register_bytes(unit)
    size = width * planes.shape[1]
    more = planes.shape[1] > PLANES
    for step in range(part[0], part[1]):
        at = size * steps[step, 2]
        out = size * steps[step, 3]
        s0 = load_as(unit, planes, at)
        s1 = load_as(unit, planes, at + width)
        s2 = load_as(unit, planes, at + 2 * width)
        s3 = load_as(unit, planes, at + 3 * width)
        s4 = load_as(unit, planes, at + 4 * width)
        s5 = load_as(unit, planes, at + 5 * width)
        s6 = load_as(unit, planes, at + 6 * width)
        s7 = load_as(unit, planes, at + 7 * width)
        for k in range(PLANES, planes.shape[1]):
            store(planes, out + width * k, load_as(unit, planes, at + width * k))
        j, last = steps[step, 0], steps[step, 1]
        while j + 16 <= last:
            x = listed_as(unit, rows, lists, j)
            u = listed_as(unit, rows, lists, j + 2)
            x_y = second(x, listed_as(unit, rows, lists, j + 1))
            s0, b, b_ = add_pairs(s0, x, x_y, u, second(u, listed_as(unit, rows, lists, j + 3)))
            x = listed_as(unit, rows, lists, j + 4)
            u = listed_as(unit, rows, lists, j + 6)
            x_y = second(x, listed_as(unit, rows, lists, j + 5))
            s0, c, c_ = add_pairs(s0, x, x_y, u, second(u, listed_as(unit, rows, lists, j + 7)))
            s1, d, d_ = add_pairs(s1, b, b_, c, c_)
            x = listed_as(unit, rows, lists, j + 8)
            u = listed_as(unit, rows, lists, j + 10)
            x_y = second(x, listed_as(unit, rows, lists, j + 9))
            s0, b, b_ = add_pairs(s0, x, x_y, u, second(u, listed_as(unit, rows, lists, j + 11)))
            x = listed_as(unit, rows, lists, j + 12)
            u = listed_as(unit, rows, lists, j + 14)
            x_y = second(x, listed_as(unit, rows, lists, j + 13))
            s0, c, c_ = add_pairs(s0, x, x_y, u, second(u, listed_as(unit, rows, lists, j + 15)))
            s1, e, e_ = add_pairs(s1, b, b_, c, c_)
            s2, b, b_ = add_pairs(s2, d, d_, e, e_)
            c = carry_of(s3, b, b_)
            s3 = sum_of(s3, b, b_)
            d = both(s4, c)
            s4 = differ(s4, c)
            c = both(s5, d)
            s5 = differ(s5, d)
            d = both(s6, c)
            s6 = differ(s6, c)
            c = both(s7, d)
            s7 = differ(s7, d)
            if more and any_bit(c):
                add_above(unit, planes, out, c)
            j += 16
        while j < last:
            x = listed_as(unit, rows, lists, j)
            u = listed_as(unit, rows, lists, j + 2)
            x_y = second(x, listed_as(unit, rows, lists, j + 1))
            s0, b, b_ = add_pairs(s0, x, x_y, u, second(u, listed_as(unit, rows, lists, j + 3)))
            c = carry_of(s1, b, b_)
            s1 = sum_of(s1, b, b_)
            d = both(s2, c)
            s2 = differ(s2, c)
            c = both(s3, d)
            s3 = differ(s3, d)
            d = both(s4, c)
            s4 = differ(s4, c)
            c = both(s5, d)
            s5 = differ(s5, d)
            d = both(s6, c)
            s6 = differ(s6, c)
            c = both(s7, d)
            s7 = differ(s7, d)
            if more and any_bit(c):
                add_above(unit, planes, out, c)
            j += 4
        store(planes, out, s0)
        store(planes, out + width, s1)
        store(planes, out + 2 * width, s2)
        store(planes, out + 3 * width, s3)
        store(planes, out + 4 * width, s4)
        store(planes, out + 5 * width, s5)
        store(planes, out + 6 * width, s6)
        store(planes, out + 7 * width, s7)


def add_rows_naive(unit, rows, lists, steps, part, planes):
    """The definition, a bit at a time."""
    weights = np.arange(planes.shape[1])[:, None]
    for first, last, source, target in steps[part[0] : part[1]].tolist():
        total = (np.unpackbits(planes[source], axis=1).astype(np.int64) << weights).sum(axis=0)
        for row in lists[first:last]:
            total += np.unpackbits(rows[row])
        planes[target] = np.packbits(total >> weights & 1, axis=1)


@kernel
def pick_rows(unit, turned, block, first, last, rows):
    """Rows first .. last - 1 of a block of `turned` [B, K, R] as the first of rows [> last - first, R]."""
    width = register_bytes(unit)
    at = block * turned.shape[1] * width
    for r in range(first, last):
        store(rows, width * (r - first), load_as(unit, turned, at + width * r))


def pick_rows_naive(unit, turned, block, first, last, rows):
    """The definition."""
    rows[: last - first] = turned[block, first:last]


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


PAIRING = Either(pair_columns, pair_columns_naive)


def list_columns(levels, starts, stops, at_once):
    """(lists uint16, steps int64 [S, 4], bounds int64 [G, N, 2]) of one-bit levels [K, C]: what `add_rows` adds.

    Steps bounds[g, n] are columns n * at_once .. of group g, numbers KEPT .. in this order. Rows that two columns share are
    summed first, in numbers 1 .. (a multiple of STEP of them), and both columns go on from there. SEGMENT rows are added to
    all of these numbers before the next. Steps are taken by length, so that branches repeat. Rows count from the first of
    their group; the row of zeros stands behind those of the largest group.
    """
    most = int((stops - starts).max())
    lists, steps, bounds, done, begun = [], [], [], 0, 0
    for first, last in zip(starts, stops):
        rows, chunk, table = _shared(np.ascontiguousarray(levels[first:last].T != 0), at_once)
        parts, places = [], []
        for low in range(0, max(1, last - first), SEGMENT):
            part = np.zeros_like(rows)
            part[:, low : low + SEGMENT] = rows[:, low : low + SEGMENT]
            parts.append(part)
            places.append(np.stack([table[:, 0] if low == 0 else table[:, 1], table[:, 1]], axis=1))
        count = len(parts)
        segment = np.repeat(np.arange(count), len(rows))
        rows, table, chunk = np.concatenate(parts), np.concatenate(places), np.tile(chunk, count)
        lengths = -(-rows.sum(axis=1) // STEP) * STEP
        order = np.lexsort((lengths, segment, table[:, 1] >= KEPT, chunk))
        step, row = np.nonzero(rows[order])
        ends = np.cumsum(lengths[order])
        begins = ends - lengths[order]
        mine = np.full(ends[-1], most, dtype=np.uint16)
        mine[begins[step] + np.arange(len(step)) - np.searchsorted(step, np.arange(len(rows)))[step]] = row
        lists.append(mine)
        steps.append(np.column_stack([done + begins, done + ends, table[order]]))
        cuts = np.searchsorted(chunk[order], np.arange(chunk.max() + 2))
        bounds.append(begun + np.stack([cuts[:-1], cuts[1:]], axis=1))
        done, begun = done + len(mine), begun + len(rows)
    return np.concatenate(lists), np.concatenate(steps), np.stack(bounds)


def _shared(own, at_once):
    """(rows bool [n, R] to be added, chunk [n], [n, 2] = (source, target)) of columns bool [C, R]: pairs' common rows first."""
    columns = np.arange(len(own))
    partner = np.empty(len(columns), dtype=np.int64)
    PAIRING(_packed(own), at_once, LEAST_SHARED, partner)
    leads = np.flatnonzero(partner > columns)
    common = own[leads] & own[partner[leads]]
    count = np.cumsum(common, axis=1)
    common &= count <= count[:, -1:] // STEP * STEP
    new_chunk = np.searchsorted(leads, leads // at_once * at_once)
    source = np.zeros(len(columns), dtype=np.int64)
    source[leads] = source[partner[leads]] = 1 + np.arange(len(leads)) - new_chunk
    own[leads] &= ~common
    own[partner[leads]] &= ~common
    table = np.stack([np.append(0 * leads, source), np.append(source[leads], KEPT + columns % at_once)], axis=1)
    return np.concatenate([common, own]), np.concatenate([leads, columns]) // at_once, table


def _packed(bits):
    """uint64 words [C, W] of bits [C, R]."""
    padded = np.pad(bits, [(0, 0), (0, -bits.shape[1] % 64)])
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
