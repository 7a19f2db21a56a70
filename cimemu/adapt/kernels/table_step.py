"""A training step through converters of any thresholds and levels: looked up, weighed and added up in one pass, and back.

Columns of `psums` and their repeated parameters as in `psum_step`; thresholds [T, R * M] ascend, levels [T + 1, R * M].
"""

import numpy as np

from cimemu.adapt.kernels.psum_step import gathered, spread
from cimemu.lanes.jit import kernel


@kernel
def look_up(source, thresholds, levels, value):
    """value[m] = level of the code of source[m], the number of thresholds that it reaches; source, value [L], float32."""
    lowest = levels[0]
    for m in range(value.shape[0]):
        value[m] = lowest[m]
    for t in range(thresholds.shape[0]):
        threshold, level = thresholds[t], levels[t + 1]
        for m in range(value.shape[0]):
            below, above = value[m], level[m]
            value[m] = above if source[m] >= threshold[m] else below


def look_up_naive(source, thresholds, levels, value):
    """The definition."""
    count = len(value)
    code = (source[:count] >= thresholds[:, :count]).sum(axis=0)
    value[:] = levels[code, np.arange(count)]


@kernel
def table_sum(psums, thresholds, levels, factor, work, out):
    """out[b, p, n] = sum over m of factor[m] * level of psums[b, p, m], columns m of output n = m mod N.

    float32 throughout: psums [B, P * M]; factor [R * M]; out [B, P, N]; work [1, R * M] is scratch.
    """
    positions, outputs, value = out.shape[1], out.shape[2], work[0]
    parts = psums.shape[1] // (positions * outputs)
    at_once = factor.shape[0] // (parts * outputs)
    for b in range(psums.shape[0]):
        for p in range(0, positions, at_once):
            rows = min(at_once, positions - p)
            columns = rows * parts * outputs
            look_up(psums[b, p * parts * outputs :], thresholds, levels, value[:columns])
            for m in range(columns):
                value[m] *= factor[m]
            gathered(value.reshape((-1, outputs)), out[b, p : p + rows], parts)


def table_sum_naive(psums, thresholds, levels, factor, work, out):
    """The definition."""
    columns = psums.shape[1] // out.shape[1]
    code = (psums.reshape(-1, columns) >= thresholds[:, None, :columns]).sum(axis=0)
    values = factor[:columns] * levels[code, np.arange(columns)]
    out[:] = values.reshape(*out.shape[:2], -1, out.shape[2]).sum(axis=2)


@kernel
def table_sum_back(psums, thresholds, levels, factor, slope, back, work, d_factor):
    """The gradients of `table_sum` for d loss / d out = slope [B, P, N]: straight through between the outer levels
    and beyond them as far as the next threshold lies inside.

    back [B, P * M]; d_factor float64 [R * M] is added to, its sums over R are the columns'; work float32 [5, R * M] is
    scratch.
    """
    positions, outputs = slope.shape[1], slope.shape[2]
    parts = psums.shape[1] // (positions * outputs)
    at_once = factor.shape[0] // (parts * outputs)
    value, wanted, total, least, most = work[0], work[1], work[2], work[3], work[4]
    for m in range(factor.shape[0]):
        least[m] = most[m] = levels[0, m]
        for t in range(levels.shape[0]):
            least[m], most[m] = min(least[m], levels[t, m]), max(most[m], levels[t, m])
        least[m] -= max(thresholds[0, m] - least[m], np.float32(0))
        most[m] += max(most[m] - thresholds[thresholds.shape[0] - 1, m], np.float32(0))
    for b in range(psums.shape[0]):
        total[:] = np.float32(0)
        for p in range(0, positions, at_once):
            rows = min(at_once, positions - p)
            columns = rows * parts * outputs
            source, target = psums[b, p * parts * outputs :], back[b, p * parts * outputs :]
            look_up(source, thresholds, levels, value[:columns])
            spread(slope[b, p : p + rows], wanted.reshape((-1, outputs)), parts)
            for m in range(columns):
                total[m] += wanted[m] * value[m]
            for m in range(columns):
                inside = np.float32(1) if (source[m] >= least[m]) & (source[m] <= most[m]) else np.float32(0)
                target[m] = wanted[m] * factor[m] * inside
        for m in range(factor.shape[0]):
            d_factor[m] += total[m]


def table_sum_back_naive(psums, thresholds, levels, factor, slope, back, work, d_factor):
    """The definition, with the columns' gradients in the first of R places."""
    columns = psums.shape[1] // slope.shape[1]
    thresholds, levels, factor = thresholds[:, :columns], levels[:, :columns], factor[:columns]
    wanted = np.tile(slope.reshape(-1, slope.shape[2]), (1, columns // slope.shape[2]))
    flat = psums.reshape(-1, columns)
    code = (flat >= thresholds[:, None]).sum(axis=0)
    least, most = levels.min(axis=0), levels.max(axis=0)
    low, high = least - (thresholds[0] - least).clip(0), most + (most - thresholds[-1]).clip(0)
    inside = (flat >= low) & (flat <= high)
    back[:] = (wanted * factor * inside).reshape(psums.shape)
    d_factor[:columns] += (wanted * levels[code, np.arange(columns)]).sum(axis=0)
