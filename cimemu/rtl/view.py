"""What the templates of generated hardware read: a design, its widths, and how weighed terms are written."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import LinearAdc
from cimemu.rtl.design import Design, index_width

WIDEST_LINE = 48  # bits in which thresholds are computed rather than listed


class Line(NamedTuple):
    """Thresholds on a line: `t_k = (start + step * k) >> shift`, computed in `bits` bits."""

    start: int
    step: int
    shift: int
    bits: int


class View:
    """A design's own names, and below them widths and switches; a template that asks for another is a fault."""

    def __init__(self, design: Design) -> None:
        """Widths of every bus and counter."""
        d, timing, macro = design, design.macro.timing, design.macro
        self._design = design
        self.dac = macro.input.dac_bits
        self.input_bits = macro.input.bits
        self.signed = macro.input.signed
        self.overlap = timing.overlap
        self.shift_add = timing.shift_add_cycles
        self.skip_cycles = timing.skip_cycles
        self.wordline_cycles = timing.wordline_cycles
        self.row_bits = index_width(d.rows)
        self.row_group_bits = index_width(d.row_groups)
        self.group_bits = index_width(d.groups + 1)  # and one value for rows that are of none
        self.output_tag_bits = index_width(d.groups)
        self.slice_bits = index_width(d.slices)
        self.step_bits = index_width(d.steps)
        self.round_bits = index_width(d.per_adc)
        self.output_index_bits = index_width(d.outputs)
        self.column_bits = max(1, d.column_top.bit_length())
        self.value_bits = d.level.bits if d.sums == "shift_add" else d.code_bits
        longest = max(d.drive, timing.skip_cycles if d.skips else 1)
        self.drive_bits = index_width(longest) if longest > 1 or d.pulses else 0
        self.cycle_bits = index_width(d.adc_cycles)
        self.finish_cycles = max(1, timing.shift_add_cycles) if d.jumps else timing.shift_add_cycles
        self.finish_bits = index_width(self.finish_cycles)
        self.pulse_bits = max(self.drive_bits, (2**self.dac * max(1, timing.wordline_cycles)).bit_length())
        counts = {"shift_add": d.outputs, "column_sums": d.converted, "level_sums": d.converted * d.codes}
        self.sum_count = counts[d.sums]
        self.counts_outputs = d.overflow is not None or 1 <= d.conversions < d.per_adc
        self.counts_groups = d.row_groups > 1 and not d.jumps  # which jumps over groups not in use
        self.full_output = -(-d.per_adc // d.conversions) - 1  # from this output on, converters serve all their columns
        references = d.groups if d.reference else 0
        self.sampled_bits = (d.converted + references) * d.psum.bits
        self.threshold_bits = max(d.psum.bits, (d.psum.high + 1).bit_length() + 1)
        self.table_bits = max(self.threshold_bits, d.level.bits)
        self.table_column_bits = max(index_width(d.converted + 1), self.round_bits)
        self.table_size = (1 << self.round_bits if d.per_adc > 1 else 1) * d.codes
        self.line = _threshold_line(d)
        self.level_line = _level_line(d)
        self.compare_bits = self.line.bits if self.line else self.threshold_bits
        self.line_bits = max(64, d.physical * d.cell_bits, d.rows * self.input_bits)
        each = max(d.drive, timing.skip_cycles) + d.per_adc * d.adc_cycles
        self.longest = 2 * (d.steps * each + timing.shift_add_cycles) + 100  # after which a testbench gives up

    def __getattr__(self, name: str) -> Any:
        return getattr(self._design, name)


def _threshold_line(d: Design) -> Line | None:
    """Fixed thresholds of a linear converter as a line that gives every one of them, else None."""
    adc = d.macro.adc
    if d.tables is None or d.tables.thresholds is None or not isinstance(adc, LinearAdc):
        return None
    assert not isinstance(adc.lsb, list)
    assert not isinstance(adc.zero, list)
    for shift in range(1, 21):
        start, step = (adc.zero - adc.lsb / 2) * 2**shift, adc.lsb * 2**shift
        if start.is_integer() and step.is_integer():
            up = int(start) + 2**shift - 1  # rounded up
            ends = (up, up + int(step) * (d.codes - 1), d.psum.high + 1, d.psum.low)
            bits = max(abs(end).bit_length() for end in ends) + 2
            made = [(up + int(step) * k) >> shift for k in range(1, d.codes)]
            fits = [min(max(t, d.psum.low), d.psum.high + 1) for t in made] == list(d.tables.thresholds)
            return Line(up, int(step), shift, bits) if fits and bits <= WIDEST_LINE and d.codes > 2 else None
    return None


def _level_line(d: Design) -> tuple[int, int] | None:
    """Integer levels as (zero, step) of a line, else None."""
    levels = None if d.tables is None else d.tables.levels
    if levels is None or len(levels) < 3:
        return None
    zero, step = levels[0], levels[1] - levels[0]
    return (zero, step) if list(levels) == [zero + step * k for k in range(len(levels))] else None


def literal(value: int, bits: int) -> str:
    """A signed constant of so many bits."""
    if value == -(1 << (bits - 1)):
        return f"{bits}'sh{1 << (bits - 1):x}"
    return f"-{bits}'sd{-value}" if value < 0 else f"{bits}'sd{value}"


def weighed(name: str, weight: int, bits: int) -> str:
    """A signed number times a constant, in so many bits; powers of two are shifts."""
    weight = int(weight)
    wide, size = f"{bits}'({name})", abs(weight)
    if weight == 0:
        return literal(0, bits)
    if size & (size - 1):
        return f"{wide} * {literal(weight, bits)}"
    shifted = wide if size == 1 else f"({wide} <<< {size.bit_length() - 1})"
    return f"-({shifted})" if weight < 0 else shifted  # Yosys takes -6'(x) for a cast to -6 bits


def mixed(row: NDArray[np.int64], bits: int) -> str:
    """What a conversion sees of the physical columns of its output."""
    terms = [weighed(f"column_{s}", weight, bits) for s, weight in enumerate(row.tolist()) if weight]
    return " + ".join(terms)


def c_mixed(row: NDArray[np.int64]) -> str:
    """The same in C."""
    return " + ".join(f"{weight} * of[{s}]" for s, weight in enumerate(row.tolist()) if weight).replace("+ -", "- ")
