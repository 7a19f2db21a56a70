"""Inputs through a matrix of tables: bits turned into table indices, codes weighed and added, columns combined."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.combining import Convert
from cimemu.engines.lookup.kernels import COLUMNS, convert_by_bytes, convert_by_words
from cimemu.engines.lookup.levels import add_levels_of
from cimemu.engines.lookup.prepare import Lookup, Sixes
from cimemu.engines.lookup.six_kernels import ENTRIES, SIX, SIX_COLUMNS, convert_by_sixes, index_sixes
from cimemu.engines.lookup.wide_kernels import WIDE_COLUMNS, convert_wide
from cimemu.engines.scratch import scratch
from cimemu.lanes.nibbles import make_bit_nibbles, make_nibbles, turn_bytes
from cimemu.macro.program import Matrix
from cimemu.macro.read_noise import Reads
from cimemu.macro.sums import Sums

SIX_POSITIONS = 1024  # that tables of six places are made for anew: they take as long as 100 positions


def lookup_values(
    x: NDArray[Any], masked: NDArray[Any], matrix: Matrix, lookup: Lookup, reads: Reads, y: NDArray[Any]
) -> bool | Sums:
    """Fill y [P, N] from inputs x [P, K] (`masked`: as bit patterns), as `Combining.values` does."""
    if lookup.sixes is not None:
        indices = indices_of(masked, lookup, lookup.sixes)
        return lookup.combining.values(
            x, masked, matrix, _by_registers(indices, _convert_sixes, lookup, reads), y, SIX_POSITIONS
        )
    nibbles = nibbles_of(masked, lookup)
    if lookup.summing is not None:
        _leveled(nibbles, lookup, reads, y)
        return False
    return lookup.combining.values(x, masked, matrix, _by_registers(nibbles, converted, lookup, reads), y)


def _by_registers(places: NDArray[Any], convert_all: Any, lookup: Lookup, reads: Reads) -> Convert:
    """Registers [B, ...] of 32 positions, so many of them at once, by `convert_all`."""

    def convert(start: int, sums: NDArray[np.uint16]) -> None:
        some = places[start // 32 : (start + sums.shape[3]) // 32]
        if 32 * len(some) == sums.shape[3]:
            convert_all(some, lookup, reads.after(start), sums)
            return
        fewer = scratch("fewer", (*sums.shape[:3], 32 * len(some)), np.uint16)
        convert_all(some, lookup, reads.after(start), fewer)
        sums[..., : fewer.shape[3]] = fewer

    return convert


def indices_of(masked: NDArray[Any], lookup: Lookup, sixes: Sixes) -> NDArray[np.uint16]:
    """Table indices uint16 [B, Q, U, 4, 32] of inputs [P, K]."""
    units = len(lookup.units.weights)
    indices = scratch("indices", (-(-len(masked) // 32), len(sixes.source), units, 4, 32), np.uint16)
    numbers = (*lookup.slices, 2 if lookup.wide else 1)
    index_sixes(_turned(masked, lookup), sixes.source, numbers, np.empty((SIX, 32), dtype=np.uint16), indices)
    return indices


def _turned(masked: NDArray[Any], lookup: Lookup) -> NDArray[np.uint8]:
    """Bytes of inputs [P, K] as `turn_bytes` leaves them."""
    x = masked
    if lookup.wide:
        x = np.ascontiguousarray(masked, dtype=np.int16).view(np.uint8).reshape(len(masked), -1)
    turned = scratch("turned", (-(-len(x) // 32), -(-x.shape[1] // 16) * 16, 32), np.uint8)
    turn_bytes(x, scratch("block", (1024,), np.uint8), turned)
    return turned


def _convert_sixes(indices: NDArray[np.uint16], lookup: Lookup, reads: Reads, sums: NDArray[np.uint16]) -> None:
    """sums uint16 [U, G, C, 32 * B]: weighed codes of every unit, group and column."""
    sixes = lookup.sixes
    assert sixes is not None
    most = int((sixes.spans[:, 1] - sixes.spans[:, 0]).max())
    work = (
        scratch("tables", (SIX_COLUMNS, most, ENTRIES), np.uint16),
        scratch("psums", (SIX_COLUMNS, 4, 32), np.uint16),
        scratch("codes", (SIX_COLUMNS, 4, 32), np.uint8),
        scratch("places", (len(indices), 2, 32), np.uint32),
        scratch("words", (4, 32), np.uint32),
        scratch("bits", (4, 8, 32), np.uint16),
    )
    noise = _read_at(lookup, reads)
    rules, trees, bits, digits, top, searched = lookup.converter
    search = (trees, bits, digits) if searched else None
    linear = (rules, top, lookup.units.weights)
    convert_by_sixes(indices, (sixes.values, sixes.spans), linear, search, noise, lookup.drawn, work, sums)


def nibbles_of(masked: NDArray[Any], lookup: Lookup) -> NDArray[np.uint8]:
    """Table indices uint8 [B, Q, U, 4, 32] of inputs [P, K]."""
    units, blocks = lookup.units, -(-len(masked) // 32)
    turned = _turned(masked, lookup)
    nibbles = scratch("nibbles", (blocks, len(lookup.source), len(units.weights), 4, 32), np.uint8)
    if lookup.bit_rows is not None:
        make_bit_nibbles(turned, lookup.bit_rows, nibbles)
    else:
        make_nibbles(turned, lookup.source, lookup.wide, lookup.slices, nibbles)
    return nibbles


def converted(nibbles: NDArray[np.uint8], lookup: Lookup, reads: Reads, sums: NDArray[np.uint16]) -> None:
    """sums uint16 [U, G, C, 32 * B]: weighed codes of every unit, group and column."""
    units = lookup.units
    if lookup.flush == 0:
        held = scratch("psums of bytes", (COLUMNS, 4, 32), np.uint8)
        convert_by_bytes(nibbles, lookup.low, lookup.spans, lookup.converter, units.weights, held, sums)
        return
    psums, places, words = _word_scratch()
    if len(lookup.highest):
        digits = (lookup.low, lookup.high, lookup.highest)
        wide = (scratch("wide psums", (WIDE_COLUMNS, 4, 32), np.int32), places, words)
        noise = _read_at(lookup, reads)
        convert_wide(nibbles, digits, lookup.spans, lookup.converter, noise, units.weights, wide, sums)
        return
    tables = (lookup.low, lookup.high, lookup.flush)
    work = (psums, scratch("codes", (COLUMNS, 4, 32), np.uint8), places, words)
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
        scratch("psums", (COLUMNS, 4, 32), np.uint16),
        scratch("places", (2, 32), np.uint32),
        scratch("words", (4, 32), np.uint32),
    )


def _read_at(lookup: Lookup, reads: Reads) -> tuple[Any, ...] | None:
    """The noise of `lookup` for the reads that start at `reads`; None without any, for which nothing is compiled."""
    keys, numbers, sigma, inside, _, quantiles, limits = lookup.noise
    if not len(keys):
        return None
    place = np.array([reads.first_row, reads.positions, reads.replicas, reads.replica], dtype=np.int64)
    return keys, numbers, sigma, inside, place, quantiles, limits
