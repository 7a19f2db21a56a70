"""A macro resolved into numbers for generated hardware: sizes, widths, weights and tables, none left to be computed there."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import IdealAdc, LinearAdc, plain
from cimemu.arch.macro import Macro, Overflow
from cimemu.errors import ArchError
from cimemu.macro.encode import columns_of, input_slice_weights
from cimemu.macro.matrix import has_reference_column
from cimemu.macro.references import make_references
from cimemu.mapping.cycles import drive_cycles
from cimemu.mapping.layout import make_layout

Sums = Literal["shift_add", "column_sums", "level_sums"]
MOST_CELLS = 1 << 20  # of a generated array: more takes simulators hours
MOST_TABLE = 1 << 20  # entries of a programmable table


def signed_width(low: int, high: int) -> int:
    """Bits of two's complement that hold low .. high."""
    return max(n.bit_length() if n >= 0 else (~n).bit_length() for n in (low, high)) + 1


def index_width(count: int) -> int:
    """Bits of an index below `count`, at least one."""
    return max(1, (count - 1).bit_length())


@dataclass(frozen=True)
class Span:
    """Smallest and largest number on a bus, and the bits of two's complement that hold both."""

    low: int
    high: int

    @property
    def bits(self) -> int:
        """Width."""
        return signed_width(self.low, self.high)

    def times(self, factor: int) -> "Span":
        """Of `factor` times such a number."""
        ends = (self.low * factor, self.high * factor)
        return Span(min(ends), max(ends))

    def plus(self, other: "Span") -> "Span":
        """Of a sum of two."""
        return Span(self.low + other.low, self.high + other.high)

    def with_zero(self) -> "Span":
        """Of such a number or nothing."""
        return Span(min(self.low, 0), max(self.high, 0))


NOTHING = Span(0, 0)


@dataclass(frozen=True, eq=False)
class Tables:
    """What a converter decides by. Fixed tables are one for all columns; programmable ones (None) come with the cells."""

    bits: int
    thresholds: tuple[int, ...] | None  # 2^bits - 1, within one of the psums that can be
    levels: tuple[int, ...] | None  # 2^bits integers, where levels are integers
    level_span: Span
    programmable: bool


@dataclass(frozen=True, eq=False)
class Design:
    """One macro for hardware. Physical column = output * columns_per_output + slice, converted column likewise."""

    name: str
    macro: Macro
    mix: NDArray[np.int64]  # [conversions, columns per output]: what a conversion sees
    weight: NDArray[np.int64]  # [conversions]: what its value counts
    places: NDArray[np.int64]  # [input slices]: what a slice counts
    tables: Tables | None  # None: ideal converter
    sums: Sums
    groups: int  # convolution groups that may share the macro

    @property
    def rows(self) -> int:
        """Wordlines."""
        return self.macro.rows

    @property
    def active(self) -> int:
        """Wordlines raised together."""
        return self.macro.raised_rows

    @property
    def row_groups(self) -> int:
        """Groups of wordlines that are raised one after the other."""
        return -(-self.rows // self.active)

    @property
    def slices(self) -> int:
        """Input slices."""
        return self.macro.input_slices

    @property
    def steps(self) -> int:
        """Steps of an operation that uses every row."""
        return self.row_groups * self.slices

    @property
    def outputs(self) -> int:
        """Outputs of the whole macro."""
        return self.macro.outputs

    @property
    def per_output(self) -> int:
        """Physical columns of an output."""
        return self.macro.columns_per_output

    @property
    def conversions(self) -> int:
        """Conversions of an output."""
        return len(self.weight)

    @property
    def physical(self) -> int:
        """Physical columns that outputs use."""
        return self.outputs * self.per_output

    @property
    def converted(self) -> int:
        """Converted columns."""
        return self.outputs * self.conversions

    @property
    def adcs(self) -> int:
        """Converters."""
        return -(-self.converted // self.macro.columns_per_adc)

    @property
    def per_adc(self) -> int:
        """Columns that the first converter serves: the most rounds of a step."""
        return min(self.macro.columns_per_adc, self.converted)

    @property
    def adc_cycles(self) -> int:
        """Cycles of one conversion."""
        return self.macro.adc.conversion_cycles()

    @property
    def drive(self) -> int:
        """Cycles that a slice stays on the wordlines, sampling included."""
        return drive_cycles(self.macro)

    @property
    def skips(self) -> bool:
        """Whether a step with no wordline raised is passed over."""
        return self.macro.timing.skip_zero_slices

    @property
    def jumps(self) -> bool:
        """Whether such a step takes no cycle at all."""
        return self.skips and self.macro.timing.skip_cycles == 0

    @property
    def pulses(self) -> bool:
        """Whether wordlines are driven by trains of pulses that can be counted."""
        return self.macro.input.dac == "pulse" and self.macro.timing.wordline_cycles > 0

    @property
    def cell_bits(self) -> int:
        """Bits of a cell."""
        return self.macro.cell.bits

    @property
    def top_level(self) -> int:
        """The largest level; a column that is stored inverted counts as much of the sum of inputs."""
        return (1 << self.cell_bits) - 1

    @property
    def top_slice(self) -> int:
        """The largest slice value."""
        return (1 << min(self.macro.input.dac_bits, self.macro.input.bits)) - 1

    @property
    def column_top(self) -> int:
        """The largest sum of a physical column."""
        return self.active * self.top_slice * self.top_level

    @cached_property
    def psum(self) -> Span:
        """What a conversion may see, a reference column's too."""
        low = min(int(np.minimum(row, 0).sum()) for row in self.mix)
        high = max(int(np.maximum(row, 0).sum()) for row in self.mix)
        return Span(low * self.column_top, max(high * self.column_top, self.active * self.top_slice))

    @property
    def codes(self) -> int:
        """How many codes there are; 0 for the ideal converter."""
        return 0 if self.tables is None else 2**self.tables.bits

    @property
    def code_bits(self) -> int:
        """Width of a code; of an ideal converter's psum in two's complement."""
        return self.psum.bits if self.tables is None else self.tables.bits

    @property
    def level(self) -> Span:
        """What a code is worth."""
        return self.psum if self.tables is None else self.tables.level_span

    @property
    def value(self) -> Span:
        """What goes on behind a converter: a level, or a code where levels are no integers."""
        return self.level if self.sums == "shift_add" or self.tables is None else Span(0, self.codes - 1)

    @property
    def flips(self) -> bool:
        """Whether columns may be stored inverted."""
        return self.macro.weight.column_flipping

    @property
    def reference(self) -> bool:
        """Whether the sum of inputs comes from converted columns of ones."""
        return has_reference_column(self.macro)

    @property
    def corrects(self) -> bool:
        """Whether the sum of inputs is needed at all."""
        return self.sums == "shift_add" and (self.macro.needs_input_sums or self.flips)

    @property
    def tags(self) -> bool:
        """Whether rows and outputs say which convolution group they are of."""
        return self.groups > 1 and (self.corrects or self.reference)

    @cached_property
    def step_sum(self) -> Span:
        """What one step adds to an output's running sum, before the input slice is weighed."""
        made = NOTHING
        for weight in self.weight.tolist():
            one = self.value.times(weight)
            made = made.plus(Span(min(one.low, -one.high), max(one.high, -one.low)) if self.flips else one)
        return made.with_zero()

    @cached_property
    def running(self) -> Span:
        """The accumulator: as wide as the architecture says, or as sums may grow."""
        if self.sums == "shift_add" and self.macro.accumulator_bits is not None:
            half = 1 << (self.macro.accumulator_bits - 1)
            return Span(-half, half - 1)
        added = {"shift_add": self.step_sum, "column_sums": self.value.with_zero(), "level_sums": Span(0, 1)}
        return self.grown(added[self.sums])

    def grown(self, one: Span) -> Span:
        """Of one number added up over all steps, weighed by input slices."""
        made = NOTHING
        for place in self.places.tolist():
            made = made.plus(one.times(place).with_zero())
        return made.times(self.row_groups)

    @cached_property
    def unheld(self) -> Span:
        """A running sum before it is held to the accumulator."""
        if self.overflow is None:
            return self.running
        step = NOTHING
        for place in self.places.tolist():
            one = self.step_sum.times(place)
            step = Span(min(step.low, one.low), max(step.high, one.high))
        return self.running.plus(step)

    @property
    def overflow(self) -> Overflow | None:
        """What happens beyond the accumulator; None: it is wide enough for all sums."""
        limited = self.sums == "shift_add" and self.macro.accumulator_bits is not None
        return self.macro.accumulator_overflow if limited else None

    @cached_property
    def input_sum(self) -> Span:
        """The sum of inputs, of an exact adder or a reference column."""
        if self.reference:
            return self.grown(self.level.with_zero())
        bits = self.macro.input.bits
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if self.macro.input.signed else (0, (1 << bits) - 1)
        return Span(low * self.rows, high * self.rows)

    @cached_property
    def output(self) -> Span:
        """An output after the correction."""
        correction = self.macro.correction
        made = self.running.times(correction.of_y)
        if not self.corrects:
            return made
        factors = [correction.of_inputs]
        if self.flips:
            factors.append(correction.of_inputs + self.top_level * int(self.weight.sum()))
        ends = [self.input_sum.times(factor) for factor in factors]
        return made.plus(Span(min(e.low for e in ends), max(e.high for e in ends)).with_zero())


def make_design(
    macro: Macro, *, name: str = "cim_macro", groups: int = 1, references: Literal["auto", "programmable"] = "auto"
) -> Design:
    """The design of a macro. ArchError where it is too large to be generated, names the key.

    `groups` convolution groups may share the macro. Fixed references are written into the converters, unless
    `references` says that they are programmed with the cells; those that differ between columns always are. Spare lines
    (`macro.repair`) are not generated: vectors hold the cells of the lines that are in use.
    """
    if macro.rows * macro.columns > MOST_CELLS:
        raise ArchError(
            f"macro.rows x macro.columns = {macro.rows * macro.columns:,}, must be <= {MOST_CELLS:,} in generated hardware; "
            "generate a smaller macro of the same kind"
        )
    if macro.timing.pipeline_stages:
        raise ArchError(f"macro.timing.pipeline_stages = {macro.timing.pipeline_stages} is not generated, must be 0")
    if not macro.input.evenly_sliced:
        raise ArchError(
            f"macro.input.slices = {list(macro.input.slices)}: generated hardware has slices of one length; use dac_bits alone"
        )
    if macro.repair.checksum_columns:
        raise ArchError(
            f"macro.repair.checksum_columns = {macro.repair.checksum_columns}: checksum columns are not generated; set it to 0"
        )
    if macro.repair.reads > 1:
        raise ArchError(
            f"macro.repair.reads = {macro.repair.reads}: generated hardware converts every step once; set macro.repair.reads to 1"
        )
    columns = columns_of(macro)
    made = Design(
        name=name, macro=macro, mix=columns.mix, weight=columns.weight, places=input_slice_weights(macro), tables=None,
        sums="shift_add", groups=min(groups, macro.outputs, macro.rows),
    )  # fmt: skip
    adc = plain(macro.adc)
    if isinstance(adc, IdealAdc):
        return made
    linear = isinstance(adc, LinearAdc)
    numbers = _numbers(adc)
    integer = all(value == round(value) for value in numbers)
    span = _level_span(adc, numbers) if integer else NOTHING
    sums: Sums = "shift_add" if integer else "column_sums" if linear else "level_sums"
    fixed: tuple[Any, Any] = (None, None)
    programmable = references == "programmable" or not _one_for_all(adc)
    if programmable:
        if made.converted << adc.bits > MOST_TABLE:
            raise ArchError(
                f"macro.adc.bits = {adc.bits} with references of {made.converted} columns of their own: "
                f"{made.converted << adc.bits:,} programmable thresholds, must be <= {MOST_TABLE:,}; use fewer bits or columns"
            )
    else:
        tables = make_references(adc, make_layout(1, 1, macro), made.conversions, 0)
        assert tables is not None
        low, high = made.psum.low, made.psum.high + 1  # beyond them a threshold is always or never met
        fixed = (
            tuple(min(max(t, low), high) for t in tables[0].thresholds[0].tolist()),
            tuple(int(v) for v in tables[0].levels[0].tolist()) if integer else None,
        )
    return replace(made, tables=Tables(adc.bits, *fixed, span, programmable), sums=sums)


def _one_for_all(adc: Any) -> bool:
    """Whether all columns have the same references."""
    if isinstance(adc, LinearAdc):
        return not isinstance(adc.lsb, list) and not isinstance(adc.zero, list)
    return not isinstance(adc.thresholds[0], list) and not isinstance(adc.levels[0], list)


def _numbers(adc: Any) -> list[float]:
    """The numbers that levels are made of: all are integers where these are."""
    return [*_flat(adc.lsb), *_flat(adc.zero)] if isinstance(adc, LinearAdc) else _flat(adc.levels)


def _level_span(adc: Any, numbers: list[float]) -> Span:
    """Of the integer levels of all columns."""
    if not isinstance(adc, LinearAdc):
        return Span(int(min(numbers)), int(max(numbers)))
    zeros, top = _flat(adc.zero), int(max(_flat(adc.lsb))) * (2**adc.bits - 1)
    return Span(int(min(zeros)), int(max(zeros)) + top)


def _flat(nested: Any) -> list[float]:
    if isinstance(nested, list):
        return [value for part in nested for value in _flat(part)]
    return [float(nested)]
