"""The training step through converters equals its naive twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import common

from cimemu.kernels import psum_step


def case(seed, arrays, outputs, conversions, top):
    rng = np.random.default_rng(seed)
    columns = arrays * outputs * conversions
    psums = rng.integers(-20, 60, (3, columns, 5)).astype(np.float32)
    lsb = rng.uniform(0.5, 9, columns).astype(np.float32)
    zero = rng.uniform(-9, 9, columns).astype(np.float32)
    factor = rng.uniform(-2, 2, columns).astype(np.float32)
    return rng, psums, lsb, zero, factor, np.float32(top)


sizes = st.tuples(
    st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.sampled_from([1, 2, 7])
)


@common
@given(sizes)
def test_values_of_outputs_equal_the_definition(drawn):
    _, outputs, conversions = drawn[1:4]
    _, psums, lsb, zero, factor, top = case(*drawn)
    made, wanted = (np.empty((3, outputs, 5), np.float32) for _ in range(2))
    psum_step.convert_sum(psums, lsb, zero, factor, top, conversions, made)
    psum_step.convert_sum_naive(psums, lsb, zero, factor, top, conversions, wanted)
    assert made == pytest.approx(wanted, rel=1e-4, abs=1e-3)


@common
@given(sizes)
def test_gradients_equal_the_definition(drawn):
    _, outputs, conversions = drawn[1:4]
    rng, psums, lsb, zero, factor, top = case(*drawn)
    slope = rng.normal(size=(3, outputs, 5)).astype(np.float32)
    results = []
    for step in (
        lambda *given: psum_step.convert_sum_back(*given),
        lambda *given: psum_step.convert_sum_back_naive(*given),
    ):
        back = np.empty_like(psums)
        sums = [np.zeros(psums.shape[1]) for _ in range(3)]
        work = np.empty((3, psums.shape[2]), np.float32)
        step(psums, lsb, zero, factor, top, conversions, slope, back, work, *sums)
        results.append((back, *sums))
    for made, wanted in zip(*results):
        assert made == pytest.approx(wanted, rel=1e-4, abs=1e-3)
