"""Cycles of one macro operation: the folded formula and its unfolded twin (contract section 3)."""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import MappingError
from cimemu.mapping.step_kernels import step_cycles


def drive_cycles(macro: Macro) -> int:
    """Cycles to drive and sample one (group, slice)."""
    return macro.drive_cycles


def convert_cycles(macro: Macro, columns_used: int) -> int:
    """Cycles to convert the `columns_used` first columns once: rounds x cycles of one conversion."""
    return min(macro.columns_per_adc, columns_used) * macro.adc.conversion_cycles()


def pipeline_cycles(macro: Macro, columns_used: int) -> int:
    """Cycles from the end of an operation until its results have passed the pipeline's registers: a step a register."""
    return macro.timing.pipeline_stages * (drive_cycles(macro) + convert_cycles(macro, columns_used))


def op_cycles(macro: Macro, rows_used: int, columns_used: int) -> int:
    """Cycles of one input vector on one macro, nothing skipped.

    `rows_used` wordlines in groups of `active_rows`; `columns_used` converted columns, the first ones. Raises
    MappingError where they do not fit the macro. The formula stands in section 3 of the contract.

    >>> import cimemu
    >>> cimemu.op_cycles(cimemu.load_arch("rram_128").macro, rows_used=128, columns_used=128)
    465
    """
    _check(macro, rows_used, columns_used)
    drive, convert = drive_cycles(macro), convert_cycles(macro, columns_used)
    steps = ceil(rows_used / macro.raised_rows) * macro.steps_per_group
    if macro.timing.overlap:
        return drive + (steps - 1) * max(drive, convert) + convert + macro.timing.shift_add_cycles
    return steps * (drive + convert) + macro.timing.shift_add_cycles


def op_cycles_unfolded(
    macro: Macro, rows_used: int, columns_used: int, nonzero: NDArray[np.bool_] | None = None
) -> int:
    """The same by walking every step; `nonzero` [groups, slices] says which steps are not skipped."""
    _check(macro, rows_used, columns_used)
    groups = -(-rows_used // macro.raised_rows)
    skipping = macro.timing.skip_zero_slices and nonzero is not None
    steps = []
    for g in range(groups):
        for i in range(macro.input_slices):
            if skipping and nonzero is not None and not nonzero[g, i]:
                steps.append((macro.timing.skip_cycles, 0))
                continue
            for _ in range(macro.repair.reads):
                steps.append((drive_cycles(macro), convert_cycles(macro, columns_used)))
    if not macro.timing.overlap:
        now = 0
        for drive, convert in steps:
            now += drive
            now += convert
        return now + macro.timing.shift_add_cycles
    drive_start = 0
    converter_free = 0
    for drive, convert in steps:
        convert_start = max(drive_start + drive, converter_free)
        converter_free = convert_start + convert
        drive_start = convert_start
    return converter_free + macro.timing.shift_add_cycles


def skipped_op_cycles(macro: Macro, columns_used: int, nonzero: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Cycles of many operations [P] with steps `nonzero` [P, groups, slices]; the rest is skipped."""
    steps = np.ascontiguousarray(nonzero.reshape(len(nonzero), -1))
    cycles = np.empty(len(steps), dtype=np.int64)
    step_cycles(
        steps,
        drive_cycles(macro),
        convert_cycles(macro, columns_used),
        macro.timing.skip_cycles,
        macro.timing.overlap,
        macro.timing.shift_add_cycles,
        cycles,
    )
    return cycles


def _check(macro: Macro, rows_used: int, columns_used: int) -> None:
    if not 1 <= rows_used <= macro.rows:
        raise MappingError(f"rows_used = {rows_used}, must be 1 .. rows = {macro.rows}")
    if not 1 <= columns_used <= macro.columns:
        raise MappingError(f"columns_used = {columns_used}, must be 1 .. columns = {macro.columns}")
