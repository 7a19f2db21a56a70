"""A programmed matrix: its cells, what its conversions see of them, and the range of its sums."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, LinearAdc
from cimemu.arch.macro import Macro
from cimemu.encoding import UNCORRECTED
from cimemu.errors import ArchError
from cimemu.layer.column_scale import ColumnScale, multiplications
from cimemu.macro.checksums import Checks
from cimemu.macro.encode import Columns, fixed_seen, inside_groups
from cimemu.macro.gated import GatedReads
from cimemu.macro.levels import level_table
from cimemu.macro.read_noise import ReadNoise
from cimemu.macro.references import Affine, References
from cimemu.macro.toggles import factor_cells, whole_levels
from cimemu.macro.traps import Traps
from cimemu.macro.words import pack_cells
from cimemu.mapping.layout import Layout

LARGEST = 2.0**62  # running sums and what a step adds: their sum stays in int64


@dataclass(frozen=True, eq=False)
class Matrix:
    """A programmed matrix. Converted columns run over (output, conversion), physical ones over (output, slice)."""

    macro: Macro
    adc: Adc
    layout: Layout
    weights: NDArray[np.int16]  # [K, N], off-block entries 0
    row_group: NDArray[np.int64] | None
    out_group: NDArray[np.int64] | None
    flipped_levels: NDArray[np.uint8] | None  # [K, physical columns] as stored, where column flipping is on
    cells: NDArray[np.integer] | None  # [K, physical columns] x 2^fraction_bits, None: ideal
    columns: Columns
    references: tuple[References, ...] | None  # by row block; None: ideal converter
    affine: tuple[Affine | None, ...]  # by row block
    slice_weights: NDArray[np.int64]  # [I]
    row_levels: NDArray[np.int64]  # [K], x 2^fraction_bits where cells are given
    psum_range: tuple[int, int]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    block_of: NDArray[np.int64]
    flipped: NDArray[np.bool_] | None  # [row blocks, columns] stored inverted; None: column flipping is off
    noise: tuple[ReadNoise, ...]  # sources of read noise; none: reads are exact
    traps: tuple[Traps, ...] = ()  # sources of trap noise
    base: NDArray[np.int64] | None = None  # [row blocks, converted columns] that an ideal converter sees besides inputs
    bow: tuple[NDArray[np.int64], ...] = ()  # [K, converted columns] more than slice value x cell, by slice value
    gated: GatedReads | None = None  # reads that are solved by themselves, in the place of sums of cells
    kept_switches: tuple[int, ...] | None = None  # of references before each converter's own errors
    scale: ColumnScale | None = None  # factors of row blocks and columns, applied behind the converters
    calibrated: str | None = None  # over what gains behind the codes are shared: factor, column or converter
    checks: Checks | None = None  # checksum columns behind the data columns of every column block
    values: tuple[References, ...] | None = None  # references whose levels, lsb and zero have been multiplied by them

    def inside(self, rows: slice, outputs: slice = slice(None)) -> NDArray[np.bool_] | None:
        """[rows, N] which cells hold weights: all but those off the blocks of packed groups; None where all do."""
        return inside_groups(self.row_group, self.out_group, rows, outputs)

    def levels_of(self, rows: slice, outputs: slice = slice(None)) -> NDArray[np.uint8]:
        """[rows, physical columns of `outputs`] ideal levels as stored, made anew at every call."""
        if self.flipped_levels is not None:
            wide = self.macro.columns_per_output
            first, stop, _ = outputs.indices(self.layout.outputs)
            return self.flipped_levels[rows, first * wide : stop * wide]
        return level_table(self.macro).levels(self.weights[rows, outputs], self.inside(rows, outputs))

    def seen_of(self, rows: slice) -> NDArray[np.integer]:
        """[rows, converted columns] what a conversion sees per unit of input, x 2^fraction_bits, made anew at every call."""
        return fixed_seen(self.levels_of(rows) if self.cells is None else self.cells[rows], self.columns)

    @cached_property
    def levels(self) -> NDArray[np.uint8]:
        """`levels_of` all rows, kept until `forget`."""
        return self.levels_of(slice(None))

    @cached_property
    def seen(self) -> NDArray[np.integer]:
        """`seen_of` all rows, kept until `forget`."""
        return fixed_seen(self.levels if self.cells is None else self.cells, self.columns)

    @property
    def seen_columns(self) -> int:
        """Converted columns."""
        return self.layout.outputs * len(self.columns.weight)

    def forget(self, *, words: bool = False) -> None:
        """Give back what takes much room and can be made again: cells, and packed words too where `words`."""
        for name in ("levels", "seen", "packed") if words else ("levels", "seen"):
            self.__dict__.pop(name, None)

    @property
    def check_columns(self) -> int:
        """Checksum columns of all column blocks together."""
        return 0 if self.checks is None else self.checks.cells.shape[1]

    @property
    def amends(self) -> bool:
        """Whether checksums may change what a column gives: its cells are not ideal ones, which add up to them."""
        return self.checks is not None and self.cells is not None

    @property
    def unit(self) -> int:
        """What an integer psum of 1 is here: 2^fraction_bits for given cells."""
        return 1 if self.cells is None else 2**self.macro.cell.fraction_bits

    @cached_property
    def packed(self) -> NDArray[np.uint64] | None:
        """Ideal cells as words of 64 rows [groups, planes, words, converted columns]; None where a cell is no number 0 .. 255."""
        if self.cells is not None:
            return None
        seen = vars(self)["seen"] if "seen" in vars(self) else self.seen_of(slice(None))
        most = int(seen.max())
        if int(seen.min()) < 0 or most > 255:
            return None
        words = -(-int((self.stops - self.starts).max()) // 64)
        return pack_cells(seen.astype(np.uint8, copy=False), self.starts, self.stops, max(1, most.bit_length()), words)

    @cached_property
    def row_factors(self) -> NDArray[np.int64]:
        """[factors, K]: digital cells on every row by what their products change by (see `factor_cells`)."""
        levels = self.levels.astype(np.int64) if self.cells is None else whole_levels(self.macro, self.cells)
        if self.checks is not None:
            held = self.checks.cells.astype(np.int64)
            held = held if self.cells is None else whole_levels(self.macro, held)
            levels = np.concatenate([levels, held], axis=1)
        found = factor_cells(self.macro, levels)
        if self.has_reference_column:
            found[0] += reference_cells_per_row(self)
        return found

    @property
    def has_reference_column(self) -> bool:
        """Whether sum_k x comes from converted all-ones columns."""
        return has_reference_column(self.macro)

    @property
    def reference_columns(self) -> int:
        """Reference columns of all column blocks together: one per macro and convolution group in it."""
        if not self.has_reference_column:
            return 0
        if self.out_group is None:
            return len(self.layout.col_blocks)
        return sum(len(np.unique(self.out_group[a:b])) for a, b in self.layout.col_blocks)

    @cached_property
    def block_groups(self) -> NDArray[np.int64]:
        """First group of every row block and the one behind its last, [row blocks, 2]."""
        blocks = np.arange(len(self.layout.row_blocks))
        return np.stack([np.searchsorted(self.block_of, blocks), np.searchsorted(self.block_of, blocks + 1)], axis=1)

    @property
    def integer_result(self) -> bool:
        """Whether y is int64: all levels are integers, and no column has a scale."""
        return self.scale is None and self.integer_levels

    @property
    def integer_levels(self) -> bool:
        """Whether all levels are integers."""
        if self.references is None:
            return self.unit == 1
        return all(r.integer for r in self.references)

    @cached_property
    def holding(self) -> bool:
        """Whether running sums have to be held to the accumulator step by step: they could leave it."""
        return may_overflow(self)

    @property
    def multiplications(self) -> int:
        """Scale multiplications of one output position that the requantisation's own cannot do."""
        adc, layout = self.adc, self.layout
        psums = "layer"
        if isinstance(adc, LinearAdc):  # a table of levels holds its scale already
            grid = adc.lsb if isinstance(adc.lsb, list) else adc.zero
            if isinstance(grid, list):
                psums = "array" if len(grid[0]) == len(layout.col_blocks) else "column"
        made = multiplications(
            layout.outputs,
            len(layout.row_blocks),
            self.macro.conversions_per_output,
            weights="layer" if self.scale is None else self.scale.granularity,
            slices=self.scale is not None and self.scale.slices,
            psums=psums,
        )
        made = made if made > layout.outputs else 0
        if self.calibrated is None:
            return made
        if self.calibrated == "factor":  # with a correction, which has none, it is not the requantisation's own
            return max(made, 0 if self.macro.correction == UNCORRECTED else layout.outputs)
        return layout.outputs * len(layout.row_blocks) * self.macro.conversions_per_output

    @property
    def moved_thresholds(self) -> tuple[NDArray[np.int64], ...] | None:
        """Thresholds by row block where converters have errors of their own, else None: they follow from `adc`."""
        if self.kept_switches is None or self.references is None:
            return None
        return tuple(r.thresholds for r in self.references)

    @property
    def calibrated_grid(self) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...] | None:
        """(lsb, zero) [1 or columns] by row block where a calibration chose them, else None: they follow from `adc`."""
        if self.calibrated is None or self.references is None:
            return None
        return tuple((r.lsb, r.zero) for r in self.references if r.lsb is not None and r.zero is not None)

    @property
    def switches(self) -> tuple[int, ...]:
        """Reference switches of one step, all column blocks together, by row block."""
        if self.kept_switches is not None:
            return self.kept_switches
        if self.references is None:
            return tuple(0 for _ in self.layout.row_blocks)
        return tuple(
            r.switches(self.macro.columns_per_adc, self.macro.conversions_per_output, self.layout)
            for r in self.references
        )


def reference_cells_per_row(matrix: Matrix) -> NDArray[np.int64]:
    """Reference cells (level 1) on each row, all column blocks together."""
    if matrix.row_group is None or matrix.out_group is None:
        return np.full(matrix.layout.rows, len(matrix.layout.col_blocks))
    served = [np.unique(matrix.out_group[a:b]) for a, b in matrix.layout.col_blocks]
    made: NDArray[np.int64] = np.sum([np.isin(matrix.row_group, groups) for groups in served], axis=0)
    return made


def has_reference_column(macro: Macro) -> bool:
    """Whether sum_k x comes from converted all-ones columns."""
    return macro.weight.correction == "reference_column" and macro.needs_input_sums


def limits(bits: int) -> tuple[int, int]:
    """Smallest and largest number of a signed accumulator."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def check_sums(matrix: Matrix) -> None:
    """ArchError where sums of integer levels could leave the 64 bits that they are added in."""
    if matrix.references is None or not matrix.integer_levels:
        return
    largest = max(float(np.abs(r.levels).max()) for r in matrix.references)
    weight = float(np.abs(matrix.columns.weight).sum()) * float(np.abs(matrix.slice_weights).sum())
    if largest * weight * len(matrix.starts) >= LARGEST:
        raise ArchError(
            f"macro.adc: levels up to {largest:.3g} add up to {largest * weight * len(matrix.starts):.3g}, must stay below "
            "2^62; use a smaller lsb, zero or smaller levels"
        )


def may_overflow(matrix: Matrix) -> bool:
    """Whether inputs exist, for all that the programmed levels tell, that take a running sum out of the accumulator.

    False costs nothing afterwards: every path runs as with an accumulator that is wide enough.
    """
    bits = matrix.macro.accumulator_bits
    if bits is None:
        return False
    low, high = limits(bits)
    least, most = sum_range(matrix)
    return bool((most > high).any() or (least < low).any())


def sum_range(matrix: Matrix) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Smallest and largest running sum that the programmed levels allow, [row blocks, N]; levels are integers."""
    per_output = (matrix.layout.outputs, len(matrix.columns.weight))
    most = np.zeros((len(matrix.layout.row_blocks), matrix.layout.outputs), dtype=np.int64)
    least = np.zeros_like(most)
    weights = matrix.columns.weight
    if matrix.flipped is not None:  # what is stored inverted is taken off
        inverted = matrix.flipped.reshape(len(most), *per_output)
    for g, block in enumerate(matrix.block_of):
        if matrix.flipped is not None:
            weights = np.where(inverted[block], -matrix.columns.weight, matrix.columns.weight)
        ends = [v.reshape(per_output) * weights for v in value_range(matrix, g)]
        below, above = np.minimum(*ends).sum(axis=1), np.maximum(*ends).sum(axis=1)
        for weight in matrix.slice_weights:
            one, other = weight * below, weight * above
            most[block] += np.maximum(np.maximum(one, other), 0)
            least[block] += np.minimum(np.minimum(one, other), 0)
    return least, most


def value_range(matrix: Matrix, g: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Smallest and largest integer value of every converted column in a step of group g."""
    low, high = _converted_range(matrix, g)
    if matrix.amends and matrix.checks is not None:  # a value that is put right is one of ideal cells
        low, high = np.minimum(low, 0), np.maximum(high, matrix.checks.largest)
    return low, high


def _converted_range(matrix: Matrix, g: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same of what converters give."""
    rows, largest = matrix.seen_of(slice(matrix.starts[g], matrix.stops[g])), 2**matrix.macro.input.dac_bits - 1
    low = np.minimum(rows, 0).sum(axis=0, dtype=np.int64) * largest
    high = np.maximum(rows, 0).sum(axis=0, dtype=np.int64) * largest
    if matrix.references is None:
        return low, high
    references = matrix.references[matrix.block_of[g]]
    levels = np.broadcast_to(references.levels, (len(low), references.levels.shape[1])).astype(np.int64)
    # Noise is not in the bounds that levels and inputs give, so a noisy psum may meet any code.
    wandering = matrix.noise or matrix.traps or matrix.bow or matrix.gated is not None
    if references.lsb is None or wandering:  # any code may be met
        return levels.min(axis=1), levels.max(axis=1)
    reached = [(references.thresholds <= psums[:, None]).sum(axis=1) for psums in (low, high)]
    first, last = (np.take_along_axis(levels, codes[:, None], axis=1)[:, 0] for codes in reached)
    return first, last
