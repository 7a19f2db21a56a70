"""Real levels by bit planes against their naive twins."""

import numpy as np
import pytest
from hypothesis import given
from test_planes import drawn
from twins import SEEDS, both, common

from cimemu.engines.planes import adder_kernels as planes
from cimemu.engines.planes import level_kernels as level_planes
from cimemu.lanes import floats as lane_floats
from cimemu.lanes import registers as lanes
from cimemu.lanes.jit import kernel

pytestmark = [
    pytest.mark.slow,  # compiled twins; tests/compute holds the same kernels by default, by the bytes of every engine
    pytest.mark.skipif(not lanes.AVAILABLE, reason="the processor has no AVX2: the other kernels run"),
]


@kernel
def every_operation(given, number, out):
    a, b = lanes.load(given, 0), lanes.load(given, 32)
    lanes.store(out, 0, lane_floats.add64(a, b))
    lanes.store(out, 32, lane_floats.sub64(a, b))
    lanes.store(out, 64, lane_floats.mul64(a, b))
    lanes.store(out, 96, lane_floats.every64(number))


def test_floats_in_registers():
    a, b = given_ = np.random.default_rng(0).normal(0, 1, (2, 4))
    out = np.zeros((4, 4))
    every_operation(given_, 0.1, out)
    assert np.array_equal(out, [a + b, a - b, a * b, np.full(4, 0.1)])


def converter(rng, most, columns):
    """(places, firsts, levels) of thresholds anywhere, also below and above all partial sums."""
    bits, rows = int(rng.integers(1, 5)), int(rng.choice([1, columns]))
    cuts = np.clip(np.sort(rng.integers(-3, most + 5, (rows, 2**bits - 1)), axis=1), 0, 256)
    ends = np.pad(cuts, [(0, 0), (0, 1)], constant_values=256)
    places = 32 * np.stack([level_planes.LOW + 1 + (ends >> 3), level_planes.LOW + (ends >> 3), ends & 7], axis=2)
    firsts = (cuts[..., None] <= np.arange(257)).sum(axis=1)
    levels = np.sort(rng.normal(0, 1, (columns, 2**bits)), axis=1) * rng.choice([-2, 1], (columns, 1))
    return places.reshape(rows, -1).astype(np.uint16), firsts, levels


@given(SEEDS)
@common
def test_parts(seed):
    rng = np.random.default_rng(seed)
    columns, groups, signed = int(rng.integers(1, 6)), int(rng.integers(1, 4)), bool(rng.integers(0, 2))
    live = 255 if signed else (1 << int(rng.integers(1, 9))) - 1
    bits = int(rng.integers(1, 9))
    numbers = rng.integers(0, 256, (groups, planes.KEPT + columns, planes.PLANES, 32)).astype(np.uint8)
    numbers[:, :, bits:] = 0
    numbers[:, :, rng.integers(0, bits)] = 0
    numbers[:, planes.KEPT :] &= np.uint8(live)
    tables = np.zeros((groups, columns, level_planes.ENTRIES, 32), np.uint8)
    upper = bits == planes.PLANES
    for g in range(groups):
        both(
            lambda o, mine=numbers[g]: level_planes.make_unary(mine, columns, upper, o),
            lambda o, mine=numbers[g]: level_planes.make_unary_naive(mine, columns, upper, o),
            tables[g],
        )
        level_planes.make_unary_naive(numbers[g], columns, upper, tables[g])
        both(
            lambda o, mine=tables[g]: level_planes.find_range(mine, columns, live, bits, o),
            lambda o, mine=tables[g]: level_planes.find_range_naive(mine, columns, live, bits, o),
            np.ones((2, columns), np.int64),
        )
    places, _, levels = own = converter(rng, 2**bits, columns)
    counts = np.zeros((levels.shape[1], 32), np.uint16)
    whole = (live, signed, 0, levels.shape[1] - 1)
    both(
        lambda o: level_planes.count_codes(tables, columns - 1, groups, places[-1], whole, o),
        lambda o: level_planes.count_codes_naive(tables, columns - 1, groups, places[-1], whole, o),
        counts,
    )
    counts = rng.integers(0, 65536, counts.shape).astype(np.uint16)
    both(
        lambda o: level_planes.add_products(counts, levels[0], 1, levels.shape[1] - 1, 77, o),
        lambda o: level_planes.add_products_naive(counts, levels[0], 1, levels.shape[1] - 1, 77, o),
        rng.normal(0, 1, 32),
    )
    ranges = np.zeros((2, 2, columns), np.int64)
    for g in range(groups):
        level_planes.find_range_naive(tables[g], columns, live, bits, ranges[1])
        ranges[0, 0] = ranges[1, 0] if g == 0 else np.minimum(ranges[0, 0], ranges[1, 0])
        ranges[0, 1] = np.maximum(ranges[0, 1], ranges[1, 1])
    value, whole = rng.normal(0, 1, (columns, 32)), (0, columns, 2)
    both(
        lambda o: level_planes.sum_levels(tables, whole, ranges[0], own, (live, signed), counts, o),
        lambda o: level_planes.sum_levels_naive(tables, whole, ranges[0], own, (live, signed), counts, o),
        value,
    )
    rest = rng.integers(-999, 999, 53)
    both(
        lambda o: level_planes.put_places(value, 32, 2.0, rest, o),
        lambda o: level_planes.put_places_naive(value, 32, 2.0, rest, o),
        np.zeros((53, columns)),
    )


@given(SEEDS)
@common
def test_whole(seed):
    rng, x, levels, (starts, stops), turned, (rows, _) = drawn(seed)
    columns, groups = levels.shape[1], len(starts)
    at_once = level_planes.AT_ONCE
    listed = planes.list_columns(levels, starts, stops, at_once)
    apart = bool(rng.integers(0, 2))  # groups in a row block each, or all in one
    blocks = np.stack([np.arange(groups), np.arange(1, groups + 1)], axis=1) if apart else np.array([[0, groups]])
    most = max(1, int(max(levels[a:b].sum(axis=0, dtype=np.int64).max() for a, b in zip(starts, stops))))
    places, firsts, real = (np.stack([part] * len(blocks)) for part in converter(rng, most, columns))
    signed = bool(rng.integers(0, 2))
    y, rest = np.zeros((70, -(-columns // 3))), rng.integers(-99, 99, 70)
    rule = (255, signed, most.bit_length(), 3, columns, 1.0, rest)
    width = groups if not apart else 1
    scratch = (
        np.zeros((width, *rows.shape), np.uint8),
        np.zeros((planes.KEPT + at_once, planes.PLANES, 32), np.uint8),
        np.zeros((width, at_once, level_planes.ENTRIES, 32), np.uint8),
        np.zeros((real.shape[2], 32), np.uint16),
        np.zeros((2, 2, at_once), np.int64),
        np.zeros((y.shape[1], 32)),
    )
    made = (places, firsts, real, blocks)
    level_planes.levels_by_planes(turned, (starts, stops), listed, made, rule, scratch, y)
    weight = np.array([1, 2, 4, 8, 16, 32, 64, -128 if signed else 128])
    ones = x[:, :, None] >> np.arange(8) & 1
    for p in rng.integers(0, 70, 3):
        total = np.zeros(y.shape[1])
        for block, (start, stop) in enumerate(blocks):
            for c in range(columns):
                column = firsts[block, c % firsts.shape[1]]
                cells = [levels[starts[g] : stops[g], c].astype(np.int64) for g in range(start, stop)]
                psums = [ones[p, starts[g] : stops[g]].T @ own for g, own in zip(range(start, stop), cells)]
                value = 0.0
                for k, level in enumerate(real[block, c].tolist()):
                    value += level * int(sum(weight @ (column[psum] == k) for psum in psums))
                total[c // 3] += value
        assert np.array_equal(y[p], total + rest[p])
    slow = np.zeros((32, y.shape[1]))
    level_planes.levels_by_planes_naive(turned[:1], (starts, stops), listed, made, rule, scratch, slow)
    assert np.array_equal(y[:32], slow)
