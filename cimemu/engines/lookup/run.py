"""Inputs through a matrix of tables: bits turned into table indices, codes weighed and added, columns combined."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.combining import aligned
from cimemu.engines.lookup.kernels import COLUMNS, convert_by_bytes, convert_by_words
from cimemu.engines.lookup.levels import add_levels_of
from cimemu.engines.lookup.prepare import Lookup
from cimemu.engines.lookup.wide_kernels import WIDE_COLUMNS, convert_wide
from cimemu.lanes.nibbles import make_bit_nibbles, make_nibbles, turn_bytes
from cimemu.macro.program import Matrix
from cimemu.macro.read_noise import Reads
from cimemu.macro.sums import Sums


def lookup_values(
    x: NDArray[Any], masked: NDArray[Any], matrix: Matrix, lookup: Lookup, reads: Reads, y: NDArray[Any]
) -> bool | Sums:
    """Fill y [P, N] from inputs x [P, K] (`masked`: as bit patterns), as `Combining.values` does."""
    nibbles = nibbles_of(masked, lookup)
    if lookup.summing is not None:
        _leveled(nibbles, lookup, reads, y)
        return False

    def convert(start: int, sums: NDArray[np.uint16]) -> None:
        some = nibbles[start // 32 : (start + sums.shape[3]) // 32]
        if 32 * len(some) == sums.shape[3]:
            converted(some, lookup, reads.after(start), sums)
            return
        fewer = aligned((*sums.shape[:3], 32 * len(some)), np.uint16)
        converted(some, lookup, reads.after(start), fewer)
        sums[..., : fewer.shape[3]] = fewer

    return lookup.combining.values(x, masked, matrix, convert, y)


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
