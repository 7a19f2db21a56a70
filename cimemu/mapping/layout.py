"""How a weight matrix is cut into macros, and how a grouped convolution is cut into matrices (contract section 1.1)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import MappingError

Span = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """The cut of one matrix `[rows, outputs]`: row blocks x column blocks, a macro each."""

    rows: int
    outputs: int
    row_blocks: tuple[Span, ...]
    col_blocks: tuple[Span, ...]
    active_rows: int

    @property
    def group_spans(self) -> tuple[tuple[int, int, int], ...]:
        """(row block, first row, last row + 1) of every group, all row blocks, in raising order."""
        return tuple(
            (block, first, min(first + self.active_rows, stop))
            for block, (start, stop) in enumerate(self.row_blocks)
            for first in range(start, stop, self.active_rows)
        )

    @property
    def groups(self) -> int:
        """Groups of all row blocks together."""
        return len(self.group_spans)

    @property
    def groups_per_block(self) -> tuple[int, ...]:
        """Groups of each row block."""
        return tuple(-(-(stop - start) // self.active_rows) for start, stop in self.row_blocks)


def make_layout(rows: int, outputs: int, macro: Macro, kernel_area: int = 1) -> Layout:
    """Cut `[rows, outputs]` for `macro`; `kernel_area` = kernel rows x columns matters where kernels stay whole.

    Raises MappingError where a kernel does not fit the rows of a macro.
    """
    cut = macro.mapping.rows
    channels = macro.rows // kernel_area
    if cut != "dense" and channels < 1:
        raise MappingError(
            f"mapping.rows = {cut} with a kernel of {kernel_area} rows, must be <= macro.rows = {macro.rows}; "
            "use mapping.rows = dense"
        )
    match cut:
        case "dense":
            row_blocks = _spans(rows, macro.rows)
        case "whole_kernels":
            row_blocks = _spans(rows, channels * kernel_area)
        case "grouped":
            row_blocks = _even_spans(rows // kernel_area, channels, kernel_area)
        case other:
            assert_never(other)
    return Layout(
        rows=rows,
        outputs=outputs,
        row_blocks=row_blocks,
        col_blocks=_spans(outputs, macro.outputs),
        active_rows=macro.raised_rows,
    )


def _spans(total: int, step: int) -> tuple[Span, ...]:
    return tuple((first, min(first + step, total)) for first in range(0, total, step))


def _even_spans(channels: int, most: int, kernel_area: int) -> tuple[Span, ...]:
    """`ceil(channels / most)` blocks of whole channels, sizes one apart at most, the larger ones first."""
    blocks = -(-channels // most)
    edges = [number * (channels // blocks) + min(number, channels % blocks) for number in range(blocks + 1)]
    return tuple((first * kernel_area, last * kernel_area) for first, last in pairwise(edges))


@dataclass(frozen=True, eq=False)
class Unit:
    """A piece of a convolution that is a matrix of its own: rows and outputs of the layer, raised together.

    `row_group[r]` and `out_group[n]` number the convolution groups inside the unit; None where it has one.
    """

    row_start: int
    row_stop: int
    out_start: int
    out_stop: int
    row_group: NDArray[np.int64] | None = None
    out_group: NDArray[np.int64] | None = None

    @property
    def groups(self) -> int:
        """Convolution groups in the unit."""
        return 1 if self.out_group is None else int(self.out_group[-1]) + 1


def make_units(groups: int, rows_per_group: int, outputs_per_group: int, macro: Macro) -> tuple[Unit, ...]:
    """The units of a convolution of `groups` groups.

    `block_diagonal` packs `min(rows // rows_per_group, outputs per macro // outputs_per_group)` groups (at least
    one) in a macro and a raise; `separate` makes one unit per group.
    """
    match macro.mapping.groups:
        case "block_diagonal":
            together = max(1, min(macro.rows // rows_per_group, macro.outputs // outputs_per_group))
        case "separate":
            together = 1
        case other:
            assert_never(other)
    units = []
    for first in range(0, groups, together):
        count = min(together, groups - first)
        numbers = np.arange(count)
        units.append(
            Unit(
                row_start=first * rows_per_group,
                row_stop=(first + count) * rows_per_group,
                out_start=first * outputs_per_group,
                out_stop=(first + count) * outputs_per_group,
                row_group=None if count == 1 else np.repeat(numbers, rows_per_group),
                out_group=None if count == 1 else np.repeat(numbers, outputs_per_group),
            )
        )
    return tuple(units)


@dataclass(frozen=True, eq=False)
class LayerCut:
    """A layer's units, and the layout of each."""

    units: tuple[Unit, ...] = ()
    layouts: tuple[Layout, ...] = ()


def cut_layer(groups: int, rows_per_group: int, outputs_per_group: int, macro: Macro, kernel_area: int = 1) -> LayerCut:
    """The cut of a convolution (or product: one group, kernel_area 1). Raises MappingError as `make_layout` does."""
    units = make_units(groups, rows_per_group, outputs_per_group, macro)
    layouts = [make_layout(u.row_stop - u.row_start, u.out_stop - u.out_start, macro, kernel_area) for u in units]
    return LayerCut(units, tuple(layouts))


def accumulator_width(macro: Macro, layout: Layout, block: int) -> int:
    """Bits of a row block's accumulator: as given, or enough for the largest sum its cells can make."""
    if macro.accumulator_bits is not None:
        return macro.accumulator_bits
    start, stop = layout.row_blocks[block]
    largest = (stop - start) * 2**macro.input.bits * (macro.largest_side + 1)
    return int(largest).bit_length() + 1


def widest_accumulator(macro: Macro, layout: Layout) -> int:
    """Bits of the widest accumulator of all row blocks."""
    sizes = [stop - start for start, stop in layout.row_blocks]
    return accumulator_width(macro, layout, sizes.index(max(sizes)))
