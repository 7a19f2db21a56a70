"""Bit planes against their naive twins."""

import numpy as np
import pytest
from hypothesis import given
from twins import SEEDS, both, common

from cimemu.engines import output_kernels as combine
from cimemu.engines.planes import adder_kernels as planes
from cimemu.engines.planes import clip_kernels as clipped
from cimemu.engines.planes import digit_kernels as digits
from cimemu.lanes import adders, broad
from cimemu.lanes import registers as lanes
from cimemu.lanes import turns as lane_turns
from cimemu.lanes.jit import kernel
from cimemu.lanes.nibbles import ORDER

pytestmark = pytest.mark.skipif(not lanes.AVAILABLE, reason="the processor has no AVX2: the other kernels run")
UNITS = [
    pytest.param(broad.NARROW, id="32 bytes"),
    pytest.param(
        broad.BROAD,
        id="64 bytes",
        marks=pytest.mark.skipif(not broad.HAS_BROAD, reason="the processor has no AVX-512 with VBMI, VNNI and GFNI"),
    ),
]


@kernel
def every_operation(given, lists, out):
    a, b, c = lanes.load(given, 0), lanes.load(given, 32), lanes.load(given, 64)
    lanes.store(out, 0, lanes.either(a, b))
    lanes.store(out, 32, lanes.both(a, c))
    lanes.store(out, 64, lanes.load(given, lists[1]))
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
    expected = [a | b, a & c, flat[40:72]]
    expected += [
        np.stack([wide[0][m], wide[1][m]], axis=1).ravel().view(np.uint8) for m in ([0, 1, 4, 5], [2, 3, 6, 7])
    ]
    expected += [np.stack([quads[0][m], quads[1][m]], axis=1).ravel().view(np.uint8) for m in ([0, 2], [1, 3])]
    expected += [np.concatenate([a[:16], b[:16]]), np.concatenate([a[16:], b[16:]])]
    expected += [np.concatenate([flat[5:21], flat[77:93]])]
    assert np.array_equal(out[:320], np.concatenate(expected))
    assert np.array_equal(out[320:].view(np.int64), a.view(np.int32) * np.int64(-3) + (1 << 40))


@kernel
def add_five(unit, given, out):
    width = broad.register_bytes(unit)
    a, x, y = broad.load_as(unit, given, 0), broad.load_as(unit, given, width), broad.load_as(unit, given, 2 * width)
    u, v = broad.load_as(unit, given, 3 * width), broad.load_as(unit, given, 4 * width)
    s, c, c_d = adders.add_pairs(a, x, adders.second(x, y), u, adders.second(u, v))
    lanes.store(out, 0, s)
    lanes.store(out, width, adders.sum_of(lanes.differ(a, a), c, c_d))
    lanes.store(out, 2 * width, adders.carry_of(lanes.differ(a, a), c, c_d))


@pytest.mark.parametrize("unit", UNITS)
def test_two_full_adders_add_five_bits(unit):
    given_ = np.random.default_rng(0).integers(0, 256, (5, 32 * len(unit))).astype(np.uint8)
    out = np.zeros((3, 32 * len(unit)), np.uint8)
    add_five(unit, given_, out)
    total = np.unpackbits(given_, axis=1).sum(axis=0)
    assert np.array_equal(np.unpackbits(out, axis=1).T @ [1, 2, 4], total)


@kernel
def every_broad_operation(unit, given, table, out):
    width = broad.register_bytes(unit)
    a, b, c = broad.load_as(unit, given, 0), broad.load_as(unit, given, width), broad.load_as(unit, given, 2 * width)
    lanes.store(out, 0, broad.low8(a, b))
    lanes.store(out, width, broad.high8(a, b))
    lanes.store(out, 2 * width, broad.low16(a, b))
    lanes.store(out, 3 * width, broad.high16(a, b))
    lanes.store(out, 4 * width, broad.low32(a, b))
    lanes.store(out, 5 * width, broad.high32(a, b))
    lanes.store(out, 6 * width, broad.turn_bits(a, b))
    lanes.store(out, 7 * width, broad.weigh_bytes(b, a, c))
    lanes.store(out, 8 * width, broad.weigh_words(a, b))
    lanes.store(out, 9 * width, broad.pack_numbers(a, b))
    lanes.store(out, 10 * width, broad.same_bytes(a, broad.least_bytes(a, b)))
    lanes.store(out, 11 * width, broad.pick_bytes(a, b, broad.same_bytes(a, broad.least_bytes(a, b))))
    lanes.store(out, 12 * width, broad.every32_as(unit, 0x1234567))
    few = broad.least_bytes(a, broad.every32_as(unit, 0x3F3F3F3F))
    some = broad.least_bytes(a, broad.every32_as(unit, 0x7F7F7F7F))
    lanes.store(out, 13 * width, broad.look_up64(table, 3, few))
    lanes.store(out, 14 * width, broad.look_up128(table, 3, some))
    lanes.store(out, 15 * width, broad.look_up256(table, 3, a))
    lanes.store(out, 16 * width, broad.shift_left32(a, 5))
    broad.store_parts(out, 17 * width, 32, b)


@pytest.mark.parametrize("unit", UNITS)
def test_operations_on_broad_registers(unit):
    rng = np.random.default_rng(1)
    width = 32 * len(unit)
    given_ = rng.integers(0, 256, (3, width)).astype(np.uint8)
    given_[2] = np.tile(np.array([1, 2, 4, -8], np.int8).view(np.uint8), width // 4)
    table = rng.integers(0, 256, 300).astype(np.uint8)
    out = np.zeros(18 * width, np.uint8)
    every_broad_operation(unit, given_, table, out)
    a, b, c = given_
    parts = [v.reshape(-1, 16) for v in (a, b)]
    expected = []
    for size in (1, 2, 4):
        for half in (slice(0, 8), slice(8, 16)):
            in_turn = [v[:, half].reshape(len(v), -1, size) for v in parts]
            expected.append(np.stack(in_turn, axis=2).reshape(-1))
    bits = np.unpackbits(a.reshape(-1, 8), axis=1, bitorder="little").reshape(-1, 8, 8)
    turned = np.array([[[bits[q, 7 - k, j] for k in range(8)] for j in range(8)] for q in range(len(bits))], np.uint8)
    expected.append(np.packbits(turned, axis=2, bitorder="little").reshape(-1))
    weighed = b.view(np.int32) + (a.astype(np.int64) * c.view(np.int8)).reshape(-1, 4).sum(axis=1).astype(np.int32)
    expected.append(weighed.view(np.uint8))
    words = [v.view(np.int16).astype(np.int64) for v in (a, b)]
    expected.append((words[0] * words[1]).reshape(-1, 2).sum(axis=1).astype(np.int32).view(np.uint8))
    numbers = [np.clip(v.view(np.int32), -32768, 32767).astype(np.int16).reshape(-1, 4) for v in (a, b)]
    expected.append(np.concatenate(numbers, axis=1).reshape(-1).view(np.uint8))
    same = np.where(a <= b, 255, 0).astype(np.uint8)
    expected += [same, np.where(same == 255, b, a), np.full(width // 4, 0x1234567, np.uint32).view(np.uint8)]
    expected += [table[3 + np.minimum(a, 63)], table[3 + np.minimum(a, 127)], table[3 + a.astype(np.int64)]]
    expected += [(a.view(np.uint32) << 5).view(np.uint8), b]
    assert np.array_equal(out, np.concatenate(expected))


def drawn(seed, unit=broad.NARROW, most_rows=256):
    """Inputs of 70 positions, cells of one bit, groups of rows, as the kernels take them."""
    rng = np.random.default_rng(seed)
    width = 32 * len(unit)
    slices, rows, columns = int(rng.integers(1, 9)), int(rng.integers(1, most_rows)), int(rng.integers(1, 70))
    x = rng.integers(0, 2**slices, (70, rows)) * (rng.random((70, rows)) < rng.random())
    levels = (rng.random((rows, columns)) < rng.random()).astype(np.uint8)
    cuts = np.array([0, *np.unique(rng.integers(0, rows + 1, 1)), rows])
    cuts = np.unique(cuts)
    starts, stops = cuts[:-1], cuts[1:]
    blocks = -(-70 // width)
    padded = np.zeros((blocks * width, -(-rows // 16) * 16), np.uint8)
    padded[:70, :rows] = x
    order = np.concatenate([32 * half + ORDER for half in range(len(unit))])
    turned = np.ascontiguousarray(padded.reshape(blocks, width, -1)[:, order].transpose(0, 2, 1))
    most = int((stops - starts).max())
    count = max(planes.PLANES, most.bit_length())
    scratch = (np.zeros((most + 1, width), np.uint8), np.zeros((planes.KEPT + planes.COLUMNS, count, width), np.uint8))
    return rng, x, levels, (starts, stops), turned, scratch


def most_rows_of(seed):
    """The most rows: now and then so many that sums leave the planes that tables tell apart."""
    return int(np.random.default_rng(seed).choice([256, 700, 700, 5000]))


def weighing_of(rng, unit):
    """Weights of eight slices, as one unit of them or as two."""
    weights = np.array([1, 2, 4, 8, 1, 2, 4, int(rng.choice([8, -8]))], np.int8)
    units = [1 | 16 << 16] if rng.random() < 0.5 else [1, 1 << 16]
    return np.tile(weights, 4 * len(unit)).view(np.uint8), np.array(units)


def tables_of(rng, most, groups, columns):
    """Tables of digits that 16 bits hold, for sums up to `most` or only the first of them, one or a few a group."""
    sizes = digits.ENTRIES
    least = -(-(most + 1) // 256) * 256 if most > 255 else int(rng.choice([e for e in sizes if most < e]))
    entries = (
        min(least, 2048)
        if rng.random() < 0.5
        else int(rng.choice([*digits.ENTRIES, *(range(512, 2049, 256) if most > 255 else ())]))
    )
    tables = rng.integers(0, 129, (int(rng.integers(1, 5)), entries)).astype(np.uint8)
    return tables, rng.integers(0, len(tables), (groups, columns))


@pytest.mark.parametrize("unit", UNITS)
@given(SEEDS)
@common
def test_parts(unit, seed):
    rng, _, levels, (starts, stops), turned, (rows, numbers) = drawn(seed, unit, most_rows_of(seed))
    both(
        lambda o: planes.pick_rows(unit, turned, 1, starts[-1], stops[-1], o),
        lambda o: planes.pick_rows_naive(unit, turned, 1, starts[-1], stops[-1], o),
        rows,
    )
    planes.pick_rows_naive(unit, turned, 1, starts[-1], stops[-1], rows)
    lists, steps, bounds = planes.list_columns(levels, starts, stops, planes.COLUMNS)
    first, last = (int(v) for v in bounds[-1, -1])
    both(
        lambda o: planes.add_rows(unit, rows, lists, steps, (first, last), o),
        lambda o: planes.add_rows_naive(unit, rows, lists, steps, (first, last), o),
        numbers,
    )
    numbers[planes.KEPT :] = rng.integers(0, 256, numbers[planes.KEPT :].shape)
    (tables, own), weighing = tables_of(rng, (1 << numbers.shape[1]) - 1, 1, 9), weighing_of(rng, unit)
    both(
        lambda o: digits.sum_digits(unit, numbers, (5, 3, 2), (tables, own[0]), weighing, 1, o),
        lambda o: digits.sum_digits_naive(unit, numbers, (5, 3, 2), (tables, own[0]), weighing, 1, o),
        np.zeros((len(weighing[1]), 9, 64 * len(unit)), np.int16),
    )


@given(SEEDS)
@common
def test_carries_beyond_eight_planes(seed):
    rng = np.random.default_rng(seed)
    for unit in [broad.NARROW, broad.BROAD][: 1 + broad.HAS_BROAD]:
        numbers = rng.integers(0, 256, (3, 12, 32 * len(unit))).astype(np.uint8)
        numbers[:, -1] = 0  # room for a carry
        carry = rng.integers(0, 256, 32 * len(unit)).astype(np.uint8)
        both(
            lambda o, unit=unit, carry=carry: add_carry(unit, carry, o),
            lambda o, unit=unit, carry=carry: planes.add_above_naive(unit, o, 12 * 32 * len(unit), carry),
            numbers,
        )


@kernel
def add_carry(unit, carry, numbers):
    planes.add_above(unit, numbers, 12 * broad.register_bytes(unit), broad.load_as(unit, carry, 0))


@kernel
def stored_sums(unit, planes_, at, above, which, out):
    width = broad.register_bytes(unit)
    if which == 0:
        made = digits.low_sums(unit, planes_, at, broad.load_as(unit, above, 0))
    else:
        made = digits.high_sums(unit, planes_, at, broad.load_as(unit, above, 0))
    lanes.store(out, 0, made[0])
    lanes.store(out, width, made[1])
    lanes.store(out, 2 * width, made[2])
    lanes.store(out, 3 * width, made[3])
    lanes.store(out, 4 * width, made[4])
    lanes.store(out, 5 * width, made[5])
    lanes.store(out, 6 * width, made[6])
    lanes.store(out, 7 * width, made[7])


@kernel
def stored_entries(unit, tables, at, entries, sums, above, out):
    one, other = broad.load_as(unit, sums, 0), broad.load_as(unit, above, 0)
    lanes.store(out, 0, digits.looked_up(unit, tables, at, entries, one, other))


@pytest.mark.parametrize("unit", UNITS)
@given(SEEDS)
@common
def test_sums_as_bytes_and_what_they_stand_for(unit, seed):
    rng = np.random.default_rng(seed)
    width = 32 * len(unit)
    numbers = rng.integers(0, 256, (3, int(rng.integers(9, 15)), width)).astype(np.uint8)
    above = rng.integers(0, 256, width).astype(np.uint8) * np.uint8(rng.random() < 0.5)
    at = numbers.shape[1] * width
    both(
        lambda o: stored_sums(unit, numbers, at, above, 0, o),
        lambda o: np.copyto(o, np.stack(digits.low_sums_naive(unit, numbers, at, above))),
        np.zeros((8, width), np.uint8),
    )
    both(
        lambda o: stored_sums(unit, numbers, at, above, 1, o),
        lambda o: np.copyto(o, np.stack(digits.high_sums_naive(unit, numbers, at, above))),
        np.zeros((8, width), np.uint8),
    )
    entries = int(rng.choice([*digits.ENTRIES, *range(512, 2049, 256)]))
    tables = rng.integers(0, 256, (2, entries)).astype(np.uint8)
    sums, more = (
        rng.integers(0, 256, width).astype(np.uint8),
        rng.integers(0, 8, width).astype(np.uint8),
    )
    both(
        lambda o: stored_entries(unit, tables, entries, entries, sums, more, o),
        lambda o: np.copyto(o, digits.looked_up_naive(unit, tables, entries, entries, sums, more)),
        np.zeros(width, np.uint8),
    )


@pytest.mark.parametrize("unit", UNITS)
def test_eight_planes_as_bytes(unit):
    planes_ = np.random.default_rng(3).integers(0, 256, (8, 32 * len(unit))).astype(np.uint8)
    made = np.zeros((8, 32 * len(unit)), np.uint8)
    turned_eight(unit, planes_, made)
    assert np.array_equal(made, np.stack(digits.turned_sums_naive(*planes_)))


@kernel
def turned_eight(unit, given, out):
    width = broad.register_bytes(unit)
    made = digits.turned_sums(
        broad.load_as(unit, given, 0),
        broad.load_as(unit, given, width),
        broad.load_as(unit, given, 2 * width),
        broad.load_as(unit, given, 3 * width),
        broad.load_as(unit, given, 4 * width),
        broad.load_as(unit, given, 5 * width),
        broad.load_as(unit, given, 6 * width),
        broad.load_as(unit, given, 7 * width),
    )
    lanes.store(out, 0, made[0])
    lanes.store(out, width, made[1])
    lanes.store(out, 2 * width, made[2])
    lanes.store(out, 3 * width, made[3])
    lanes.store(out, 4 * width, made[4])
    lanes.store(out, 5 * width, made[5])
    lanes.store(out, 6 * width, made[6])
    lanes.store(out, 7 * width, made[7])


def order_of(rng, bits):
    """Rows of `weigh_clipped` for random weights of columns, and these weights by place."""
    count = int(rng.integers(1, 9))
    shifts = -np.sort(-rng.integers(0, 9, count))
    shifts -= shifts.min()
    numbers = rng.integers(-10, 11, count)
    places = rng.permutation(count)
    words = (numbers[:, None] * np.where(np.arange(8) < bits, 1 << np.arange(8) % 4, 0)).astype(np.int8).view(np.int32)
    weight = np.zeros(count, dtype=np.int64)
    weight[places] = numbers << shifts
    return np.column_stack([places, -np.diff(shifts, prepend=shifts[0]), words]).astype(np.int64), weight


@pytest.mark.parametrize("unit", UNITS)
@given(SEEDS)
@common
def test_clipped_sums(unit, seed):
    rng, *_, (_, numbers) = drawn(seed, unit, 700)
    numbers[planes.KEPT :] = rng.integers(0, 256, numbers[planes.KEPT :].shape)
    bits = int(rng.integers(1, 9))
    rule = (bits, int(rng.choice([0, 128])), order_of(rng, bits)[0])
    part = (2, 1, bool(rng.integers(0, 2)))
    both(
        lambda o: clipped.weigh_clipped(unit, numbers, part, rule, 1, o),
        lambda o: clipped.weigh_clipped_naive(unit, numbers, part, rule, 1, o),
        rng.integers(-99, 99, (4, 2, 4, 8 * len(unit))).astype(np.int32),
    )
    totals = rng.integers(-(2**31), 2**31, (int(rng.integers(1, 20)), 3, 4, 8 * len(unit))).astype(np.int32)
    points = int(rng.integers(1, 96 * len(unit) + 1))
    rest, lsb = rng.integers(-(2**40), 2**40, points), int(rng.integers(-(2**31), 2**31))
    both(
        lambda o: clipped.turn_totals(unit, totals, lsb, rest, o),
        lambda o: clipped.turn_totals_naive(unit, totals, lsb, rest, o),
        np.zeros((points, len(totals)), np.int64),
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
    assert lists[64:72].tolist() == [64, 65, 66, 67, 68, 69, 128, 128]


def test_many_rows_are_added_a_segment_at_a_time():
    levels = np.ones((600, 2), np.uint8)
    lists, steps, _ = planes.list_columns(levels, np.array([0]), np.array([600]), 32)
    own = steps[steps[:, 3] >= planes.KEPT]
    shared = steps[steps[:, 3] == 1]
    assert shared[:, 2:].tolist() == [[0, 1], [1, 1], [1, 1]]
    assert (shared[:, 1] - shared[:, 0]).tolist() == [256, 256, 88]
    assert sorted(own[:, 2:].tolist()) == sorted(
        [[1, planes.KEPT], [1, planes.KEPT + 1]]
        + 2
        * [
            [planes.KEPT, planes.KEPT],
            [planes.KEPT + 1, planes.KEPT + 1],
        ]
    )
    assert lists.tolist() == list(range(600))


@pytest.mark.parametrize("unit", UNITS)
@given(SEEDS)
@common
def test_clipped_outputs(unit, seed):
    rng, x, levels, (starts, stops), _, numbers = drawn(seed, unit)
    bits, signed = int(rng.integers(1, 9)), bool(rng.integers(0, 2))
    order, weight = order_of(rng, bits)
    levels = np.repeat(levels, len(weight), axis=1)[:, : len(weight) * int(rng.integers(1, levels.shape[1] + 1))]
    at_once, outputs = planes.COLUMNS // len(weight), levels.shape[1] // len(weight)
    listed = planes.list_columns(levels, starts, stops, at_once * len(weight))
    blocks, width = int(rng.integers(1, 4)), 32 * len(unit)
    given_ = ((starts, stops), listed, at_once, (bits, 128 if signed else 0, order))
    turned = np.zeros((blocks, -(-x.shape[1] // 16) * 16, width), np.uint8)
    totals = np.zeros((outputs, blocks, 4, width // 4), np.int32)
    scratch = (np.zeros(1024, np.uint8), turned, *numbers, totals)
    lsb, rest = int(rng.integers(-9, 9)), rng.integers(-99, 99, 70)
    y = np.zeros((70, outputs), np.int64)
    x = x.astype(np.uint8)
    both(
        lambda o: clipped.fill_clipped(unit, x, given_, scratch, (lsb, rest), o),
        lambda o: clipped.fill_clipped_naive(unit, x, given_, scratch, (lsb, rest), o),
        y,
    )
    clipped.fill_clipped(unit, x, given_, scratch, (lsb, rest), y)
    expected = np.zeros((70, outputs), np.int64)
    for first, last in zip(starts, stops):
        ones = x[:, first:last, None].astype(np.int64) >> np.arange(8) & 1
        codes = np.minimum(np.einsum("pki,kc->pci", ones, levels[first:last].astype(np.int64)), 2**bits - 1)
        sums = codes @ np.array([1, 2, 4, 8, 16, 32, 64, -128 if signed else 128]) + 128 * signed * (2**bits - 1)
        expected += sums.reshape(70, outputs, -1) @ weight
    assert np.array_equal(y, lsb * expected + rest[:, None])


@pytest.mark.parametrize("unit", UNITS)
@given(SEEDS)
@common
def test_any_converter(unit, seed):
    rng, x, levels, spans, turned, scratch = drawn(seed, unit, 700)
    listed = planes.list_columns(levels, *spans, planes.COLUMNS)
    columns, groups = levels.shape[1], len(spans[0])
    sums_of = [levels[a:b].sum(axis=0, dtype=np.int64).max() for a, b in zip(*spans)]
    converter, weighing = tables_of(rng, int(max(sums_of)), groups, columns), weighing_of(rng, unit)
    tables, own = converter
    sums = np.zeros((len(weighing[1]), groups * columns, turned.shape[0] * turned.shape[2]), np.int16)
    digits.convert_planes(unit, turned, spans, listed, converter, weighing, scratch, sums)
    weight = weighing[0][:8].view(np.int8).astype(np.int64)
    pairs = [((1, 16),), ((1, 0), (0, 1))][len(weighing[1]) - 1]
    for g, (first, last) in enumerate(zip(*spans)):
        ones = x[:, first:last, None] >> np.arange(8) & 1
        found = np.einsum("pki,kc->pic", ones, levels[first:last].astype(np.int64))
        made = tables[own[g], np.minimum(found, tables.shape[1] - 1)].astype(np.int64)
        for u, (low, high) in enumerate(pairs):
            total = low * np.einsum("pic,i->cp", made[:, :4], weight[:4])
            total += high * np.einsum("pic,i->cp", made[:, 4:], weight[4:])
            assert np.array_equal(sums[u, g * columns : (g + 1) * columns, :70], total)
    slow = np.zeros_like(sums)
    digits.convert_planes_naive(unit, turned[:1], spans, listed, converter, weighing, scratch, slow)
    assert np.array_equal(sums[..., : turned.shape[2]], slow[..., : turned.shape[2]])


@pytest.mark.parametrize("unit", UNITS)
@given(SEEDS)
@common
def test_outputs_of_any_converter(unit, seed):
    rng, x, levels, spans, _, work = drawn(seed, unit)
    groups, columns, stride = len(spans[0]), levels.shape[1], int(rng.integers(1, 4))
    listed = planes.list_columns(levels, *spans, planes.COLUMNS)
    given_ = (spans, listed, tables_of(rng, 255, groups, columns), weighing_of(rng, unit))
    terms = np.stack([rng.integers(0, stride, 4), rng.integers(-999, 999, 4)], axis=1)
    combining = (terms, stride, int(rng.integers(-9, 9)), rng.integers(-99, 99, 70), np.zeros((8, 32), np.int32))
    blocks, width = int(rng.integers(1, 4)), 32 * len(unit)
    turned = np.zeros((blocks, -(-x.shape[1] // 16) * 16, width), np.uint8)
    scratch = (
        np.zeros(1024, np.uint8),
        turned,
        np.zeros((len(given_[3][1]), groups * columns, width * blocks), np.int16),
        work,
    )
    x = x.astype(np.uint8)
    both(
        lambda o: digits.fill_digits(unit, x, given_, scratch, combining, o),
        lambda o: digits.fill_digits_naive(unit, x, given_, scratch, combining, o),
        np.zeros((70, columns // stride), np.int64),
    )


@given(SEEDS)
@common
def test_sums_are_turned_into_rows_of_outputs(seed):
    rng = np.random.default_rng(seed)
    total = rng.integers(-(2**31), 2**31, (8, 32)).astype(np.int32)
    rest, lsb = rng.integers(-(2**40), 2**40, 20), int(rng.integers(-(2**31), 2**31))
    place = (128, *(16 * int(v) for v in rng.integers(0, 8, 2)))
    both(
        lambda o: combine.turn_out(total, place, lsb, rest, 7, 3, o),
        lambda o: combine.turn_out_naive(total, place, lsb, rest, 7, 3, o),
        np.zeros((20, 13), np.int64),
    )
