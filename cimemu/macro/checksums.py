"""Checksum columns: what their cells hold, and what becomes of a step whose columns do not add up to them (contract, section 9).

Of every row of a group of n data columns the levels are added, plain and weighed by 1 .. n, and both sums lie in cells of further
columns, digit by digit. So the values of the data columns of any step add up to those of the checksum columns. One faulty column
that is off by d makes the sums differ by -d and by -d times its number: it is found, and put right.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.checks import CheckGroup
from cimemu.arch.macro import Macro
from cimemu.blas import kind_for, product
from cimemu.errors import ArchError
from cimemu.macro.references import References
from cimemu.mapping.layout import Layout

EXACT = 1 << 53
FURTHEST = 1 << 40  # a level beyond it is compared as if it were so large


class Alarms(NamedTuple):
    """Steps of groups of drawn cells, an input vector each: those whose converters may have rounded or clipped, those that do not
    add up by more than that, and of these the ones that were put right."""

    doubtful: int
    seen: int
    corrected: int

    def plus(self, other: "Alarms") -> "Alarms":
        """Of both together."""
        return Alarms(*(a + b for a, b in zip(self, other)))

    def since(self, earlier: "Alarms") -> "Alarms":
        """What came after `earlier`."""
        return Alarms(*(a - b for a, b in zip(self, earlier)))


@dataclass(frozen=True, eq=False)
class Checks:
    """The checksum columns of a matrix: column blocks outer, groups inner, digits of the plain sum before the weighed one's."""

    cells: NDArray[np.integer]  # [K, checksum columns] x `unit`
    unit: int
    references_of: NDArray[
        np.int64
    ]  # [checksum columns] data column whose references they have: the last of their column block
    spans: NDArray[np.int64]  # [groups, 2] first data column, data columns
    factors: NDArray[np.float64]  # [data columns + checksum columns, 2 groups] of both differences, checksums less data
    worth: tuple[
        NDArray[np.int64], ...
    ]  # by row block: what a code counts, [1 or data columns, codes]; none: ideal converter
    doubt: tuple[
        NDArray[np.int64], ...
    ]  # by row block: how far the psum of a healthy column may be from that, likewise
    largest: int  # psum of a healthy column
    corrects: bool  # whether psums can be put right: a code, or what it counts, moves by whole psums

    @property
    def lossless(self) -> bool:
        """Whether no converter rounds or clips the psum of a healthy column."""
        return not any(table.any() for table in self.doubt)

    def _added(self, values: NDArray[np.int64], factors: NDArray[np.float64]) -> NDArray[np.int64]:
        """`values @ factors`; every group has few columns, so it is made group by group."""
        made = np.empty((len(values), factors.shape[1]), dtype=np.int64)
        floats = values.astype(np.float64)
        groups = len(self.spans)
        for number, columns in enumerate(self._members):
            both = [number, number + groups]
            made[:, both] = product(floats[:, columns], factors[columns][:, both])
        return made

    @cached_property
    def _members(self) -> list[NDArray[np.int64]]:
        """Data and checksum columns of every group."""
        groups = len(self.spans)
        return [np.flatnonzero(self.factors[:, [n, n + groups]].any(axis=1)) for n in range(groups)]

    @cached_property
    def _sizes(self) -> NDArray[np.float64]:
        return np.abs(self.factors)

    def psums(self, piece: NDArray[np.integer], rows: slice) -> NDArray[np.int64]:
        """[P, checksum columns] of slice values `piece` [P, rows], times `unit`."""
        cells = self.cells[rows]
        kind = kind_for(int(np.abs(cells).max(initial=0)) * max(1, int(piece.max(initial=0))) * len(cells))
        made: NDArray[np.int64] = product(piece.astype(kind), cells.astype(kind)).astype(np.int64)
        return made

    def amend(
        self, values: NDArray[np.int64], doubts: NDArray[np.int64] | None, on: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Alarms]:
        """(input, data column, what its value is to be raised by) of every column that is put right, and the counts.

        `values` [P, data columns + checksum columns] are what codes count, `doubts` how far each may be off (None: not at all),
        `on` [P] which inputs were driven.
        """
        groups = len(self.spans)
        plain, weighed = np.split(self._added(values, self.factors), 2, axis=1)
        doubtful: NDArray[np.bool_] = np.zeros(plain.shape, dtype=np.bool_)
        seen: NDArray[np.bool_] = np.asarray((plain != 0) | (weighed != 0))
        if doubts is not None and doubts.any():
            least = self._added(doubts, self._sizes)
            doubtful = np.asarray((least > 0).reshape(len(plain), 2, groups).any(axis=1))
            seen = np.asarray((np.abs(plain) > least[:, :groups]) | (np.abs(weighed) > least[:, groups:]))
        doubtful, seen = doubtful & on[:, None], seen & on[:, None]
        p, group = np.nonzero(seen & ~doubtful & (plain != 0) & (weighed != 0))
        more, number = plain[p, group], weighed[p, group]
        whole = number % more == 0
        number = number // more
        column = self.spans[group, 0] + number - 1
        good = whole & (number >= 1) & (number <= self.spans[group, 1]) & self.corrects
        p, column, more = p[good], column[good], more[good]
        put_right = values[p, column] + more
        possible = (put_right >= 0) & (put_right <= self.largest)
        p, column, more = p[possible], column[possible], more[possible]
        return p, column, more, Alarms(int(doubtful.sum()), int(seen.sum()), len(p))


def make_checks(
    levels: NDArray[np.integer],
    macro: Macro,
    layout: Layout,
    references: tuple[References, ...] | None,
    unit: int,
) -> Checks:
    """The checksums of ideal `levels` [K, data columns]; `references` by row block, in units of psums times `unit`."""
    base, groups = 2**macro.cell.bits, list(groups_of(macro, layout))
    data = levels.shape[1]
    largest = (2**macro.cell.bits - 1) * (2**macro.input.dac_bits - 1)
    largest *= max(last - first for _, first, last in layout.group_spans)
    cells = np.zeros((len(levels), sum(group.checks for _, group in groups)), dtype=np.int64)
    factors = np.zeros((data + cells.shape[1], 2 * len(groups)))
    spans, references_of, at = [], [], 0
    lasts = [stop * macro.columns_per_output - 1 for _, stop in layout.col_blocks]
    for number, (block, group) in enumerate(groups):
        first = layout.col_blocks[block][0] * macro.columns_per_output + group.first
        mine, weights = slice(first, first + group.columns), np.arange(1, group.columns + 1)
        for which, (weight, digits) in enumerate(((np.ones_like(weights), group.plain), (weights, group.weighed))):
            factors[mine, which * len(groups) + number] = -weight
            total = levels[:, mine].astype(np.int64) @ weight
            for digit in range(digits):
                cells[:, at] = total // base**digit % base
                factors[data + at, which * len(groups) + number] = base**digit
                at += 1
        spans.append((first, group.columns))
        references_of += [lasts[block]] * group.checks
    worth = tuple(_worth(r) for r in references or ())
    return Checks(
        cells=(cells * unit).astype(np.uint8 if unit == 1 else np.int32),
        unit=unit,
        references_of=np.array(references_of, dtype=np.int64),
        spans=np.array(spans, dtype=np.int64),
        factors=_exact(factors, worth, largest, macro),
        worth=worth,
        doubt=tuple(_doubt(r, table, largest, unit) for r, table in zip(references or (), worth)),
        largest=largest,
        corrects=references is None or all(_moves_by_one(r) for r in references),
    )


def groups_of(macro: Macro, layout: Layout) -> Iterator[tuple[int, CheckGroup]]:
    """(column block, group) of a matrix."""
    for block, (start, stop) in enumerate(layout.col_blocks):
        for group in macro.check_groups((stop - start) * macro.columns_per_output):
            yield block, group


def checks_before(macro: Macro, layout: Layout, col_block: int) -> int:
    """Checksum columns of the column blocks before one."""
    wide = macro.columns_per_output
    return sum(macro.checks_of((stop - start) * wide) for start, stop in layout.col_blocks[:col_block])


def _worth(references: References) -> NDArray[np.int64]:
    return np.clip(np.rint(references.levels), -FURTHEST, FURTHEST).astype(np.int64)


def _doubt(references: References, worth: NDArray[np.int64], largest: int, unit: int) -> NDArray[np.int64]:
    """The most that a whole psum 0 .. largest of each code is from what the code counts; 0 for codes that no such psum has."""
    starts = -(-references.thresholds // unit)  # of whole psums, the first of every code but code 0
    zero, end = np.zeros((len(starts), 1), dtype=np.int64), np.full((len(starts), 1), largest + 1)
    low = np.clip(np.concatenate([zero, starts], axis=1), 0, largest + 1)
    high = np.clip(np.concatenate([starts, end], axis=1), 0, largest + 1) - 1
    far = np.maximum(np.abs(worth - low), np.abs(worth - high))
    return np.asarray(np.where(low <= high, far, 0), dtype=np.int64)


def _moves_by_one(references: References) -> bool:
    """Whether values can be raised by whole numbers: in codes, or in integer levels."""
    if references.lsb is None:
        return references.integer
    return references.integer and bool((references.lsb == 1).all())


def _exact(
    factors: NDArray[np.float64], worth: tuple[NDArray[np.int64], ...], largest: int, macro: Macro
) -> NDArray[np.float64]:
    """`factors`, by which sums of values stay exact in float64. ArchError where they would not."""
    most = max([largest, *(int(np.abs(table).max()) for table in worth)])
    if most * float(np.abs(factors).sum(axis=0).max(initial=0)) >= EXACT:
        raise ArchError(
            f"macro.repair.checksum_columns = {macro.repair.checksum_columns} with converter levels up to {most}: sums of a group "
            "leave 2^53; use fewer columns a group, or smaller levels"
        )
    return factors
