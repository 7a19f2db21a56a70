"""The training step through tables of thresholds and levels equals its naive twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import common

from cimemu.kernels import table_step

sizes = st.tuples(
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([1, 3, 7]),
    st.booleans(),
)


def case(seed, arrays, outputs, conversions, count, shared):
    rng = np.random.default_rng(seed)
    columns = arrays * outputs * conversions
    rows = 1 if shared else columns
    psums = rng.integers(-20, 60, (3, columns, 5)).astype(np.float32)
    thresholds = np.sort(rng.integers(-25, 65, (rows, count)), axis=1).astype(np.float32)
    levels = np.sort(rng.normal(20, 20, (rows, count + 1)), axis=1).astype(np.float32)
    return rng, psums, thresholds, levels, rng.uniform(-2, 2, columns).astype(np.float32)


@common
@given(sizes)
def test_levels_are_those_of_the_thresholds_reached(drawn):
    _, psums, thresholds, levels, _ = case(*drawn)
    made, wanted = (np.empty(5, np.float32) for _ in range(2))
    table_step.look_up(psums[0, 0], thresholds[0], levels[0], made)
    table_step.look_up_naive(psums[0, 0], thresholds[0], levels[0], wanted)
    assert made.tobytes() == wanted.tobytes()


@common
@given(sizes)
def test_values_of_outputs_equal_the_definition(drawn):
    outputs, conversions = drawn[2:4]
    given_ = case(*drawn)[1:]
    made, wanted = (np.empty((3, outputs, 5), np.float32) for _ in range(2))
    table_step.table_sum(*given_, conversions, np.empty((2, 5), np.float32), made)
    table_step.table_sum_naive(*given_, conversions, None, wanted)
    assert made == pytest.approx(wanted, rel=1e-4, abs=1e-3)


@common
@given(sizes)
def test_gradients_equal_the_definition(drawn):
    outputs, conversions = drawn[2:4]
    rng, *given_ = case(*drawn)
    slope = rng.normal(size=(3, outputs, 5)).astype(np.float32)
    results = []
    for step in (
        lambda *arrays: table_step.table_sum_back(*arrays),
        lambda *arrays: table_step.table_sum_back_naive(*arrays),
    ):
        back, total = np.empty_like(given_[0]), np.zeros(given_[0].shape[1])
        step(*given_, conversions, slope, back, np.empty((2, 5), np.float32), total)
        results.append((back, total))
    for made, wanted in zip(*results):
        assert made == pytest.approx(wanted, rel=1e-4, abs=1e-3)
