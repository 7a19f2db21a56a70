"""Draws of one standard deviation from their 16 random bits by tables in registers, 64 at once, with no multiplication.

A draw falls in steps with w, the distance of its 16 bits from the nearer end of their range (0 .. 32767; both ends are alike
but for the sign). Three levels of tables tell which step: buckets of 128 for w >= 2048, of 16 below, single numbers below 256,
as the steps of a normal number are the denser the further it is from its mean. A bucket has the draw at its first number, and
where in it each next step begins.
"""

import numpy as np

from cimemu.kernels.read_noise import noise_words_naive, philox_lanes, philox_lanes_naive
from cimemu.lanes.broad import BROAD, every16_as, high8, load_as, look_up128, look_up256, low8, pick_bytes
from cimemu.lanes.jit import inlined, kernel
from cimemu.lanes.registers import add16, add16_held, both, differ, store, sub16
from cimemu.lanes.words import (
    at_least8,
    even_words,
    less_where_reached,
    more_where_below,
    odd_words,
    pack_signed,
    shift_right16,
    upper_half,
)

MIDDLE, TAIL = 2048, 256  # numbers below have the finer tables
WIDE, FINE = 128, 16  # numbers of a bucket
MIDDLE_AT = 256  # after the single numbers: 128 buckets of FINE, their steps, then 256 of WIDE and theirs


@inlined
def draw_bits(places, counter, key, words, at, bits):
    """Eight registers of bits from byte `at` on: register p has the 16 bits of 32 lanes for column p of an octet."""
    philox_lanes(BROAD, places, counter, key, words)
    for pair in range(4):
        a = load_as(BROAD, words, 128 * pair)
        b = load_as(BROAD, words, 128 * pair + 64)
        store(bits, at + 128 * pair, even_words(a, b))
        store(bits, at + 128 * pair + 64, odd_words(a, b))


def draw_bits_naive(places, counter, key, words, at, bits):
    """The definition: `noise_words` takes the lower half of word p // 2 for an even column p, the upper for an odd one."""
    philox_lanes_naive(BROAD, places, counter, key, words)
    for p in range(8):
        bits[at // 512, p] = words[p // 2] >> np.uint32(16 * (p % 2))


@inlined
def add_drawn_column(bits, place, tables, rule, at, slices, psums):
    """psums[k, l] += margin + draw, held at 65535, for `slices` (1 to 4) slices k; a draw of 16 bits is what `tables` say.

    bits uint16 [4, 8, 32] by `draw_bits`, a slice after the other, `place` the column's in its octet; rule = (byte at which the
    table begins, steps of a fine and a wide bucket, how many w have numbers above 255, margin); at = byte of psums [4, 32].
    """
    table, fine, wide, above, margin = rule
    start = 64 * place
    a = load_as(BROAD, bits, start)
    b = load_as(BROAD, bits, start + 512)
    c = load_as(BROAD, bits, start + 1024)
    d = load_as(BROAD, bits, start + 1536)
    a_up = upper_half(a, a)
    b_up = upper_half(b, b)
    c_up = upper_half(c, c)
    d_up = upper_half(d, d)
    a = differ(a, a_up)
    b = differ(b, b_up)
    c = differ(c, c_up)
    d = differ(d, d_up)
    byte = every16_as(BROAD, 255)
    low = pack_signed(both(a, byte), both(b, byte))
    other_low = pack_signed(both(c, byte), both(d, byte))
    bucket = pack_signed(shift_right16(a, 7), shift_right16(b, 7))
    other_bucket = pack_signed(shift_right16(c, 7), shift_right16(d, 7))
    # where buckets are wide
    where = table + MIDDLE_AT + 128 * (1 + fine)
    seven = every16_as(BROAD, 0x7F7F)
    inside = both(low, seven)
    other_inside = both(other_low, seven)
    drawn = look_up256(tables, where, bucket)
    other = look_up256(tables, where, other_bucket)
    for step in range(wide):
        next_at = where + 256 * (1 + step)
        drawn = less_where_reached(drawn, inside, look_up256(tables, next_at, bucket))
        other = less_where_reached(other, other_inside, look_up256(tables, next_at, other_bucket))
    # below MIDDLE
    where = table + MIDDLE_AT
    four = every16_as(BROAD, 0x0F0F)
    inside = both(low, four)
    other_inside = both(other_low, four)
    fine_bucket = pack_signed(shift_right16(a, 4), shift_right16(b, 4))
    other_fine = pack_signed(shift_right16(c, 4), shift_right16(d, 4))
    finer = look_up128(tables, where, fine_bucket)
    other_finer = look_up128(tables, where, other_fine)
    for step in range(fine):
        next_at = where + 128 * (1 + step)
        finer = less_where_reached(finer, inside, look_up128(tables, next_at, fine_bucket))
        other_finer = less_where_reached(other_finer, other_inside, look_up128(tables, next_at, other_fine))
    sixteen = every16_as(BROAD, 0x1010)
    drawn = pick_bytes(finer, drawn, at_least8(bucket, sixteen))
    other = pick_bytes(other_finer, other, at_least8(other_bucket, sixteen))
    # below TAIL
    two = every16_as(BROAD, 0x0202)
    drawn = pick_bytes(look_up256(tables, table, low), drawn, at_least8(bucket, two))
    other = pick_bytes(look_up256(tables, table, other_low), other, at_least8(other_bucket, two))
    nothing = every16_as(BROAD, 0)
    offset = every16_as(BROAD, margin)
    limit = every16_as(BROAD, above)
    add_signed(psums, at, low8(drawn, nothing), a, a_up, limit, offset)
    if slices > 1:
        add_signed(psums, at + 64, high8(drawn, nothing), b, b_up, limit, offset)
    if slices > 2:
        add_signed(psums, at + 128, low8(other, nothing), c, c_up, limit, offset)
    if slices > 3:
        add_signed(psums, at + 192, high8(other, nothing), d, d_up, limit, offset)


def add_drawn_column_naive(bits, place, tables, rule, at, slices, psums):
    """The definition: the number that the tables have for each draw."""
    table, fine, wide, above, margin = rule
    numbers = numbers_of(tables[table:], (fine, wide), above)
    flat = psums.reshape(-1)
    for k in range(slices):
        for lane in range(32):
            drawn = int(bits[k, place, lane])
            number = int(numbers[min(drawn, 65535 - drawn)])
            to = at // 2 + 32 * k + lane
            flat[to] = min(int(flat[to]) + int(margin) + (number if drawn >= 32768 else -number), 65535)


@inlined
def add_signed(psums, at, number, w, up, limit, offset):
    """A register of psums from byte `at` on += offset + number, or - number where `up` is 0; 256 more where w < limit."""
    number = more_where_below(number, w, limit)
    moved = sub16(add16(offset, up), differ(number, up))  # up is 65535: offset - 1 - ~number
    store(psums, at, add16_held(load_as(BROAD, psums, at), moved))


def add_signed_naive(psums, at, number, w, up, limit, offset):
    """The definition."""
    flat = psums.reshape(-1)
    for lane in range(32):
        size = int(number[lane]) + 256 * (w[lane] < limit[lane])
        to = at // 2 + lane
        flat[to] = min(int(flat[to]) + int(offset[lane]) + (size if up[lane] else -size), 65535)


@kernel
def noise_by_tables(psums, columns, step, noise, places, scratch):
    """As `noise_words` where every draw has a table: psums uint16 [>= columns, 4, 32].

    noise = (noise of `noise_words`, (tables uint8, rules int64 [S, G, C, 5]: byte at which the column's table begins, steps of
    its fine and its wide buckets, how many w have numbers above 255, how many columns from it on share its random bits));
    scratch = (words uint32 [4, 32], bits uint16 [4, 8, 32]).
    """
    (keys, numbers, _, groups, _, _, limits), (tables, rules) = noise
    margins, slices, per_unit = limits
    words, bits = scratch
    g, u = step
    here = min(per_unit, slices - u * per_unit)
    for s in range(keys.shape[0]):
        start = columns[0]
        while start < columns[1]:
            key = keys[s, g, start]
            word = np.uint64((groups[g] << 16) | (numbers[s, start] >> 3))
            stop = min(columns[1], start + rules[s, g, start, 4])
            for k in range(here):
                draw_bits(places, (word, np.uint64(u * per_unit + k)), key, words, 512 * k, bits)
            for c in range(start, stop):
                rule = (rules[s, g, c, 0], rules[s, g, c, 1], rules[s, g, c, 2], rules[s, g, c, 3], margins[s])
                add_drawn_column(bits, numbers[s, c] & 7, tables, rule, 256 * (c - columns[0]), here, psums)
            start = stop


def noise_by_tables_naive(psums, columns, step, noise, places, scratch):
    """The definition: the draws of `noise_words`."""
    noise_words_naive(psums, columns, step, noise[0], places, scratch[0])


def numbers_of(table, steps, above):
    """[32768] the number that a table has for every w."""
    fine, wide = steps
    w = np.arange(32768)
    parts = []
    for first, count, width, most in (
        (MIDDLE_AT, 128, FINE, fine),
        (MIDDLE_AT + 128 * (1 + fine), 256, WIDE, wide),
    ):
        rows = table[first : first + count * (1 + most)].astype(np.int64).reshape(1 + most, count)
        bucket = w // width % count
        parts.append(rows[0][bucket] - (w % width >= rows[1:, bucket]).sum(axis=0))
    found = np.where(w < MIDDLE, parts[0], parts[1])
    tail = table[:TAIL][w % TAIL].astype(np.int64)
    return np.where(w < TAIL, tail, found) + 256 * (w < above)


def draw_table(numbers, steps):
    """(table uint8, how many w have numbers above 255) of numbers [32768] that fall with w, or None where bytes hold no table.

    steps = (most of a bucket of FINE, of WIDE), as `most_steps` finds them.
    """
    if int(numbers[TAIL]) > 255 or int(numbers[0]) > 511:
        return None
    parts = [numbers[:TAIL] % 256]
    for first, last, width, most in ((0, MIDDLE, FINE, steps[0]), (0, len(numbers), WIDE, steps[1])):
        buckets = np.minimum(numbers[first:last], 255).reshape(-1, width)
        parts.append(buckets[:, 0])
        parts += [(buckets > buckets[:, :1] - t - 1).sum(axis=1) for t in range(most)]
    return np.concatenate(parts).astype(np.uint8), int((numbers > 255).sum())


def most_steps(numbers):
    """(most steps of a bucket of FINE where such are used, of WIDE) of numbers [32768]."""
    fine = numbers[TAIL:MIDDLE].reshape(-1, FINE)
    wide = numbers[MIDDLE:].reshape(-1, WIDE)
    return int((fine[:, 0] - fine[:, -1]).max()), int((wide[:, 0] - wide[:, -1]).max())


def numbers_of_sigma(sigma, quantiles):
    """[32768] what a draw of sigma is for every w, or None where both ends are not alike (a tie is rounded upwards)."""
    upper = (sigma * quantiles[:32767:-1].astype(np.int64) + 2**31) >> 32
    lower = -((sigma * quantiles[:32768].astype(np.int64) + 2**31) >> 32)
    return upper if np.array_equal(upper, lower) else None
