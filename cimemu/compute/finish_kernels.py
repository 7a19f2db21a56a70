"""Accumulators into a layer's output tensor: the rounding rules of integer runtimes in one pass.

Accumulators are `acc[b, g, m, h * line + w]` for output channel `g * outputs + m`, output row `first + h` and column w,
with (first, rows) = span and out [images, channels, output rows, output columns].
"""

from fractions import Fraction

import numpy as np

from cimemu.lanes.jit import kernel


@kernel
def arrange(y, constant, acc):
    """acc[b, 0, n, p] = y[b * positions + p, n] + constant[b, n], wrapped to 32 bits.

    y integers [images * positions, N], constant int64 [images, N], acc int32 [images, 1, N, positions].
    """
    positions, half = acc.shape[3], np.int64(1) << 31
    for b in range(acc.shape[0]):
        for first in range(0, positions, 32):
            for n in range(y.shape[1]):
                target = acc[b, 0, n]
                add = constant[b, n] + half
                for p in range(first, min(first + 32, positions)):
                    target[p] = ((y[b * positions + p, n] + add) & 0xFFFFFFFF) - half


def arrange_naive(y, constant, acc):
    """The definition, on Python integers."""
    for b, _, n, p in np.ndindex(*acc.shape):
        total = int(y[b * acc.shape[3] + p, n]) + int(constant[b, n])
        acc[b, 0, n, p] = (total + 2**31) % 2**32 - 2**31


@kernel
def arrange_float(y, constant, acc):
    """acc[b, 0, n, p] = y[b * positions + p, n] + constant[b, n] in float64: converter levels that are no integers."""
    positions = acc.shape[3]
    for b in range(acc.shape[0]):
        for p in range(positions):
            for n in range(y.shape[1]):
                acc[b, 0, n, p] = y[b * positions + p, n] + np.float64(constant[b, n])


def arrange_float_naive(y, constant, acc):
    """The definition."""
    images, _, _, positions = acc.shape
    acc[:, 0] = (y.reshape(images, positions, -1) + constant[:, None]).transpose(0, 2, 1)


@kernel
def finish_fp32(acc, line, multiplier, limits, span, out):
    """out = clip(rint(float32(acc) * multiplier[n]) + zero point, low, high), ties to even (ONNX Runtime's rule).

    multiplier float32 [channels]; limits float32 (zero point, low, high).
    """
    outputs, width = out.shape[1] // acc.shape[1], out.shape[3]
    zero, low, high = limits[0], limits[1], limits[2]
    for b in range(out.shape[0]):
        for n in range(out.shape[1]):
            scale = multiplier[n]
            for h in range(span[1]):
                source = acc[b, n // outputs, n % outputs, h * line : h * line + width]
                target = out[b, n, span[0] + h]
                for w in range(width):
                    value = np.rint(np.float32(source[w]) * scale) + zero
                    target[w] = np.int32(min(max(low, value), high))  # what is no number (0 * inf) becomes low


def finish_fp32_naive(acc, line, multiplier, limits, span, out):
    """The definition, an element at a time."""
    outputs = out.shape[1] // acc.shape[1]
    for b, n, h, w in np.ndindex(out.shape[0], out.shape[1], span[1], out.shape[3]):
        product = np.float32(acc[b, n // outputs, n % outputs, h * line + w]) * multiplier[n]
        out[b, n, span[0] + h, w] = int(np.fmin(np.fmax(np.round(product) + limits[0], limits[1]), limits[2]))


@kernel
def finish_gemmlowp(acc, line, rule, limits, span, out):
    """A rounding doubling high multiplication by rule[n, 0], then a rounding shift by rule[n, 1]: two roundings, ties
    away from zero (TensorFlow Lite's reference convolutions, gemmlowp).

    acc int32, rule int64 [channels, (q31, shift)]; limits int64 (zero point, low, high).
    """
    outputs, width = out.shape[1] // acc.shape[1], out.shape[3]
    for b in range(out.shape[0]):
        for n in range(out.shape[1]):
            q31, left, right = rule[n, 0], max(rule[n, 1], 0), max(-rule[n, 1], 0)
            mask = (np.int64(1) << right) - 1
            for h in range(span[1]):
                source = acc[b, n // outputs, n % outputs, h * line : h * line + width]
                target = out[b, n, span[0] + h]
                for w in range(width):
                    product = (np.int64(source[w]) << left) * q31
                    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
                    high = nudged >> 31 if nudged >= 0 else -((-nudged) >> 31)
                    high = min(high, np.int64((1 << 31) - 1))
                    up = (high & mask) > (mask >> 1) + (1 if high < 0 else 0)
                    value = (high >> right) + (1 if up else 0) + limits[0]
                    target[w] = min(max(value, limits[1]), limits[2])


def finish_gemmlowp_naive(acc, line, rule, limits, span, out):
    """The definition, on Python integers."""
    outputs = out.shape[1] // acc.shape[1]
    for b, n, h, w in np.ndindex(out.shape[0], out.shape[1], span[1], out.shape[3]):
        q31, shift = (int(v) for v in rule[n])
        product = (int(acc[b, n // outputs, n % outputs, h * line + w]) << max(shift, 0)) * q31
        nudged = product + (2**30 if product >= 0 else 1 - 2**30)
        high = min(abs(nudged) // 2**31 * (1 if nudged >= 0 else -1), 2**31 - 1)
        power = 2 ** max(-shift, 0)
        rounded = (abs(high) + power // 2) // power * (1 if high >= 0 else -1)
        out[b, n, span[0] + h, w] = min(max(rounded + int(limits[0]), int(limits[1])), int(limits[2]))


@kernel
def finish_fp64(acc, line, multiplier, limits, span, out):
    """float64(acc) * multiplier[n] rounded, ties away from zero (TensorFlow Lite's fully connected layers).

    acc int32, multiplier float64 [channels]; limits int64 (zero point, low, high).
    """
    outputs, width = out.shape[1] // acc.shape[1], out.shape[3]
    for b in range(out.shape[0]):
        for n in range(out.shape[1]):
            factor = multiplier[n]
            for h in range(span[1]):
                source = acc[b, n // outputs, n % outputs, h * line : h * line + width]
                target = out[b, n, span[0] + h]
                for w in range(width):
                    product = np.float64(source[w]) * factor
                    size = abs(product)
                    whole = np.int64(size)
                    if size - whole >= 0.5:
                        whole += 1
                    value = (-whole if product < 0 else whole) + limits[0]
                    target[w] = min(max(value, limits[1]), limits[2])


def finish_fp64_naive(acc, line, multiplier, limits, span, out):
    """The definition, an element at a time."""
    outputs = out.shape[1] // acc.shape[1]
    for b, n, h, w in np.ndindex(out.shape[0], out.shape[1], span[1], out.shape[3]):
        product = Fraction(float(acc[b, n // outputs, n % outputs, h * line + w]) * float(multiplier[n]))
        rounded = (2 * abs(product) + 1) // 2 * (1 if product >= 0 else -1)
        out[b, n, span[0] + h, w] = min(max(rounded + int(limits[0]), int(limits[1])), int(limits[2]))


@kernel
def finish_float(acc, line, scale, span, out):
    """out = float32(acc) * scale[n], float32."""
    outputs, width = out.shape[1] // acc.shape[1], out.shape[3]
    for b in range(out.shape[0]):
        for n in range(out.shape[1]):
            for h in range(span[1]):
                for w in range(width):
                    value = np.float32(acc[b, n // outputs, n % outputs, h * line + w])
                    out[b, n, span[0] + h, w] = value * scale[n]


def finish_float_naive(acc, line, scale, span, out):
    """The definition, an element at a time."""
    outputs = out.shape[1] // acc.shape[1]
    for b, n, h, w in np.ndindex(out.shape[0], out.shape[1], span[1], out.shape[3]):
        out[b, n, span[0] + h, w] = np.float32(acc[b, n // outputs, n % outputs, h * line + w]) * scale[n]
