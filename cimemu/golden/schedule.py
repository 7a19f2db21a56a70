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


def schedule(macro: Macro, driven: NDArray[np.bool_], columns: int) -> Schedule:
    """Of operations whose steps are `driven` [ops, steps], on `columns` converted columns."""
    ops, steps = driven.shape
    rounds = np.arange(columns) % macro.columns_per_adc
    each = macro.adc.conversion_cycles()
    begins = np.zeros((ops, steps), dtype=np.int64)
    codes = np.zeros((ops, steps, columns), dtype=np.int64)
    ends = np.zeros(ops, dtype=np.int64)
    on = (drive_cycles(macro), convert_cycles(macro, columns))
    for op in range(ops):
        begin = free = 0
        for j in range(steps):
            drive, convert = on if driven[op, j] else (macro.timing.skip_cycles, 0)
            if macro.timing.overlap:
                begins[op, j] = begin
                begin = start = max(begin + drive, free)
            else:
                begins[op, j] = free
                start = free + drive
            free = start + convert
            codes[op, j] = start + (rounds + 1) * each
        ends[op] = max(
            1, free + macro.timing.shift_add_cycles
        )  # an operation whose steps are all skipped takes a cycle
    return Schedule(begins, codes, ends)
