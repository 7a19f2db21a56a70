"""A training step through converters: partial sums converted, weighed and added up in one pass, and the way back.

Columns lie side by side: `psums` [images, positions * columns], and column m adds to output n = m mod outputs. Loops run
over the columns of several positions at once, with every parameter repeated: long loops are what the compiler's vectors
gain on.
"""

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def spread(given, wanted, parts):
    """wanted [positions * parts, N] of given [positions, N]: every row `parts` times."""
    for p in range(given.shape[0]):
        for part in range(parts):
            for n in range(given.shape[1]):
                wanted[p * parts + part, n] = given[p, n]


def spread_naive(given, wanted, parts):
    """The definition."""
    wanted[:] = np.repeat(given, parts, axis=0)


@kernel
def gathered(value, target, parts):
    """target [positions, N]: sums of `parts` rows each of value [positions * parts, N], in order."""
    for p in range(target.shape[0]):
        for n in range(target.shape[1]):
            target[p, n] = value[p * parts, n]
        for part in range(1, parts):
            for n in range(target.shape[1]):
                target[p, n] += value[p * parts + part, n]


def gathered_naive(value, target, parts):
    """The definition."""
    target[:] = value.reshape(len(target), parts, -1).sum(axis=1)


@kernel
def merge_slices(back, slopes, target):
    """target [L, N]: back [L, V, N] added up over V, each times slopes [V]."""
    for row in range(target.shape[0]):
        for n in range(target.shape[1]):
            target[row, n] = slopes[0] * back[row, 0, n]
        for v in range(1, back.shape[1]):
            for n in range(target.shape[1]):
                target[row, n] += slopes[v] * back[row, v, n]


def merge_slices_naive(back, slopes, target):
    """The definition."""
    target[:] = (back * slopes[:, None]).sum(axis=1)


@kernel
def reciprocals(lsb, step):
    """step[m] = 1 / lsb[m] in float32, rounded up: integer psums half-way between two levels go up, as thresholds say.

    The nearest float32 lies below 1 / 82, and (123 - 0) / 82 + 1/2 was below 2. Products with these steps are never below
    the quotient, and above it by too little for another code (psums below 2^21).
    """
    for m in range(lsb.shape[0]):
        nearest = np.float32(1) / lsb[m]
        below = np.float64(nearest) * np.float64(lsb[m]) < 1.0  # this product is exact
        step[m] = np.nextafter(nearest, np.float32(np.inf)) if below else nearest


def reciprocals_naive(lsb, step):
    """The definition."""
    nearest = np.float32(1) / lsb
    below = nearest.astype(np.float64) * lsb.astype(np.float64) < 1
    step[:] = np.where(below, np.nextafter(nearest, np.float32(np.inf)), nearest)


@kernel
def convert_sum(psums, lsb, zero, factor, top, work, out):
    """out[b, p, n] = sum over m of factor[m] * (zero[m] + lsb[m] * code), code = clamp(floor((psum - zero) / lsb + 1/2), 0, top).

    float32 throughout: psums [B, P * M]; lsb, zero, factor [R * M], the M columns' R times; out [B, P, N]; work [4, R * M]
    is scratch. Half-way psums round up, as thresholds do.
    """
    positions, outputs = out.shape[1], out.shape[2]
    parts = psums.shape[1] // (positions * outputs)
    at_once = lsb.shape[0] // (parts * outputs)
    step, more, scale, value = work[0], work[1], work[2], work[3]
    reciprocals(lsb, step)
    for m in range(lsb.shape[0]):
        more[m] = factor[m] * zero[m]
        scale[m] = factor[m] * lsb[m]
    for b in range(psums.shape[0]):
        for p in range(0, positions, at_once):
            rows = min(at_once, positions - p)
            source = psums[b, p * parts * outputs :]
            for m in range(rows * parts * outputs):
                code = np.floor((source[m] - zero[m]) * step[m] + np.float32(0.5))
                value[m] = more[m] + scale[m] * min(max(code, np.float32(0)), top)
            gathered(value.reshape((-1, outputs)), out[b, p : p + rows], parts)


def convert_sum_naive(psums, lsb, zero, factor, top, work, out):
    """The definition."""
    columns = psums.shape[1] // out.shape[1]
    lsb, zero, factor = (v[:columns] for v in (lsb, zero, factor))
    step = np.empty_like(lsb)
    reciprocals_naive(lsb, step)
    code = np.floor((psums.reshape(-1, columns) - zero) * step + np.float32(0.5)).clip(0, top)
    value = factor * zero + factor * lsb * code
    out[:] = value.reshape(*out.shape[:2], -1, out.shape[2]).sum(axis=2)


@kernel
def convert_sum_back(psums, given, top, slope, back, work, sums):
    """The gradients of `convert_sum` for d loss / d out = slope [B, P, N]: straight through inside the range, 0 outside.

    Inside is what rounds to a code that exists, half a step beyond the outer levels too: partial sums are integers and lie
    on those levels in large numbers, and no small noise may move them out.
    given = (lsb, zero, factor). back [B, P * M] may be `psums` itself. sums = (d_lsb, d_zero, d_factor), float64 [R * M], are
    added to: their sums over R are the columns'. work float32 [7, R * M] is scratch: an image's positions are added up in
    float32, images in float64.
    """
    (lsb, zero, factor), (d_lsb, d_zero, d_factor) = given, sums
    positions, outputs = slope.shape[1], slope.shape[2]
    parts = psums.shape[1] // (positions * outputs)
    at_once = lsb.shape[0] // (parts * outputs)
    step, wanted, here, place = work[0], work[1], work[2], work[3]
    by_lsb, by_zero, by_factor = work[4], work[5], work[6]
    reciprocals(lsb, step)
    for b in range(psums.shape[0]):
        work[4:] = np.float32(0)
        for p in range(0, positions, at_once):
            rows = min(at_once, positions - p)
            columns = rows * parts * outputs
            source, target = psums[b, p * parts * outputs :], back[b, p * parts * outputs :]
            spread(slope[b, p : p + rows], wanted.reshape((-1, outputs)), parts)
            for m in range(columns):
                place[m] = (source[m] - zero[m]) * step[m]
                here[m] = wanted[m] * factor[m]
            for m in range(columns):
                code = min(max(np.floor(place[m] + np.float32(0.5)), np.float32(0)), top)
                by_factor[m] += wanted[m] * (zero[m] + lsb[m] * code)
            for m in range(columns):
                at, all_of_it = place[m], here[m]
                code = np.floor(at + np.float32(0.5))
                inside = np.float32(1) if (code >= np.float32(0)) & (code <= top) else np.float32(0)
                by_lsb[m] += all_of_it * (min(max(code, np.float32(0)), top) - inside * at)
            for m in range(columns):
                code, all_of_it = np.floor(place[m] + np.float32(0.5)), here[m]
                inside = np.float32(1) if (code >= np.float32(0)) & (code <= top) else np.float32(0)
                by_zero[m] += all_of_it * (np.float32(1) - inside)
                target[m] = all_of_it * inside
        for m in range(lsb.shape[0]):
            d_lsb[m] += by_lsb[m]
            d_zero[m] += by_zero[m]
            d_factor[m] += by_factor[m]


def convert_sum_back_naive(psums, given, top, slope, back, work, sums):
    """The definition, with the columns' gradients in the first of R places."""
    columns = psums.shape[1] // slope.shape[1]
    lsb, zero, factor = (v[:columns] for v in given)
    d_lsb, d_zero, d_factor = sums
    wanted = np.tile(slope.reshape(-1, slope.shape[2]), (1, columns // slope.shape[2]))
    step = np.empty_like(lsb)
    reciprocals_naive(lsb, step)
    place = (psums.reshape(-1, columns) - zero) * step
    nearest = np.floor(place + np.float32(0.5))
    code, inside = nearest.clip(0, top), ((nearest >= 0) & (nearest <= top)).astype(np.float32)
    here = wanted * factor
    d_lsb[:columns] += (here * (code - inside * place)).sum(axis=0)
    d_zero[:columns] += (here * (1 - inside)).sum(axis=0)
    d_factor[:columns] += (wanted * (zero + lsb * code)).sum(axis=0)
    back[:] = (here * inside).reshape(psums.shape)
