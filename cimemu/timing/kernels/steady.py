"""Is one state of the event engine another one, later?"""

import numpy as np

from cimemu.lanes.jit import kernel

NEVER = 1 << 62


@kernel
def is_shifted(before, after, first, shift):
    """Whether `after` is `before`, with `shift` added to the cycles, which stand in column `first` and those behind it;
    negative ones and NEVER stand for no cycle."""
    for row in range(before.shape[0]):
        for column in range(before.shape[1]):
            value = before[row, column]
            if column >= first and 0 <= value < NEVER:
                value += shift
            if after[row, column] != value:
                return False
    return True


def is_shifted_naive(before, after, first, shift):
    """Whether `after` is `before`, with `shift` added to every cycle."""
    expected = before.copy()
    is_cycle = (before >= 0) & (before < NEVER) & (np.arange(before.shape[1]) >= first)
    expected[is_cycle] += shift
    return bool((expected == after).all())
