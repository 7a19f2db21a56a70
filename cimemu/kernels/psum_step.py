"""A training step through converters: partial sums converted, weighed and added up in one pass, and the way back.

Column m = (g * outputs + n) * conversions + v of `psums` [images, columns, positions] adds to output n.
"""

import numpy as np

from cimemu.kernels.jit import kernel


@kernel
def convert_sum(psums, lsb, zero, factor, top, conversions, out):
    """out[b, n, p] = sum over g, v of factor[m] * (zero[m] + lsb[m] * code), code = clamp(rint((psum - zero) / lsb), 0, top).

    float32 throughout: psums [B, M, P]; lsb, zero, factor [M]; out [B, N, P]. Half-way psums round up, as thresholds do.
    """
    outputs, per_array = out.shape[1], out.shape[1] * conversions
    for b in range(out.shape[0]):
        for n in range(outputs):
            target = out[b, n]
            target[:] = np.float32(0)
            for g in range(psums.shape[1] // per_array):
                for v in range(conversions):
                    m = g * per_array + n * conversions + v
                    source = psums[b, m]
                    base, scale, step = zero[m], factor[m] * lsb[m], np.float32(1) / lsb[m]
                    more = factor[m] * base
                    for p in range(target.shape[0]):
                        code = np.floor((source[p] - base) * step + np.float32(0.5))
                        target[p] += more + scale * min(max(code, np.float32(0)), top)


def convert_sum_naive(psums, lsb, zero, factor, top, conversions, out):
    """The definition."""
    code = np.floor((psums - zero[:, None]) * (np.float32(1) / lsb)[:, None] + np.float32(0.5)).clip(0, top)
    value = (factor * zero)[:, None] + (factor * lsb)[:, None] * code
    out[:] = value.reshape(len(psums), -1, out.shape[1], conversions, psums.shape[2]).sum(axis=(1, 3))


@kernel
def convert_sum_back(psums, lsb, zero, factor, top, conversions, slope, back, work, d_lsb, d_zero, d_factor):
    """The gradients of `convert_sum` for d loss / d out = slope [B, N, P]: straight through inside the range, 0 outside.

    back [B, M, P] (may be `psums` itself); d_lsb, d_zero, d_factor float64 [M] are added to. work float32 [3, P] is
    scratch: a column's images are added up position by position, and each gradient in a loop of its own, which is what the
    compiler makes vectors of.
    """
    per_array = slope.shape[1] * conversions
    by_lsb, by_zero, by_factor = work[0], work[1], work[2]
    for m in range(psums.shape[1]):
        n = m % per_array // conversions
        base, size, weight, step = zero[m], lsb[m], factor[m], np.float32(1) / lsb[m]
        work[:] = np.float32(0)
        for b in range(psums.shape[0]):
            source, wanted, target = psums[b, m], slope[b, n], back[b, m]
            for p in range(source.shape[0]):
                place = (source[p] - base) * step
                code = min(max(np.floor(place + np.float32(0.5)), np.float32(0)), top)
                by_factor[p] += wanted[p] * (base + size * code)
            for p in range(source.shape[0]):
                place = (source[p] - base) * step
                code = min(max(np.floor(place + np.float32(0.5)), np.float32(0)), top)
                inside = np.float32(1) if (place >= np.float32(0)) & (place <= top) else np.float32(0)
                by_lsb[p] += wanted[p] * weight * (code - inside * place)
            for p in range(source.shape[0]):
                place = (source[p] - base) * step
                inside = np.float32(1) if (place >= np.float32(0)) & (place <= top) else np.float32(0)
                by_zero[p] += wanted[p] * weight * (np.float32(1) - inside)
            for p in range(source.shape[0]):
                place = (source[p] - base) * step
                inside = np.float32(1) if (place >= np.float32(0)) & (place <= top) else np.float32(0)
                target[p] = wanted[p] * weight * inside
        for p in range(psums.shape[2]):
            d_lsb[m] += by_lsb[p]
            d_zero[m] += by_zero[p]
            d_factor[m] += by_factor[p]


def convert_sum_back_naive(psums, lsb, zero, factor, top, conversions, slope, back, work, d_lsb, d_zero, d_factor):
    """The definition."""
    arrays = psums.shape[1] // (slope.shape[1] * conversions)
    wanted = np.tile(np.repeat(slope, conversions, axis=1), (1, arrays, 1))
    place = (psums - zero[:, None]) * (np.float32(1) / lsb)[:, None]
    code = np.floor(place + np.float32(0.5)).clip(0, top)
    inside = ((place >= 0) & (place <= top)).astype(np.float32)
    here = wanted * factor[:, None]
    d_lsb += (here * (code - inside * place)).sum(axis=(0, 2))
    d_zero += (here * (1 - inside)).sum(axis=(0, 2))
    d_factor += (wanted * (zero[:, None] + lsb[:, None] * code)).sum(axis=(0, 2))
    back[:] = here * inside
