"""What is counted when inputs meet a programmed matrix: exact, and the same whatever path made the values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.compute.encode import input_range
from cimemu.events import Counter
from cimemu.kernels.activity import count_inputs, count_nibbles, count_windows
from cimemu.kernels.lanes import AVAILABLE
from cimemu.mapping.layout import Layout, accumulator_width


def slice_tables(macro: Macro) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every input value from the smallest: the sum of its slices, and how many of them are not zero."""
    low, high = input_range(macro)
    code = np.arange(low, high + 1) & (2**macro.input.bits - 1)
    dac = macro.input.dac_bits
    slices = np.stack([(code >> (i * dac)) & (2**dac - 1) for i in range(macro.input_slices)])
    return slices.sum(axis=0), (slices != 0).sum(axis=0)


def charge_tables(macro: Macro) -> tuple[NDArray[np.int64], int]:
    """For every input value from the smallest: what it draws from a cell, summed over its slices; and the unit of that.

    A train of pulses (and a digital cell's gates) draw in proportion to the slice's value, in units of a pulse; a
    voltage draws in proportion to its square, in units of the full-scale voltage.
    """
    low, high = input_range(macro)
    code = np.arange(low, high + 1) & (2**macro.input.bits - 1)
    dac = macro.input.dac_bits
    slices = np.stack([(code >> (i * dac)) & (2**dac - 1) for i in range(macro.input_slices)])
    if macro.input.dac == "pulse" or macro.cell.kind == "digital":
        return slices.sum(axis=0), 1
    return (slices**2).sum(axis=0), (2**dac - 1) ** 2


def line_tables(macro: Macro) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(pulses, charge, raised) of every input value from the smallest."""
    pulses, raised = slice_tables(macro)
    return pulses, charge_tables(macro)[0], raised


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

    Sums of slice values, of what they draw from a cell, and of how often they are not zero. Equal ones are one array.
    """

    pulses: NDArray[np.int64]
    charge: NDArray[np.int64]
    raised: NDArray[np.int64]

    @staticmethod
    def zeros(images: int, rows: int) -> "LineCounts":
        """Nothing counted yet."""
        return LineCounts(*(np.zeros((images, rows), dtype=np.int64) for _ in range(3)))

    def add(self, other: "LineCounts", first: int = 0) -> None:
        """Add the counts of the images `first` .. to arrays of one's own (see `zeros`)."""
        part = slice(first, first + len(other.pulses))
        self.pulses[part] += other.pulses
        self.charge[part] += other.charge
        self.raised[part] += other.raised

    def of_rows(self, rows: slice) -> "LineCounts":
        """Of a part of the wordlines."""
        return LineCounts(self.pulses[:, rows], self.charge[:, rows], self.raised[:, rows])


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


class WindowCounts:
    """The same, summed over the strips of a layer's feature map."""

    def __init__(self, macro: Macro, images: int, taps: tuple[int, int, int]) -> None:
        """For wordlines (channel, kernel row, kernel column) = `taps`."""
        tables = [np.roll(table, input_range(macro)[0]) for table in line_tables(macro)]  # by two's complement code
        self.which = [next(i for i, other in enumerate(tables) if np.array_equal(table, other)) for table in tables]
        self.tables = {i: tables[i] for i in sorted(set(self.which))}
        self.counts = {i: np.zeros((images, *taps), dtype=np.int64) for i in self.tables}

    def add(self, strip: NDArray[Any], first: int, window: "Window") -> None:
        """Count a padded strip of the images `first` ..; other strips of the same images are added to it."""
        for i, counts in self.counts.items():
            part = counts[first : first + len(strip)]
            lines = np.empty((counts.shape[2] + 1, strip.shape[3]), dtype=np.int32)
            count_windows(strip, self.tables[i], *window, lines, part)

    def joined(self, others: Sequence["WindowCounts"]) -> LineCounts:
        """All counts of this and `others`, as wordlines."""
        totals = {i: sum((other.counts[i] for other in others), counts) for i, counts in self.counts.items()}
        flat = {i: total.reshape(len(total), -1) for i, total in totals.items()}
        return LineCounts(*(flat[i] for i in self.which))


Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # stride, dilation, output rows and columns


def count_activity(
    lines: LineCounts,
    positions: int,
    macro: Macro,
    layout: Layout,
    *,
    row_levels: NDArray[np.float64],
    used_columns: int,
    reference_columns: int,
    switches: tuple[int, ...],
    nonzero: NDArray[np.bool_] | None,
    multiplications: int,
) -> NDArray[np.int64]:
    """counts [images, len(Counter)] of images of `positions` input vectors.

    `row_levels[k]` is the sum of the levels on row k over the used physical columns of all column blocks (reference
    columns included), `used_columns` their number, `reference_columns` how many reference columns all column
    blocks have together, `switches` the reference switches of a step by row block, `nonzero` [P, groups, I] which
    steps were driven (None: all), `multiplications` by scales of one position beside the
    requantisation's own.
    """
    images, pulses = len(lines.pulses), lines.pulses.sum(axis=1)
    counts = np.zeros((images, len(Counter)), dtype=np.int64)
    blocks, col_blocks = len(layout.row_blocks), len(layout.col_blocks)
    converted = layout.outputs * macro.conversions_per_output
    if nonzero is None:
        by_block = np.outer(np.full(images, positions * macro.input_slices), np.array(layout.groups_per_block))
    else:
        driven = nonzero.reshape(images, positions, layout.groups, macro.input_slices).sum(axis=(1, 3))
        ends = np.cumsum(layout.groups_per_block)
        by_block = np.stack([part.sum(axis=1) for part in np.split(driven, ends[:-1], axis=1)], axis=1)
    steps = by_block.sum(axis=1)
    all_steps = positions * layout.groups * macro.input_slices
    counts[:, Counter.MACRO_OPS] = positions * blocks * col_blocks
    counts[:, Counter.STEPS] = steps * col_blocks
    counts[:, Counter.SKIPPED_STEPS] = (all_steps - steps) * col_blocks
    counts[:, Counter.WORDLINES_RAISED] = lines.raised.sum(axis=1) * col_blocks
    counts[:, Counter.WORDLINE_PULSES] = pulses * col_blocks
    unit = charge_tables(macro)[1]
    counts[:, Counter.CELL_PULSES] = np.rint(lines.charge.sum(axis=1) * used_columns / unit)
    counts[:, Counter.CELL_LEVEL_PULSES] = np.rint((lines.charge @ row_levels) / unit).astype(np.int64)
    counts[:, Counter.CONVERSIONS] = steps * (converted + reference_columns)
    counts[:, Counter.REFERENCE_SWITCHES] = by_block @ np.array(switches, dtype=np.int64)
    counts[:, Counter.SHIFT_ADDS] = counts[:, Counter.CONVERSIONS]
    if macro.weight.encoding in ("offset", "binary") and macro.weight.correction == "digital":
        counts[:, Counter.CORRECTION_ADDS] = positions * layout.rows
    counts[:, Counter.PSUM_ADDS] = positions * layout.outputs * (blocks - 1)
    counts[:, Counter.INPUT_BITS] = positions * layout.rows * macro.input.bits * col_blocks
    counts[:, Counter.SCALE_MULTIPLICATIONS] = positions * multiplications
    width = sum(accumulator_width(macro, layout, block) for block in range(blocks))
    counts[:, Counter.OUTPUT_BITS] = positions * layout.outputs * width
    return counts
