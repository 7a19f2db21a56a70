"""The training step through converters equals its naive twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import common

from cimemu.adapt.kernels import psum_step

pytestmark = pytest.mark.slow  # kernels of training, which needs the extra torch

POSITIONS = 5


def case(seed, parts, outputs, times, top):
    """Parameters `times` times one after the other, as the kernel takes them."""
    rng = np.random.default_rng(seed)
    columns = parts * outputs
    psums = rng.integers(-20, 60, (3, POSITIONS * columns)).astype(np.float32)
    ranges = ((0.5, 9), (-9, 9), (-2, 2))  # lsb, zero, factor
    given = [np.tile(rng.uniform(low, high, columns).astype(np.float32), times) for low, high in ranges]
    return rng, psums, *given, np.float32(top)


sizes = st.tuples(
    st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4), st.integers(1, 7), st.sampled_from([1, 2, 7])
)


@common
@given(sizes)
def test_values_of_outputs_equal_the_definition(drawn):
    _, psums, *given_ = case(*drawn)
    made, wanted = (np.empty((3, POSITIONS, drawn[2]), np.float32) for _ in range(2))
    psum_step.convert_sum(psums, *given_, np.empty((4, len(given_[0])), np.float32), made)
    psum_step.convert_sum_naive(psums, *given_, None, wanted)
    assert made == pytest.approx(wanted, rel=1e-4, abs=1e-3)


@common
@given(sizes)
def test_gradients_equal_the_definition(drawn):
    _, parts, outputs, times, _ = drawn
    rng, psums, *given_, top = case(*drawn)
    slope = rng.normal(size=(3, POSITIONS, outputs)).astype(np.float32)
    results = []
    for step in (
        lambda *arrays: psum_step.convert_sum_back(*arrays),
        lambda *arrays: psum_step.convert_sum_back_naive(*arrays),
    ):
        back = np.empty_like(psums)
        sums = tuple(np.zeros(times * parts * outputs) for _ in range(3))
        step(psums, tuple(given_), top, slope, back, np.empty((7, len(given_[0])), np.float32), sums)
        results.append((back, *(v.reshape(times, -1).sum(axis=0) for v in sums)))
    for made, wanted in zip(*results):
        assert made == pytest.approx(wanted, rel=1e-4, abs=1e-3)


@common
@given(sizes)
def test_rows_are_repeated_merged_and_added_up_as_defined(drawn):
    seed, parts, outputs, rows, _ = drawn
    rng = np.random.default_rng(seed)
    rows_of = rng.normal(size=(rows, outputs)).astype(np.float32)
    value = rng.normal(size=(rows * parts, outputs)).astype(np.float32)
    slopes = rng.normal(size=parts).astype(np.float32)
    repeated, once_more = np.empty_like(value), np.empty_like(value)
    psum_step.spread(rows_of, repeated, parts)
    psum_step.spread_naive(rows_of, once_more, parts)
    assert repeated.tobytes() == once_more.tobytes()
    made, wanted = np.empty_like(rows_of), np.empty_like(rows_of)
    psum_step.gathered(value, made, parts)
    psum_step.gathered_naive(value, wanted, parts)
    assert made == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    psum_step.merge_slices(value.reshape(rows, parts, outputs), slopes, made)
    psum_step.merge_slices_naive(value.reshape(rows, parts, outputs), slopes, wanted)
    assert made == pytest.approx(wanted, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("step", [psum_step.reciprocals, psum_step.reciprocals_naive])
def test_integer_psums_half_way_between_levels_go_up_with_every_integer_lsb(step):
    lsb = np.arange(1, 600)
    made = np.empty(len(lsb), np.float32)
    step(lsb.astype(np.float32), made)
    psums = np.arange(2**14)[:, None]
    code = np.floor(psums.astype(np.float32) * made + np.float32(0.5))
    assert np.array_equal(code, (2 * psums + lsb) // (2 * lsb))


@common
@given(st.integers(0, 10**6))
def test_reciprocals(seed):
    rng = np.random.default_rng(seed)
    lsb = np.exp(rng.uniform(-20, 20, 50)).astype(np.float32)
    lsb[:10] = 2.0 ** rng.integers(-20, 20, 10)  # whose reciprocals are exact
    made, naive = np.empty((2, 50), np.float32)
    psum_step.reciprocals(lsb, made)
    psum_step.reciprocals_naive(lsb, naive)
    assert made.tobytes() == naive.tobytes()
    assert (made.astype(np.float64) * lsb >= 1).all()
    assert (np.nextafter(made, np.float32(0)).astype(np.float64) * lsb < 1).all()
