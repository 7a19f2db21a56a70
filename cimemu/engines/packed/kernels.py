"""Ideal cells: AND, population count, convert and shift-add, fused; columns innermost so that loops vectorise.

psum[c] = sum over DAC bits d and cell bits a of 2^(d+a) * popcount(input word & cell word). A converter is
given as an affine rule `code = clamp((psum * gain[c] + bias[c]) >> shift, 0, top)` that was proven equal to its
thresholds over the whole range of psums, or as a table `value[c, psum]`.
"""

import numpy as np

from cimemu.engines.packed.tile_kernels import (
    LANES,
    tile2,
    tile2_offset,
    tile4,
    tile4_offset,
    tile6,
    tile6_offset,
    tile8,
    tile8_offset,
    tile16,
    tile16_offset,
)
from cimemu.lanes.jit import kernel
from cimemu.lanes.popcount import popcount


@kernel
def sum_codes_clip(inputs, cells, block_of, slice_weight, skip, offset, top, sums):
    """sums[p, rb, c] += slice_weight[i] * clamp(psum + offset, 0, top); one-bit cells and one-bit slices.

    inputs uint64 [P, G, I, W]; cells uint64 [G, 1, W, C]; block_of[g] is the row block of group g. `skip` leaves
    out (group, slice) whose inputs are all zero. sums int64 [P, row blocks, C], zero on entry.
    """
    words = inputs.shape[3]
    columns = cells.shape[3]
    for p in range(inputs.shape[0]):
        for g in range(inputs.shape[1]):
            row = sums[p, block_of[g]]
            for i in range(inputs.shape[2]):
                if skip:
                    any_input = np.uint64(0)
                    for w in range(words):
                        any_input |= inputs[p, g, i, w]
                    if any_input == 0:
                        continue
                weight = slice_weight[i]
                if words == 1:
                    x0 = inputs[p, g, i, 0]
                    for c in range(columns):
                        psum = popcount(x0 & cells[g, 0, 0, c]) + offset
                        row[c] += weight * min(max(psum, 0), top)
                elif words == 2:
                    x0 = inputs[p, g, i, 0]
                    x1 = inputs[p, g, i, 1]
                    for c in range(columns):
                        psum = popcount(x0 & cells[g, 0, 0, c]) + popcount(x1 & cells[g, 0, 1, c]) + offset
                        row[c] += weight * min(max(psum, 0), top)
                elif words == 4:
                    x0 = inputs[p, g, i, 0]
                    x1 = inputs[p, g, i, 1]
                    x2 = inputs[p, g, i, 2]
                    x3 = inputs[p, g, i, 3]
                    for c in range(columns):
                        psum = (
                            popcount(x0 & cells[g, 0, 0, c])
                            + popcount(x1 & cells[g, 0, 1, c])
                            + popcount(x2 & cells[g, 0, 2, c])
                            + popcount(x3 & cells[g, 0, 3, c])
                            + offset
                        )
                        row[c] += weight * min(max(psum, 0), top)
                else:
                    for c in range(columns):
                        psum = offset
                        for w in range(words):
                            psum += popcount(inputs[p, g, i, w] & cells[g, 0, w, c])
                        row[c] += weight * min(max(psum, 0), top)


def sum_codes_clip_naive(inputs, cells, block_of, slice_weight, skip, offset, top, sums):
    """From the definition, on Python integers."""
    points, groups, slices, words = inputs.shape
    for p, g, i in np.ndindex(points, groups, slices):
        if skip and not inputs[p, g, i].any():
            continue
        for c in range(cells.shape[3]):
            psum = sum(bin(int(inputs[p, g, i, w]) & int(cells[g, 0, w, c])).count("1") for w in range(words))
            sums[p, block_of[g], c] += int(slice_weight[i]) * min(max(psum + offset, 0), top)


@kernel
def packed_psums(inputs, cells, bits, group, place, psums):
    """psums[p, c] of one group and of the input's `bits` bits from `place` on, planes of cells and of bits weighed.

    int64 [P, C], overwritten.
    """
    planes = cells.shape[1]
    words = cells.shape[2]
    columns = cells.shape[3]
    for p in range(inputs.shape[0]):
        row = psums[p]
        for c in range(columns):
            row[c] = 0
        for d in range(bits):
            for w in range(words):
                x = inputs[p, group, place + d, w]
                if x == 0:
                    continue
                for a in range(planes):
                    weight = 1 << (a + d)
                    for c in range(columns):
                        row[c] += weight * popcount(x & cells[group, a, w, c])


def packed_psums_naive(inputs, cells, bits, group, place, psums):
    """From the definition, bit by bit."""
    psums[:] = 0
    planes, words, columns = cells.shape[1:]
    for p in range(inputs.shape[0]):
        for c in range(columns):
            for d in range(bits):
                for a in range(planes):
                    for w in range(words):
                        both = int(inputs[p, group, place + d, w]) & int(cells[group, a, w, c])
                        psums[p, c] += bin(both).count("1") << (a + d)


@kernel
def sum_codes_tiled(inputs, cells, block_of, offset, top, sums):
    """sums[p, rb, c] += sum_i 2^i * min(psum, top), sixteen columns at once; `offset` must be 0.

    inputs uint32 [P, G, I, words], cells uint32 [G, words, C] with words in TILE_WORDS and C a multiple of 16,
    sums int32 [P, row blocks, C]: the caller knows that no sum leaves 32 bits.
    """
    words = inputs.shape[3]
    slices = inputs.shape[2]
    columns = cells.shape[2]
    for p in range(inputs.shape[0]):
        for g in range(inputs.shape[1]):
            if words == 2:
                for c in range(0, columns, LANES):
                    tile2(inputs, cells, sums, (p, g, block_of[g], c), slices, offset, top)
            elif words == 4:
                for c in range(0, columns, LANES):
                    tile4(inputs, cells, sums, (p, g, block_of[g], c), slices, offset, top)
            elif words == 6:
                for c in range(0, columns, LANES):
                    tile6(inputs, cells, sums, (p, g, block_of[g], c), slices, offset, top)
            elif words == 8:
                for c in range(0, columns, LANES):
                    tile8(inputs, cells, sums, (p, g, block_of[g], c), slices, offset, top)
            elif words == 16:
                for c in range(0, columns, LANES):
                    tile16(inputs, cells, sums, (p, g, block_of[g], c), slices, offset, top)


def sum_codes_tiled_naive(inputs, cells, block_of, offset, top, sums):
    """From the definition, on Python integers."""
    points, groups, slices, words = inputs.shape
    for p, g, c in np.ndindex(points, groups, cells.shape[2]):
        for i in range(slices):
            psum = offset + sum(bin(int(inputs[p, g, i, w]) & int(cells[g, w, c])).count("1") for w in range(words))
            sums[p, block_of[g], c] += np.int32(min(max(psum, 0), top) * 2**i)


@kernel
def sum_codes_tiled_offset(inputs, cells, block_of, offset, top, sums):
    """sums[p, rb, c] += sum_i 2^i * clamp(psum + offset, 0, top), sixteen columns at once.

    inputs uint32 [P, G, I, words], cells uint32 [G, words, C] with words in TILE_WORDS and C a multiple of 16,
    sums int32 [P, row blocks, C]: the caller knows that no sum leaves 32 bits.
    """
    words = inputs.shape[3]
    slices = inputs.shape[2]
    columns = cells.shape[2]
    for p in range(inputs.shape[0]):
        for g in range(inputs.shape[1]):
            if words == 2:
                for c in range(0, columns, LANES):
                    tile2_offset(inputs, cells, sums, (p, g, block_of[g], c), slices, offset, top)
            elif words == 4:
                for c in range(0, columns, LANES):
                    tile4_offset(inputs, cells, sums, (p, g, block_of[g], c), slices, offset, top)
            elif words == 6:
                for c in range(0, columns, LANES):
                    tile6_offset(inputs, cells, sums, (p, g, block_of[g], c), slices, offset, top)
            elif words == 8:
                for c in range(0, columns, LANES):
                    tile8_offset(inputs, cells, sums, (p, g, block_of[g], c), slices, offset, top)
            elif words == 16:
                for c in range(0, columns, LANES):
                    tile16_offset(inputs, cells, sums, (p, g, block_of[g], c), slices, offset, top)


def sum_codes_tiled_offset_naive(inputs, cells, block_of, offset, top, sums):
    """From the definition, on Python integers."""
    points, groups, slices, words = inputs.shape
    for p, g, c in np.ndindex(points, groups, cells.shape[2]):
        for i in range(slices):
            psum = offset + sum(bin(int(inputs[p, g, i, w]) & int(cells[g, w, c])).count("1") for w in range(words))
            sums[p, block_of[g], c] += np.int32(min(max(psum, 0), top) * 2**i)
