"""Input bits packed into 64-bit words: one bit a wordline, one word per 64 rows of a group."""

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def pack_inputs(x, starts, stops, words):
    """words[p, g, b, w] bit j is bit b of x[p, starts[g] + 64*w + j]; rows beyond stops[g] give 0.

    x is uint8 [P, K]; b runs to words.shape[2] <= 8. Eight bytes are turned into eight bit rows at once by an
    8 x 8 bit transposition (Warren, Hacker's Delight, 7-3).
    """
    bits = words.shape[2]
    for p in range(x.shape[0]):
        for g in range(starts.shape[0]):
            for w in range(words.shape[3]):
                for b in range(bits):
                    words[p, g, b, w] = np.uint64(0)
                first = starts[g] + 64 * w
                for octet in range(8):
                    base = first + 8 * octet
                    if base >= stops[g]:
                        break
                    block = np.uint64(0)
                    if base + 8 <= stops[g]:
                        for j in range(8):
                            block |= np.uint64(x[p, base + j]) << np.uint64(8 * j)
                    else:
                        for j in range(stops[g] - base):
                            block |= np.uint64(x[p, base + j]) << np.uint64(8 * j)
                    swap = (block ^ (block >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
                    block = block ^ swap ^ (swap << np.uint64(7))
                    swap = (block ^ (block >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
                    block = block ^ swap ^ (swap << np.uint64(14))
                    swap = (block ^ (block >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
                    block = block ^ swap ^ (swap << np.uint64(28))
                    for b in range(bits):
                        row = (block >> np.uint64(8 * b)) & np.uint64(0xFF)
                        words[p, g, b, w] |= row << np.uint64(8 * octet)


def pack_inputs_naive(x, starts, stops, words):
    """The same, one bit at a time."""
    words[:] = 0
    for p, g, b, w in np.ndindex(*words.shape):
        for j in range(64):
            row = int(starts[g]) + 64 * w + j
            if row < stops[g] and (int(x[p, row]) >> b) & 1:
                words[p, g, b, w] |= np.uint64(1 << j)
