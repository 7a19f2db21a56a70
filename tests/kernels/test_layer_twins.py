"""Kernels around the macros - strips, windows, exact convolutions, output stages - equal their naive twins."""

import numpy as np
import pytest
from hypothesis import given
from twins import SEEDS, both, common

from cimemu.compute import finish_kernels as finish
from cimemu.engines.exact import kernels as conv_exact
from cimemu.engines.exact import quad_kernels
from cimemu.lanes.registers import AVAILABLE
from cimemu.layer import conv_kernels
from cimemu.layer import elementwise_kernels as elementwise
from cimemu.macro import activity_kernels as activity
from cimemu.macro import change_kernels as changes
from cimemu.windows import kernels as im2col
from cimemu.windows.strips import flat_bytes


@given(SEEDS)
@common
def test_activity(seed):
    rng = np.random.default_rng(seed)
    images, positions, rows = int(rng.integers(1, 4)), int(rng.integers(1, 5)), int(rng.integers(1, 20))
    x = rng.integers(-128, 128, (images * positions, rows)).astype(np.int16)
    table = rng.integers(0, 9, 256)
    both(
        lambda o: activity.count_inputs(x, -128, table, o),
        lambda o: activity.count_inputs_naive(x, -128, table, o),
        np.zeros((images, rows), dtype=np.int64),
    )


def random_windows(rng):
    """(strip, stride, dilation, kernel, output rows and columns) that fit together."""
    stride, dilation, shape = ((int(a), int(b)) for a, b in rng.integers(1, 4, (3, 2)))
    height, width = ((s - 1) * d + 1 + int(rng.integers(0, 9)) for s, d in zip(shape, dilation))
    out = tuple((n - ((s - 1) * d + 1)) // t + 1 for n, s, d, t in zip((height, width), shape, dilation, stride))
    dtype, low = (np.uint8, 0) if rng.random() < 0.5 else (np.int16, -128)
    strip = rng.integers(low, low + 256, (2, int(rng.integers(1, 5)), height, width)).astype(dtype)
    return strip, stride, dilation, shape, out


@given(SEEDS)
@common
def test_activity_of_windows(seed):
    rng = np.random.default_rng(seed)
    strip, stride, dilation, shape, out = random_windows(rng)
    table = rng.integers(0, 9, 256)
    lines = np.zeros((shape[0] + 1, strip.shape[3]), dtype=np.int32)
    both(
        lambda o: activity.count_windows(strip, table, stride, dilation, out, lines, o),
        lambda o: activity.count_windows_naive(strip, table, stride, dilation, out, lines, o),
        rng.integers(0, 9, (*strip.shape[:2], *shape)),
    )
    out = tuple(n - (taps - 1) * d for n, taps, d in zip(strip.shape[2:], shape, dilation))
    if strip.dtype == np.uint8 and AVAILABLE and all(n >= (taps - 1) * d for n, taps, d in zip(out, shape, dilation)):
        low, high = rng.integers(0, 128, (2, 16)).astype(np.uint8)
        seen, edges = np.zeros(strip[0, 0].size, dtype=np.uint8), np.zeros(max(4, strip.shape[3]), dtype=np.int64)
        both(
            lambda o: activity.count_nibble_windows(strip, low, high, dilation, out, seen, edges, o),
            lambda o: activity.count_nibble_windows_naive(strip, low, high, dilation, out, seen, edges, o),
            rng.integers(0, 9, (*strip.shape[:2], *shape)),
        )
        plane = strip[0, 0].ravel()
        both(
            lambda o: activity.count_plane(plane, plane.sum(dtype=np.int64), dilation, out, edges, o),
            lambda o: activity.count_plane_naive(plane, 0, dilation, out, edges, o),
            rng.integers(0, 9, shape),
        )


@pytest.mark.slow
@given(SEEDS)
@common
def test_im2col(seed):
    strip, stride, dilation, shape, out = random_windows(np.random.default_rng(seed))
    rows = np.zeros((len(strip) * out[0] * out[1], strip.shape[1] * shape[0] * shape[1]), dtype=strip.dtype)
    both(
        lambda o: im2col.im2col(strip, stride, dilation, shape, out, o),
        lambda o: im2col.im2col_naive(strip, stride, dilation, shape, out, o),
        rows,
    )


@pytest.mark.slow
@given(SEEDS)
@common
def test_strips(seed):
    rng = np.random.default_rng(seed)
    low, dtype = (0, np.uint8) if rng.random() < 0.5 else (-128, np.int8)
    source = rng.integers(low, low + 256, (2, 3, *rng.integers(1, 7, 2))).astype(dtype)
    if rng.random() < 0.5:
        source = np.ascontiguousarray(source.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    zeros = rng.integers(0, 256, 2)
    top, left = (int(v) for v in rng.integers(-3, 7, 2))
    narrow = rng.random() < 0.5
    strip = np.zeros((2, 3, *rng.integers(1, 9, 2)), dtype=np.uint8 if narrow else np.int16)
    offset = -low if narrow else int(rng.integers(-128, 129))
    memory = (*flat_bytes(source), (*source.shape[2:], top, left))
    both(
        lambda o: im2col.fill_strip(*memory, (np.uint8(-low), offset + low), zeros, o),
        lambda o: im2col.fill_strip_naive(*memory, (np.uint8(-low), offset + low), zeros, o),
        strip,
    )


@pytest.mark.slow
@given(SEEDS)
@common
def test_pairs_of_channels(seed):
    rng = np.random.default_rng(seed)
    channels, rows, columns = (int(v) for v in rng.integers(1, 6, 3))
    strip = rng.integers(0, 256, (2, channels, rows, columns)).astype(rng.choice([np.uint8, np.int16]))
    first, second = rng.integers(0, channels, (2, 3))
    down, right = (int(v) for v in rng.integers(1, 4, 2))
    line = -(-columns // right)
    pairs = np.zeros((2, 3, down, right, 2 * line * -(-rows // down) + int(rng.integers(0, 5))), dtype=np.int16)
    both(
        lambda o: conv_exact.interleave(strip, first, second, line, o),
        lambda o: conv_exact.interleave_naive(strip, first, second, line, o),
        pairs,
    )


@given(SEEDS)
@common
def test_exact_convolutions_of_bytes(seed):
    rng = np.random.default_rng(seed)
    strip, (down, right), _, _, _ = random_windows(rng)
    channels = rng.integers(0, strip.shape[1], (3, 4))
    line = -(-strip.shape[3] // right)
    quads = np.zeros(
        (2, 3, down, right, 4 * line * -(-strip.shape[2] // down) + int(rng.integers(0, 5))), dtype=np.uint8
    )
    add = 0 if strip.dtype == np.uint8 else 128
    both(
        lambda o: quad_kernels.interleave_quads(strip, channels, add, line, o),
        lambda o: quad_kernels.interleave_quads_naive(strip, channels, add, line, o),
        quads,
    )
    if not quad_kernels.HAS_QUADS:
        return
    images, groups, steps, outputs = 2, int(rng.integers(1, 3)), int(rng.integers(1, 12)), 8 * int(rng.integers(1, 3))
    places = 16 * int(rng.integers(1, 5))
    given = rng.choice(np.array([0, 1, 127, 128, 255], dtype=np.uint8), 4000)
    offsets = 4 * rng.integers(0, 300, steps)
    weights = rng.choice(np.array([-128, -127, -1, 0, 127], dtype=np.int8), (groups, steps, outputs, 4))
    weights = np.ascontiguousarray(weights).view(np.int32)[..., 0]
    start = rng.integers(-(2**31), 2**31, (images, groups, outputs)).astype(np.int32)
    both(
        lambda o: quad_kernels.convolve_quads(given, 1200, 400, offsets, weights, start, o),
        lambda o: quad_kernels.convolve_quads_naive(given, 1200, 400, offsets, weights, start, o),
        np.zeros((images, groups, outputs, places), dtype=np.int32),
    )


@pytest.mark.slow
@given(SEEDS)
@common
def test_exact_convolutions(seed):
    rng = np.random.default_rng(seed)
    images, groups, steps, outputs, places = 2, int(rng.integers(1, 3)), int(rng.integers(1, 12)), 8, 32
    pairs = rng.integers(-256, 512, 4000).astype(np.int16)
    offsets = 2 * rng.integers(0, 500, steps)
    weights = rng.integers(-(2**31), 2**31, (groups, steps, outputs)).astype(np.int32)
    start = rng.integers(-(2**31), 2**31, (images, groups, outputs)).astype(np.int32)
    both(
        lambda o: conv_exact.convolve_pairs(pairs, 900, 300, offsets, weights, start, o),
        lambda o: conv_exact.convolve_pairs_naive(pairs, 900, 300, offsets, weights, start, o),
        np.zeros((images, groups, outputs, places), dtype=np.int32),
    )
    strip, stride, dilation, shape, out = random_windows(rng)
    filters = rng.integers(-512, 512, (strip.shape[1], *shape)).astype(np.int32)
    begin = rng.integers(-(2**31), 2**31, strip.shape[:2]).astype(np.int32)
    both(
        lambda o: conv_exact.convolve_depthwise(strip, filters, stride, dilation, out, begin, o),
        lambda o: conv_exact.convolve_depthwise_naive(strip, filters, stride, dilation, out, begin, o),
        np.zeros((*strip.shape[:2], out[0] * out[1]), dtype=np.int32),
    )


@pytest.mark.slow
@given(SEEDS)
@common
def test_finished_outputs(seed):
    rng = np.random.default_rng(seed)
    images, groups, outputs, height, width = 2, int(rng.integers(1, 3)), int(rng.integers(1, 4)), 4, 3
    channels, line = groups * outputs, width + int(rng.integers(0, 3))
    first = int(rng.integers(0, height))
    span = (first, int(rng.integers(1, height - first + 1)))
    scale = 2.0 ** rng.integers(1, 31, (images, groups, outputs + 1, height * line))
    acc = rng.integers(-(2**31), 2**31, scale.shape) // scale.astype(np.int64)
    wide = acc + rng.random(acc.shape) if rng.random() < 0.3 else acc.astype(np.int32)
    zero, low, high = int(rng.integers(0, 256)), int(rng.integers(0, 100)), int(rng.integers(100, 256))
    out = np.zeros((images, channels, height, width), dtype=np.uint8)
    multiplier = (rng.random(channels) * 2.0 ** -rng.integers(0, 24)).astype(np.float32)
    limits = np.array([zero, low, high], dtype=np.float32)
    if rng.random() < 0.1:  # a product of scales beyond float32; 0 times it is no number
        multiplier[0], acc.reshape(-1)[::3] = np.inf, 0
        wide = acc.astype(np.int32)
        infinite = np.zeros_like(out)
        with np.errstate(invalid="ignore"):
            finish.finish_fp32_naive(wide, line, multiplier, limits, span, infinite)
            finish.finish_fp32(wide, line, multiplier, limits, span, out)  # warns too where it is not compiled
        assert np.array_equal(out, infinite)
        return
    both(
        lambda o: finish.finish_fp32(wide, line, multiplier, limits, span, o),
        lambda o: finish.finish_fp32_naive(wide, line, multiplier, limits, span, o),
        out,
    )
    both(
        lambda o: finish.finish_float(wide, line, multiplier, span, o),
        lambda o: finish.finish_float_naive(wide, line, multiplier, span, o),
        out.astype(np.float32),
    )
    rule = np.stack([rng.integers(2**30, 2**31, channels), rng.integers(-24, 3, channels)], axis=1)
    bounds = np.array([zero - 128, low - 128, high - 128])
    exact = 2.0 ** -rng.integers(0, 30, channels) if rng.random() < 0.5 else rng.random(channels)
    narrow = (acc // 8).astype(np.int32)
    both(
        lambda o: finish.finish_gemmlowp(narrow, line, rule, bounds, span, o),
        lambda o: finish.finish_gemmlowp_naive(narrow, line, rule, bounds, span, o),
        out.astype(np.int8),
    )
    both(
        lambda o: finish.finish_fp64(acc.astype(np.int32), line, exact, bounds, span, o),
        lambda o: finish.finish_fp64_naive(acc.astype(np.int32), line, exact, bounds, span, o),
        out.astype(np.int8),
    )


@given(SEEDS)
@common
def test_arranged_accumulators(seed):
    rng = np.random.default_rng(seed)
    images, positions, outputs = 2, int(rng.integers(1, 70)), int(rng.integers(1, 6))
    y = rng.integers(-(2**40), 2**40, (images * positions, outputs))
    constant = rng.integers(-(2**20), 2**20, (images, outputs))
    both(
        lambda o: finish.arrange(y, constant, o),
        lambda o: finish.arrange_naive(y, constant, o),
        np.zeros((images, 1, outputs, positions), dtype=np.int32),
    )
    both(
        lambda o: finish.arrange_float(y / 3, constant, o),
        lambda o: finish.arrange_float_naive(y / 3, constant, o),
        np.zeros((images, 1, outputs, positions)),
    )


@given(SEEDS)
@common
def test_pairs_of_codes(seed):
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if rng.random() < 0.5 else np.int8
    a, b = (rng.integers(0, 256, 300).astype(np.uint8) for _ in range(2))
    table = rng.integers(0, 256, 65536).astype(np.uint8).view(dtype)
    both(
        lambda o: elementwise.look_up_pairs(a, b, table, o),
        lambda o: elementwise.look_up_pairs_naive(a, b, table, o),
        np.zeros(300, dtype=dtype),
    )


@given(SEEDS)
@common
def test_taps_of_a_float_convolution(seed):
    rng = np.random.default_rng(seed)
    strip, stride, dilation, shape, out = random_windows(rng)
    channels = strip.shape[1] * int(rng.integers(1, 3))
    padded, weight = strip.astype(np.float32) / 3, rng.normal(0, 1, (channels, *shape)).astype(np.float32)
    padded.flat[:: int(rng.integers(2, 40))] = rng.choice([0.0, -0.0, 1e-40, 1e30])
    first = int(rng.integers(0, out[0]))
    both(
        lambda o: conv_kernels.add_taps(padded, weight, first, stride, dilation, o),
        lambda o: conv_kernels.add_taps_naive(padded, weight, first, stride, dilation, o),
        np.ones((2, channels, out[0] - first, out[1]), np.float32),
    )


@pytest.mark.slow
@given(SEEDS)
@common
def test_changes_between_neighbouring_positions(seed):
    rng = np.random.default_rng(seed)
    strip, stride, dilation, shape, out = random_windows(rng)
    first, last = rng.integers(0, 16, (2, 256))
    lines = np.zeros((shape[0] + 3, strip.shape[3]), dtype=np.int64)
    both(
        lambda o: changes.count_meetings(strip, first, last, stride, dilation, out, lines, o),
        lambda o: changes.count_meetings_naive(strip, first, last, stride, dilation, out, lines, o),
        rng.integers(0, 9, (*strip.shape[:2], *shape)),
    )


@pytest.mark.slow
@given(SEEDS)
@common
def test_changes_of_replicas_that_take_turns(seed):
    rng = np.random.default_rng(seed)
    strip, stride, dilation, shape, out = random_windows(rng)
    tables = rng.integers(0, 16, (3, 256))
    both(
        lambda o: changes.count_turns(strip, tables, stride, dilation, out, o),
        lambda o: changes.count_turns_naive(strip, tables, stride, dilation, out, o),
        rng.integers(0, 9, (3, int(rng.integers(1, 5)), *strip.shape[:2], *shape)),
    )
