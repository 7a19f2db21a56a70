"""Converters of partial sums beyond 16 bits: one multiplication where it is proven equal, else their thresholds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.lookup.converters import Moved, stacked

DIGITS_TOP = (1 << 18) - 1  # three digits of base 64
PSUM_TOP = (1 << 30) - 1


def wide_converter(shifted: list[Moved], steps: list[NDArray[np.float64]], bits: int, top: int) -> tuple[Any, ...]:
    """(rules int64 [1 or G, 1 or C, 4], thresholds int32 [1 or G, 1 or C, 2^bits], bits, top, searched) of all groups.

    `shifted` are (thresholds [1 or C, T], largest psum) of every group, `steps` [1 or C] of its converter.
    """
    rules = [multiplied(*moved, step) for moved, step in zip(shifted, steps)]
    if all(rule is not None for rule in rules):
        return stacked([r for r in rules if r is not None]), np.zeros((1, 1, 1), np.int32), bits, top, False
    tables = [np.pad(np.clip(t, -1, PSUM_TOP + 1), [(0, 0), (0, 1)], mode="edge") for t, _ in shifted]
    return np.zeros((1, 1, 4), np.int64), stacked(tables).astype(np.int32), bits, top, True


def multiplied(thresholds: NDArray[np.int64], most: int, step: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Rules (base, gain, bias, shift) [c, 4] that are proven to give the code at every psum up to `most`, or None.

    The code is `(max(psum - base, 0) * gain + bias) >> (32 + shift)`. It rises with the psum, so it is enough that it
    is at least k at threshold k and less than k just below it (and at `most`, where that is below the threshold).
    """
    step = np.broadcast_to(step, len(thresholds))
    if float(step.min()) < 4 or float(step.max()) >= 2.0**29:
        return None
    k = np.arange(1, thresholds.shape[1] + 1)
    inside = (thresholds >= 1) & (thresholds <= most)
    inside[~inside.any(axis=1), 0] = True
    start = thresholds - k * step[:, None]  # where the converter's line leaves 0, less than one above it
    start = (np.where(inside, start, np.inf).min(axis=1) + np.where(inside, start - 1, -np.inf).max(axis=1)) / 2
    shift = np.floor(np.log2(step)).astype(np.int64) - 1
    gain = np.rint(2.0 ** (32 + shift) / step).astype(np.int64)
    base = np.ceil(start).astype(np.int64)
    bias = np.rint((base - start) * gain).astype(np.int64)

    def code(psums: NDArray[np.int64]) -> NDArray[np.int64]:
        products = np.maximum(psums - base[:, None], 0) * gain[:, None] + bias[:, None]
        return np.asarray(products >> (32 + shift[:, None]))

    reached = (code(np.clip(thresholds, 0, most)) >= k) | (thresholds > most)
    short = (code(np.minimum(thresholds - 1, most)) < k) | (thresholds < 1)
    fits = (np.abs(base) < 1 << 29).all() and reached.all() and short.all()
    return np.stack([base, gain, bias, shift], axis=1) if fits else None
