"""The way back through a smooth activation: the slope of tanh steps around each level, in one pass."""

import numpy as np

from cimemu.lanes.jit import kernel

LARGEST_EXPONENT = np.float32(85)  # exp of it is a float32
STEEPEST = 17.0  # 5 k of the furthest step stays below
TWO = np.float32(2)


@kernel
def smooth_back(x, step, top, sharpness, slope, back, work, exps):
    """Gradients of `smooth_codes` for d loss / d codes = slope [B, E]; sharpness up to `STEEPEST`; all float32.

    x, back [B, E]. Of x that of the nearest five of `1/2 (1 + tanh(k (z - i + 1/2)))`, i = 1 .. top, z = x / step, with one
    exponential: k/2 sech^2(y) = 2 k e^2y / (1 + e^2y)^2, and from one step to the next e^2y changes by a constant. Returns
    that of step, LSQ's, in float64. work, exps [E] are scratch: images are added up in float32.
    """
    one, half = np.float32(1), np.float32(0.5)
    k = TWO * sharpness
    far = LARGEST_EXPONENT - TWO * k
    next1, next2 = np.float32(np.exp(k)), np.float32(np.exp(TWO * k))
    back1, back2 = one / next1, one / next2
    work[:] = np.float32(0)
    for b in range(x.shape[0]):
        source, given, target = x[b], slope[b], back[b]
        for i in range(work.shape[0]):
            z = source[i] / step
            nearest = min(max(np.rint(z + half), one), top)
            exps[i] = np.exp(min(max(k * (z - nearest + half), -far), far))
        for i in range(work.shape[0]):
            z, wanted, e = source[i] / step, given[i], exps[i]
            nearest = min(max(np.rint(z + half), one), top)
            total = bump(e)
            total += bump(e * back1) if nearest + one <= top else np.float32(0)
            total += bump(e * back2) if nearest + TWO <= top else np.float32(0)
            total += bump(e * next1) if nearest - one >= one else np.float32(0)
            total += bump(e * next2) if nearest - TWO >= one else np.float32(0)
            target[i] = wanted * (k * total) / step
            work[i] += wanted * z if (z >= np.float32(0)) & (z <= top) else np.float32(0)
    total = 0.0
    for i in range(work.shape[0]):
        total -= work[i]
    return total / step


@kernel
def bump(e):
    """e / (1 + e)^2 without overflow."""
    q = np.float32(1) / (np.float32(1) + e)
    return e * q * q


def bump_naive(e):
    """The definition, in float64."""
    return float(e) / (1 + float(e)) ** 2


def smooth_back_naive(x, step, top, sharpness, slope, back, work, exps):
    """The definition, in float64."""
    z = x.astype(np.float64) / step
    nearest = np.rint(z.astype(np.float32) + np.float32(0.5)).clip(1, top)
    steps = np.zeros_like(z)
    for beside in range(-2, 3):
        i = nearest + beside
        y = float(sharpness) * (z - i + 0.5)
        steps += ((i >= 1) & (i <= top)) * 0.5 * sharpness / np.cosh(y.clip(-300, 300)) ** 2
    back[:] = slope * steps / step
    return -(slope * z * ((z >= 0) & (z <= top))).sum() / step
