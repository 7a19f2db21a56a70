"""Matrices prepared for table look-up: tables of every four rows, and each converter as data for the register kernels.

Applies to every macro whose partial sums fit 30 bits (16 bits, or beyond the last threshold there, are faster) and whose
linear converter has codes; what it does not apply to runs step by step, with the same result.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.combining import Combining, make_combining
from cimemu.engines.digits import Digits, level_digits, level_ranks
from cimemu.engines.engine import WhyNot, first_reason
from cimemu.engines.lookup.converters import (
    Moved,
    byte_converter,
    even_columns,
    reached_threshold,
    shifted_thresholds,
    word_converter,
)
from cimemu.engines.lookup.draws import tables_of_draws
from cimemu.engines.lookup.levels import Summing, level_summing, ranking
from cimemu.engines.lookup.six_kernels import SIX
from cimemu.engines.lookup.small import fill_tables, nibble_ranges
from cimemu.engines.lookup.wide import DIGITS_TOP, PSUM_TOP, wide_converter
from cimemu.engines.lookup.wide_kernels import FLUSH
from cimemu.engines.units import Units, slice_units
from cimemu.kernels.noise import normal_quantiles
from cimemu.kernels.read_noise import SIGMA_BITS
from cimemu.lanes import broad
from cimemu.lanes.registers import AVAILABLE
from cimemu.macro.program import Matrix

ONCE = 1 << 21  # cells that are laid out at a time: what is made of them on the way takes some 16 bytes each


@dataclass(frozen=True, eq=False)
class Sixes:
    """What tables of every six places are made of, as `convert_by_sixes` takes it."""

    source: NDArray[np.int64]  # [Q, 6] as `Lookup.source`
    spans: NDArray[np.int64]  # [G, 2]
    values: NDArray[np.integer]  # [C rounded up to even, Q, 6], of 16 bits where these hold them


@dataclass(frozen=True, eq=False)
class Lookup:
    """One matrix as tables, and its converters."""

    source: NDArray[np.int64]  # [Q, 4] 16 * byte of the input vector + bit, -1: none
    wide: bool  # inputs of two bytes
    slices: tuple[int, int, int]  # slices, DAC bits, slices of a unit
    spans: NDArray[np.int64]  # [G, 2] places of every group
    low: NDArray[np.uint8]  # [C rounded up to even, Q, 16]
    high: NDArray[np.uint8]  # the second digit, or no columns
    highest: NDArray[np.uint8]  # the third digit, or no columns: partial sums of 32 bits
    sixes: Sixes | None  # in the place of tables, where registers of 64 bytes look six places up
    flush: int  # 0: partial sums fit bytes
    converter: tuple[Any, ...]
    units: Units
    noise: tuple[Any, ...]
    drawn: tuple[NDArray[np.uint8], NDArray[np.int64]] | None  # tables of the noise, where sixes run and they serve
    bit_rows: NDArray[np.int64] | None  # first row of every place, where eight one-bit slices of whole rows are driven
    combining: Combining
    summing: Summing | None  # levels on no grid: counted one by one


def bytes_a_cell(bits: int) -> int:
    """What a varied cell takes in these tables, nearly: a level has `bits` bits, those of its fixed point among them."""
    if bits < 16:
        return 2 if broad.HAS_BROAD else 8
    return 12


def make_lookup(matrix: Matrix) -> Lookup | WhyNot:
    """Tables and converters of a matrix, or why its cells, partial sums or converter do not fit."""
    macro, references = matrix.macro, matrix.references
    why = first_reason(
        (not AVAILABLE, "the processor has no AVX2"),
        (references is None, "the converter is ideal and has no codes"),
        (matrix.holding, "the accumulator may overflow and is held step by step"),
        (not macro.input.evenly_sliced, "input slices differ in length"),
        (bool(matrix.bow or matrix.traps) or matrix.gated is not None, "reads are solved one by one"),
        (bool(matrix.noise) and macro.repair.reads > 1, "noisy steps are read several times"),
    )
    if why is not None or references is None:
        return why or WhyNot("the converter is ideal and has no codes")
    skipping, nonlinear = macro.timing.skip_zero_slices, references[0].lsb is None
    # A skipped step must be one whose code is 0 anyway, and whose level is 0.
    coded = bool(matrix.noise) or min(int(r.thresholds.min()) for r in references) <= 0
    valued = nonlinear and any(bool(r.levels[:, 0].any()) for r in references)
    if skipping and (coded or valued):
        return WhyNot("zero slices are skipped, and a psum of 0 has a code, a level or noise")
    digits = level_digits(matrix)
    ranked = level_ranks(matrix) if digits is None else None
    summing = None if ranked is None else level_summing(matrix, ranked[1])
    if digits is None:
        if ranked is None or summing is None:
            return WhyNot("levels lie on no grid, and their counts fit no registers")
        if references[0].bits > 8:
            return WhyNot(f"levels lie on no grid, and codes have {references[0].bits} bits, a register holds 8")
        digits = ranked[0]
    wide = macro.input.bits > 8
    source, spans = _places(matrix, 2 if wide else 1, 4)
    rows = _rows_only(source, 2 if wide else 1)
    noise, margins = _noise(matrix)
    margin = int(margins.sum())
    seen, columns = np.ascontiguousarray(matrix.seen), matrix.seen_columns
    largest, shifted = 0, []
    for (first, last), block in zip(spans, matrix.block_of):
        least, spread = np.empty(columns, dtype=np.int64), np.empty(columns, dtype=np.int64)
        largest = max(largest, nibble_ranges(seen, rows[first:last], least, spread))
        shifted.append((shifted_thresholds(references[block], least, margin), int(spread.max()) + 2 * margin))
    by_group, rules_of = [digits[block] for block in matrix.block_of], [references[block] for block in matrix.block_of]
    top = max(1, max(_top_digit(moved, own) for moved, own in zip(shifted, by_group)))
    flush = 0
    found = byte_converter(shifted, by_group, top) if largest <= 255 and not matrix.noise else None
    if found is None and reached_threshold(shifted) <= 65534 - 2 * margin and largest <= 16383:
        flush = 255 // max(1, largest) if largest <= 255 else min(4, 255 // (largest >> 6))
        found = word_converter(shifted, rules_of, by_group, matrix.unit, top)
    parts = 2 if flush and largest > 255 else 1
    narrow = int(noise[2].max(initial=0)) < 1 << 31  # sigma is one factor of a 32-bit product
    most = max(most for _, most in shifted)
    if found is None and not nonlinear and narrow and largest <= DIGITS_TOP and most <= PSUM_TOP:
        flush, parts = FLUSH, 3
        steps = [np.asarray(r.lsb) * matrix.unit for r in rules_of]
        found = wide_converter(shifted, steps, references[0].bits, top)
    units = None if found is None else slice_units(matrix, top if summing is None else 1)
    if found is None:
        return WhyNot(f"psums reach {most} steps of the cells' fixed point, and the converter needs all of them")
    if units is None:
        return WhyNot(f"codes up to {top}, weighed by their slices, leave 16 bits")
    padded = columns + columns % 2
    sixes = _sixes(matrix, padded) if flush and parts < 3 and summing is None and broad.HAS_BROAD else None
    parts = 0 if sixes is not None else parts
    tables = [np.zeros((padded if d < parts else 0, len(source), 16), dtype=np.uint8) for d in range(3)]
    if parts:
        fill_tables(seen, rows, *tables)
    if summing is not None:
        found = ranking(found, shifted, by_group, flush)
    combining = make_combining(matrix, digits, units, top, padded)
    if nonlinear and summing is None and not matrix.integer_result and combining.block_terms is None:
        return WhyNot("sums of codes are too large for the kernels that make floats of them")
    return Lookup(
        source=source,
        wide=wide,
        slices=(macro.input_slices, macro.input.dac_bits, units.per_unit),
        spans=spans,
        low=tables[0],
        high=tables[1],
        highest=tables[2],
        sixes=sixes,
        flush=flush,
        converter=even_columns(found, padded),
        units=units,
        noise=(*noise, (margins, macro.input_slices, units.per_unit)),
        drawn=tables_of_draws(*noise[:3]) if sixes is not None and len(noise[2]) else None,
        bit_rows=_bit_rows(matrix, source, units, wide),
        combining=combining,
        summing=None if summing is None else summing.of_units(units),
    )


def _top_digit(moved: Moved, digits: Digits) -> int:
    """The largest digit among the codes that partial sums reach."""
    thresholds, most = moved
    reached = (thresholds <= most).sum(axis=1)
    codes = np.arange(digits.table.shape[1])
    return int(np.where(codes <= reached[:, None], digits.table, 0).max())


def _sixes(matrix: Matrix, padded: int) -> Sixes | None:
    """Values of every six places, or None where what six of them sum could leave 16 bits."""
    source, spans = _places(matrix, 1, SIX)
    seen = matrix.seen
    bits, rows, none = np.where(source < 0, 0, source & 15), np.maximum(source >> 4, 0), (source < 0)[..., None]
    largest = max(int(seen.max(initial=0)), -int(seen.min(initial=0)))
    kind = np.int16 if largest << int(bits.max(initial=0)) < 1 << 15 else np.int32
    values = np.zeros((padded, *source.shape), dtype=kind)
    step = max(1, ONCE // max(1, source.size))
    for first in range(0, seen.shape[1], step):
        some = seen[:, first : first + step].astype(np.int64)
        found = np.where(none, 0, some[rows] << bits[..., None])
        if int(np.abs(found).sum(axis=1).max(initial=0)) > 65535:
            return None
        values[first : first + found.shape[2]] = found.transpose(2, 0, 1)
    return Sixes(source, spans, values)


def _places(matrix: Matrix, bytes_per_input: int, together: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(source [Q, together], spans [G, 2]): the bits of a slice of every group, so many a place; not to be written to."""
    groups = tuple((int(first), int(last)) for first, last in zip(matrix.starts, matrix.stops))
    return _places_of(groups, matrix.macro.input.dac_bits, bytes_per_input, together)


@lru_cache(maxsize=256)
def _places_of(
    groups: tuple[tuple[int, int], ...], dac: int, bytes_per_input: int, together: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same, kept: chips that are drawn in turn have the same groups."""
    parts, spans, done = [], [], 0
    for first, last in groups:
        rows = np.repeat(np.arange(first, last) * bytes_per_input * 16, dac)
        bits = rows + np.tile(np.arange(dac), last - first)
        padded = np.full(-(-len(bits) // together) * together, -1, dtype=np.int64)
        padded[: len(bits)] = bits
        parts.append(padded.reshape(-1, together))
        spans.append((done, done + len(parts[-1])))
        done = spans[-1][1]
    return np.concatenate(parts), np.array(spans, dtype=np.int64)


def _rows_only(source: NDArray[np.int64], bytes_per_input: int) -> NDArray[np.int64]:
    """Places by row of the matrix instead of byte of the input vector."""
    return np.where(source < 0, -1, (source >> 4) // bytes_per_input * 16 + (source & 15))


def _bit_rows(matrix: Matrix, source: NDArray[np.int64], units: Units, wide: bool) -> NDArray[np.int64] | None:
    """First rows of the places where the transposition of eight one-bit slices serves."""
    eight = matrix.macro.input_slices == 8 and matrix.macro.input.dac_bits == 1 and units.per_unit == 4
    if wide or not eight:
        return None
    first = source[:, 0] >> 4
    padded = -(-matrix.layout.rows // 16) * 16
    return first if int(first.max()) + 4 <= padded else None


def _noise(matrix: Matrix) -> tuple[tuple[Any, ...], NDArray[np.int64]]:
    """((keys, numbers, sigma by group, group in its block, reads, quantiles), the largest draw of every source)."""
    groups, columns = len(matrix.starts), matrix.seen_columns
    padded = columns + columns % 2
    inside = np.arange(groups) - np.searchsorted(matrix.block_of, matrix.block_of)
    count = len(matrix.noise)
    keys = np.zeros((count, groups, padded), dtype=np.uint64)
    numbers = np.zeros((count, padded), dtype=np.int64)
    sigma = np.zeros((count, groups, padded), dtype=np.int64)
    quantiles = normal_quantiles()
    margins = np.zeros(count, dtype=np.int64)
    for s, source in enumerate(matrix.noise):
        keys[s, :, :columns] = source.keys[matrix.block_of]
        numbers[s, :columns] = source.columns
        sigma[s, :, :columns] = source.sigma[matrix.block_of]
        margins[s] = 1 + (int(sigma[s].max(initial=0)) * int(quantiles[-1]) >> (24 + SIGMA_BITS))
    return (keys, numbers, sigma, inside, np.zeros(4, dtype=np.int64), quantiles), margins
