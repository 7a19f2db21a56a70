"""Counter-based random words: a key and four counter words in, 128 random bits out, in integers only.

Philox-4x32-10 (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A draw is a function of
its key alone, so neither threads, nor batches, nor the order of work, nor other draws can change it. Gaussian
numbers are looked up in a table of 2^16 quantiles that is shipped with the package: integers in units of 2^-24
sigma at the middle of each of 2^16 equally likely intervals, so the tails end at +-4.33 sigma.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from cimemu.lanes.jit import kernel

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
W0, W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
SIXTEEN = np.uint64(16)
QUANTILE_BITS = 24  # a quantile of 2^24 is one sigma
QUANTILES_SHA256 = (
    "7341d9e747723b535c2db1e1a45759e37fbdf3fcc4bef50268a8c159a73cba77"  # of the upper half, little-endian int32
)


def stream_key(*parts):
    """The 64-bit key of (seed, trial, model name, instance, ...): the head of the SHA-256 of their decimal text."""
    text = "/".join(str(part) for part in parts)
    return np.uint64(int.from_bytes(sha256(text.encode()).digest()[:8], "little"))


@cache
def normal_quantiles():
    """int32 [65536] ascending: entry i is the normal quantile of (i + 1/2) / 65536, times 2^24, rounded to nearest."""
    upper = np.load(Path(__file__).parent / "normal_quantiles.npy")
    whole = np.concatenate([-upper[::-1], upper])
    whole.setflags(write=False)
    return whole


@kernel
def philox_round(a, b, c, d, k0, k1):
    """One round of `philox` under the halves of its key."""
    p0 = M0 * a
    p1 = M1 * c
    return (p1 >> HALF) ^ b ^ k0, p1 & LOW, (p0 >> HALF) ^ d ^ k1, p0 & LOW


def philox_round_naive(a, b, c, d, k0, k1):
    """The same on Python integers."""
    high0, low0 = divmod(0xD2511F53 * int(a), 2**32)
    high1, low1 = divmod(0xCD9E8D57 * int(c), 2**32)
    return high1 ^ int(b) ^ int(k0), low1, high0 ^ int(d) ^ int(k1), low0


@kernel
def philox(a, b, c, d, key):
    """Four random 32-bit words (in uint64) of counter (a, b, c, d), 32 bits each, under a 64-bit key."""
    k0 = key & LOW
    k1 = key >> HALF
    for _ in range(10):
        a, b, c, d = philox_round(a, b, c, d, k0, k1)
        k0 = (k0 + W0) & LOW
        k1 = (k1 + W1) & LOW
    return a, b, c, d


def philox_naive(a, b, c, d, key):
    """The same on Python integers, as the paper writes it."""
    counter, keys = [int(a), int(b), int(c), int(d)], [int(key) % 2**32, int(key) // 2**32]
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * counter[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * counter[2], 2**32)
        counter = [high1 ^ counter[1] ^ keys[0], low1, high0 ^ counter[3] ^ keys[1], low0]
        keys = [(keys[0] + 0x9E3779B9) % 2**32, (keys[1] + 0xBB67AE85) % 2**32]
    return tuple(counter)


@kernel
def cell_words(key, macro, first_row, first_column, write, draw, words):
    """words[r, c] are 64 random bits of the cell at (first_row + r, first_column + c) of a macro.

    `write` counts the macro's earlier writes, `draw` tells several draws of one write apart; words uint64 [R, C].
    """
    low = key & LOW
    high = key >> HALF
    for r in range(words.shape[0]):
        row = np.uint64(first_row + r) << SIXTEEN
        for column in range(words.shape[1]):
            # The rounds of `philox` written out: so the processor makes them for several columns at once, ten times as fast.
            k0, k1 = low, high
            a, b, c, d = np.uint64(macro), row | np.uint64(first_column + column), np.uint64(write), np.uint64(draw)
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            words[r, column] = a | (b << HALF)


def cell_words_naive(key, macro, first_row, first_column, write, draw, words):
    """The definition, a cell at a time."""
    for r, c in np.ndindex(*words.shape):
        w = philox_naive(macro, (int(first_row) + r) * 2**16 + int(first_column) + c, write, draw, key)
        words[r, c] = w[0] + 2**32 * w[1]


@kernel
def cell_lanes(key, macro, first_row, first_column, write, draw, lanes):
    """lanes[r, c] are 16 random bits of the cell at (first_row + r, first_column + c): an index of a 2^16 table.

    Eight neighbouring columns (8 q .. 8 q + 7) share the 128 bits of the counter of column q; uint16 [R, C].
    """
    for r in range(lanes.shape[0]):
        row = np.uint64(first_row + r) << SIXTEEN
        c = 0
        while c < lanes.shape[1]:
            octet = (first_column + c) >> 3
            w0, w1, w2, w3 = philox(np.uint64(macro), row | np.uint64(octet), np.uint64(write), np.uint64(draw), key)
            low = w0 | (w1 << HALF)
            high = w2 | (w3 << HALF)
            for lane in range((first_column + c) & 7, min(8, first_column + lanes.shape[1] - 8 * octet)):
                word = low if lane < 4 else high
                lanes[r, 8 * octet + lane - first_column] = (word >> np.uint64(16 * (lane & 3))) & np.uint64(0xFFFF)
            c = 8 * octet + 8 - first_column


def cell_lanes_naive(key, macro, first_row, first_column, write, draw, lanes):
    """The definition, a cell at a time."""
    for r, c in np.ndindex(*lanes.shape):
        octet, lane = divmod(int(first_column) + c, 8)
        words = philox_naive(macro, (int(first_row) + r) * 2**16 + octet, write, draw, key)
        lanes[r, c] = words[lane // 2] // 2 ** (16 * (lane % 2)) % 2**16


@kernel
def read_normals(keys, columns, image, position, group, step, quantiles, normals):
    """normals[c] is the quantile (units of 2^-24 sigma) that one conversion of column c draws.

    keys uint64 [C] are the keys of the columns' macros and columns int64 [C] their numbers inside them; `image` is
    the global index, `position` the output position, `group` the group inside the macro, `step` the input slice.
    Eight neighbouring columns share the 128 bits of one counter, 16 bits each.
    """
    last = np.int64(-1)
    w0, w1, w2, w3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    for c in range(keys.shape[0]):
        octet = columns[c] >> 3
        if octet != last or keys[c] != keys[c - 1]:
            word = (np.uint64(group) << SIXTEEN) | np.uint64(octet)
            w0, w1, w2, w3 = philox(np.uint64(image) & LOW, np.uint64(position), word, np.uint64(step), keys[c])
            last = octet
        lane = columns[c] & 7
        word = w0 if lane < 2 else w1 if lane < 4 else w2 if lane < 6 else w3
        normals[c] = quantiles[(word >> (SIXTEEN * np.uint64(lane & 1))) & np.uint64(0xFFFF)]


def read_normals_naive(keys, columns, image, position, group, step, quantiles, normals):
    """The definition, a column at a time."""
    for c in range(len(keys)):
        octet, lane = divmod(int(columns[c]), 8)
        words = philox_naive(int(image) % 2**32, position, int(group) * 2**16 + octet, step, keys[c])
        normals[c] = quantiles[words[lane // 2] // 2 ** (16 * (lane % 2)) % 2**16]
