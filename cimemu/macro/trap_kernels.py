"""Traps beside cells, filled or empty at a read: two states drawn one by one from a counter-based generator."""

import numpy as np

from cimemu.kernels.noise import HALF, LOW, SIXTEEN, philox, philox_naive
from cimemu.lanes.jit import kernel

OCTET = 8  # neighbouring columns of a macro that share a counter


@kernel
def take_losses(pieces, traps, place, reads, lost):
    """lost[p, o, l] += sum over rows r of pieces[p, r] * swing[r, o, l] where the trap of the cell is filled.

    Filled: 16 bits drawn for (image, position, row first_row + r, step, column 8 * octets[o] + l) are below `chance`;
    `whole_image` leaves the position out. pieces uint16 [P, R]; traps = (swing int64 [R, O, 8], 0 where there is no trap,
    drawn bool [R, O] where an octet has any, keys uint64 [O], octets int64 [O], chance); place = (first_row, step,
    whole_image); reads = (first row, positions an image, replicas, replica).
    """
    swing, drawn, keys, octets, chance = traps
    first_row, step, whole_image = place
    for p in range(pieces.shape[0]):
        number = reads[0] + p
        image = np.uint64(number // reads[1]) & LOW
        position = np.uint64(0) if whole_image else np.uint64((number % reads[1]) * reads[2] + reads[3])
        for r in range(pieces.shape[1]):
            value = np.int64(pieces[p, r])
            if value == 0:
                continue
            row = np.uint64(first_row + r) << SIXTEEN
            for o in range(swing.shape[1]):
                if drawn[r, o]:
                    w0, w1, w2, w3 = philox(image, position, row | np.uint64(octets[o]), np.uint64(step), keys[o])
                    low, high = w0 | (w1 << HALF), w2 | (w3 << HALF)
                    for lane in range(4):
                        shift = SIXTEEN * np.uint64(lane)
                        first = np.int64((low >> shift) & np.uint64(0xFFFF)) < chance
                        second = np.int64((high >> shift) & np.uint64(0xFFFF)) < chance
                        lost[p, o, lane] += value * swing[r, o, lane] * first
                        lost[p, o, lane + 4] += value * swing[r, o, lane + 4] * second


def take_losses_naive(pieces, traps, place, reads, lost):
    """The definition, a cell at a time, on Python integers."""
    swing, drawn, keys, octets, chance = traps
    first_row, step, whole_image = place
    for p, r, o, lane in np.ndindex(*pieces.shape, *swing.shape[1:]):
        image, position = divmod(int(reads[0]) + p, int(reads[1]))
        place = 0 if whole_image else position * int(reads[2]) + int(reads[3])
        words = philox_naive(image % 2**32, place, (int(first_row) + r) * 2**16 + int(octets[o]), step, keys[o])
        if words[lane // 2] // 2 ** (16 * (lane % 2)) % 2**16 < chance and drawn[r, o]:
            lost[p, o, lane] += int(pieces[p, r]) * int(swing[r, o, lane])
