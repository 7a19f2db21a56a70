"""The cycles of macro operations, step by step (contract section 3)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.mapping.cycles import convert_cycles, drive_cycles


@dataclass(frozen=True, eq=False)
class Schedule:
    """Cycles from the start of each operation."""

    begins: NDArray[np.int64]  # [ops, steps] to the first cycle with the slice on the wordlines
    codes: NDArray[np.int64]  # [ops, steps, columns] to the finished code
    ends: NDArray[np.int64]  # [ops] of the whole operation
    held: NDArray[np.int64]  # [ops, steps] cycles that a slice waits for the converter of the step before
    idle: NDArray[np.int64]  # [ops, steps] cycles that the converter waits for the slice, after a conversion


def schedule(macro: Macro, driven: NDArray[np.bool_], columns: int) -> Schedule:
    """Of operations whose steps are `driven` [ops, steps], on `columns` converted columns."""
    ops, steps = driven.shape
    rounds = np.arange(columns) % macro.columns_per_adc
    each = macro.adc.conversion_cycles()
    begins = np.zeros((ops, steps), dtype=np.int64)
    codes = np.zeros((ops, steps, columns), dtype=np.int64)
    held, idle = np.zeros_like(begins), np.zeros_like(begins)
    converted = np.zeros(ops, dtype=np.bool_)
    begin, free = np.zeros(ops, dtype=np.int64), np.zeros(ops, dtype=np.int64)
    for j in range(steps):
        on = driven[:, j]
        drive = np.where(on, drive_cycles(macro), macro.timing.skip_cycles)
        convert = np.where(on, convert_cycles(macro, columns), 0)
        if macro.timing.overlap:
            begins[:, j] = begin
            held[:, j] = np.maximum(free - begin - drive, 0)
            begin = start = np.maximum(begin + drive, free)
        else:
            begins[:, j] = free
            start = free + drive
        idle[:, j] = np.where(on & converted, start - free, 0)
        converted |= on
        free = start + convert
        codes[:, j] = start[:, None] + (rounds + 1) * each
    ends = np.maximum(1, free + macro.timing.shift_add_cycles)  # where all steps are skipped it takes a cycle
    return Schedule(begins, codes, ends, held, idle)
