"""Draws of one standard deviation from their 16 random bits by tables in registers, 64 at once, with no multiplication.

A draw falls in steps with w, the distance of its 16 bits from the nearer end of their range (0 .. 32767; both ends are alike
but for the sign). Three levels of tables tell which step: buckets of 128 for w >= 2048, of 16 below, single numbers below 256,
as the steps of a normal number are the denser the further it is from its mean. A bucket has the draw at its first number, and
where in it each next step begins.
"""

import numpy as np

from cimemu.kernels.read_noise import noise_words_naive, philox_lanes
from cimemu.lanes.broad import BROAD, every16_as, high8, load_as, look_up128, look_up256, low8, pick_bytes
from cimemu.lanes.jit import inlined, kernel
from cimemu.lanes.registers import add8, add16, add16_held, both, differ, store, sub16
from cimemu.lanes.words import at_least8, even_words, odd_words, pack_signed, shift_right16, upper_half

MIDDLE, TAIL = 2048, 256  # numbers below have the finer tables
WIDE, FINE = 128, 16  # numbers of a bucket
MIDDLE_AT = 256  # after the single numbers: 128 buckets of FINE, their steps, then 256 of WIDE and theirs


@inlined
def add_drawn_pair(words, pair, tables, rule, at, psums):
    """psums[l] += margin + draw of both columns of a pair, held at 65535; a draw of 16 bits is what `tables` say.

    words uint32 [4, 32] by `philox_lanes`: row `pair` has the bits of an even column in its lower half, of the next above;
    rule = (byte at which the table begins, steps of a fine and a wide bucket, how many numbers of the tail begin anew at
    256, margin); at = bytes of psums at which the 32 words of the even and the odd column stand, below 0: none.
    """
    table, fine, wide, wraps, margin = rule
    start = 128 * pair
    a = load_as(BROAD, words, start)
    b = load_as(BROAD, words, start + 64)
    even = even_words(a, b)
    odd = odd_words(a, b)
    even_up = upper_half(even, even)
    odd_up = upper_half(odd, odd)
    even = differ(even, even_up)
    odd = differ(odd, odd_up)
    byte = every16_as(BROAD, 255)
    low = pack_signed(both(even, byte), both(odd, byte))
    bucket = pack_signed(shift_right16(even, 7), shift_right16(odd, 7))
    fine_bucket = pack_signed(shift_right16(even, 4), shift_right16(odd, 4))
    # where buckets are wide
    where = table + MIDDLE_AT + 128 * (1 + fine)
    inside = both(low, every16_as(BROAD, 0x7F7F))
    drawn = look_up256(tables, where, bucket)
    for step in range(wide):
        drawn = add8(drawn, at_least8(inside, look_up256(tables, where + 256 * (1 + step), bucket)))
    # below MIDDLE
    where = table + MIDDLE_AT
    inside = both(low, every16_as(BROAD, 0x0F0F))
    finer = look_up128(tables, where, fine_bucket)
    for step in range(fine):
        finer = add8(finer, at_least8(inside, look_up128(tables, where + 128 * (1 + step), fine_bucket)))
    drawn = pick_bytes(finer, drawn, at_least8(bucket, every16_as(BROAD, 0x1010)))
    # below TAIL
    outside = at_least8(bucket, every16_as(BROAD, 0x0202))
    drawn = pick_bytes(look_up256(tables, table, low), drawn, outside)
    # numbers from 256 on stand in bytes as what is above: no other number of the tail is as small
    wrapped = differ(at_least8(drawn, every16_as(BROAD, 257 * wraps)), every16_as(BROAD, 65535))
    upper = both(both(wrapped, differ(outside, every16_as(BROAD, 65535))), every16_as(BROAD, 0x0101))
    even = low8(drawn, upper)
    odd = high8(drawn, upper)
    offset = every16_as(BROAD, margin)  # of the upper half: offset + number, of the lower: offset - number
    if at[0] >= 0:
        moved = sub16(add16(offset, even_up), differ(even, even_up))
        store(psums, at[0], add16_held(load_as(BROAD, psums, at[0]), moved))
    if at[1] >= 0:
        moved = sub16(add16(offset, odd_up), differ(odd, odd_up))
        store(psums, at[1], add16_held(load_as(BROAD, psums, at[1]), moved))


def add_drawn_pair_naive(words, pair, tables, rule, at, psums):
    """The definition: the number that the tables have for each draw."""
    table, fine, wide, wraps, margin = rule
    numbers = numbers_of(tables[table:], (fine, wide), wraps)
    flat = psums.reshape(-1)
    for half in range(2):
        for lane in range(32 if at[half] >= 0 else 0):
            bits = int(words[pair, lane]) >> 16 * half & 65535
            number = int(numbers[min(bits, 65535 - bits)])
            total = int(flat[at[half] // 2 + lane]) + int(margin) + (number if bits >= 32768 else -number)
            flat[at[half] // 2 + lane] = min(total, 65535)


@kernel
def noise_by_tables(psums, columns, step, noise, places, words):
    """As `noise_words` where every draw has a table: psums uint16 [>= columns, 4, 32].

    noise = (noise of `noise_words`, (tables uint8, rules int64 [S, G, C, 6]: byte at which the column's table begins, steps of
    its fine and its wide buckets, how many of its numbers begin anew at 256, how many columns from it on share its random
    bits, 1 where the next column is the other half of its words and has its table)).
    """
    (keys, numbers, _, groups, _, _, limits), (tables, rules) = noise
    margins, slices, per_unit = limits
    g, u = step
    for s in range(keys.shape[0]):
        start = columns[0]
        while start < columns[1]:
            key = keys[s, g, start]
            word = np.uint64((groups[g] << 16) | (numbers[s, start] >> 3))
            stop = min(columns[1], start + rules[s, g, start, 4])
            for k in range(min(per_unit, slices - u * per_unit)):
                philox_lanes(BROAD, places, (word, np.uint64(u * per_unit + k)), key, words)
                c = start
                while c < stop:
                    place = numbers[s, c] & 7
                    paired = rules[s, g, c, 5] != 0 and c + 1 < stop
                    here = 256 * (c - columns[0]) + 64 * k
                    even = here if paired or not place & 1 else -1
                    odd = here + 256 if paired else here if place & 1 else -1
                    rule = (
                        rules[s, g, c, 0],
                        rules[s, g, c, 1],
                        rules[s, g, c, 2],
                        rules[s, g, c, 3],
                        margins[s],
                    )
                    add_drawn_pair(words, place >> 1, tables, rule, (even, odd), psums)
                    c += 2 if paired else 1
            start = stop


def noise_by_tables_naive(psums, columns, step, noise, places, words):
    """The definition: the draws of `noise_words`."""
    noise_words_naive(psums, columns, step, noise[0], places, words)


def numbers_of(table, steps, wraps):
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
    return np.where(w < TAIL, tail + 256 * (tail < wraps), found)


def draw_table(numbers, steps):
    """(table uint8, numbers that begin anew at 256) of numbers [32768] that fall with w, or None where bytes hold no table.

    steps = (most of a bucket of FINE, of WIDE), as `most_steps` finds them.
    """
    wraps = max(0, int(numbers[0]) - 255)
    if int(numbers[TAIL]) > 255 or int(numbers[TAIL - 1]) < wraps:
        return None
    parts = [numbers[:TAIL] % 256]
    for first, last, width, most in ((0, MIDDLE, FINE, steps[0]), (0, len(numbers), WIDE, steps[1])):
        buckets = np.minimum(numbers[first:last], 255).reshape(-1, width)
        parts.append(buckets[:, 0])
        parts += [(buckets > buckets[:, :1] - t - 1).sum(axis=1) for t in range(most)]
    return np.concatenate(parts).astype(np.uint8), wraps


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
