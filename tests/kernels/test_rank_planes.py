"""Real levels by bit planes against their naive twins."""

import numpy as np
import pytest
from hypothesis import given
from test_planes import UNITS, drawn, most_rows_of
from twins import SEEDS, both, common

from cimemu.engines.planes import adder_kernels as planes
from cimemu.engines.planes import rank_kernels as ranked
from cimemu.lanes import broad
from cimemu.lanes import extremes as lane_extremes
from cimemu.lanes import floats as lane_floats
from cimemu.lanes import registers as lanes
from cimemu.lanes.jit import kernel
from cimemu.lanes.nibbles import ORDER

pytestmark = [
    pytest.mark.slow,  # compiled twins; tests/compute holds the same kernels by default, by the bytes of every engine
    pytest.mark.skipif(not lanes.AVAILABLE, reason="the processor has no AVX2: the other kernels run"),
]


@kernel
def every_operation(unit, given, number, out, found):
    width = broad.register_bytes(unit)
    a, b = broad.load_as(unit, given, 0), broad.load_as(unit, given, width)
    lanes.store(out, 0, lanes.lookup(a, b))
    lanes.store(out, width, lane_floats.real_of(broad.load_as(unit, given, 2 * width), a))
    lanes.store(out, 2 * width, lane_floats.real_as(unit, number))
    lanes.store(out, 3 * width, broad.most_bytes(a, b))
    found[0] = lane_extremes.least_byte(a)
    found[1] = lane_extremes.largest_byte(a)


@pytest.mark.parametrize("unit", UNITS)
def test_operations_of_either_width(unit):
    width, rng = 32 * len(unit), np.random.default_rng(0)
    given_ = rng.integers(0, 256, (3, width)).astype(np.uint8)
    numbers = given_[2].view(np.int64)
    numbers[:] = rng.integers(0, 2**52, numbers.shape)
    numbers[:2] = 0, 2**52 - 1
    a, b, _ = given_
    out, found = np.zeros((4, width), np.uint8), np.zeros(2, np.int64)
    every_operation(unit, given_, 0.1, out, found)
    picked = [a.reshape(-1, 16)[i // 16, b[i] & 15] if b[i] < 128 else 0 for i in range(width)]
    assert out[0].tolist() == picked
    assert np.array_equal(out[1].view(np.float64), numbers.astype(np.float64))
    assert np.array_equal(out[2].view(np.float64), np.full(width // 8, 0.1))
    assert np.array_equal(out[3], np.maximum(a, b))
    assert found.tolist() == [a.min(), a.max()]


@pytest.mark.parametrize("unit", UNITS)
@given(SEEDS)
@common
def test_parts(unit, seed):
    rng = np.random.default_rng(seed)
    width = 32 * len(unit)
    columns, groups, planes_of = int(rng.integers(1, 6)), int(rng.integers(1, 4)), int(rng.choice([8, 9, 11]))
    entries = int(rng.choice([64, 128, 256] if planes_of == 8 else [64, 256, 512, 2048]))
    numbers = rng.integers(0, 256, (planes.KEPT + columns, planes_of, width)).astype(np.uint8)
    numbers[:, rng.integers(0, planes_of) :] = 0
    tables = rng.integers(0, 256, (3, entries)).astype(np.uint8)
    own, part = rng.integers(0, 3, columns + 4), (columns, 2)
    ranks = np.zeros((groups, columns, 8, width), np.uint8)
    both(
        lambda o: ranked.fill_ranks(unit, numbers, part, (tables, own), o),
        lambda o: ranked.fill_ranks_naive(unit, numbers, part, (tables, own), o),
        ranks[0],
    )
    ranks[:] = rng.integers(0, rng.integers(1, 9), ranks.shape)
    alive = np.tile(rng.permutation([255, *rng.choice([0, 255], 7)]), width // 8).astype(np.uint8)
    both(
        lambda o: ranked.rank_ranges(unit, ranks, columns, groups, alive, o),
        lambda o: ranked.rank_ranges_naive(unit, ranks, columns, groups, alive, o),
        np.zeros((2, columns), np.int64),
    )
    levels, marks = rng.normal(0, 1, 20), np.zeros((groups, 8, width), np.uint8)
    ranks[:] = rng.integers(0, rng.integers(1, 21), ranks.shape)
    first = int(rng.integers(0, 20))
    rule = (groups, first, int(rng.integers(first, 20)))
    for negative in (None, 1):
        both(
            lambda o, n=negative: marked(unit, ranks, columns - 1, (groups, first), (alive, n), o),
            lambda o, n=negative: ranked.mark_ranks_naive(unit, ranks, columns - 1, (groups, first), alive, n, o),
            marks,
        )
        both(
            lambda o, n=negative: ranked.add_ranked(unit, ranks, columns - 1, rule, levels, (alive, n, marks), o),
            lambda o, n=negative: ranked.add_ranked_naive(unit, ranks, columns - 1, rule, levels, (alive, n, marks), o),
            rng.normal(0, 1, width),
        )
    value, scale = rng.normal(0, 1, (4, 12)), (3.0, (1.0, -2.0, 5.5, 0.0), (0, 160, 80, 40))
    both(
        lambda o: four(value, 32, 96, scale, 8, o),
        lambda o: ranked.put_four_naive(value, 32, 96, scale, 8, o),
        np.zeros((5, 5)),
    )
    # Positions past the end of a block, or all of them and whole groups of four outputs.
    outputs, positions = int(rng.integers(1, 14)), int(rng.choice([53, 32 + width, 40 + width]))
    rest, value = rng.integers(-999, 999, positions), rng.normal(0, 1, (outputs, width + 8))
    both(
        lambda o: ranked.put_ranked(value, rng_places(width), 32, 2.0, rest, o),
        lambda o: ranked.put_ranked_naive(value, rng_places(width), 32, 2.0, rest, o),
        np.zeros((positions, outputs)),
    )


@kernel
def four(value, at, stride, scale, place, y):
    ranked.put_four(value, at, stride, scale, place, y)


@kernel
def marked(unit, ranks, j, rule, given, marks):
    ranked.mark_ranks(unit, ranks, j, rule, given[0], given[1], marks)


@kernel
def products(unit, marks, at, d, level, rule, negative, out):
    pick = broad.load_as(unit, ranked.PICKS, 64 * d)
    made = ranked.level_product(marks, at, pick, lane_floats.real_as(unit, level), rule, negative)
    lanes.store(out, 0, made)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("negative", [None, 1])
def test_products_of_one_rank(unit, negative):
    rng, width = np.random.default_rng(0), 32 * len(unit)
    marks, out = rng.integers(0, 256, (3, 8, width)).astype(np.uint8), np.zeros(width // 8)
    for d in range(8):
        for rule in ((unit, 3, 8 * width), (unit, 1, 8 * width)):
            products(unit, marks, 3 * width, d, 0.7, rule, negative, out)
            assert np.array_equal(out, ranked.level_product_naive(marks, 3 * width, d, 0.7, rule, negative))


def rng_places(width):
    """Positions of a register's numbers, as `RankPlanes.fill` has them."""
    places = np.arange(width).reshape(-1, 8, 2).transpose(1, 0, 2).ravel()
    return np.concatenate([32 * half + ORDER for half in range(width // 32)])[places]


@pytest.mark.parametrize("unit", UNITS)
@given(SEEDS)
@common
def test_whole(unit, seed):
    rng, x, levels, (starts, stops), turned, (rows, numbers) = drawn(seed, unit, most_rows_of(seed))
    columns, groups, width = levels.shape[1], len(starts), 32 * len(unit)
    listed = planes.list_columns(levels, starts, stops, planes.COLUMNS)
    apart = bool(rng.integers(0, 2))  # groups in a row block each, or all in one
    blocks = np.stack([np.arange(groups), np.arange(1, groups + 1)], axis=1) if apart else np.array([[0, groups]])
    count = int(rng.integers(1, 9))
    sizes = [64, 128, 256] + [512, 2048] * (numbers.shape[1] > planes.PLANES)
    tables = rng.integers(0, count, (2, int(rng.choice(sizes)))).astype(np.uint8)
    own, real = rng.integers(0, 2, (groups, columns)), rng.normal(0, 1, (len(blocks), columns, count))
    y, rest = np.zeros((70, -(-columns // 3))), rng.integers(-99, 99, 70)
    live, negative = int(rng.choice([255, 15])), (None, 1)[int(rng.integers(0, 2))]
    alive = np.tile(255 * (live >> np.arange(8) & 1), width // 8).astype(np.uint8)
    rule = (3, 1.0, rest, rng_places(width))
    scratch = (
        rows,
        numbers,
        np.zeros((1 if apart else groups, planes.COLUMNS, 8, width), np.uint8),
        alive,
        np.zeros((2, planes.COLUMNS), np.int64),
        np.zeros((groups, 8, width), np.uint8),
        np.zeros((y.shape[1], width)),
    )
    matrix, converter = (starts, stops, *listed, blocks), (tables, own, real)
    ranked.ranks_by_planes(unit, turned, matrix, converter, rule, negative, scratch, y)
    weight = np.array([1, 2, 4, 8, 16, 32, 64, -128 if negative else 128]) * (live >> np.arange(8) & 1)
    ones = x[:, :, None] >> np.arange(8) & 1
    for p in rng.integers(0, 70, 3):
        total = np.zeros(y.shape[1])
        for block, (start, stop) in enumerate(blocks):
            for c in range(columns):
                codes = []
                for g in range(start, stop):
                    cells = levels[starts[g] : stops[g], c].astype(np.int64)
                    psums = np.minimum(ones[p, starts[g] : stops[g]].T @ cells, tables.shape[1] - 1)
                    codes.append(tables[own[g, c]][psums])
                value = 0.0
                for k, level in enumerate(real[block, c].tolist()):
                    value += level * int(sum(weight @ (code == k) for code in codes))
                total[c // 3] += value
        assert np.array_equal(y[p], total + rest[p])
    slow = np.zeros((width, y.shape[1]))
    ranked.ranks_by_planes_naive(unit, turned[:1], matrix, converter, rule, negative, scratch, slow)
    assert np.array_equal(y[:width], slow[:70])
