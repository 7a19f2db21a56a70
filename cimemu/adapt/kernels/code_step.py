"""A training step through an activation's quantisation: codes of learned steps in one pass, and the way back."""

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def to_codes(x, step, zero, low, high, codes):
    """codes = clamp(rint(x / step + zero), low, high), ties to even; x, codes [L], all float32."""
    for i in range(x.shape[0]):
        codes[i] = min(max(np.rint(x[i] / step + zero), low), high)


def to_codes_naive(x, step, zero, low, high, codes):
    """The definition."""
    codes[:] = np.rint(x / step + zero).clip(low, high)


@kernel
def to_codes_back(x, step, zero, low, high, slope, back, work):
    """The gradients of `to_codes` for d loss / d codes = slope [B, E]: straight through inside the range, 0 outside.

    x, back [B, E]. Returns that of step, in float64; work float32 [E] is scratch: images are added up in float32.
    """
    work[:] = np.float32(0)
    for b in range(x.shape[0]):
        source, given, target = x[b], slope[b], back[b]
        for i in range(work.shape[0]):
            place, wanted = source[i] / step, given[i]
            here = wanted if (place + zero >= low) & (place + zero <= high) else np.float32(0)
            target[i] = here / step
            work[i] += here * place
    total = 0.0
    for i in range(work.shape[0]):
        total -= work[i]
    return total / step


def to_codes_back_naive(x, step, zero, low, high, slope, back, work):
    """The definition."""
    place = x / step
    here = np.where((place + zero >= low) & (place + zero <= high), slope, np.float32(0))
    back[:] = here / step
    return -(here * place).sum(dtype=np.float64) / step
