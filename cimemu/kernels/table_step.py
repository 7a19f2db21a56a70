"""A training step through converters of any thresholds and levels: looked up, weighed and added up in one pass, and back.

Columns of `psums` as in `psum_step`; thresholds [M or 1, T] ascend, levels [M or 1, T + 1].
"""

import numpy as np

from cimemu.kernels.jit import kernel


@kernel
def look_up(source, thresholds, levels, value):
    """value[p] = level of the code of source[p], the number of thresholds that it reaches; all [P], float32."""
    value[:] = levels[0]
    for t in range(thresholds.shape[0]):
        threshold, level = thresholds[t], levels[t + 1]
        for p in range(source.shape[0]):
            value[p] = level if source[p] >= threshold else value[p]


def look_up_naive(source, thresholds, levels, value):
    """The definition."""
    value[:] = levels[(source[:, None] >= thresholds).sum(axis=1)]


@kernel
def table_sum(psums, thresholds, levels, factor, conversions, work, out):
    """out[b, n, p] = sum over g, v of factor[m] * level of psums[b, m, p].

    float32 throughout: psums [B, M, P]; factor [M]; out [B, N, P]; work [2, P] is scratch.
    """
    outputs, per_array, value = out.shape[1], out.shape[1] * conversions, work[0]
    for b in range(out.shape[0]):
        for n in range(outputs):
            target = out[b, n]
            target[:] = np.float32(0)
            for g in range(psums.shape[1] // per_array):
                for v in range(conversions):
                    m = g * per_array + n * conversions + v
                    row = min(m, thresholds.shape[0] - 1)
                    look_up(psums[b, m], thresholds[row], levels[row], value)
                    weight = factor[m]
                    for p in range(target.shape[0]):
                        target[p] += weight * value[p]


def table_sum_naive(psums, thresholds, levels, factor, conversions, work, out):
    """The definition."""
    columns = psums.shape[1]
    thresholds, levels = (np.broadcast_to(t, (columns, t.shape[1])) for t in (thresholds, levels))
    values = np.stack([levels[m][(psums[:, m, :, None] >= thresholds[m]).sum(axis=2)] for m in range(columns)], axis=1)
    values = values * factor[:, None]
    out[:] = values.reshape(len(psums), -1, out.shape[1], conversions, psums.shape[2]).sum(axis=(1, 3))


@kernel
def table_sum_back(psums, thresholds, levels, factor, conversions, slope, back, work, d_factor):
    """The gradients of `table_sum` for d loss / d out = slope [B, N, P]: straight through between the outer levels.

    back [B, M, P]; d_factor float64 [M] is added to; work float32 [2, P] is scratch.
    """
    per_array = slope.shape[1] * conversions
    value, total = work[0], work[1]
    for m in range(psums.shape[1]):
        n = m % per_array // conversions
        row = min(m, thresholds.shape[0] - 1)
        least, most, weight = levels[row, 0], levels[row, 0], factor[m]
        for t in range(levels.shape[1]):
            least, most = min(least, levels[row, t]), max(most, levels[row, t])
        total[:] = np.float32(0)
        for b in range(psums.shape[0]):
            source, wanted, target = psums[b, m], slope[b, n], back[b, m]
            look_up(source, thresholds[row], levels[row], value)
            for p in range(source.shape[0]):
                total[p] += wanted[p] * value[p]
            for p in range(source.shape[0]):
                inside = np.float32(1) if (source[p] >= least) & (source[p] <= most) else np.float32(0)
                target[p] = wanted[p] * weight * inside
        for p in range(psums.shape[2]):
            d_factor[m] += total[p]


def table_sum_back_naive(psums, thresholds, levels, factor, conversions, slope, back, work, d_factor):
    """The definition."""
    columns = psums.shape[1]
    arrays = columns // (slope.shape[1] * conversions)
    wanted = np.tile(np.repeat(slope, conversions, axis=1), (1, arrays, 1))
    thresholds, levels = (np.broadcast_to(t, (columns, t.shape[1])) for t in (thresholds, levels))
    values = np.stack([levels[m][(psums[:, m, :, None] >= thresholds[m]).sum(axis=2)] for m in range(columns)], axis=1)
    least, most = levels.min(axis=1)[:, None], levels.max(axis=1)[:, None]
    back[:] = wanted * factor[:, None] * ((psums >= least) & (psums <= most))
    d_factor += (wanted * values).sum(axis=(0, 2))
