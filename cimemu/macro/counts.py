"""What is counted when inputs meet a programmed matrix: exact, and the same whatever path made the values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import CimemuError
from cimemu.events import Counter
from cimemu.lanes.registers import AVAILABLE
from cimemu.macro.encode import input_range
from cimemu.macro.small import count_inputs, count_nibble_windows, count_nibbles, count_windows
from cimemu.macro.toggles import Toggles, ones
from cimemu.mapping.layout import Layout, accumulator_width
from cimemu.windows.strips import Room


def line_tables(macro: Macro) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(drawn, raised) of every input value from the smallest: what its slices draw in all, and how many are not zero.

    A pulse DAC draws in proportion to a slice's value; a voltage DAC drives a line (and the cells on it) at a voltage in
    proportion to the value and back to 0, which draws with its square (`Macro.line_unit` at full scale). Bits that are
    driven one after the other are a pulse each.
    """
    low, high = input_range(macro)
    code = np.arange(low, high + 1) & (2**macro.input.bits - 1)
    slices = np.stack([(code >> place) & (2**bits - 1) for place, bits in macro.input.spans])
    drawn = {"pulse": slices, "voltage": slices**2, "bits": ones(slices)}[macro.input.dac]
    return drawn.sum(axis=0), (slices != 0).sum(axis=0)


def nibble_tables(table: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """(low, high) uint8 [16] with table[x] = low[x & 15] + high[x >> 4], or None: no slice straddles them, and bytes do."""
    whole = np.pad(table, (0, -len(table) % 16))
    low, high = whole[:16], whole[::16] - whole[0]
    if len(table) > 256 or low.min() < 0 or high.min() < 0 or low.max() + high.max() > 255:
        return None
    high = np.pad(high, (0, 16 - len(high)))
    x = np.arange(len(table))
    if not np.array_equal(low[x & 15] + high[x >> 4], table):
        return None
    return low.astype(np.uint8), high.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class LineCounts:
    """What every wordline was given, summed over an image's positions: int64 [images, K] each.

    Sums of what slice values draw, and of how often they are not zero. Equal ones are one array.
    """

    drawn: NDArray[np.int64]
    raised: NDArray[np.int64]

    @staticmethod
    def zeros(images: int, rows: int) -> "LineCounts":
        """Nothing counted yet."""
        return LineCounts(*(np.zeros((images, rows), dtype=np.int64) for _ in range(2)))

    def add(self, other: "LineCounts", first: int = 0) -> None:
        """Add the counts of the images `first` .. to arrays of one's own (see `zeros`)."""
        part = slice(first, first + len(other.drawn))
        self.drawn[part] += other.drawn
        self.raised[part] += other.raised

    def of_rows(self, rows: slice) -> "LineCounts":
        """Of a part of the wordlines."""
        drawn = self.drawn[:, rows]
        return LineCounts(drawn, drawn if self.raised is self.drawn else self.raised[:, rows])


def count_rows(x: NDArray[Any], images: int, macro: Macro) -> LineCounts:
    """Of inputs `x` [images * positions, K]."""
    made: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for table in line_tables(macro):
        same = [counts for known, counts in made if np.array_equal(known, table)]
        counts = same[0] if same else np.zeros((images, x.shape[1]), dtype=np.int64)
        if not same:
            nibbles = nibble_tables(table) if AVAILABLE and x.dtype == np.uint8 else None
            if nibbles is not None:
                count_nibbles(x, *nibbles, np.zeros(32, dtype=np.uint16), counts)
            else:
                count_inputs(x, input_range(macro)[0], table, counts)
        made.append((table, counts))
    return LineCounts(*(counts for _, counts in made))


class WindowTables:
    """What `WindowCounts` looks inputs up in, made once for a layer."""

    def __init__(self, macro: Macro) -> None:
        """For inputs of this macro, by their two's complement code."""
        tables = [np.roll(table, input_range(macro)[0]) for table in line_tables(macro)]
        self.which = [next(i for i, other in enumerate(tables) if np.array_equal(table, other)) for table in tables]
        self.tables = {i: tables[i] for i in sorted(set(self.which))}
        self.most = {i: int(table.max()) for i, table in self.tables.items()}
        self.nibbles = {i: nibble_tables(table) if AVAILABLE else None for i, table in self.tables.items()}


class WindowCounts:
    """The same, summed over the strips of a layer's feature map."""

    def __init__(self, given: WindowTables, images: int, taps: tuple[int, int, int]) -> None:
        """For wordlines (channel, kernel row, kernel column) = `taps`."""
        self.given = given
        self.counts = {i: np.zeros((images, *taps), dtype=np.int64) for i in given.tables}

    def add(self, strip: NDArray[Any], first: int, window: "Window", room: Room) -> None:
        """Count a padded strip of the images `first` ..; other strips of the same images are added to it."""
        (stride, dilation, out_shape) = window
        reach = [(taps - 1) * d for taps, d in zip(next(iter(self.counts.values())).shape[2:], dilation)]
        plain = strip.dtype == np.uint8 and stride == (1, 1) and all(r <= n for r, n in zip(reach, out_shape))
        for i, counts in self.counts.items():
            part = counts[first : first + len(strip)]
            nibbles = self.given.nibbles[i]
            if plain and nibbles is not None:
                seen = room.array("seen", (strip.shape[2] * strip.shape[3],), np.uint8)
                edges = room.array("edges", (max(4, strip.shape[3]),), np.int64)
                count_nibble_windows(strip, *nibbles, dilation, out_shape, seen, edges, part)
                continue
            most = self.given.most[i] * strip.shape[2]
            kind = np.int32 if most < 1 << 31 else np.int64
            lines = room.array("lines", (counts.shape[2] + 1, strip.shape[3]), kind)
            count_windows(strip, self.given.tables[i], *window, lines, part)

    def joined(self, others: Sequence["WindowCounts"]) -> LineCounts:
        """All counts of this and `others`, as wordlines."""
        totals = self.counts
        if others:
            totals = {i: sum((other.counts[i] for other in others), counts) for i, counts in self.counts.items()}
        flat = {i: total.reshape(len(total), -1) for i, total in totals.items()}
        return LineCounts(*(flat[i] for i in self.given.which))


Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # stride, dilation, output rows and columns


@dataclass(frozen=True, eq=False)
class CellCounts:
    """What cells draw, by image: whole numbers, so that parts of a layer add up in any order to the same."""

    drawn: NDArray[Any]  # [images], in counts of `Counter.CELL_PULSES`
    level_drawn: NDArray[Any]  # [images], in counts of `Counter.CELL_LEVEL_PULSES` times `unit`
    unit: int  # 2^fraction_bits where levels are effective ones

    def plus(self, other: "CellCounts") -> "CellCounts":
        """Of both, of one unit."""
        assert self.unit == other.unit
        return CellCounts(self.drawn + other.drawn, self.level_drawn + other.level_drawn, self.unit)

    def put(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """`counts` [images, len(Counter)] with these filled in, rounded once, half to even."""
        level = self.level_drawn
        if self.unit > 1:
            whole, rest = level // self.unit, level % self.unit
            level = whole + ((2 * rest > self.unit) | ((2 * rest == self.unit) & (whole % 2 == 1)))
        for counter, values in ((Counter.CELL_PULSES, self.drawn), (Counter.CELL_LEVEL_PULSES, level)):
            if values.dtype == object and max(values, default=0) >= 1 << 63:
                raise CimemuError(
                    f"counted charge of an image's layer: {max(values)}, must be below 2^63; use fewer input.dac_bits"
                )
            counts[:, counter] = values.astype(np.int64)
        return counts


def count_cells(
    lines: LineCounts,
    toggles: Toggles | None,
    layout: Layout,
    *,
    row_levels: tuple[NDArray[np.int64], int],
    row_factors: NDArray[np.int64] | None,
    unit: int,
    used_columns: int,
) -> CellCounts:
    """What the cells of a matrix draw: those of analog cells from `lines`, those of digital ones from `toggles`.

    `row_levels[0][k]` is the sum of the levels on row k, times `unit`, over the used physical columns of all column blocks
    (reference columns included), `row_levels[1]` the sum of their magnitudes, `row_factors` [factors, K] the same of digital
    cells (see `factor_cells`), `used_columns` the number of those columns.
    """
    if toggles is None:
        return CellCounts(_products(lines.drawn.sum(axis=1), used_columns), _dot(lines.drawn, *row_levels), unit)
    assert row_factors is not None
    changes = toggles.changes(layout)
    level = sum((_dot(c, rows) for c, rows in zip(changes, row_factors)), np.zeros(changes.shape[1], dtype=np.int64))
    return CellCounts(_products(changes[0].sum(axis=1), used_columns), level, 1)


def _products(values: NDArray[np.int64], factor: int) -> NDArray[Any]:
    """`values * factor` of non-negative numbers, as Python integers where 64 bits do not hold them."""
    most = int(values.max(initial=0)) * factor
    return values * factor if most < 1 << 62 else values.astype(object) * factor


def _dot(counts: NDArray[np.int64], weights: NDArray[np.int64], size: int | None = None) -> NDArray[Any]:
    """`counts @ weights` [images], likewise; `size` is the sum of the weights' magnitudes, where it is known."""
    most = int(counts.max(initial=0)) * (int(np.abs(weights).sum()) if size is None else size)
    if most < 1 << 62:
        return np.asarray(counts @ weights)
    return np.asarray(counts.astype(object) @ weights.astype(object))


class Activity:
    """What a matrix does besides its cells, made once: most of it is a number for every input vector.

    `further` are how many reference columns and checksum columns all column blocks have together, `switches` the reference switches
    of a step by row block, `multiplications` by scales of one position beside the requantisation's own.
    """

    def __init__(
        self, macro: Macro, layout: Layout, further: tuple[int, int], switches: tuple[int, ...], multiplications: int
    ) -> None:
        """Of cells laid out as `layout`."""
        self.layout, self.slices, self.reads = layout, macro.input_slices, macro.repair.reads
        data = layout.outputs * macro.conversions_per_output
        self.columns = data + sum(further)
        self.compared = 2 * data if further[1] else 0  # values that are added to the two sums of their group
        self.switches = np.array(switches, dtype=np.int64)
        blocks, col_blocks = len(layout.row_blocks), len(layout.col_blocks)
        each = np.zeros(len(Counter), dtype=np.int64)
        each[Counter.MACRO_OPS] = blocks * col_blocks
        if macro.needs_input_sums and macro.weight.correction == "digital":
            each[Counter.CORRECTION_ADDS] = layout.rows
        each[Counter.PSUM_ADDS] = layout.outputs * (blocks - 1)
        each[Counter.INPUT_BITS] = layout.rows * macro.input.bits * col_blocks
        each[Counter.SCALE_MULTIPLICATIONS] = multiplications
        width = sum(accumulator_width(macro, layout, block) for block in range(blocks))
        each[Counter.OUTPUT_BITS] = layout.outputs * width
        self.each = each
        self.steps = self._of_steps(np.array(layout.groups_per_block)[None] * self.slices)[0]  # where none is skipped

    def _of_steps(self, by_block: NDArray[np.int64]) -> NDArray[np.int64]:
        """counts [images, len(Counter)] of steps [images, row blocks]."""
        col_blocks, steps = len(self.layout.col_blocks), by_block.sum(axis=1)
        counts = np.zeros((len(by_block), len(Counter)), dtype=np.int64)
        counts[:, Counter.STEPS] = steps * col_blocks * self.reads
        counts[:, Counter.CONVERSIONS] = steps * self.columns * self.reads
        counts[:, Counter.REFERENCE_SWITCHES] = by_block @ self.switches * self.reads
        counts[:, Counter.SHIFT_ADDS] = steps * (self.columns + self.compared)
        return counts

    def counts(
        self,
        lines: LineCounts,
        positions: int,
        nonzero: NDArray[np.bool_] | None,
        held: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """counts [images, len(Counter)] of images of `positions` input vectors, all but the cells' (see `count_cells`).

        `nonzero` [P, groups, I]: which steps were driven (None: all). `held` [images]: bits that change on all wordlines,
        where these hold.
        """
        images, col_blocks = len(lines.drawn), len(self.layout.col_blocks)
        if nonzero is None:
            counts = np.tile(positions * (self.each + self.steps), (images, 1))
        else:
            driven = nonzero.reshape(images, positions, self.layout.groups, self.slices).sum(axis=(1, 3))
            ends = np.cumsum(self.layout.groups_per_block)
            by_block = np.stack([part.sum(axis=1) for part in np.split(driven, ends[:-1], axis=1)], axis=1)
            counts = self._of_steps(by_block) + positions * self.each
            all_steps = positions * self.layout.groups * self.slices
            counts[:, Counter.SKIPPED_STEPS] = (all_steps - by_block.sum(axis=1)) * col_blocks
        counts[:, Counter.WORDLINES_RAISED] = lines.raised.sum(axis=1) * col_blocks * self.reads
        counts[:, Counter.WORDLINE_PULSES] = (
            (lines.drawn.sum(axis=1) if held is None else held) * col_blocks * self.reads
        )
        return counts
