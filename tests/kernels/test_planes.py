"""Bit planes against their naive twins."""

import numpy as np
import pytest
from hypothesis import given
from twins import SEEDS, both, common

from cimemu.engines import output_kernels as combine
from cimemu.engines.planes import adder_kernels as planes
from cimemu.engines.planes import fill_kernels as fill_planes
from cimemu.lanes import bits as lane_bits
from cimemu.lanes import registers as lanes
from cimemu.lanes import turns as lane_turns
from cimemu.lanes.jit import kernel

pytestmark = pytest.mark.skipif(not lanes.AVAILABLE, reason="the processor has no AVX2: the other kernels run")


@kernel
def every_operation(given, lists, out):
    a, b, c = lanes.load(given, 0), lanes.load(given, 32), lanes.load(given, 64)
    lanes.store(out, 0, lane_bits.without(a, b))
    lanes.store(out, 32, lane_bits.carry_of(a, b, lanes.differ(b, c)))
    lanes.store(out, 64, lane_bits.load_listed(given, lists, 1))
    lanes.store(out, 96, lane_turns.interleave_low32(a, b))
    lanes.store(out, 128, lane_turns.interleave_high32(a, b))
    lanes.store(out, 160, lane_turns.interleave_low64(a, b))
    lanes.store(out, 192, lane_turns.interleave_high64(a, b))
    lanes.store(out, 224, lane_turns.low_halves(a, b))
    lanes.store(out, 256, lane_turns.high_halves(a, b))
    lanes.store(out, 288, lane_turns.load_halves(given, 5, 77))
    lane_turns.store_scaled(out, 320, a, -3, 1 << 40)


def test_operations_on_registers():
    rng = np.random.default_rng(0)
    flat = rng.integers(0, 256, 96).astype(np.uint8)
    out = np.zeros(384, np.uint8)
    every_operation(flat, np.array([3, 40], np.uint16), out)
    a, b, c = flat.reshape(3, 32)
    wide = [v.view(np.uint32) for v in (a, b)]
    quads = [v.view(np.uint64) for v in (a, b)]
    expected = [a & ~b, (a & b) | (a & c) | (b & c), flat[40:72]]
    expected += [
        np.stack([wide[0][m], wide[1][m]], axis=1).ravel().view(np.uint8) for m in ([0, 1, 4, 5], [2, 3, 6, 7])
    ]
    expected += [np.stack([quads[0][m], quads[1][m]], axis=1).ravel().view(np.uint8) for m in ([0, 2], [1, 3])]
    expected += [np.concatenate([a[:16], b[:16]]), np.concatenate([a[16:], b[16:]])]
    expected += [np.concatenate([flat[5:21], flat[77:93]])]
    assert np.array_equal(out[:320], np.concatenate(expected))
    assert np.array_equal(out[320:].view(np.int64), a.view(np.int32) * np.int64(-3) + (1 << 40))


@kernel
def pairs_of(given, out):
    x, u = lanes.load(given, 32), lanes.load(given, 96)
    x_y, u_v = lanes.differ(x, lanes.load(given, 64)), lanes.differ(u, lanes.load(given, 128))
    s, c, c_d = planes.add_pairs(lanes.load(given, 0), x, x_y, u, u_v)
    lanes.store(out, 0, s)
    lanes.store(out, 32, c)
    lanes.store(out, 64, c_d)


def test_two_full_adders_add_five_bits():
    given_ = np.random.default_rng(0).integers(0, 256, (5, 32)).astype(np.uint8)
    a, x, y, u, v = given_
    made = planes.add_pairs_naive(a, x, x ^ y, u, u ^ v)
    total = np.unpackbits(given_, axis=1).sum(axis=0)
    s, c, c_d = (np.unpackbits(bits) for bits in made)
    assert np.array_equal(s + 2 * (c + (c ^ c_d)), total)
    out = np.zeros((3, 32), np.uint8)
    pairs_of(given_, out)
    assert np.array_equal(out, np.stack(made))


def drawn(seed):
    """Inputs of 70 positions, cells of one bit, groups of rows, as the kernels take them."""
    rng = np.random.default_rng(seed)
    slices, rows, columns = int(rng.integers(1, 9)), int(rng.integers(1, 256)), int(rng.integers(1, 70))
    x = rng.integers(0, 2**slices, (70, rows)) * (rng.random((70, rows)) < rng.random())
    levels = (rng.random((rows, columns)) < rng.random()).astype(np.uint8)
    cuts = np.array([0, *np.unique(rng.integers(0, rows + 1, 1)), rows])
    cuts = np.unique(cuts)
    starts, stops = cuts[:-1], cuts[1:]
    padded = np.zeros((96, -(-rows // 16) * 16), np.uint8)
    padded[:70, :rows] = x
    turned = np.ascontiguousarray(padded.reshape(3, 32, -1)[:, planes.ORDER].transpose(0, 2, 1))
    most = int((stops - starts).max())
    scratch = (
        np.zeros((most + 1, 32), np.uint8),
        np.zeros((planes.KEPT + planes.COLUMNS, planes.PLANES, 32), np.uint8),
    )
    return rng, x, levels, (starts, stops), turned, scratch


def masks_of(bits):
    masks = np.zeros((planes.PLANES, 32), np.uint8)
    masks[:bits] = 255
    return masks


@given(SEEDS)
@common
def test_parts(seed):
    rng, _, levels, (starts, stops), turned, (rows, numbers) = drawn(seed)
    both(
        lambda o: planes.pick_rows(turned, 1, starts[-1], stops[-1], o),
        lambda o: planes.pick_rows_naive(turned, 1, starts[-1], stops[-1], o),
        rows,
    )
    planes.pick_rows_naive(turned, 1, starts[-1], stops[-1], rows)
    lists, steps, bounds = planes.list_columns(levels, starts, stops, planes.COLUMNS)
    first, last = (int(v) for v in bounds[-1, -1])
    both(
        lambda o: planes.add_rows(rows, lists, steps, (first, last), o),
        lambda o: planes.add_rows_naive(rows, lists, steps, (first, last), o),
        numbers,
    )
    numbers[planes.KEPT :] = rng.integers(0, 256, numbers[planes.KEPT :].shape)
    bits, signed = int(rng.integers(1, 8)), bool(rng.integers(0, 2))
    both(
        lambda o: planes.clip_planes(numbers, (3, 8), masks_of(bits), signed, 2, o),
        lambda o: planes.clip_planes_naive(numbers, (3, 8), masks_of(bits), signed, 2, o),
        np.zeros((9, 96), np.int16),
    )


@given(SEEDS)
@common
def test_pairs_of_columns(seed):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, (int(rng.integers(1, 40)), 2), dtype=np.uint64)
    least = int(rng.integers(0, 40))
    both(
        lambda o: planes.pair_columns(words, 8, least, o),
        lambda o: planes.pair_columns_naive(words, 8, least, o),
        np.zeros(len(words), np.int64),
    )


def test_rows_that_two_columns_share_are_added_once():
    levels = np.zeros((128, 3), np.uint8)
    levels[:64, 0] = levels[:70, 1] = levels[100:, 2] = 1
    lists, steps, bounds = planes.list_columns(levels, np.array([0]), np.array([128]), 32)
    assert bounds.tolist() == [[[0, 4]]]
    assert (steps[:, 1] - steps[:, 0]).tolist() == [64, 0, 8, 28]
    assert steps[:, 2:].tolist() == [[0, 1], [1, planes.KEPT], [1, planes.KEPT + 1], [0, planes.KEPT + 2]]
    assert lists[64:72].tolist() == [32 * row for row in (64, 65, 66, 67, 68, 69, 128, 128)]


@given(SEEDS)
@common
def test_whole(seed):
    rng, x, levels, (starts, stops), turned, scratch = drawn(seed)
    listed = planes.list_columns(levels, starts, stops, planes.COLUMNS)
    bits, signed = int(rng.integers(1, 8)), bool(rng.integers(0, 2))
    rule, spans = (masks_of(bits), signed), (starts, stops)
    columns = levels.shape[1]
    sums = np.zeros((len(starts) * columns, 96), np.int16)
    planes.sum_planes(turned, spans, listed, rule, scratch, sums)
    weight = np.array([1, 2, 4, 8, 16, 32, 64, -128 if signed else 128])
    for g, (first, last) in enumerate(zip(starts, stops)):
        ones = x[:, first:last, None] >> np.arange(8) & 1
        codes = np.minimum(np.einsum("pki,kc->cpi", ones, levels[first:last].astype(np.int64)), 2**bits - 1)
        expected = (codes @ weight + 32768) % 65536 - 32768
        assert np.array_equal(sums[g * columns : (g + 1) * columns, :70], expected)
    slow = np.zeros_like(sums)
    planes.sum_planes_naive(turned[:1], spans, listed, rule, scratch, slow)
    assert np.array_equal(sums[:, :32], slow[:, :32])


@given(SEEDS)
@common
def test_outputs_of_a_chunk(seed):
    rng, x, levels, spans, _, numbers = drawn(seed)
    listed = planes.list_columns(levels, *spans, planes.COLUMNS)
    rule = (masks_of(int(rng.integers(1, 8))), bool(rng.integers(0, 2)))
    columns, stride, blocks = levels.shape[1], int(rng.integers(1, 4)), int(rng.integers(1, 4))
    terms = np.stack([rng.integers(0, stride, 4), rng.integers(-999, 999, 4)], axis=1)
    combining = (terms, stride, int(rng.integers(-9, 9)), rng.integers(-99, 99, 70), np.zeros((8, 32), np.int32))
    turned = np.zeros((blocks, -(-x.shape[1] // 16) * 16, 32), np.uint8)
    sums = np.zeros((len(spans[0]) * columns, 32 * blocks), np.int16)
    scratch = (np.zeros(1024, np.uint8), turned, sums, numbers)
    x = x.astype(np.uint8)
    both(
        lambda o: fill_planes.fill_planes(x, spans, listed, rule, scratch, combining, o),
        lambda o: fill_planes.fill_planes_naive(x, spans, listed, rule, scratch, combining, o),
        np.zeros((70, columns // stride), np.int64),
    )


@given(SEEDS)
@common
def test_sums_are_turned_into_rows_of_outputs(seed):
    rng = np.random.default_rng(seed)
    total = rng.integers(-(2**31), 2**31, (8, 32)).astype(np.int32)
    rest, lsb, quarter = rng.integers(-(2**40), 2**40, 20), int(rng.integers(-(2**31), 2**31)), int(rng.integers(0, 4))
    both(
        lambda o: combine.turn_out(total, quarter, lsb, rest, 7, 3, o),
        lambda o: combine.turn_out_naive(total, quarter, lsb, rest, 7, 3, o),
        np.zeros((20, 13), np.int64),
    )
