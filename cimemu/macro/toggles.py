"""Digital cells: product bits that change, from one step of an image to the next.

A product is an input slice times the level of a cell, bit by bit. The state of a block's products is 0 before an image
and runs on through that image's operations on the block: output positions, then groups, then input slices. Rows of
another group than the one raised have products 0, and so have skipped slices. Columns hold their state while a macro
works for other blocks. Layers that share cells go on from where the one before left them.
So what is counted depends on neither batch, thread, schedule nor placement, and a wordline
(row `k` of a block) decides it with the number of its cells alone:

 - one group: from slice to slice, from the last slice of a position to the first of the next;
 - several groups: every position begins and ends at 0, but for the last group's last position, which nothing follows.

A pulse DAC's line is 0 between pulses: every pulse changes a bit twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.macro.activity_kernels import count_windows
from cimemu.macro.change_kernels import count_meetings, count_turns
from cimemu.mapping.layout import Layout
from cimemu.threads import on_threads
from cimemu.windows.strips import Room, Source, Strip

STRIP_BYTES = 1 << 20  # of the images whose changes are counted together


def factors_of(macro: Macro) -> tuple[int, ...]:
    """Odd numbers that levels are powers of two of, where the bits of slice x level do not follow from the slice's own."""
    whole = macro.input.dac == "voltage" and macro.input.dac_bits > 1  # bits driven by themselves are as a 1-bit DAC's
    several = whole and macro.cell.kind == "digital" and macro.cell.bits > 1
    return tuple(range(1, 2**macro.cell.bits, 2)) if several else (1,)


def factor_cells(macro: Macro, levels: NDArray[np.integer]) -> NDArray[np.int64]:
    """int64 [factors, K]: how often each factor's changes are made on every row, from whole levels [K, columns]."""
    factors = factors_of(macro)
    value = np.arange(2**macro.cell.bits)
    if len(factors) == 1:  # one bit times a level is the level's bits
        made: NDArray[np.int64] = ones(value)[levels].sum(axis=1)[None]
        return made
    odd = value // np.maximum(1, value & -value)
    return np.stack([(odd == factor)[levels].sum(axis=1) for factor in factors])


def whole_levels(macro: Macro, cells: NDArray[np.integer]) -> NDArray[np.int64]:
    """The level that a digital cell holds: the nearest to its effective level (times 2^fraction_bits)."""
    nearest = np.rint(cells / 2.0**macro.cell.fraction_bits)
    return np.clip(nearest, 0, 2**macro.cell.bits - 1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class ChangeTables:
    """What input values do to a product by `factor`, by their two's complement codes: int64 [2^bits] each."""

    factor: int
    alone: NDArray[np.int64]  # bits that change where products are 0 before and after
    first: NDArray[np.int64]  # product of the first slice
    last: NDArray[np.int64]  # product of the last slice


def change_tables(macro: Macro) -> list[ChangeTables]:
    """The tables of every factor."""
    code, by_slice = np.arange(2**macro.input.bits), macro.input.spans
    by_bit = tuple((bit, 1) for bit in range(sum(bits for _, bits in by_slice)))
    spans = {"pulse": by_slice, "voltage": by_slice, "bits": by_bit}[macro.input.dac]
    slices = np.stack([(code >> place) & (2**bits - 1) for place, bits in spans])
    match macro.input.dac:
        case "pulse":
            nothing = np.zeros(len(code), dtype=np.int64)
            return [ChangeTables(1, 2 * slices.sum(axis=0), nothing, nothing)]
        case "voltage" | "bits":
            return _tables_of_levels(macro, slices)
        case other:
            assert_never(other)


def _tables_of_levels(macro: Macro, slices: NDArray[np.int64]) -> list[ChangeTables]:
    """The tables of a DAC whose value stands until the next slice, or bit [slices, codes]."""
    made = []
    for factor in factors_of(macro):
        products = np.pad(slices * factor, ((1, 1), (0, 0)))
        made.append(
            ChangeTables(
                factor, ones(products[1:] ^ products[:-1]).sum(axis=0), slices[0] * factor, slices[-1] * factor
            )
        )
    return made


@dataclass(frozen=True, eq=False)
class Toggles:
    """Changes on every wordline, summed over an image's positions: int64 [factors, images, K] each."""

    alone: NDArray[np.int64]  # where every position begins and ends at 0
    meetings: NDArray[np.int64]  # bits that are 1 in a position's last slice and in the next one's first
    ends: NDArray[np.int64]  # bits that are 1 in the last slice of the image

    def of_rows(self, rows: slice) -> "Toggles":
        """Of a part of the wordlines."""
        return Toggles(self.alone[:, :, rows], self.meetings[:, :, rows], self.ends[:, :, rows])

    def plus(self, other: "Toggles") -> "Toggles":
        """Of two replicas with the same cells."""
        return Toggles(self.alone + other.alone, self.meetings + other.meetings, self.ends + other.ends)

    def following(self, before: NDArray[np.integer], first: NDArray[np.integer], macro: Macro) -> "Toggles":
        """Of cells that stand as inputs `before` [images, K] left them where the first inputs `first` [images, K] come."""
        mask = 2**macro.input.bits - 1
        old, new = before.astype(np.int64) & mask, first.astype(np.int64) & mask
        tables = change_tables(macro)
        met = np.stack([ones(table.last[old] & table.first[new]) for table in tables])
        left = np.stack([ones(table.last[old]) for table in tables])
        return Toggles(self.alone, self.meetings + met, self.ends - left)

    def changes(self, layout: Layout) -> NDArray[np.int64]:
        """Bits that change [factors, images, K] where the rows are raised as `layout` says."""
        several, falls = np.zeros(layout.rows, dtype=np.bool_), np.zeros(layout.rows, dtype=np.bool_)
        for (start, stop), groups in zip(layout.row_blocks, layout.groups_per_block):
            several[start:stop] = groups > 1
            # Another group is raised after the last slice of all but the last group.
            falls[start : start + (groups - 1) * layout.active_rows] = True
        return self.alone - 2 * self.meetings * ~several - self.ends * ~falls


def toggles_of_rows(x: NDArray[np.integer], images: int, macro: Macro) -> Toggles:
    """Of inputs `x` [images * positions, K], some wordlines at a time."""
    tables, mask = change_tables(macro), 2**macro.input.bits - 1
    counts = np.zeros((3, len(tables), images, x.shape[1]), dtype=np.int64)
    step = max(1, STRIP_BYTES // max(1, 8 * len(x)))
    for first in range(0, x.shape[1], step):
        rows = slice(first, first + step)
        codes = (x[:, rows].astype(np.int64) & mask).reshape(images, len(x) // images, -1)
        for number, table in enumerate(tables):
            alone, meetings, ends = counts[:, number, :, rows]
            alone += table.alone[codes].sum(axis=1)
            meetings += ones(table.first[codes[:, 1:]] & table.last[codes[:, :-1]]).sum(axis=1)
            ends += ones(table.last[codes[:, -1:]]).sum(axis=1)
    return Toggles(*counts)


def toggles_of_windows(source: Source, macro: Macro, replicas: int, workers: int) -> list[Toggles]:
    """Of a layer's feature maps, by replica: output position p is replica p mod `replicas`' (one entry a replica)."""
    g, tables, images = source.geometry, change_tables(macro), len(source.tensor)
    counts = np.zeros((3, len(tables), replicas, images, g.channels_in, g.kernel_h, g.kernel_w), dtype=np.int64)
    each = (1 if source.narrow else 2) * g.channels_in * source.columns * source.input_rows(g.height_out)
    step = max(1, min(STRIP_BYTES // max(1, each), -(-images // workers)))
    (stride, dilation, _), out_shape = source.window, (g.height_out, g.width_out)
    down, right = (g.height_out - 1) * g.stride_h, (g.width_out - 1) * g.stride_w  # to the last output position

    def count(first: int) -> None:
        part, room = slice(first, min(first + step, images)), Room()
        strip = source.strip(Strip(part.start, part.stop, 0, g.height_out), room)
        lines = room.array("lines", (g.kernel_h + 3, strip.shape[3]), np.int64)
        for number, table in enumerate(tables):
            if replicas > 1:
                three = np.stack([table.alone, table.first, table.last])
                turned = np.zeros((3, replicas, len(strip), *counts.shape[4:]), dtype=np.int64)
                count_turns(strip, three, stride, dilation, out_shape, turned)
                counts[:, number, :, part] = turned
                continue
            alone, meetings, ends = counts[:, number, 0, part]
            count_windows(strip, table.alone, stride, dilation, out_shape, lines, alone)
            if table.last.any():
                count_meetings(strip, table.first, table.last, stride, dilation, out_shape, lines, meetings)
            window = strip[:, :, down :: g.dilation_h, right :: g.dilation_w][:, :, : g.kernel_h, : g.kernel_w]
            ends[:] = ones(table.last[window.astype(np.int64) & (len(table.last) - 1)])

    on_threads(workers, count, range(0, images, step))
    flat = counts.reshape(3, len(tables), replicas, images, -1)
    return [Toggles(*flat[:, :, r]) for r in range(replicas)]


def edge_window(source: Source, *, last: bool) -> NDArray[np.int64]:
    """Inputs [images, rows] of every image's first or last output position."""
    g, images, room = source.geometry, len(source.tensor), Room()
    strip = source.strip(Strip(0, images, 0, g.height_out), room)
    down, right = ((g.height_out - 1) * g.stride_h, (g.width_out - 1) * g.stride_w) if last else (0, 0)
    window = strip[:, :, down :: g.dilation_h, right :: g.dilation_w][:, :, : g.kernel_h, : g.kernel_w]
    made: NDArray[np.int64] = window.astype(np.int64).reshape(images, -1)
    return made


def merged(parts: Sequence[Toggles], kinds: int) -> list[Toggles]:
    """Toggles of `kinds` sets of cells, from those of all replicas: of each its own, or all together of one."""
    if kinds == len(parts):
        return list(parts)
    total = parts[0]
    for part in parts[1:]:
        total = total.plus(part)
    return [total]


def toggling(macro: Macro) -> bool:
    """Whether changes from slice to slice are counted: on digital cells, or on wordlines that hold."""
    return macro.cell.kind == "digital" or macro.input.driver == "holds"


def ones(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ones of non-negative numbers, bit by bit."""
    found, left = np.zeros(values.shape, dtype=np.int64), values.copy()
    while left.any():
        found += left & 1
        left >>= 1
    return found
