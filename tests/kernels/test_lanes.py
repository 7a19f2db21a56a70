"""Look-up in registers: the tables, the search of thresholds, and sums of random small macros against the naive twins."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cimemu.engines import output_kernels as combine
from cimemu.engines.lookup import convert_kernels as convert_lanes
from cimemu.engines.lookup import kernels as mvm_lookup
from cimemu.engines.lookup import level_kernels as level_lanes
from cimemu.engines.lookup import table_kernels as nibble_tables
from cimemu.kernels import noise, read_noise
from cimemu.lanes import broad, nibbles
from cimemu.lanes import registers as lanes
from cimemu.lanes import wide as lanes_wide
from cimemu.lanes.jit import kernel
from cimemu.macro import activity_kernels as activity

SEEDS = st.integers(0, 2**32 - 1)
common = settings(deadline=None, derandomize=True, max_examples=12, suppress_health_check=list(HealthCheck))
pytestmark = [
    pytest.mark.slow,  # compiled twins; tests/compute holds the same kernels by default, by the bytes of every engine
    pytest.mark.skipif(not lanes.AVAILABLE, reason="the processor has no AVX2: the other kernels run"),
]


def both(fast, slow, *outputs):
    """Run both on their own copies of `outputs`; they must leave the same."""
    mine, theirs = [o.copy() for o in outputs], [o.copy() for o in outputs]
    fast(*mine)
    slow(*theirs)
    for a, b in zip(mine, theirs):
        assert np.array_equal(a, b)


@given(SEEDS)
@common
def test_bits_are_turned_into_nibbles(seed):
    rng = np.random.default_rng(seed)
    points, rows, dac = int(rng.integers(1, 70)), int(rng.integers(1, 40)), int(rng.integers(1, 10))
    wide = bool(rng.integers(0, 2))
    x = rng.integers(0, 256, (points, rows * (1 + wide))).astype(np.uint8)
    turned = np.zeros((-(-points // 32), -(-x.shape[1] // 16) * 16, 32), np.uint8)
    buffer = np.zeros(1024, np.uint8)
    both(lambda o: nibbles.turn_bytes(x, buffer, o), lambda o: nibbles.turn_bytes_naive(x, buffer, o), turned)
    nibbles.turn_bytes_naive(x, buffer, turned)
    source = rng.integers(0, rows, (5, 4)) * (1 + wide) * 16 + rng.integers(0, dac, (5, 4))
    source[rng.random((5, 4)) < 0.2] = -1
    numbers = (-(-8 // dac), dac, int(rng.integers(1, 5)))
    units = -(-numbers[0] // numbers[2])
    out = np.ones((len(turned), 5, units, 4, 32), np.uint8)
    both(
        lambda o: nibbles.make_nibbles(turned, source, wide, numbers, o),
        lambda o: nibbles.make_nibbles_naive(turned, source, wide, numbers, o),
        out,
    )
    first = rng.integers(0, turned.shape[1] - 3, 5)
    out = np.ones((len(turned), 5, 2, 4, 32), np.uint8)
    both(
        lambda o: nibbles.make_bit_nibbles(turned, first, o),
        lambda o: nibbles.make_bit_nibbles_naive(turned, first, o),
        out,
    )


@given(SEEDS)
@common
def test_tables_hold_the_sums_of_all_nibbles(seed):
    rng = np.random.default_rng(seed)
    rows, columns, dac = int(rng.integers(1, 20)), int(rng.integers(1, 9)), int(rng.integers(1, 4))
    low, high = [(0, 2), (-1, 2), (-300, 300), (0, 8000)][int(rng.integers(0, 4))]
    seen = rng.integers(low, high, (rows, columns)).astype(rng.choice([np.int16, np.int64]))
    source = rng.integers(0, rows, (6, 4)) * 16 + rng.integers(0, dac, (6, 4))
    source[rng.random((6, 4)) < 0.2] = -1
    for place in source[0]:
        assert nibble_tables.weighed(seen, place, 0) == nibble_tables.weighed_naive(seen, place, 0)
    ranges = np.ones((2, columns), np.int64)
    largest = nibble_tables.nibble_ranges_naive(seen, source, *ranges.copy())
    both(
        lambda o: nibble_tables.nibble_ranges(seen, source, o[0], o[1]),
        lambda o: nibble_tables.nibble_ranges_naive(seen, source, o[0], o[1]),
        ranges,
    )
    assert nibble_tables.nibble_ranges(seen, source, *ranges) == largest
    parts = 1 if largest <= 255 else 2 if largest <= 16383 else 3
    tables = [np.zeros((columns if d < parts else 0, 6, 16), np.uint8) for d in range(3)]
    both(
        lambda *o: nibble_tables.fill_tables(seen, source, *o),
        lambda *o: nibble_tables.fill_tables_naive(seen, source, *o),
        *tables,
    )
    nibble_tables.fill_tables(seen, source, *tables)
    weights = {1: (1,), 2: (1, 64), 3: (1, 64, 4096)}[parts]
    sums = sum(w * t.astype(np.int64) for w, t in zip(weights, tables))
    assert int(sums.max()) <= largest


def drawn_places(rng, columns, highest, dtype=np.uint8):
    index = rng.integers(0, 16, (1, 6, 2, 4, 32)).astype(np.uint8)
    return index, rng.integers(0, highest + 1, (columns, 6, 16)).astype(dtype)


@given(SEEDS)
@common
def test_sums_of_looked_up_levels(seed):
    rng = np.random.default_rng(seed)
    index, tables = drawn_places(rng, 4, int(rng.choice([3, 60, 255])))
    place, span, columns = (0, int(rng.integers(0, 2))), (1, 6), (0, 4)
    both(
        lambda o: mvm_lookup.sum_bytes(index, tables, place, span, columns, o),
        lambda o: mvm_lookup.sum_bytes_naive(index, tables, place, span, columns, o),
        np.ones((4, 4, 32), np.uint8),
    )
    flush = 255 // int(max(1, tables.max()))
    both(
        lambda o: mvm_lookup.sum_words_of_bytes(index, tables, place, span, columns, flush, o),
        lambda o: mvm_lookup.sum_words_of_bytes_naive(index, tables, place, span, columns, flush, o),
        np.ones((4, 4, 32), np.uint16),
    )
    low, high = tables & 63, rng.integers(0, 64, tables.shape).astype(np.uint8)
    both(
        lambda o: mvm_lookup.sum_words(index, low, high, place, span, columns, 4, o),
        lambda o: mvm_lookup.sum_words_naive(index, low, high, place, span, columns, 4, o),
        np.ones((4, 4, 32), np.uint16),
    )


@pytest.mark.slow
@given(SEEDS)
@common
def test_converters_in_registers(seed):
    rng = np.random.default_rng(seed)
    bits, columns, share = int(rng.integers(1, 9)), (0, 3), int(rng.choice([1, 3]))
    weights = rng.integers(-8, 9, 4)
    psums = rng.integers(0, 256, (3, 4, 32)).astype(np.uint8)
    sums = np.zeros((3, 32), np.uint16)
    rules = rng.integers(0, 40, (share, 2)).astype(np.uint8)
    top = 2**bits - 1
    both(
        lambda o: convert_lanes.clip_bytes(psums, columns, rules, top, weights, 0, o),
        lambda o: convert_lanes.clip_bytes_naive(psums, columns, rules, top, weights, 0, o),
        sums,
    )
    tables = rng.integers(0, 256, (share, int(rng.choice([16, 32, 64, 128, 256])))).astype(np.uint8)
    both(
        lambda o: convert_lanes.table_bytes(o, columns, rules[:, :1], tables),
        lambda o: convert_lanes.table_bytes_naive(o, columns, rules[:, :1], tables),
        psums,
    )
    both(
        lambda o: convert_lanes.weigh_bytes(psums, columns, weights, 0, o),
        lambda o: convert_lanes.weigh_bytes_naive(psums, columns, weights, 0, o),
        sums,
    )
    words = rng.integers(0, 65536, (3, 4, 32)).astype(np.uint16)
    affine = rng.integers(0, 65536, (share, 4)).astype(np.uint16) * rng.integers(0, 2, (share, 4)).astype(np.uint16)
    both(
        lambda o: convert_lanes.affine_words(words, columns, affine, top, weights, 0, o),
        lambda o: convert_lanes.affine_words_naive(words, columns, affine, top, weights, 0, o),
        sums,
    )
    thresholds = np.sort(rng.integers(-5, 65540, (share, top)), axis=1)
    wide = convert_lanes.search_tree(thresholds, 32768)
    assert convert_lanes.tree_thresholds(wide[0], bits, 32768) == np.clip(thresholds[0], 0, 65535).tolist()
    halves = np.stack([wide & 255, wide >> 8], axis=1).astype(np.uint8)
    both(
        lambda o: convert_lanes.search_words(words, columns, halves, bits, o),
        lambda o: convert_lanes.search_words_naive(words, columns, halves, bits, o),
        psums,
    )


def drawn_noise(rng, sources, groups, columns):
    keys = rng.integers(0, 2**63, (sources, groups, 1)).astype(np.uint64) * np.ones((1, 1, columns), np.uint64)
    sigma = rng.integers(0, 2**12, (sources, groups, columns))
    numbers = np.tile(np.arange(columns) + 5, (sources, 1))
    reads = np.array([rng.integers(0, 2**40), 7, 2, 1])
    return (
        keys,
        numbers,
        sigma,
        np.arange(groups),
        reads,
        noise.normal_quantiles(),
        (np.array([500, 90])[:sources], 7, 4),
    )


@given(SEEDS)
@common
def test_noise_in_registers(seed):
    rng = np.random.default_rng(seed)
    drawn = drawn_noise(rng, int(rng.integers(1, 3)), 2, 6)
    places, words = np.zeros((2, 32), np.uint32), np.zeros((4, 32), np.uint32)
    both(
        lambda o: read_noise.read_places(drawn[4], 3, o),
        lambda o: read_noise.read_places_naive(drawn[4], 3, o),
        places,
    )
    read_noise.read_places_naive(drawn[4], 3, places)
    counter, key = tuple(rng.integers(0, 2**32, 2).astype(np.uint64)), rng.integers(0, 2**64, dtype=np.uint64)
    for unit in (broad.NARROW, broad.BROAD)[: 1 + broad.HAS_BROAD]:
        both(
            lambda o, unit=unit: read_noise.philox_lanes(unit, places, counter, key, o),
            lambda o, unit=unit: read_noise.philox_lanes_naive(unit, places, counter, key, o),
            words,
        )
    read_noise.philox_lanes_naive(broad.NARROW, places, counter, key, words)
    sigma, place, quantiles = int(rng.integers(0, 2**20)), int(rng.integers(0, 8)), noise.normal_quantiles()
    both(
        lambda o: read_noise.add_draws(words, place, sigma, 20000, quantiles, o),
        lambda o: read_noise.add_draws_naive(words, place, sigma, 20000, quantiles, o),
        rng.integers(0, 65536, 32).astype(np.uint16),
    )
    both(
        lambda o: read_noise.noise_words(o, (0, 6), (1, 1), drawn, places, words),
        lambda o: read_noise.noise_words_naive(o, (0, 6), (1, 1), drawn, places, words),
        rng.integers(1000, 60000, (6, 4, 32)).astype(np.uint16),
    )


@pytest.mark.slow
@settings(common, max_examples=6)
@given(SEEDS)
def test_whole_passes(seed):
    rng = np.random.default_rng(seed)
    index, tables = drawn_places(rng, 4, 40)
    spans, weights = np.array([[0, 4], [4, 6]]), rng.integers(-8, 9, (2, 4))
    bits, sums = int(rng.integers(1, 6)), np.zeros((2, 2, 4, 32), np.uint16)
    thresholds = np.sort(rng.integers(0, 200, (2, 4, 2**bits - 1)), axis=2)
    for searched in (False, True):
        rules = rng.integers(0, 9, (2, 1, 2)).astype(np.uint8)
        digits = rng.integers(0, 200, (2, 4, 64)).astype(np.uint8)
        converter = (rules, digits, 2**bits - 1, searched)
        scratch = np.zeros((mvm_lookup.COLUMNS, 4, 32), np.uint8)
        both(
            lambda o, k=converter, s=scratch: mvm_lookup.convert_by_bytes(index, tables, spans, k, weights, s, o),
            lambda o, k=converter, s=scratch: mvm_lookup.convert_by_bytes_naive(index, tables, spans, k, weights, s, o),
            sums,
        )
        wide = convert_lanes.search_tree(thresholds + 400, 32768)
        halves = np.stack([wide & 255, wide >> 8], axis=2).astype(np.uint8)
        table = rng.integers(0, 256, (1, int(rng.choice([0, 1, 4])), 256)).astype(np.uint8)
        converter = (np.zeros((1, 1, 4), np.uint16), halves, bits, table, 2**bits - 1, searched)
        psums = np.zeros((mvm_lookup.COLUMNS, 4, 32), np.uint16)
        scratch = (psums, psums.astype(np.uint8), np.zeros((2, 32), np.uint32), np.zeros((4, 32), np.uint32))
        for high in (tables[:0], tables):
            chosen, drawn = (tables, high, 4), drawn_noise(rng, int(rng.integers(0, 2)), 2, 4)
            both(
                lambda o, t=chosen, k=converter, n=drawn, s=scratch: mvm_lookup.convert_by_words(
                    index, t, spans, k, n, weights, s, o
                ),
                lambda o, t=chosen, k=converter, n=drawn, s=scratch: mvm_lookup.convert_by_words_naive(
                    index, t, spans, k, n, weights, s, o
                ),
                sums,
            )


@given(SEEDS)
@common
def test_levels_are_counted_and_added_in_order(seed):
    rng = np.random.default_rng(seed)
    groups, units, signed = int(rng.integers(1, 4)), int(rng.integers(1, 3)), bool(rng.integers(0, 2))
    ranks = rng.integers(0, 9, (groups * units, int(rng.integers(6, 12)), 4, 32)).astype(np.uint8)
    places = np.array([1, 2, 4, 8, 16, 32, 64, -128 if signed else 128])[: 4 * units] & 255
    masks = np.repeat(places.astype(np.uint8).reshape(units, 4, 1), 32, axis=2)
    levels = np.sort(rng.normal(0, 1, (int(rng.choice([1, 6])), 9)), axis=1)
    scratch = (np.zeros(32, np.uint8), np.zeros(32, np.int32), np.zeros(32))
    both(
        lambda o: level_lanes.add_levels(ranks, groups, (0, 6, 2), masks, signed, levels, scratch, o),
        lambda o: level_lanes.add_levels_naive(ranks, groups, (0, 6, 2), masks, signed, levels, scratch, o),
        rng.normal(0, 1, (3, 32)),
    )
    value = rng.normal(0, 1, (3, 32))
    both(
        lambda o: level_lanes.put_lanes(value, 32, o),
        lambda o: level_lanes.put_lanes_naive(value, 32, o),
        np.zeros((int(rng.integers(1, 70)), 3)),
    )


@pytest.mark.slow
@settings(common, max_examples=6)
@given(SEEDS)
def test_whole_passes_with_levels(seed):
    rng = np.random.default_rng(seed)
    index, tables = drawn_places(rng, 4, 40)
    spans, blocks = np.array([[0, 4], [4, 6]]), np.array([[0, 1], [1, 2]])
    masks = np.repeat((2 ** np.arange(8)).astype(np.uint8).reshape(2, 4, 1), 32, axis=2)
    levels = np.sort(rng.normal(0, 1, (2, 3, 16)), axis=2)
    summing = (blocks, masks, False, levels, 1, 3)
    parts, value = (np.zeros(32, np.uint8), np.zeros(32, np.int32), np.zeros(32)), np.zeros((3, 32))
    ranks = np.zeros((2, mvm_lookup.COLUMNS, 4, 32), np.uint8)
    rules, digits = rng.integers(0, 90, (2, 1, 1)).astype(np.uint8), rng.integers(0, 16, (1, 4, 64)).astype(np.uint8)
    both(
        lambda o: level_lanes.levels_by_bytes(index, tables, spans, (rules, digits), summing, (ranks, parts, value), o),
        lambda o: level_lanes.levels_by_bytes_naive(
            index, tables, spans, (rules, digits), summing, (ranks, parts, value), o
        ),
        np.zeros((20, 3)),
    )
    wide = convert_lanes.search_tree(np.sort(rng.integers(0, 900, (2, 4, 15)), axis=2), 32768)
    halves = np.stack([wide & 255, wide >> 8], axis=2).astype(np.uint8)
    converter = (halves, 4, rng.integers(0, 16, (1, 4, 256)).astype(np.uint8))
    words = (
        np.zeros((mvm_lookup.COLUMNS, 4, 32), np.uint16),
        np.zeros((2, 32), np.uint32),
        np.zeros((4, 32), np.uint32),
    )
    for high in (tables[:0], tables):
        chosen, drawn = (tables, high, 4), drawn_noise(rng, int(rng.integers(0, 2)), 2, 4)
        both(
            lambda o, t=chosen, n=drawn: level_lanes.levels_by_words(
                index, t, spans, converter, n, summing, (ranks, parts, value, *words), o
            ),
            lambda o, t=chosen, n=drawn: level_lanes.levels_by_words_naive(
                index, t, spans, converter, n, summing, (ranks, parts, value, *words), o
            ),
            np.zeros((20, 3)),
        )


@given(SEEDS)
@common
def test_weighed_codes_become_outputs(seed):
    rng = np.random.default_rng(seed)
    points, outputs, conversions = int(rng.integers(1, 65)), int(rng.integers(1, 20)), int(rng.integers(1, 4))
    sums = rng.integers(0, 65536, (2, 3, outputs * conversions, 64)).astype(np.uint16)
    weight, places, signed = rng.integers(-9, 9, conversions), np.array([1, 16]), bool(rng.integers(0, 2))
    blocks = np.array([[0, 1], [1, 3]])
    total, value = np.zeros((8, 32), np.int32), np.zeros((8, 32))
    terms = np.stack([rng.integers(0, conversions, 4), rng.integers(-2000, 2000, 4)], axis=1)
    rows, rest = sums.view(np.int16).reshape(-1, 64), rng.integers(-99, 99, points)
    both(
        lambda o: combine.combine_lanes(rows, terms, conversions, 3, rest, total, o),
        lambda o: combine.combine_lanes_naive(rows, terms, conversions, 3, rest, total, o),
        np.zeros((points, outputs), np.int64),
    )
    by_block = np.stack([rng.integers(0, 2, (2, 4)) * sums.shape[2], rng.integers(-900, 900, (2, 4))], axis=2)
    references = (rng.uniform(0, 3, (2, 1)), rng.uniform(-3, 3, (2, sums.shape[2])), rng.integers(0, 600, 2))
    both(
        lambda o: combine.combine_lanes_float(rows, by_block, weight, references, value, o),
        lambda o: combine.combine_lanes_float_naive(rows, by_block, weight, references, value, o),
        np.zeros((points, outputs)),
    )
    both(
        lambda o: combine.spread_lanes(sums, blocks, places, signed, total[0], o),
        lambda o: combine.spread_lanes_naive(sums, blocks, places, signed, total[0], o),
        np.zeros((points, 2, sums.shape[2]), np.int64),
    )
    both(
        lambda o: combine.add_lanes(sums[0, 0, 0, :32], -3, signed, o),
        lambda o: combine.add_lanes_naive(sums[0, 0, 0, :32], -3, signed, o),
        np.zeros(32, np.int64),
    )
    x = rng.integers(0, 256, (points, 9)).astype(np.uint8)
    both(
        lambda o: combine.input_sums(x, -128, 5, o),
        lambda o: combine.input_sums_naive(x, -128, 5, o),
        np.zeros(points, np.int64),
    )


@kernel
def scaled_up(a, b, out):
    lanes.store(
        out, 0, lanes.choose(lanes.load(a, 0), lanes.load_table(b, 16), lanes.sub16(lanes.load(a, 0), lanes.load(b, 0)))
    )


def test_a_kernel_computes_with_registers():
    rng = np.random.default_rng(0)
    a, b, out = (
        rng.integers(0, 256, 32).astype(np.uint8),
        rng.integers(0, 256, 32).astype(np.uint8),
        np.zeros(32, np.uint8),
    )
    scaled_up(a, b, out)
    which = (a.view(np.uint16) - b.view(np.uint16)).view(np.uint8)
    assert np.array_equal(out, np.where(which >= 128, np.tile(b[16:], 2), a))


@kernel
def random_operations(a, b, table, out):
    x, y = lanes.load(a, 0), lanes.load(b, 0)
    lanes.store(out, 0, lanes_wide.multiply32(x, y))
    lanes.store(out, 32, lanes_wide.multiply32_signed(x, y))
    lanes.store(out, 64, lanes_wide.add64(x, lanes_wide.every64(3 << 40)))
    lanes.store(out, 96, lanes_wide.merge32(x, y))
    lanes.store(out, 128, lanes_wide.pack32(x, lanes_wide.shift_right32(y, 20)))
    lanes.store(out, 160, lanes_wide.gather32(table, lanes_wide.shift_right32(x, 25)))


def test_registers_of_wide_numbers():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, 32).astype(np.uint8) for _ in range(2))
    table, out = rng.integers(-(2**31), 2**31, 128).astype(np.int32), np.zeros(192, np.uint8)
    random_operations(a, b, table, out)
    low_a, low_b = a.view(np.uint32)[::2].tolist(), b.view(np.uint32)[::2].tolist()
    signed_a, signed_b = a.view(np.int32)[::2].tolist(), b.view(np.int32)[::2].tolist()
    words = np.concatenate([a.view(np.int32), b.view(np.uint32) >> 20])
    assert out[:32].view(np.uint64).tolist() == [x * y for x, y in zip(low_a, low_b)]
    assert out[32:64].view(np.int64).tolist() == [x * y for x, y in zip(signed_a, signed_b)]
    assert out[64:96].view(np.uint64).tolist() == [(int(x) + (3 << 40)) % 2**64 for x in a.view(np.uint64)]
    assert np.array_equal(out[96:128].view(np.uint32)[::2], a.view(np.uint32)[::2])
    assert np.array_equal(out[96:128].view(np.uint32)[1::2], b.view(np.uint32)[1::2])
    assert np.array_equal(out[128:160].view(np.int16), np.clip(words, -32768, 32767))
    assert np.array_equal(out[160:].view(np.int32), table[a.view(np.uint32) >> 25])


@given(SEEDS)
@common
def test_inputs_are_counted_by_nibbles(seed):
    rng = np.random.default_rng(seed)
    images, rows = int(rng.integers(1, 4)), int(rng.integers(1, 80))
    x = rng.integers(0, 256, (images * int(rng.integers(1, 300)), rows)).astype(np.uint8)
    low, high = rng.integers(0, 128, (2, 16)).astype(np.uint8)
    words = np.zeros(32, np.uint16)
    both(
        lambda o: activity.count_nibbles(x, low, high, words, o),
        lambda o: activity.count_nibbles_naive(x, low, high, words, o),
        rng.integers(0, 9, (images, rows)),
    )
