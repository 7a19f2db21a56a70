"""Sums and converters of 32 bits in registers against the naive twins; rules that are proven equal to thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import SEEDS, both, common

from cimemu.engines.lookup import wide_kernels as mvm_wide
from cimemu.engines.lookup.wide import multiplied, wide_converter
from cimemu.kernels import noise, read_noise
from cimemu.lanes import registers as lanes

pytestmark = [
    pytest.mark.slow,  # compiled twins; tests/compute holds the same kernels by default, by the bytes of every engine
    pytest.mark.skipif(not lanes.AVAILABLE, reason="the processor has no AVX2: the other kernels run"),
]


def drawn_tables(rng, columns):
    index = rng.integers(0, 16, (1, 7, 2, 4, 32)).astype(np.uint8)
    return index, tuple(rng.integers(0, 64, (columns, 7, 16)).astype(np.uint8) for _ in range(3))


@common
@given(SEEDS)
def test_three_digits_are_summed(seed):
    index, tables = drawn_tables(np.random.default_rng(seed), 3)
    place, span, columns = (0, seed % 2), (seed % 3, 7), (0, 3)
    both(
        lambda o: mvm_wide.sum_wide(index, tables, place, span, columns, o),
        lambda o: mvm_wide.sum_wide_naive(index, tables, place, span, columns, o),
        np.ones((3, 4, 32), np.int32),
    )


@common
@given(SEEDS)
def test_converters_of_wide_sums(seed):
    rng = np.random.default_rng(seed)
    bits, share, columns = int(rng.integers(1, 11)), int(rng.choice([1, 3])), (0, 3)
    psums = rng.integers(0, 1 << int(rng.integers(4, 31)), (3, 4, 32)).astype(np.int32)
    weights, sums, top = rng.integers(-8, 9, 4), np.zeros((3, 32), np.uint16), 2**bits - 1
    thresholds = np.sort(rng.integers(-1, int(psums.max()) + 9, (share, 2**bits)), axis=1).astype(np.int32)
    both(
        lambda o: mvm_wide.search_wide(psums, columns, thresholds, bits, weights, 0, o),
        lambda o: mvm_wide.search_wide_naive(psums, columns, thresholds, bits, weights, 0, o),
        sums,
    )
    gain = rng.integers(0, 2**31, share)
    rules = np.stack([rng.integers(-(2**20), 2**20, share), gain, gain // 3, rng.integers(0, 28, share)], axis=1)
    both(
        lambda o: mvm_wide.affine_wide(psums, columns, rules, top, weights, 0, o),
        lambda o: mvm_wide.affine_wide_naive(psums, columns, rules, top, weights, 0, o),
        sums,
    )


@common
@given(SEEDS)
def test_draws_are_added_to_wide_sums(seed):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**32, (4, 32)).astype(np.uint32)
    sigma, place = int(rng.integers(0, 2**30)), int(rng.integers(0, 8))
    both(
        lambda o: read_noise.add_draws(words, place, sigma, 2**25, noise.normal_quantiles(), o),
        lambda o: read_noise.add_draws_naive(words, place, sigma, 2**25, noise.normal_quantiles(), o),
        rng.integers(0, 2**29, 32).astype(np.int32),
    )


@common
@given(SEEDS)
def test_whole_passes_of_wide_sums(seed):
    rng = np.random.default_rng(seed)
    index, tables = drawn_tables(rng, 3)
    spans, weights, bits = np.array([[0, 5], [5, 7]]), rng.integers(-8, 9, (2, 4)), int(rng.integers(1, 7))
    most = 2**18 * 5
    shifted = [(np.sort(rng.integers(0, most, (3, 2**bits - 1)), axis=1), most) for _ in range(2)]
    sources = int(rng.integers(0, 3))
    drawn = (
        rng.integers(0, 2**63, (sources, 2, 1)).astype(np.uint64) * np.ones((1, 1, 3), np.uint64),
        np.tile(np.arange(3) + 6, (sources, 1)),
        rng.integers(0, 2**20, (sources, 2, 3)),
        np.arange(2),
        np.array([rng.integers(0, 2**40), 7, 2, 1]),
        noise.normal_quantiles(),
        (np.full(sources, 20000), 7, 4),
    )
    scratch = (
        np.zeros((mvm_wide.WIDE_COLUMNS, 4, 32), np.int32),
        np.zeros((2, 32), np.uint32),
        np.zeros((4, 32), np.uint32),
    )
    searched = wide_converter(shifted, [np.full(1, 2.0)] * 2, bits, 2**bits - 1)
    rules = np.array([[[5, 2**31 - 7, 99, 9]]])
    for converter in (searched, (rules, np.zeros((1, 1, 1), np.int32), bits, 2**bits - 1, False)):
        both(
            lambda o, k=converter: mvm_wide.convert_wide(index, tables, spans, k, drawn, weights, scratch, o),
            lambda o, k=converter: mvm_wide.convert_wide_naive(index, tables, spans, k, drawn, weights, scratch, o),
            np.zeros((2, 2, 3, 32), np.uint16),
        )


@common
@given(SEEDS, st.floats(4.0, 2.0**20), st.floats(-3.0, 3.0))
def test_a_multiplication_that_is_taken_gives_every_code(seed, step, start):
    rng = np.random.default_rng(seed)
    count = 2 ** int(rng.integers(1, 9)) - 1
    thresholds = np.ceil(step * (start + np.arange(1, count + 1)))[None].astype(np.int64)
    thresholds[0, 0] += seed % 5 == 0  # sometimes off the line
    most = int(step * count * rng.uniform(0.3, 1.5))
    rule = multiplied(thresholds, most, np.array([step]))
    if rule is None:
        assert seed % 5 == 0 or step * 4 % 1 or step * count > 2**23  # a step in quarters is always found
        return
    near = (thresholds + np.arange(-2, 3)[:, None]).ravel()
    psums = np.concatenate([[0, most], near[(near >= 0) & (near <= most)], rng.integers(0, most + 1, 500)])
    base, gain, bias, shift = (int(v) for v in rule[0])
    codes = [(max(int(p) - base, 0) * gain + bias) >> (32 + shift) for p in psums]
    assert [min(c, count) for c in codes] == np.searchsorted(thresholds[0], psums, side="right").tolist()
