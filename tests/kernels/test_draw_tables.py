"""Draws by tables in registers: every one of the 65,536 is the product's, and a table is left out where it could not be."""

import numpy as np
import pytest
from amounts import drawn
from hypothesis import strategies as st
from twins import both

from cimemu.engines.lookup.draws import MOST_STEPS, MOST_TABLES, tables_of_draws
from cimemu.engines.scratch import aligned
from cimemu.kernels import draw_tables
from cimemu.kernels.noise import normal_quantiles
from cimemu.kernels.read_noise import noise_words_naive
from cimemu.lanes import broad
from cimemu.lanes.jit import kernel

SEEDS = st.integers(0, 2**32 - 1)
needs_registers = pytest.mark.skipif(
    not broad.HAS_BROAD, reason="the processor has no AVX-512 with VBMI, VNNI and GFNI"
)


def products(sigma):
    """What is added to a psum for each of the 65,536 draws."""
    return (sigma * normal_quantiles().astype(np.int64) + 2**31) >> 32


def one_table(sigma):
    one = np.full((1, 1, 1), sigma)
    made = tables_of_draws(np.zeros((1, 1, 1), np.uint64), np.zeros((1, 1), np.int64), one)
    return None if made is None else (made[0], made[1][0, 0, 0].tolist())


@drawn(st.integers(0, 40_000), few=60, many=600)
def test_every_draw_of_a_table_is_the_product(sigma):
    made, numbers = one_table(sigma), products(sigma)
    if made is None:
        alike = np.array_equal(numbers, -numbers[::-1])
        upper = numbers[:32767:-1]
        steps = max(draw_tables.most_steps(upper))
        assert not alike or steps > MOST_STEPS or upper[256] > 255 or upper[0] > 511
        return
    table, (_, fine, wide, above, *_) = made
    w = draw_tables.numbers_of(table, (fine, wide), above)
    assert np.array_equal(np.concatenate([-w, w[::-1]]), numbers)


def test_tables_serve_the_usual_strengths_of_noise():
    served = [sigma for sigma in range(0, 40_000, 97) if one_table(sigma) is not None]
    assert len(served) > 0.6 * len(range(0, 40_000, 97))
    assert one_table(16384) is not None  # half a level step at 7 fraction bits


def test_a_tie_that_is_rounded_upwards_at_both_ends_has_no_table():
    quantile = int(normal_quantiles()[40_000])
    power = (quantile & -quantile).bit_length() - 1
    sigma = 1 << (31 - power) if power >= 15 else None
    assert sigma is None or one_table(sigma) is None
    q = np.array([*range(-3, 0), *range(1, 4)]) * 2**17  # six quantiles stand for all: 2^14 times them are ties
    whole = np.repeat(q, [16384] * 2 + [0, 0] + [16384] * 2)
    assert draw_tables.numbers_of_sigma(2**14, whole) is None


def test_many_strengths_are_multiplied():
    sigma = np.arange(MOST_TABLES + 1).reshape(1, 1, -1)
    keys, numbers = np.zeros(sigma.shape, np.uint64), np.arange(sigma.size)[None]
    assert tables_of_draws(keys, numbers, sigma) is None
    assert tables_of_draws(keys[..., 1:], numbers[:, 1:], sigma[..., 1:]) is not None


@needs_registers
@drawn(SEEDS, few=12, many=60)
def test_columns_and_octets(seed):
    rng = np.random.default_rng(seed)
    columns, groups = 16, 2
    sigma = rng.choice(rng.integers(0, 30_000, 2), (2, groups, columns))
    while any(one_table(int(s)) is None for s in np.unique(sigma)):
        sigma = rng.choice(rng.integers(0, 30_000, 2), (2, groups, columns))
    keys = rng.choice(rng.integers(0, 2**63, 2).astype(np.uint64), (2, groups, columns))
    numbers = np.stack([int(rng.integers(0, 9)) + np.arange(columns), rng.permutation(columns)])
    limits = (np.abs(products(int(sigma.max()))).max().repeat(2), int(rng.integers(1, 9)), int(rng.integers(1, 5)))
    inside = np.arange(groups)
    noise = (keys, numbers, sigma, inside, np.zeros(4, np.int64), normal_quantiles(), limits)
    table = tables_of_draws(keys, numbers, sigma)
    places = rng.integers(0, 2**32, (2, 32)).astype(np.uint32)
    scratch = aligned((4, 32), np.uint32), aligned((4, 8, 32), np.uint16)
    first = int(rng.integers(0, 8))
    span = (first, int(rng.integers(first + 1, first + 9)))
    psums = rng.integers(0, 65536, (8, 4, 32)).astype(np.uint16)
    step = (1, (limits[1] - 1) // limits[2])
    both(
        lambda o: draw_tables.noise_by_tables(o, span, step, (noise, table), places, scratch),
        lambda o: noise_words_naive(o, span, step, noise, places, scratch[0].copy()),
        psums,
    )
    both(
        lambda o: draw_tables.noise_by_tables(o, span, step, (noise, table), places, scratch),
        lambda o: draw_tables.noise_by_tables_naive(o, span, step, (noise, table), places, scratch),
        psums,
    )


@needs_registers
@drawn(SEEDS, few=12, many=60)
def test_draws_of_a_column(seed):
    rng = np.random.default_rng(seed)
    places, words = rng.integers(0, 2**32, (2, 32)).astype(np.uint32), aligned((4, 32), np.uint32)
    counter, key, k = (
        rng.integers(0, 2**32, 2).astype(np.uint64),
        rng.integers(0, 2**63, dtype=np.uint64),
        int(rng.integers(4)),
    )
    both(
        lambda o: call_bits(places, (counter[0], counter[1]), key, words, 512 * k, o),
        lambda o: draw_tables.draw_bits_naive(places, counter, key, words, 512 * k, o),
        np.zeros((4, 8, 32), np.uint16),
    )
    bits = rng.integers(0, 65536, (4, 8, 32)).astype(np.uint16)
    bits[:, :, :8] = rng.choice([0, 1, 255, 256, 2047, 2048, 32767, 32768, 65535], (4, 8, 8))
    made = None
    while made is None:
        made = one_table(int(rng.integers(0, 30_000)))
    table, (start, fine, wide, above, _) = made
    rule = (start, fine, wide, above, 600)
    for slices in range(1, 5):
        both(
            lambda o, n=slices: call_column(bits, 5, table, rule, 256, n, o),
            lambda o, n=slices: draw_tables.add_drawn_column_naive(bits, 5, table, rule, 256, n, o),
            rng.integers(0, 65536, (3, 4, 32)).astype(np.uint16),
        )
    psums, number, w = (rng.integers(0, 65536, 32).astype(np.uint16) for _ in range(3))
    number %= 256
    up, limit, offset = (
        np.where(rng.integers(0, 2, 32), 65535, 0).astype(np.uint16),
        np.full(32, 30_000, np.uint16),
        number + 512,
    )
    both(
        lambda o: call_signed(o, (number, w, up, limit, offset)),
        lambda o: draw_tables.add_signed_naive(o, 0, number, w, up, limit, offset),
        psums,
    )


@kernel
def call_bits(places, counter, key, words, at, bits):
    draw_tables.draw_bits(places, counter, key, words, at, bits)


@kernel
def call_column(bits, place, tables, rule, at, slices, psums):
    draw_tables.add_drawn_column(bits, place, tables, rule, at, slices, psums)


@kernel
def call_signed(psums, given):
    number, w, up, limit, offset = given
    draw_tables.add_signed(
        psums,
        0,
        broad.load_as(broad.BROAD, number, 0),
        broad.load_as(broad.BROAD, w, 0),
        broad.load_as(broad.BROAD, up, 0),
        broad.load_as(broad.BROAD, limit, 0),
        broad.load_as(broad.BROAD, offset, 0),
    )
