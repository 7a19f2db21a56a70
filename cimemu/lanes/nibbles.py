"""Input bits four at a time: the indices of 16-entry tables (their entries: see `nibble_tables`).

A driven slice gives one bit for every (row, DAC bit); four of them in a row make a nibble, and what a column sums for
the nibble is one of 16 numbers that are known when the cells are written (the method of four Russians). 32 positions
lie side by side, one a byte. Their order inside a register is ORDER, so that words made by interleaving the low
and the high half of registers come out in the order of positions.
"""

import numpy as np

from cimemu.lanes.jit import kernel
from cimemu.lanes.registers import (
    both,
    either,
    every8,
    interleave_high,
    interleave_low,
    load,
    shift_left,
    shift_right,
    store,
)
from cimemu.lanes.turns import load_halves

ORDER = np.array([*range(0, 8), *range(16, 24), *range(8, 16), *range(24, 32)])


@kernel
def turn_bytes(x, buffer, turned):
    """turned[b, r, 32 * h + l] = x[R * b + 32 * h + ORDER[l], r]: positions of a row side by side; beyond x there are zeros.

    x uint8 [P, K], C-contiguous; buffer uint8 [1024]; turned uint8 [ceil(P / R), K rounded up to 16, R], R a multiple of 32. A
    16 x 16 block of bytes is turned by four rounds of interleaving, two blocks at once in the halves of a register.
    """
    points, rows = x.shape
    columns, width = turned.shape[1], turned.shape[2]
    parts = width >> 5
    for b in range(turned.shape[0] * parts):
        for r in range(0, columns, 16):
            if 32 * b + 32 <= points and r + 16 <= rows:
                for j in range(16):
                    first = (32 * b + (j if j < 8 else j + 8)) * rows + r
                    store(buffer, 32 * j, load_halves(x, first, first + 8 * rows))
            else:
                for j in range(32):
                    p = 32 * b + (j & 7) + ((j & 8) << 1) + ((j & 16) >> 1)
                    at = 32 * (j & 15) + (j & 16)
                    for i in range(16):
                        buffer[at + i] = x[p, r + i] if p < points and r + i < rows else np.uint8(0)
            source, target = 0, 512
            for _ in range(4):
                for j in range(8):
                    a = load(buffer, source + 32 * j)
                    c = load(buffer, source + 32 * j + 256)
                    store(buffer, target + 64 * j, interleave_low(a, c))
                    store(buffer, target + 64 * j + 32, interleave_high(a, c))
                source, target = target, source
            at = (b // parts * columns + r) * width + b % parts * 32
            for j in range(16):
                store(turned, at + width * j, load(buffer, 32 * j))


def turn_bytes_naive(x, buffer, turned):
    """The definition, a byte at a time."""
    turned[:] = 0
    for b, r, place in np.ndindex(*turned.shape):
        p = turned.shape[2] * b + place // 32 * 32 + int(ORDER[place % 32])
        if p < x.shape[0] and r < x.shape[1]:
            turned[b, r, place] = x[p, r]


@kernel
def make_nibbles(turned, source, wide, numbers, nibbles):
    """nibbles[b, q, u, k, l] bit j is bit `source[q, j] % 16 + slice * dac_bits` of row `source[q, j] // 16`.

    numbers = (slices, dac_bits, per_unit); slice = u * per_unit + k is < slices and k < per_unit, else the nibble is 0;
    so is a bit whose source is negative. Bits from 8 on are 0, or where `wide` those of the row after. turned uint8
    [B, R, 32], source int64 [Q, 4], nibbles uint8 [B, Q, U, 4, 32].
    """
    slices, dac_bits, per_unit = numbers
    blocks, count, units = nibbles.shape[0], nibbles.shape[1], nibbles.shape[2]
    rows = turned.shape[1]
    zero = every8(0)
    one = every8(1)
    for b in range(blocks):
        for q in range(count):
            for u in range(units):
                for k in range(4):
                    slice_ = u * per_unit + k
                    nibble = zero
                    if k < per_unit and slice_ < slices:
                        for j in range(4):
                            at = source[q, j]
                            bit = (at & 15) + slice_ * dac_bits
                            if at >= 0 and bit < (16 if wide else 8):
                                value = load(turned, (b * rows + (at >> 4) + (bit >> 3)) * 32)
                                nibble = either(nibble, shift_left(both(shift_right(value, bit & 7), one), j))
                    store(nibbles, (((b * count + q) * units + u) * 4 + k) * 32, nibble)


def make_nibbles_naive(turned, source, wide, numbers, nibbles):
    """The definition, a bit at a time."""
    slices, dac_bits, per_unit = numbers
    nibbles[:] = 0
    for b, q, u, k, place in np.ndindex(*nibbles.shape):
        slice_ = u * per_unit + k
        for j in range(4):
            row, low = divmod(int(source[q, j]), 16)
            bit = low + slice_ * dac_bits
            if k < per_unit and slice_ < slices and row >= 0:
                value = int(turned[b, row, place]) + (256 * int(turned[b, row + 1, place]) if wide else 0)
                nibbles[b, q, u, k, place] |= ((value >> bit) & 1) << j


@kernel
def make_bit_nibbles(turned, first, nibbles):
    """As `make_nibbles` for eight slices of one bit: nibble q is of rows first[q] .. first[q] + 3 (all must exist).

    An 8 x 4 transposition of bits in every byte: pairs of rows, then pairs of pairs, then the halves of a byte.
    """
    blocks, count = nibbles.shape[0], nibbles.shape[1]
    rows = turned.shape[1]
    m55, maa, m33, mcc, m0f = every8(0x55), every8(0xAA), every8(0x33), every8(0xCC), every8(0x0F)
    for b in range(blocks):
        for q in range(count):
            at = (b * rows + first[q]) * 32
            x0 = load(turned, at)
            x1 = load(turned, at + 32)
            x2 = load(turned, at + 64)
            x3 = load(turned, at + 96)
            even01 = either(both(x0, m55), shift_left(both(x1, m55), 1))
            odd01 = either(both(shift_right(x0, 1), m55), both(x1, maa))
            even23 = either(both(x2, m55), shift_left(both(x3, m55), 1))
            odd23 = either(both(shift_right(x2, 1), m55), both(x3, maa))
            s04 = either(both(even01, m33), shift_left(both(even23, m33), 2))
            s26 = either(both(shift_right(even01, 2), m33), both(even23, mcc))
            s15 = either(both(odd01, m33), shift_left(both(odd23, m33), 2))
            s37 = either(both(shift_right(odd01, 2), m33), both(odd23, mcc))
            out = (b * count + q) * 256
            store(nibbles, out, both(s04, m0f))
            store(nibbles, out + 32, both(s15, m0f))
            store(nibbles, out + 64, both(s26, m0f))
            store(nibbles, out + 96, both(s37, m0f))
            store(nibbles, out + 128, both(shift_right(s04, 4), m0f))
            store(nibbles, out + 160, both(shift_right(s15, 4), m0f))
            store(nibbles, out + 192, both(shift_right(s26, 4), m0f))
            store(nibbles, out + 224, both(shift_right(s37, 4), m0f))


def make_bit_nibbles_naive(turned, first, nibbles):
    """The definition, a bit at a time."""
    nibbles[:] = 0
    for b, q, u, k, place in np.ndindex(*nibbles.shape):
        for j in range(4):
            nibbles[b, q, u, k, place] |= ((int(turned[b, first[q] + j, place]) >> (4 * u + k)) & 1) << j
