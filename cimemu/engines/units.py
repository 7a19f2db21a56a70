"""Input slices in units: how many of them are weighed and added in one register of 16-bit sums."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.macro.program import Matrix


@dataclass(frozen=True, eq=False)
class Units:
    """Input slices in units of up to four: a unit's codes are weighed and added in 16 bits."""

    per_unit: int
    weights: NDArray[np.int64]  # [U, 4]
    places: NDArray[np.int64]  # [U] weight of a unit's sum
    signed: bool  # the last unit's sums are signed


def slice_units(matrix: Matrix, top: int) -> Units | None:
    """The widest units in which a sum of codes up to `top` stays in 16 bits, and weights in a signed byte."""
    slice_weights, dac = matrix.slice_weights, matrix.macro.input.dac_bits
    slices, signed = len(slice_weights), matrix.macro.input.signed
    for per_unit in (4, 3, 2, 1):
        if dac * (per_unit - 1) > 6:
            continue
        count = -(-slices // per_unit)
        weights = np.zeros((count, 4), dtype=np.int64)
        places = np.left_shift(1, dac * per_unit * np.arange(count, dtype=np.int64))
        for i, weight in enumerate(slice_weights):
            weights[i // per_unit, i % per_unit] = weight // places[i // per_unit]
        positive, negative = np.maximum(weights, 0).sum(axis=1) * top, np.minimum(weights, 0).sum(axis=1) * top
        limits = np.full(count, 65535)
        if signed:
            limits[-1] = 32767
        if (positive <= limits).all() and (negative >= -32768).all():
            return Units(per_unit, weights, places, signed)
    return None
