"""Packed words: which converters the fused kernels serve, and inputs through them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.engine import WhyNot
from cimemu.engines.packed.kernels import sum_codes_clip, sum_codes_tiled, sum_codes_tiled_offset
from cimemu.engines.packed.pack_kernels import pack_inputs
from cimemu.engines.packed.tile_kernels import LANES, TILE_WORDS
from cimemu.macro.program import Matrix
from cimemu.macro.sums import Sums, converted_weights, driven_steps

Words = NDArray[np.uint64]


def pack(x: NDArray[Any], matrix: Matrix) -> Words:
    """words [P, groups, bits of all slices, words] of inputs [P, K]; bits beyond the input's width are 0."""
    macro = matrix.macro
    bits = sum(width for _, width in macro.input.spans)
    words_per_group = -(-int((matrix.stops - matrix.starts).max()) // 64)
    words = np.zeros((len(x), len(matrix.starts), bits, words_per_group), dtype=np.uint64)
    low = x if x.dtype == np.uint8 else (x & 0xFF).astype(np.uint8)
    first = np.empty((len(x), len(matrix.starts), min(8, bits), words_per_group), dtype=np.uint64)
    pack_inputs(low, matrix.starts, matrix.stops, first)
    words[:, :, : first.shape[2]] = first
    if x.dtype != np.uint8 and bits > 8:
        ninth = np.empty((len(x), len(matrix.starts), 1, words_per_group), dtype=np.uint64)
        pack_inputs(((x >> 8) & 1).astype(np.uint8), matrix.starts, matrix.stops, ninth)
        words[:, :, 8:9] = ninth
    return words


def clip_rule(matrix: Matrix) -> tuple[int, int] | WhyNot:
    """(offset, top) where every row block's converter is one addition and one clamp, the same for all columns."""
    if matrix.packed is None:
        return WhyNot("cells are varied or signed, and words hold whole levels from 0 on")
    if matrix.packed.shape[1] != 1 or matrix.macro.input.dac_bits != 1:
        return WhyNot("cells or input slices have more than one bit")
    if matrix.references is None:
        return 0, matrix.psum_range[1]
    rules = set()
    for affine, references in zip(matrix.affine, matrix.references):
        if affine is None or not affine.plain:
            return WhyNot("a converter is not one addition and one clamp, the same for all columns")
        rules.add((int(affine.bias[0]), 2**references.bits - 1))
    return rules.pop() if len(rules) == 1 else WhyNot("row blocks have converters of their own")


def sum_packed(x: NDArray[Any], matrix: Matrix, rule: tuple[int, int], tiles: NDArray[np.uint32] | None) -> Sums:
    """Fused AND, count, clamp and shift-add over packed words; `tiles` of one-bit cells (see `tiles_of`) or None."""
    macro, layout = matrix.macro, matrix.layout
    assert matrix.packed is not None
    offset, top = rule
    skip = macro.timing.skip_zero_slices
    active = driven_steps(x, matrix) if skip else None
    weights = converted_weights(matrix, len(x), active)
    words = pack(x, matrix)
    largest = min(top, matrix.psum_range[1] + abs(offset)) * (1 << macro.input_slices) * len(matrix.starts)
    # A skipped step adds nothing by itself where a psum of 0 has code 0.
    if tiles is not None and max(largest, abs(offset)) < 1 << 30 and not (skip and offset > 0):
        tiled = _sum_tiles(words, matrix, tiles, offset, min(top, (1 << 31) - 1))
        return Sums(by_column=tiled, weights=weights)
    sums = np.zeros((len(x), len(layout.row_blocks), matrix.packed.shape[3]), dtype=np.int64)
    sum_codes_clip(words, matrix.packed, matrix.block_of, matrix.slice_weights, skip, offset, top, sums)
    return Sums(by_column=sums, weights=weights)


def _sum_tiles(words: Words, matrix: Matrix, tiles: NDArray[np.uint32], offset: int, top: int) -> NDArray[np.integer]:
    """The same, sixteen columns at once; int32 [P, row blocks, columns padded to 16]."""
    wide, columns = tiles.shape[1:]
    half = words.view(np.uint32)  # little-endian: the low half of a 64-row word first
    if half.shape[3] != wide:
        half = np.concatenate([half, np.zeros((*half.shape[:3], wide - half.shape[3]), np.uint32)], axis=3)
    sums = np.zeros((len(words), len(matrix.layout.row_blocks), columns), dtype=np.int32)
    add = sum_codes_tiled if offset == 0 else sum_codes_tiled_offset
    add(half, tiles, matrix.block_of, np.int32(offset), np.int32(top), sums)
    if matrix.macro.input.signed:  # the last slice counts negative: take its code off twice
        last = np.zeros_like(sums)
        add(
            np.ascontiguousarray(half[:, :, -1:]),
            tiles,
            matrix.block_of,
            np.int32(offset),
            np.int32(top),
            last,
        )
        sums -= last << matrix.macro.input_slices
    return sums


def tiles_of(matrix: Matrix) -> NDArray[np.uint32] | None:
    """One-bit cells as 32-row words [groups, words, columns padded with zeros to 16], or None.

    None where cells have more bits or are no whole numbers, and where a group has too many rows.
    """
    packed = matrix.packed
    if packed is None or packed.shape[1] > 1:
        return None
    groups, _, words, columns = packed.shape
    wide = next((w for w in TILE_WORDS if w >= 2 * words), None)
    if wide is None:
        return None
    tiles = np.zeros((groups, wide, -(-columns // LANES) * LANES), dtype=np.uint32)
    for w in range(words):
        tiles[:, 2 * w, :columns] = packed[:, 0, w] & np.uint64(0xFFFFFFFF)
        tiles[:, 2 * w + 1, :columns] = packed[:, 0, w] >> np.uint64(32)
    return tiles
