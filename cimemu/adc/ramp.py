"""The in-memory ramp: a converter's thresholds made of whole reference cells, switched on step by step.

Step i switches on `N_i = round((t_i - T_(i-1)) / delta)` cells of one psum contribution `delta` each, T being the ramp
as it stands, so rounding does not add up (reconstructed from the abstracts of arXiv 2411.18271 and 2603.10540). A
reference cell is a memory cell and has its mismatch. A conversion takes `2^b - 1` steps.
"""

import numpy as np
from numpy.typing import NDArray

from cimemu.kernels.noise import QUANTILE_BITS, normal_quantiles, stream_key
from cimemu.kernels.small import cell_lanes

Floats = NDArray[np.float64]
MOST_STEP = 4096  # reference cells switched on in one step


def ramp_cells(thresholds: Floats, start: Floats, delta: float) -> NDArray[np.int64]:
    """Cells of every step [..., T] of a ramp that begins at `start` [...] and should cross `thresholds` [..., T]."""
    counts = np.zeros(thresholds.shape, dtype=np.int64)
    reached = np.array(start, dtype=np.float64)
    for step in range(thresholds.shape[-1]):
        wanted = np.rint((thresholds[..., step] - reached) / delta)
        counts[..., step] = np.clip(wanted, 0, MOST_STEP)
        reached = reached + counts[..., step] * delta
    return counts


def ramp_thresholds(
    counts: NDArray[np.int64], start: Floats, delta: float, mismatch: float = 0.0, seed: int = 0, instance: str = ""
) -> Floats:
    """Thresholds [ramps, T] that ramps of these cells cross; `start` [ramps], relative spread `mismatch` of a cell.

    A cell's draw is keyed by (seed, "ramp", instance, ramp, cell).
    """
    ramp = np.cumsum(counts, axis=1)
    if mismatch == 0.0:
        return np.asarray(start[:, None] + delta * ramp)
    most = int(ramp[:, -1].max(initial=0))
    lanes = np.empty((1, most + 1), dtype=np.uint16)
    made = np.empty(counts.shape)
    for number, cells in enumerate(ramp):
        cell_lanes(stream_key(seed, "ramp", instance, number), 0, 0, 0, 0, 0, lanes)
        drawn = normal_quantiles()[lanes[0]].astype(np.float64) / 2.0**QUANTILE_BITS
        sums = np.concatenate([[0.0], np.cumsum(delta * np.maximum(1 + mismatch * drawn, 0.0))])
        made[number] = start[number] + sums[cells]
    return made
