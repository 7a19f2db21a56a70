"""The ways from inputs to weighted sums: fused packed words, step by step, or a proven exact product."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.accumulator import RunningSums
from cimemu.compute.encode import input_range, input_slice
from cimemu.compute.program import Matrix
from cimemu.compute.read_noise import Reads, add_noise
from cimemu.compute.references import References
from cimemu.compute.traps import seen_by_conversions, trap_losses
from cimemu.kernels.convert import add_by_code, add_weighted, affine_codes, search_codes
from cimemu.kernels.mvm_packed import packed_psums, sum_codes_clip, sum_codes_tiled, sum_codes_tiled_offset
from cimemu.kernels.pack import pack_inputs

Words = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Sums:
    """Weighted sums of one chunk of inputs, before levels are applied.

    `by_column` int64 [P, row blocks, converted columns]: sums of codes (linear), values (integer levels of a
    nonlinear converter) or psums (ideal). `by_code` int64 [P, row blocks, converted columns, codes] replaces it
    where nonlinear levels are no integers, `levels` float64 [P, row blocks, converted columns] where a row block is
    one conversion then. `weights` int64 [P, row blocks]: the sum of slice weights converted.
    """

    by_column: NDArray[np.integer]
    weights: NDArray[np.int64]
    by_code: NDArray[np.int64] | None = None
    levels: NDArray[np.float64] | None = None


def masked_inputs(x: NDArray[Any], matrix: Matrix) -> NDArray[Any]:
    """Inputs as the unsigned bit patterns that the slices are cut from."""
    if not matrix.macro.input.signed:
        return x
    masked = x.astype(np.int16) & (2**matrix.macro.input.bits - 1)
    return masked.astype(np.uint8 if matrix.macro.input.bits <= 8 else np.int16)


def pack(x: NDArray[Any], matrix: Matrix) -> Words:
    """words [P, groups, slices * dac_bits, words] of inputs [P, K]; bits beyond the input's width are 0."""
    macro = matrix.macro
    bits = macro.input_slices * macro.input.dac_bits
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


def driven_steps(x: NDArray[Any], matrix: Matrix) -> NDArray[np.bool_]:
    """nonzero[p, g, i]: whether any input of group g is not zero in slice i."""
    dac = matrix.macro.input.dac_bits
    return np.stack(
        [
            np.stack(
                [input_slice(x[:, a:b], i, dac).any(axis=1) for i in range(matrix.macro.input_slices)],
                axis=1,
            )
            for a, b in zip(matrix.starts, matrix.stops)
        ],
        axis=1,
    )


def clip_rule(matrix: Matrix) -> tuple[int, int] | None:
    """(offset, top) where every row block's converter is one addition and one clamp, the same for all columns."""
    if matrix.packed is None or matrix.packed.shape[1] != 1 or matrix.macro.input.dac_bits != 1:
        return None
    if matrix.references is None:
        return 0, matrix.psum_range[1]
    rules = set()
    for affine, references in zip(matrix.affine, matrix.references):
        if affine is None or not affine.plain:
            return None
        rules.add((int(affine.bias[0]), 2**references.bits - 1))
    return rules.pop() if len(rules) == 1 else None


def sum_packed(x: NDArray[Any], matrix: Matrix, rule: tuple[int, int]) -> Sums:
    """Fused AND, count, clamp and shift-add over packed words."""
    macro, layout = matrix.macro, matrix.layout
    assert matrix.packed is not None
    offset, top = rule
    skip = macro.timing.skip_zero_slices
    active = driven_steps(x, matrix) if skip else None
    weights = converted_weights(matrix, len(x), active)
    words = pack(x, matrix)
    largest = min(top, matrix.psum_range[1] + abs(offset)) * (1 << macro.input_slices) * len(matrix.starts)
    # A skipped step adds nothing by itself where a psum of 0 has code 0.
    if matrix.tiles is not None and max(largest, abs(offset)) < 1 << 30 and not (skip and offset > 0):
        tiled = _sum_tiles(words, matrix, offset, min(top, (1 << 31) - 1))
        return Sums(by_column=tiled, weights=weights)
    sums = np.zeros((len(x), len(layout.row_blocks), matrix.packed.shape[3]), dtype=np.int64)
    sum_codes_clip(words, matrix.packed, matrix.block_of, matrix.slice_weights, skip, offset, top, sums)
    return Sums(by_column=sums, weights=weights)


def _sum_tiles(words: Words, matrix: Matrix, offset: int, top: int) -> NDArray[np.integer]:
    """The same, sixteen columns at once; int32 [P, row blocks, columns padded to 16]."""
    assert matrix.tiles is not None
    wide, columns = matrix.tiles.shape[1:]
    half = words.view(np.uint32)  # little-endian: the low half of a 64-row word first
    if half.shape[3] != wide:
        half = np.concatenate([half, np.zeros((*half.shape[:3], wide - half.shape[3]), np.uint32)], axis=3)
    sums = np.zeros((len(words), len(matrix.layout.row_blocks), columns), dtype=np.int32)
    add = sum_codes_tiled if offset == 0 else sum_codes_tiled_offset
    add(half, matrix.tiles, matrix.block_of, np.int32(offset), np.int32(top), sums)
    if matrix.macro.input.signed:  # the last slice counts negative: take its code off twice
        last = np.zeros_like(sums)
        add(
            np.ascontiguousarray(half[:, :, -1:]),
            matrix.tiles,
            matrix.block_of,
            np.int32(offset),
            np.int32(top),
            last,
        )
        sums -= last << matrix.macro.input_slices
    return sums


def converted_weights(matrix: Matrix, points: int, active: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """Z[p, rb]: the sum of slice weights of the steps that were converted."""
    blocks = len(matrix.layout.row_blocks)
    if active is None:
        groups = np.array(matrix.layout.groups_per_block, dtype=np.int64)
        return np.broadcast_to(groups * matrix.slice_weights.sum(), (points, blocks))
    per_group = active @ matrix.slice_weights
    return np.stack([per_group[:, matrix.block_of == block].sum(axis=1) for block in range(blocks)], axis=1)


def step_psums(x: NDArray[Any], matrix: Matrix, packed: bool) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """(group, slice, psums int64 [P, converted columns]) in converting order; the array is used again."""
    macro = matrix.macro
    dac = macro.input.dac_bits
    columns = matrix.seen.shape[1]
    psums = np.empty((len(x), columns), dtype=np.int64)
    if packed:
        assert matrix.packed is not None
        words = pack(x, matrix)
        for g in range(len(matrix.starts)):
            for i in range(macro.input_slices):
                packed_psums(words, matrix.packed, dac, g, i, psums)
                yield g, i, psums
        return
    bound = max(abs(matrix.psum_range[0]), matrix.psum_range[1], 1)
    kind = np.float32 if bound < 1 << 24 else np.float64  # sums of integers below the mantissa are exact in any order
    for g, (a, b) in enumerate(zip(matrix.starts, matrix.stops)):
        cells = matrix.seen[a:b].astype(kind)
        for i in range(macro.input_slices):
            piece: Any = input_slice(x[:, a:b], i, dac)
            np.rint(piece.astype(kind) @ cells, out=psums, casting="unsafe")
            for value, more in enumerate(matrix.bow):
                if more.any():
                    psums += np.rint((piece == value).astype(np.float64) @ more[a:b].astype(np.float64)).astype(
                        np.int64
                    )
            yield g, i, psums


def group_in_block(matrix: Matrix, g: int) -> int:
    """Number of group g inside its row block."""
    return g - int(np.searchsorted(matrix.block_of, matrix.block_of[g]))


def codes_of(
    psums: NDArray[np.int64], matrix: Matrix, block: int, columns: slice | NDArray[np.int64]
) -> NDArray[np.int32]:
    """Codes of `psums` [P, c] by the references of `columns` of row block `block`."""
    assert matrix.references is not None
    references, affine = matrix.references[block], matrix.affine[block]
    codes = np.empty(psums.shape, dtype=np.int32)
    if affine is not None:
        gain, bias = (np.broadcast_to(v, matrix.seen.shape[1])[columns] for v in (affine.gain, affine.bias))
        affine_codes(
            psums,
            np.ascontiguousarray(gain),
            np.ascontiguousarray(bias),
            affine.shift,
            2**references.bits - 1,
            codes,
        )
    else:
        thresholds = references.thresholds if references.uniform else references.thresholds[columns]
        search_codes(psums, np.ascontiguousarray(thresholds), codes)
    return codes


def converts_once(matrix: Matrix) -> bool:
    """Whether a row block is one conversion of every column: one slice, all its rows raised together."""
    return matrix.macro.input_slices == 1 and len(matrix.starts) == len(matrix.layout.row_blocks)


def chosen_levels(codes: NDArray[np.int32], references: References) -> NDArray[np.float64]:
    """Levels [P, columns] of codes [P, columns]."""
    if references.uniform:
        return np.asarray(references.levels[0][codes])
    return np.asarray(references.levels[np.arange(codes.shape[1]), codes])


def integer_values(
    codes: NDArray[np.int32], references: References, columns: slice | NDArray[np.int64]
) -> NDArray[np.int64]:
    """Integer levels of codes."""
    table = references.levels.astype(np.int64)
    if references.uniform:
        return table[0][codes]
    return np.take_along_axis(table[columns], codes.T.astype(np.int64), axis=1).T


def seen_psums(
    x: NDArray[Any], matrix: Matrix, packed: bool, reads: Reads
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """(group, slice, psums) as converters see them: solved where rows are gated, with what traps take off and noise adds."""
    for g, i, psums in step_psums(x, matrix, packed):
        block = int(matrix.block_of[g])
        if matrix.traps or matrix.gated is not None:
            piece = input_slice(x[:, matrix.starts[g] : matrix.stops[g]], i, matrix.macro.input.dac_bits)
            in_block = int(matrix.starts[g]) - matrix.layout.row_blocks[block][0]
            if matrix.gated is not None:
                psums = seen_by_conversions(matrix.gated.sums(piece, block, in_block), matrix.columns)
            if matrix.traps:
                lost = trap_losses(piece, matrix.traps, reads, (block, int(matrix.starts[g]), in_block, i))
                psums -= seen_by_conversions(lost, matrix.columns)
        if matrix.noise:
            add_noise(psums, matrix.noise, reads, (block, group_in_block(matrix, g), i))
        yield g, i, psums


def sum_steps(
    x: NDArray[Any],
    matrix: Matrix,
    *,
    packed: bool,
    codes_out: NDArray[np.uint16] | None,
    reads: Reads,
) -> tuple[Sums, NDArray[np.int64] | None]:
    """Step by step: any cells, any converter, codes and accumulators. Second: sums of held accumulators [P, N]."""
    macro, layout = matrix.macro, matrix.layout
    points, columns = len(x), matrix.seen.shape[1]
    blocks = len(layout.row_blocks)
    sums = np.zeros((points, blocks, columns), dtype=np.int64)
    linear = matrix.references is None or matrix.references[0].lsb is not None
    use_values = not linear and matrix.integer_result
    by_code = levels = None
    if not linear and not use_values and converts_once(matrix):
        levels = np.empty((points, blocks, columns), dtype=np.float64)
    elif not linear and not use_values:
        assert matrix.references is not None
        by_code = np.zeros((points, blocks, columns, 2 ** matrix.references[0].bits), dtype=np.int64)
    active = driven_steps(x, matrix) if macro.timing.skip_zero_slices else None
    everywhere = np.ones(points, dtype=np.bool_)
    running = RunningSums(matrix, points) if matrix.holding else None
    for g, i, psums in seen_psums(x, matrix, packed, reads):
        block = int(matrix.block_of[g])
        weight = int(matrix.slice_weights[i])
        on = everywhere if active is None else np.ascontiguousarray(active[:, g, i])
        counted = psums
        if matrix.references is not None:
            codes = codes_of(psums, matrix, block, slice(None))
            if codes_out is not None:
                codes_out[:, g, i] = np.where(on[:, None], codes, 65535)
            if use_values:
                counted = integer_values(codes, matrix.references[block], slice(None))
            elif levels is not None:
                levels[:, block] = chosen_levels(codes, (matrix.values or matrix.references)[block])
                counted = codes.astype(np.int64)
            elif by_code is not None:
                add_by_code(codes, weight, on, by_code[:, block])
                counted = codes.astype(np.int64)
            else:
                counted = codes.astype(np.int64)
        if by_code is None and levels is None:
            add_weighted(counted, weight, on, sums[:, block])
        if running is not None:
            value = counted
            if matrix.references is not None and linear:
                references = matrix.references[block]
                assert references.lsb is not None
                assert references.zero is not None
                value = counted * references.lsb.astype(np.int64) + references.zero.astype(np.int64)
            step = value.reshape(points, layout.outputs, -1) @ matrix.columns.weight * weight
            running.add(g, i, step * on[:, None])
    weights = converted_weights(matrix, points, active)
    summed = Sums(by_column=sums, weights=weights, by_code=by_code, levels=levels)
    return summed, None if running is None else running.total(reads)


def exact_is_proven(matrix: Matrix) -> bool:
    """Whether no psum can leave the range in which the converter's value is the psum itself.

    Decided from the programmed levels and the largest input slice alone; then `y = x @ w` is what the bit-serial
    macro gives.
    """
    if matrix.cells is not None or matrix.holding:
        return False
    if matrix.references is None:
        return True
    if matrix.scale is not None and not _counts_ones(matrix):
        return False
    low, high = matrix.psum_range
    if high - low > 1 << 16:
        return False
    psums = np.arange(low, high + 1)
    for references in matrix.references:
        for thresholds, levels in zip(references.thresholds, references.levels):
            if not np.array_equal(levels[np.searchsorted(thresholds, psums, side="right")], psums):
                return False
    return matrix.integer_levels


def _counts_ones(matrix: Matrix) -> bool:
    """Whether codes count psums in ones, so that sums of codes follow from sums of psums."""
    assert matrix.references is not None
    skipping = matrix.macro.timing.skip_zero_slices
    return all(
        r.lsb is not None and r.zero is not None and bool((r.lsb == 1).all()) and not (skipping and r.zero.any())
        for r in matrix.references
    )


def exact_sums(x: NDArray[Any], masked: NDArray[Any], matrix: Matrix) -> Sums:
    """The sums that a lossless converter would give, from integer products of inputs and cells."""
    blocks = matrix.layout.row_blocks
    by_column = np.empty((len(x), len(blocks), matrix.seen.shape[1]), dtype=np.int64)
    bound = int(np.abs(matrix.seen).sum(axis=0).max()) * max(abs(v) for v in input_range(matrix.macro))
    kind: type = np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64
    weights = converted_weights(matrix, len(x), None)
    for block, (start, stop) in enumerate(blocks):
        by_column[:, block] = x[:, start:stop].astype(kind) @ matrix.seen[start:stop].astype(kind)
        if matrix.references is not None:
            zero = matrix.references[block].zero
            assert zero is not None
            by_column[:, block] -= weights[:, block, None] * zero.astype(np.int64)
    return Sums(by_column=by_column, weights=weights)


def exact_product(x: NDArray[Any], matrix: Matrix) -> NDArray[np.int64]:
    """`x @ w` in integers, by BLAS where its floats are exact."""
    low, high = input_range(matrix.macro)
    bound = int(np.abs(matrix.weights).sum(axis=0).max()) * max(-low, high)
    if bound < 1 << 24:
        kind: type = np.float32
    elif bound < 1 << 53:
        kind = np.float64
    else:
        return x.astype(np.int64) @ matrix.weights
    return (x.astype(kind) @ matrix.weights.astype(kind)).astype(np.int64)
