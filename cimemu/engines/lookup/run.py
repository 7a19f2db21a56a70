"""Inputs through a matrix of tables: bits turned into table indices, codes weighed and added, columns combined."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.encoding import UNCORRECTED
from cimemu.engines.lookup.kernels import COLUMNS, convert_by_bytes, convert_by_words
from cimemu.engines.lookup.levels import add_levels_of
from cimemu.engines.lookup.prepare import Lookup
from cimemu.engines.lookup.wide_kernels import WIDE_COLUMNS, convert_wide
from cimemu.engines.output_kernels import combine_lanes, combine_lanes_float, input_sums, spread_lanes
from cimemu.lanes.nibbles import make_bit_nibbles, make_nibbles, turn_bytes
from cimemu.macro.program import Matrix
from cimemu.macro.read_noise import Reads
from cimemu.macro.sums import Sums, converted_weights, driven_steps

SUMS_BYTES = 1 << 19  # weighed codes of so many bytes stay in the second-level cache until they are combined


def lookup_values(
    x: NDArray[Any], masked: NDArray[Any], matrix: Matrix, lookup: Lookup, reads: Reads, y: NDArray[Any]
) -> bool | Sums:
    """Fill y [P, N] from inputs x [P, K] (`masked`: as bit patterns): True with the correction made, False without it.

    Sums by column, and no y, where a column's value needs more care.
    """
    columns, units = matrix.columns, lookup.units
    plain = (
        matrix.flipped is None
        and matrix.scale is None
        and (not matrix.macro.timing.skip_zero_slices or lookup.zero_is_zero)
    )
    if lookup.summing is not None:
        _leveled(nibbles_of(masked, lookup), lookup, reads, y)
        return False
    if lookup.nonlinear:
        plain = True  # a skipped step's level is 0
    points, blocks = len(masked), len(matrix.layout.row_blocks)
    per_block = 64 * len(units.places) * len(lookup.spans) * len(lookup.low)
    step = 32 * max(1, SUMS_BYTES // per_block)
    nibbles = nibbles_of(masked, lookup)
    sums = aligned((len(units.places), len(lookup.spans), len(lookup.low), min(step, 32 * len(nibbles))), np.uint16)
    fused = plain and lookup.terms is not None and abs(lookup.lsb) < 1 << 30
    floats = plain and not matrix.integer_result and lookup.block_terms is not None
    total = np.zeros((8, 32), dtype=np.int32 if lookup.small else np.int64)
    value = np.empty((8, 32), dtype=np.float64)
    if fused:
        lsb, rest, corrected = constants(x, matrix, lookup.lsb, lookup.rest)
    elif not floats:
        by_column = np.empty((points, blocks, matrix.seen.shape[1]), dtype=np.int64)
    for start in range(0, points, step):
        some = nibbles[start // 32 : (start + step) // 32]
        if 32 * len(some) != sums.shape[3]:
            sums = aligned((*sums.shape[:3], 32 * len(some)), np.uint16)
        converted(some, lookup, reads.after(start), sums)
        part = slice(start, start + step)
        if fused:
            rows = sums.view(np.int16).reshape(-1, sums.shape[3])
            combine_lanes(rows, lookup.terms, len(columns.weight), lsb, rest[part], total, y[part])
        elif floats:
            assert lookup.block_terms is not None
            rows = sums.view(np.int16).reshape(-1, sums.shape[3])
            combine_lanes_float(rows, lookup.block_terms, columns.weight, lookup.grids, (total[0], value), y[part])
        else:
            spread_lanes(sums, lookup.groups, units.places, units.signed, total[0], by_column[part])
    if fused:
        return corrected
    if floats:
        return False
    if lookup.nonlinear:
        weights = converted_weights(matrix, points, None)
        by_column *= int(lookup.grids[0][0, 0])
        by_column += weights[:, :, None] * int(lookup.grids[1][0, 0])
        return Sums(by_column=by_column, weights=weights)
    active = driven_steps(masked, matrix) if matrix.macro.timing.skip_zero_slices else None
    return Sums(by_column=by_column, weights=converted_weights(matrix, points, active))


def constants(x: NDArray[Any], matrix: Matrix, lsb: int, rest: int) -> tuple[int, NDArray[np.int64], bool]:
    """(lsb, what is added to every output of each input, whether that is the encoding's correction too)."""
    correction = matrix.macro.correction
    sums = np.full(len(x), rest, dtype=np.int64)
    if correction == UNCORRECTED:
        return lsb, sums, True
    if matrix.has_reference_column or matrix.row_group is not None:
        return lsb, sums, False
    input_sums(x, correction.of_inputs, correction.of_y * rest, sums)
    return correction.of_y * lsb, sums, True


def aligned(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """An array on a 64-byte boundary: registers are loaded from one cache line."""
    size = prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def nibbles_of(masked: NDArray[Any], lookup: Lookup) -> NDArray[np.uint8]:
    """Table indices uint8 [B, Q, U, 4, 32] of inputs [P, K]."""
    units, blocks = lookup.units, -(-len(masked) // 32)
    if lookup.wide:
        x = np.ascontiguousarray(masked, dtype=np.int16).view(np.uint8).reshape(len(masked), -1)
    else:
        x = masked
    turned = aligned((blocks, -(-x.shape[1] // 16) * 16, 32), np.uint8)
    turn_bytes(x, aligned((1024,), np.uint8), turned)
    nibbles = aligned((blocks, len(lookup.source), len(units.weights), 4, 32), np.uint8)
    if lookup.bit_rows is not None:
        make_bit_nibbles(turned, lookup.bit_rows, nibbles)
    else:
        make_nibbles(turned, lookup.source, lookup.wide, lookup.slices, nibbles)
    return nibbles


def converted(nibbles: NDArray[np.uint8], lookup: Lookup, reads: Reads, sums: NDArray[np.uint16]) -> None:
    """sums uint16 [U, G, C, 32 * B]: weighed codes of every unit, group and column."""
    units = lookup.units
    if lookup.flush == 0:
        scratch = aligned((COLUMNS, 4, 32), np.uint8)
        convert_by_bytes(nibbles, lookup.low, lookup.spans, lookup.converter, units.weights, scratch, sums)
        return
    psums, places, words = _word_scratch()
    if len(lookup.highest):
        digits = (lookup.low, lookup.high, lookup.highest)
        wide = (aligned((WIDE_COLUMNS, 4, 32), np.int32), places, words)
        noise = _read_at(lookup, reads)
        convert_wide(nibbles, digits, lookup.spans, lookup.converter, noise, units.weights, wide, sums)
        return
    tables = (lookup.low, lookup.high, lookup.flush)
    work = (psums, aligned((COLUMNS, 4, 32), np.uint8), places, words)
    convert_by_words(
        nibbles, tables, lookup.spans, lookup.converter, _read_at(lookup, reads), units.weights, work, sums
    )


def _leveled(nibbles: NDArray[np.uint8], lookup: Lookup, reads: Reads, y: NDArray[Any]) -> None:
    """y [P, N] of levels that are counted one by one."""
    tables = (lookup.low, lookup.high, lookup.flush)
    assert lookup.summing is not None
    noise = _read_at(lookup, reads)
    add_levels_of(nibbles, tables, lookup.spans, lookup.converter, noise, lookup.summing, _word_scratch(), y)


def _word_scratch() -> tuple[NDArray[np.uint16], NDArray[np.uint32], NDArray[np.uint32]]:
    """(psums, places, words) of kernels for partial sums of 16 bits."""
    return (
        aligned((COLUMNS, 4, 32), np.uint16),
        aligned((2, 32), np.uint32),
        aligned((4, 32), np.uint32),
    )


def _read_at(lookup: Lookup, reads: Reads) -> tuple[Any, ...]:
    """The noise of `lookup` for the reads that start at `reads`."""
    keys, numbers, sigma, inside, _, quantiles, limits = lookup.noise
    place = np.array([reads.first_row, reads.positions, reads.replicas, reads.replica], dtype=np.int64)
    return keys, numbers, sigma, inside, place, quantiles, limits
