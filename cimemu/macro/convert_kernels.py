"""Partial sums into codes and weighted sums of codes."""

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def search_codes(psums, thresholds, codes):
    """codes[p, c] is how many of thresholds[c, :] are <= psums[p, c] (binary search).

    psums int64 [P, C]; thresholds int64 [C or 1, T], ascending; codes int32 [P, C].
    """
    rows = thresholds.shape[0]
    count = thresholds.shape[1]
    for p in range(psums.shape[0]):
        for c in range(psums.shape[1]):
            table = thresholds[c if rows > 1 else 0]
            low = 0
            high = count
            while low < high:
                middle = (low + high) >> 1
                if table[middle] <= psums[p, c]:
                    low = middle + 1
                else:
                    high = middle
            codes[p, c] = low


def search_codes_naive(psums, thresholds, codes):
    """The definition."""
    codes[:] = (thresholds[None] <= psums[:, :, None]).sum(axis=2)


@kernel
def affine_codes(psums, gain, bias, shift, top, codes):
    """codes[p, c] = clamp((psums[p, c] * gain[c] + bias[c]) >> shift, 0, top).

    gain and bias are int64 [C]; the rule is used only where it was proven equal to the thresholds.
    """
    for p in range(psums.shape[0]):
        for c in range(psums.shape[1]):
            codes[p, c] = min(max((psums[p, c] * gain[c] + bias[c]) >> shift, 0), top)


def affine_codes_naive(psums, gain, bias, shift, top, codes):
    """The definition, on Python integers."""
    for p, c in np.ndindex(*psums.shape):
        codes[p, c] = min(max((int(psums[p, c]) * int(gain[c]) + int(bias[c])) >> shift, 0), top)


@kernel
def add_weighted(values, weight, active, sums):
    """sums[p, c] += weight * values[p, c] for every p with active[p]."""
    for p in range(values.shape[0]):
        if active[p]:
            for c in range(values.shape[1]):
                sums[p, c] += weight * values[p, c]


def add_weighted_naive(values, weight, active, sums):
    """The definition."""
    sums += weight * values.astype(np.int64) * active[:, None]


@kernel
def add_by_code(codes, weight, active, sums):
    """sums[p, c, codes[p, c]] += weight for every p with active[p]: one integer sum per code."""
    for p in range(codes.shape[0]):
        if active[p]:
            for c in range(codes.shape[1]):
                sums[p, c, codes[p, c]] += weight


def add_by_code_naive(codes, weight, active, sums):
    """The definition."""
    for p, c in np.ndindex(*codes.shape):
        for code in range(sums.shape[2]):
            if active[p] and codes[p, c] == code:
                sums[p, c, code] += weight
