"""One-bit cells as bit planes: 256 columns a register, rows added by full adders, clipped and shift-added as planes.

Only rows whose input bit is set are added (a carry-save counter, eight rows at a time: seven full adders of five
instructions for 256 columns), so the work follows the ones in the inputs. Partial sums, codes and the sums over input
slices stay planes; they become 16-bit numbers once per position and group, when they are weighed into outputs.
"""

import numpy as np

from cimemu.kernels.jit import kernel
from cimemu.kernels.lane_bits import load_listed, majority, parity, store_eight, top_bits
from cimemu.kernels.lanes import (
    add32,
    both,
    differ,
    either,
    every8,
    every32,
    interleave_high,
    interleave_low,
    load,
    shift_left,
    shift_right,
    store,
    weigh_word_pairs,
)

PLANES = 8  # of a partial sum: at most 255 rows in a group
SET_BITS = np.array(  # eight bytes: the places of the bits that are set in a byte, ascending
    [sum(bit << 8 * n for n, bit in enumerate(b for b in range(8) if byte >> b & 1)) for byte in range(256)],
    dtype=np.uint64,
)
ONES = np.array([byte.bit_count() for byte in range(256)], dtype=np.int64)


@kernel
def pick_bits(x, p, starts, stops, buffer, words):
    """words[g, i, w] bit j is bit i of x[p, starts[g] + 64 * w + j]; rows from stops[g] on give 0.

    x uint8 [P, K], C-contiguous; words uint64 [G, I, W]; buffer uint8 [32] is scratch.
    """
    total = x.shape[1]
    for g in range(starts.shape[0]):
        for w in range(words.shape[2]):
            for half in range(2):
                first = starts[g] + 64 * w + 32 * half
                count = min(stops[g] - first, 32)
                move = np.uint64(32 * half)
                if count < 32:
                    store(buffer, 0, every8(0))
                    for j in range(count):
                        buffer[j] = x[p, first + j]
                    values = load(buffer, 0)
                else:
                    values = load(x, p * total + first)
                for i in range(words.shape[1]):
                    bits = top_bits(shift_left(values, 7 - i)) << move
                    words[g, i, w] = bits | (words[g, i, w] if half else np.uint64(0))


def pick_bits_naive(x, p, starts, stops, buffer, words):
    """The definition."""
    words[:] = 0
    for g, i, w in np.ndindex(*words.shape):
        for j, value in enumerate(x[p, starts[g] + 64 * w : min(stops[g], starts[g] + 64 * w + 64)]):
            words[g, i, w] |= np.uint64(((int(value) >> i) & 1) << j)


@kernel
def list_rows(words, rows, lists, counts):
    """lists[i, :counts[i]]: the rows whose bit is set in words[i], ascending, then row `rows` up to a multiple of 8.

    words uint64 [I, W], rows <= 255; lists uint8 [I, >= rows + 16]; counts int64 [I], multiples of 8.
    """
    each, eight = np.uint64(0x0101010101010101), np.uint64(8)
    for i in range(words.shape[0]):
        at = i * lists.shape[1]
        n = at
        for w in range(words.shape[1]):
            word = words[i, w]
            base = np.uint64(64 * w) * each
            while word != 0:
                byte = np.int64(word & np.uint64(255))
                store_eight(lists, n, SET_BITS[byte] + base)
                n += ONES[byte]
                word >>= eight
                base += eight * each
        store_eight(lists, n, np.uint64(rows) * each)
        counts[i] = (n - at + 7) // 8 * 8


def list_rows_naive(words, rows, lists, counts):
    """The definition."""
    for i, own in enumerate(words):
        found = [r for r in range(64 * len(own)) if int(own[r // 64]) >> (r % 64) & 1]
        counts[i] = -(-len(found) // 8) * 8
        lists[i, : counts[i]] = found + [rows] * (counts[i] - len(found))


@kernel
def add_rows(cells, at, lists, counts, bits, planes):
    """planes[k, column]: bit k of sum_i 2^i * min(sum of the rows in lists[i], 2^bits - 1), for 256 columns.

    cells uint8 [.., rows + 1, 32] from byte `at` on, the last row all 0; lists and counts as `list_rows` leaves them;
    planes uint8 [PLANES + 16, 32], the first I + bits of which are the result (the rest is scratch).
    """
    zero = every8(0)
    for i in range(counts.shape[0]):
        s0 = zero
        s1 = zero
        s2 = zero
        s3 = zero
        s4 = zero
        s5 = zero
        s6 = zero
        s7 = zero
        first = i * lists.shape[1]
        for j in range(first, first + counts[i], 8):
            r = load_listed(cells, at, lists, j)
            t = load_listed(cells, at, lists, j + 1)
            c0 = majority(r, t, s0)
            s0 = parity(r, t, s0)
            r = load_listed(cells, at, lists, j + 2)
            t = load_listed(cells, at, lists, j + 3)
            c1 = majority(r, t, s0)
            s0 = parity(r, t, s0)
            d0 = majority(c0, c1, s1)
            s1 = parity(c0, c1, s1)
            r = load_listed(cells, at, lists, j + 4)
            t = load_listed(cells, at, lists, j + 5)
            c0 = majority(r, t, s0)
            s0 = parity(r, t, s0)
            r = load_listed(cells, at, lists, j + 6)
            t = load_listed(cells, at, lists, j + 7)
            c1 = majority(r, t, s0)
            s0 = parity(r, t, s0)
            d1 = majority(c0, c1, s1)
            s1 = parity(c0, c1, s1)
            c = majority(d0, d1, s2)
            s2 = parity(d0, d1, s2)
            r = both(s3, c)
            s3 = differ(s3, c)
            c = both(s4, r)
            s4 = differ(s4, r)
            r = both(s5, c)
            s5 = differ(s5, c)
            c = both(s6, r)
            s6 = differ(s6, r)
            s7 = differ(s7, c)
        store(planes, 512, s0)
        store(planes, 544, s1)
        store(planes, 576, s2)
        store(planes, 608, s3)
        store(planes, 640, s4)
        store(planes, 672, s5)
        store(planes, 704, s6)
        store(planes, 736, s7)
        above = zero
        for k in range(bits, PLANES):
            above = either(above, load(planes, 512 + 32 * k))
        carry = zero
        for k in range(min(bits, PLANES)):
            code = either(load(planes, 512 + 32 * k), above)
            if i == 0:
                store(planes, 32 * k, code)
            else:
                old = load(planes, 32 * (i + k))
                store(planes, 32 * (i + k), parity(old, code, carry))
                carry = majority(old, code, carry)
        if i + bits < 16:
            store(planes, 32 * (i + bits), carry)


def add_rows_naive(cells, at, lists, counts, bits, planes):
    """The definition, a column at a time."""
    flat = cells.reshape(-1, 32)[at // 32 :]
    total = np.zeros(256, dtype=np.int64)
    for i, count in enumerate(counts):
        ones = np.unpackbits(flat[lists[i, :count]], axis=1, bitorder="little").sum(axis=0, dtype=np.int64)
        total += np.minimum(ones, 2**bits - 1) << i
    used = len(counts) + bits
    planes[:used] = np.packbits((total >> np.arange(used)[:, None]) & 1, axis=1, bitorder="little")


@kernel
def turn_planes(planes, numbers):
    """numbers[8 * h + t, 16 words]: the 16-bit numbers of columns 8 * b + t, b the bytes that interleaving half h takes.

    planes uint8 [>= 16, 32]; numbers uint16 [16, 16], row 2 * t + h. An 8 x 8 transposition of bits in every byte of
    eight planes, twice.
    """
    m55, maa, m33, mcc, m0f, mf0 = every8(0x55), every8(0xAA), every8(0x33), every8(0xCC), every8(0x0F), every8(0xF0)
    for half in range(2):
        at = 256 * half
        for k in range(4):
            a = load(planes, at + 32 * k)
            b = load(planes, at + 32 * k + 128)
            store(planes, at + 32 * k, either(both(a, m0f), shift_left(both(b, m0f), 4)))
            store(planes, at + 32 * k + 128, either(shift_right(both(a, mf0), 4), both(b, mf0)))
        for j in range(2):
            for k in range(2):
                here = at + 128 * j + 32 * k
                a = load(planes, here)
                b = load(planes, here + 64)
                store(planes, here, either(both(a, m33), shift_left(both(b, m33), 2)))
                store(planes, here + 64, either(shift_right(both(a, mcc), 2), both(b, mcc)))
        for j in range(4):
            here = at + 64 * j
            a = load(planes, here)
            b = load(planes, here + 32)
            store(planes, here, either(both(a, m55), shift_left(both(b, m55), 1)))
            store(planes, here + 32, either(shift_right(both(a, maa), 1), both(b, maa)))
    for t in range(8):
        a = load(planes, 32 * t)
        b = load(planes, 256 + 32 * t)
        store(numbers, 64 * t, interleave_low(a, b))
        store(numbers, 64 * t + 32, interleave_high(a, b))


def turn_planes_naive(planes, numbers):
    """The definition; the planes are left as scratch."""
    bits = np.unpackbits(planes[:16], axis=1, bitorder="little").astype(np.int64)
    columns = (bits << np.arange(16)[:, None]).sum(axis=0)
    for t in range(8):
        for h in range(2):
            taken = [*range(8 * h, 8 * h + 8), *range(16 + 8 * h, 24 + 8 * h)]
            numbers[2 * t + h] = [columns[8 * b + t] for b in taken]


@kernel
def sum_planes(x, spans, cells, rows, factors, rule, scratch, y):
    """y[p, n] = lsb * (sum over groups and conversions v of weight[v] * S[p, g, n, v]) + rest[p].

    S = sum_i 2^i * min(psum, 2^bits - 1), below 2^15. x uint8 [P, K]; spans = (starts, stops) of the groups' rows; cells
    uint8 [G, blocks, rows + 1, 32] as `plane_cells` places them; factors int32 [J]: weights of two conversions as 16-bit
    halves; rule = (bits, lsb, rest int64 [P]); scratch = (buffer, words uint64 [G, I, W], lists, counts, planes,
    numbers, total int32 [Q, 8]).
    """
    starts, stops = spans
    bits, lsb, rest = rule
    buffer, words, lists, counts, planes, numbers, total = scratch
    groups, blocks = cells.shape[0], cells.shape[1]
    pairs = factors.shape[0]
    for p in range(x.shape[0]):
        pick_bits(x, p, starts, stops, buffer, words)
        for q in range(total.shape[0]):
            store(total, 32 * q, every8(0))
        for g in range(groups):
            list_rows(words[g], rows, lists, counts)
            for block in range(blocks):
                store(planes, 480, every8(0))
                add_rows(cells, (g * blocks + block) * (rows + 1) * 32, lists, counts, bits, planes)
                for k in range(counts.shape[0] + bits, 16):
                    store(planes, 32 * k, every8(0))
                turn_planes(planes, numbers)
                slot = 16 * block
                q = slot // pairs
                j = slot - q * pairs
                for row in range(16):
                    if q < total.shape[0]:
                        part = weigh_word_pairs(load(numbers, 32 * row), every32(factors[j]))
                        store(total, 32 * q, add32(load(total, 32 * q), part))
                    j += 1
                    if j == pairs:
                        j = 0
                        q += 1
        base = rest[p]
        for q in range(total.shape[0]):
            for d in range(min(8, y.shape[1] - 8 * q)):
                y[p, 8 * q + d] = lsb * np.int64(total[q, d]) + base


def sum_planes_naive(x, spans, cells, rows, factors, rule, scratch, y):
    """The definition, by the naive twins and the places of columns."""
    bits, lsb, rest = rule
    buffer, words, lists, counts, planes, numbers, _ = scratch
    halves = [(int(np.int16(f & 65535)), int(f) >> 16) for f in factors]
    for p in range(len(x)):
        pick_bits_naive(x, p, *spans, buffer, words)
        total = np.zeros(y.shape[1], dtype=np.int64)
        for g, block in np.ndindex(*cells.shape[:2]):
            list_rows_naive(words[g], rows, lists, counts)
            planes[:] = 0
            add_rows_naive(cells[g, block], 0, lists, counts, bits, planes)
            turn_planes_naive(planes, numbers)
            for slot, row in enumerate(numbers.astype(np.int64), 16 * block):
                q, j = divmod(slot, len(factors))
                for d in range(8):
                    if 8 * q + d < len(total):
                        total[8 * q + d] += row[2 * d] * halves[j][0] + row[2 * d + 1] * halves[j][1]
        y[p] = lsb * total + rest[p]


def plane_cells(levels, starts, stops, conversions):
    """(cells uint8 [G, blocks, rows + 1, 32]) of one-bit levels [K, N * V], each column where `sum_planes` looks for it."""
    outputs = levels.shape[1] // conversions
    pairs, rows = -(-conversions // 2), int((stops - starts).max())
    blocks = -(-((outputs + 7) // 8) * pairs // 16)
    n, v = np.divmod(np.arange(outputs * conversions), conversions)
    slot = n // 8 * pairs + v // 2
    word = 2 * (n % 8) + v % 2
    byte = word % 8 + 8 * (slot % 2) + 16 * (word // 8)
    place = slot // 16 * 256 + 8 * byte + slot % 16 // 2
    cells = np.zeros((len(starts), blocks, rows + 1, 32), dtype=np.uint8)
    for g, (first, last) in enumerate(zip(starts, stops)):
        bits = np.zeros((last - first, blocks * 256), dtype=np.uint8)
        bits[:, place] = levels[first:last]
        packed = np.packbits(bits, axis=1, bitorder="little").reshape(last - first, blocks, 32)
        cells[g, :, : last - first] = packed.transpose(1, 0, 2)
    return cells
