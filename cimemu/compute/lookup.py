"""Matrices prepared for table look-up: tables of every four rows, and each converter as data for the register kernels.

Applies to every macro whose partial sums fit 16 bits (or are beyond the last threshold there) and whose converter has
codes; what it does not apply to runs step by step, with the same result.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.program import Matrix
from cimemu.compute.references import References
from cimemu.kernels.convert_lanes import TREE_ROWS, search_tree
from cimemu.kernels.lanes import AVAILABLE
from cimemu.kernels.nibbles import nibble_sums
from cimemu.kernels.noise import normal_quantiles
from cimemu.kernels.read_noise import SIGMA_BITS

Moved = tuple[NDArray[np.int64], int]  # thresholds [1 or C, T] above the smallest psum, and the largest psum above it


@dataclass(frozen=True, eq=False)
class Units:
    """Input slices in units of up to four: a unit's codes are weighed and added in 16 bits."""

    per_unit: int
    weights: NDArray[np.int64]  # [U, 4]
    places: NDArray[np.int64]  # [U] weight of a unit's sum
    signed: bool  # the last unit's sums are signed


@dataclass(frozen=True, eq=False)
class Lookup:
    """One matrix as tables, and its converters."""

    source: NDArray[np.int64]  # [Q, 4] 16 * byte of the input vector + bit, -1: none
    wide: bool  # inputs of two bytes
    slices: tuple[int, int, int]  # slices, DAC bits, slices of a unit
    spans: NDArray[np.int64]  # [G, 2] places of every group
    low: NDArray[np.uint8]  # [C rounded up to even, Q, 16]
    high: NDArray[np.uint8]  # the second digit, or no columns
    flush: int  # 0: partial sums fit bytes
    converter: tuple[Any, ...]
    units: Units
    noise: tuple[Any, ...]
    bit_rows: NDArray[np.int64] | None  # first row of every place, where eight one-bit slices of whole rows are driven
    groups: NDArray[np.int64]  # [row blocks, 2]
    grids: tuple[NDArray[Any], ...]  # lsb, zero [row blocks, 1 or C], sum of slice weights [row blocks]
    small: bool  # weighed sums of one output stay in 32 bits
    zero_is_zero: bool  # code 0 stands for 0 everywhere
    terms: NDArray[np.int64] | None  # [J, 2] rows of sums and factors of output 0, where one integer rule serves all
    block_terms: NDArray[np.int64] | None  # [row blocks, J, 2] the same by row block for its column 0, weights apart
    lsb: int
    rest: int


def slice_units(matrix: Matrix, top: int) -> Units | None:
    """The widest units in which a sum of codes up to `top` stays in 16 bits, and weights in a signed byte."""
    slice_weights, dac = matrix.slice_weights, matrix.macro.input.dac_bits
    slices, signed = len(slice_weights), matrix.macro.input.signed
    for per_unit in (4, 3, 2, 1):
        if dac * (per_unit - 1) > 6:
            continue
        count = -(-slices // per_unit)
        weights = np.zeros((count, 4), dtype=np.int64)
        places = np.left_shift(1, dac * per_unit * np.arange(count, dtype=np.int64))
        for i, weight in enumerate(slice_weights):
            weights[i // per_unit, i % per_unit] = weight // places[i // per_unit]
        positive, negative = np.maximum(weights, 0).sum(axis=1) * top, np.minimum(weights, 0).sum(axis=1) * top
        limits = np.full(count, 65535)
        if signed:
            limits[-1] = 32767
        if (positive <= limits).all() and (negative >= -32768).all():
            return Units(per_unit, weights, places, signed)
    return None


def make_lookup(matrix: Matrix) -> Lookup | None:
    """Tables and converters of a matrix, or None where its partial sums or its converter do not fit."""
    macro, references = matrix.macro, matrix.references
    if not AVAILABLE or references is None or macro.accumulator_bits is not None or matrix.bow:
        return None
    if references[0].lsb is None:
        return None  # a nonlinear level counts by itself
    if macro.timing.skip_zero_slices and (matrix.noise or min(int(r.thresholds.min()) for r in references) <= 0):
        return None  # a skipped step must be one whose code is 0 anyway
    wide = macro.input.bits > 8
    source, spans = _places(matrix, 2 if wide else 1)
    rows = _rows_only(source, 2 if wide else 1)
    noise, margins = _noise(matrix)
    margin = int(margins.sum())
    sums_of, shifted = [], []
    for (first, last), block in zip(spans, matrix.block_of):
        sums = nibble_sums(matrix.seen, rows[first:last])
        least = sums.min(axis=2)
        sums -= least[:, :, None]
        sums_of.append(sums)
        most = int(sums.max(axis=2).sum(axis=0).max()) + 2 * margin
        shifted.append((_shifted(references[block], least.sum(axis=0), margin), most))
    largest = max(int(sums.max()) for sums in sums_of)
    bits = references[0].bits
    top = max(1, max(int((t <= most).sum(axis=1).max()) for t, most in shifted))
    flush = 0
    found = _byte_converter(shifted, bits, top) if largest <= 255 and not matrix.noise else None
    if found is None:
        if _reached(shifted) > 65534 - 2 * margin or largest > 16383:
            return None
        flush = 255 // max(1, largest) if largest <= 255 else min(4, 255 // (largest >> 6))
        found = _word_converter(shifted, references, matrix, bits, top)
    units = None if found is None else slice_units(matrix, top)
    if found is None or units is None:
        return None
    columns = matrix.seen.shape[1]
    padded = columns + columns % 2
    digits = 2 if flush and largest > 255 else 1
    tables = [np.zeros((padded if d < digits else 0, len(source), 16), dtype=np.uint8) for d in range(2)]
    for (first, last), sums in zip(spans, sums_of):
        by_column = sums.transpose(1, 0, 2)
        tables[0][:columns, first:last] = by_column if digits == 1 else by_column & 63
        if digits == 2:
            tables[1][:columns, first:last] = by_column >> 6
    return Lookup(
        source=source,
        wide=wide,
        slices=(macro.input_slices, macro.input.dac_bits, units.per_unit),
        spans=spans,
        low=tables[0],
        high=tables[1],
        flush=flush,
        converter=_even(found, padded),
        units=units,
        noise=(*noise, (margins, macro.input_slices, units.per_unit)),
        bit_rows=_bit_rows(matrix, source, units, wide),
        **_combination(matrix, units, top, padded),
    )


def _combination(matrix: Matrix, units: Units, top: int, padded: int) -> dict[str, Any]:
    """How sums become outputs: the fields of Lookup from `groups` on."""
    references = matrix.references
    assert references is not None
    groups = len(matrix.block_of)
    blocks = np.arange(len(references))
    slice_weight = int(matrix.slice_weights.sum())
    grids = (
        _grid([r.lsb for r in references]),
        _grid([r.zero for r in references]),
        np.array(matrix.layout.groups_per_block, dtype=np.int64) * slice_weight,
    )
    weight = matrix.columns.weight
    largest = top * int(np.abs(weight).sum()) * int(np.abs(matrix.slice_weights).sum()) * groups
    one = matrix.integer_result and all((grid == grid[0, 0]).all() for grid in grids[:2])
    factors = weight[None, None, :] * units.places[:, None, None] * np.ones((1, groups, 1), dtype=np.int64)
    rows = (np.arange(len(units.places))[:, None, None] * groups + np.arange(groups)[:, None]) * padded
    flat = np.stack([(rows + np.arange(len(weight))).ravel(), factors.ravel()], axis=1)
    sums = np.abs(units.weights).sum(axis=1).max() * top
    fits = largest < 1 << 31 and int(np.abs(factors).max()) <= 32767 and int(sums) <= 32767
    if len(flat) % 2:
        flat = np.concatenate([flat, [[0, 0]]])
    return {
        "groups": np.searchsorted(matrix.block_of, [blocks, blocks + 1]).T.astype(np.int64),
        "grids": grids,
        "small": largest < 1 << 31,
        "zero_is_zero": bool((grids[1] == 0).all()),
        "terms": np.ascontiguousarray(flat) if one and fits else None,
        "block_terms": _block_terms(matrix, units, padded) if fits else None,
        "lsb": int(grids[0][0, 0]) if one else 0,
        "rest": int(grids[1][0, 0]) * int(weight.sum()) * slice_weight * groups if one else 0,
    }


def _block_terms(matrix: Matrix, units: Units, padded: int) -> NDArray[np.int64]:
    """Rows of sums (units outer, groups inner) and places of every row block, padded with factors of 0 to an even J."""
    per_block = matrix.layout.groups_per_block
    count = len(units.places) * max(per_block)
    terms = np.zeros((len(per_block), count + count % 2, 2), dtype=np.int64)
    for block in range(len(per_block)):
        mine = np.flatnonzero(matrix.block_of == block)
        rows = (np.arange(len(units.places))[:, None] * len(matrix.block_of) + mine).ravel() * padded
        terms[block, : len(rows)] = np.stack([rows, np.repeat(units.places, len(mine))], axis=1)
    return terms


def _grid(rows: list[NDArray[np.float64] | None]) -> NDArray[np.float64]:
    """[row blocks, 1 or C]."""
    given = [row for row in rows if row is not None]
    wide = max(len(row) for row in given)
    return np.ascontiguousarray(np.stack([np.broadcast_to(row, wide) for row in given]))


def _places(matrix: Matrix, bytes_per_input: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(source [Q, 4], spans [G, 2]): the bits of a slice of every group, four a place."""
    dac = matrix.macro.input.dac_bits
    parts, spans, done = [], [], 0
    for first, last in zip(matrix.starts, matrix.stops):
        rows = np.repeat(np.arange(first, last) * bytes_per_input * 16, dac)
        bits = rows + np.tile(np.arange(dac), last - first)
        padded = np.full(-(-len(bits) // 4) * 4, -1, dtype=np.int64)
        padded[: len(bits)] = bits
        parts.append(padded.reshape(-1, 4))
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


def _shifted(references: References, least: NDArray[np.int64], margin: int) -> NDArray[np.int64]:
    """Thresholds [1 or C, T] above the smallest sum of each column."""
    if len(references.thresholds) == 1 and (least == least[0]).all():
        least = least[:1]
    return references.thresholds - least[:, None] + margin


def _stacked(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Parts [1 or C, ...] of all groups as one array [1 or G, 1 or C, ...]."""
    columns = max(len(p) for p in parts)
    whole = np.stack([np.broadcast_to(p, (columns, *p.shape[1:])) for p in parts])
    if (whole == whole[:1]).all():
        whole = whole[:1]
    if (whole == whole[:, :1]).all():
        whole = whole[:, :1]
    return np.ascontiguousarray(whole)


def _even(converter: tuple[Any, ...], columns: int) -> tuple[Any, ...]:
    """Rules and trees of every column padded to `columns`."""

    def pad(a: NDArray[Any]) -> NDArray[Any]:
        missing = columns - a.shape[1] if a.shape[1] > 1 else 0
        return np.ascontiguousarray(np.pad(a, [(0, 0), (0, missing), *[(0, 0)] * (a.ndim - 2)], mode="edge"))

    return (pad(converter[0]), pad(converter[1]), *converter[2:])


def _steps_of_one(moved: Moved) -> NDArray[np.int64] | None:
    """First thresholds [c] where all that can be reached follow each other by 1, else None."""
    thresholds, most = moved
    follow = thresholds[:, :1] + np.arange(thresholds.shape[1])
    same = (thresholds == follow) | ((thresholds > most) & (follow > most))
    return np.minimum(thresholds[:, 0], most + 1) if bool(same.all()) else None


def _byte_converter(shifted: list[Moved], bits: int, top: int) -> tuple[Any, ...] | None:
    """(rules, trees, bits, top, searched) for partial sums held at 255; None where a threshold lies above."""
    most = max(m for _, m in shifted)
    firsts = [_steps_of_one(moved) for moved in shifted]
    if all(first is not None for first in firsts):
        down = [np.maximum(first - 1, 0) for first in firsts if first is not None]
        up = [np.maximum(1 - first, 0) for first in firsts if first is not None]
        most_up, most_down = max(int(u.max()) for u in up), max(int(d.max()) for d in down)
        if most_up <= 255 and most_down <= 255 and (most_down + top <= 255 or most + most_up <= 255) and top <= 255:
            rules = _stacked([np.stack([u, d], axis=1) for u, d in zip(up, down)]).astype(np.uint8)
            return rules, np.zeros((1, 1, TREE_ROWS, 16), dtype=np.uint8), bits, top, False
    if bits > 8 or _reached(shifted) > 254:
        return None
    trees = _stacked([search_tree(t, 128) for t, _ in shifted]).astype(np.uint8)
    return np.zeros((1, 1, 2), dtype=np.uint8), trees, bits, top, True


def _reached(shifted: list[Moved]) -> int:
    """The highest threshold that a psum can reach."""
    return max(int(t[t <= most].max(initial=0)) for t, most in shifted)


def _word_converter(
    shifted: list[Moved], references: tuple[References, ...], matrix: Matrix, bits: int, top: int
) -> tuple[Any, ...] | None:
    """The same for partial sums held at 65535."""
    rules = [_affine(moved, references[block], matrix.unit) for moved, block in zip(shifted, matrix.block_of)]
    if all(rule is not None for rule in rules):
        whole = _stacked([rule for rule in rules if rule is not None]).astype(np.uint16)
        return whole, np.zeros((1, 1, 2, TREE_ROWS, 16), dtype=np.uint8), bits, top, False
    if bits > 8:
        return None
    trees = _stacked([search_tree(t, 32768) for t, _ in shifted])
    halves = np.ascontiguousarray(np.stack([trees & 255, trees >> 8], axis=2).astype(np.uint8))
    return np.zeros((1, 1, 4), dtype=np.uint16), halves, bits, top, True


def _affine(moved: Moved, references: References, unit: int) -> NDArray[np.int64] | None:
    """Rules (up, down, gain, fall) [c, 4] proven to give the code at every psum, or None.

    The rule rises with the psum, so it is enough that it gives at least k at threshold k and less than k just below it
    (and at the largest psum, where that is below the threshold).
    """
    thresholds, most = moved
    ones = _steps_of_one(moved)
    if ones is not None:
        if int(np.abs(ones).max()) > 32767:
            return None
        zero = np.zeros_like(ones)
        return np.stack([np.maximum(1 - ones, 0), np.maximum(ones - 1, 0), zero, zero], axis=1)
    if references.lsb is None:
        return None
    step = np.broadcast_to(references.lsb * unit, len(thresholds))
    if float(step.min()) < 1.001 or float(step.max()) >= 2.0**15:
        return None
    k = np.arange(1, thresholds.shape[1] + 1)
    rest = np.clip(np.floor(np.log2(step * 65535 / 65536)).astype(np.int64), 0, 15)
    need = k * np.left_shift(np.int64(1), 16 + rest)[:, None]
    reach = thresholds <= most
    found = np.zeros((len(thresholds), 4), dtype=np.int64)
    done = np.zeros(len(thresholds), dtype=np.bool_)
    for rounded in (np.rint, np.floor, np.ceil):
        base = rounded(thresholds[:, 0] - step).astype(np.int64)
        at = np.maximum(thresholds, 0) - base[:, None]
        below = np.minimum(thresholds - 1, most) - base[:, None]
        gain = np.where(reach, -(-need // np.maximum(at, 1)), 0).max(axis=1)
        most_gain = np.where((thresholds >= 1) & (below > 0), (need - 1) // np.maximum(below, 1), 65535).min(axis=1)
        good = (gain <= most_gain) & (gain > 0) & ~(reach & (at < 1)).any(axis=1) & (np.abs(base) <= 32767) & ~done
        fall = np.where(rest > 0, np.left_shift(np.int64(1), 16 - rest), 0)
        rule = np.stack([np.maximum(-base, 0), np.maximum(base, 0), gain, fall], axis=1)
        found[good] = rule[good]
        done |= good
    return found if bool(done.all()) else None


def _noise(matrix: Matrix) -> tuple[tuple[Any, ...], NDArray[np.int64]]:
    """((keys, numbers, sigma by group, group in its block, reads, quantiles), the largest draw of every source)."""
    groups, columns = len(matrix.starts), matrix.seen.shape[1]
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
