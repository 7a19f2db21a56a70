"""Bit planes against their naive twins."""

import numpy as np
import pytest
from hypothesis import given
from twins import SEEDS, both, common

from cimemu.kernels import lane_bits, lanes, planes
from cimemu.kernels.jit import kernel

pytestmark = pytest.mark.skipif(not lanes.AVAILABLE, reason="the processor has no AVX2: the other kernels run")


@kernel
def full_adder(abc, out):
    a, b, c = lanes.load(abc, 0), lanes.load(abc, 32), lanes.load(abc, 64)
    lanes.store(out, 0, lane_bits.parity(a, b, c))
    lanes.store(out, 32, lane_bits.majority(a, b, c))


def test_a_full_adder_adds_three_bits():
    abc, out = np.random.default_rng(0).integers(0, 256, (3, 32)).astype(np.uint8), np.zeros((2, 32), np.uint8)
    full_adder(abc, out)
    total = np.unpackbits(abc, axis=1).sum(axis=0)
    assert np.array_equal(np.unpackbits(out, axis=1), [total & 1, total >> 1])


def drawn(seed):
    rng = np.random.default_rng(seed)
    slices, rows = int(rng.integers(1, 9)), int(rng.integers(1, 256))
    bits = int(rng.integers(1, min(8, rows.bit_length(), 15 - slices) + 1))
    inputs = rng.integers(0, 2, (3, 2, slices, 64 * -(-rows // 64))) * (rng.random((3, 2, slices, 1)) < 0.8)
    inputs[..., rows:] = 0
    words = np.packbits(inputs.astype(np.uint8), axis=-1, bitorder="little").view(np.uint64)
    return rng, slices, rows, bits, np.ascontiguousarray(words)


@given(SEEDS)
@common
def test_bits_of_inputs(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (2, int(rng.integers(1, 300)))).astype(np.uint8)
    cuts = np.array([0, *np.unique(rng.integers(0, x.shape[1], 2)), x.shape[1]])
    starts, stops = cuts[:-1], cuts[1:]
    words = np.ones((len(starts), int(rng.integers(1, 9)), -(-int((stops - starts).max()) // 64)), np.uint64)
    buffer = np.zeros(32, np.uint8)
    both(
        lambda o: planes.pick_bits(x, 1, starts, stops, buffer, o),
        lambda o: planes.pick_bits_naive(x, 1, starts, stops, buffer, o),
        words,
    )


@given(SEEDS)
@common
def test_parts(seed):
    rng, slices, rows, bits, words = drawn(seed)
    lists, counts = np.zeros((slices, rows + 16), np.uint8), np.zeros(slices, np.int64)
    mine, other = lists.copy(), counts.copy()
    planes.list_rows(words[0, 0], rows, mine, other)
    planes.list_rows_naive(words[0, 0], rows, lists, counts)
    assert np.array_equal(counts, other)
    assert all(np.array_equal(a[:n], b[:n]) for a, b, n in zip(lists, mine, counts))
    cells = rng.integers(0, 256, (2, rows + 1, 32)).astype(np.uint8)
    cells[:, rows] = 0
    fast, slow = np.zeros((2, planes.PLANES + 16, 32), np.uint8)
    planes.add_rows(cells, (rows + 1) * 32, lists, counts, bits, fast)
    planes.add_rows_naive(cells, (rows + 1) * 32, lists, counts, bits, slow)
    assert np.array_equal(fast[: slices + bits], slow[: slices + bits])
    given_ = rng.integers(0, 256, (24, 32)).astype(np.uint8)
    both(
        lambda o: planes.turn_planes(given_.copy(), o),
        lambda o: planes.turn_planes_naive(given_.copy(), o),
        np.zeros((16, 16), np.uint16),
    )


@given(SEEDS)
@common
def test_whole(seed):
    rng, slices, rows, bits, words = drawn(seed)
    outputs, conversions = int(rng.integers(1, 40)), int(rng.integers(1, 10))
    levels = rng.integers(0, 2, (2 * rows, outputs * conversions))
    starts, stops = np.array([0, rows]), np.array([rows, 2 * rows])
    weight = rng.integers(-128, 129, conversions + conversions % 2)
    weight[conversions:] = 0
    cells = planes.plane_cells(levels, starts, stops, conversions)
    factors = ((weight[0::2] & 65535) | (weight[1::2] << 16)).astype(np.int32)
    scratch = (
        np.zeros(32, np.uint8),
        np.zeros(words.shape[1:], np.uint64),
        np.zeros((slices, rows + 16), np.uint8),
        np.zeros(slices, np.int64),
        np.zeros((planes.PLANES + 16, 32), np.uint8),
        np.zeros((16, 16), np.uint16),
        np.zeros((-(-outputs // 8), 8), np.int32),
    )
    rule = (bits, 3, rng.integers(-99, 99, 3))
    y = np.zeros((3, outputs), np.int64)
    ones = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")[..., :rows].astype(np.int64)
    x = (ones << np.arange(slices)[:, None]).sum(axis=2).reshape(3, 2 * rows).astype(np.uint8)
    spans = (starts, stops)
    both(
        lambda o: planes.sum_planes(x, spans, cells, rows, factors, rule, scratch, o),
        lambda o: planes.sum_planes_naive(x, spans, cells, rows, factors, rule, scratch, o),
        y,
    )
    planes.sum_planes(x, spans, cells, rows, factors, rule, scratch, y)
    total = np.zeros((3, outputs * conversions), np.int64)
    for g in range(2):
        psums = ones[:, g] @ levels[g * rows : (g + 1) * rows]
        total += (np.minimum(psums, 2**bits - 1) << np.arange(slices)[:, None]).sum(axis=1)
    expected = total.reshape(3, outputs, conversions) @ weight[:conversions]
    assert np.array_equal(y, 3 * expected + rule[2][:, None])
