"""The training step through tables of thresholds and levels equals its naive twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import common

from cimemu.adapt.kernels import table_step

pytestmark = pytest.mark.slow  # kernels of training, which needs the extra torch

POSITIONS = 5
sizes = st.tuples(
    st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 4), st.integers(1, 7), st.sampled_from([1, 3, 7])
)


def case(seed, parts, outputs, times, count):
    """Parameters `times` times one after the other, as the kernel takes them."""
    rng = np.random.default_rng(seed)
    columns = parts * outputs
    psums = rng.integers(-20, 60, (3, POSITIONS * columns)).astype(np.float32)
    thresholds = np.sort(rng.integers(-25, 65, (count, columns)), axis=0).astype(np.float32)
    levels = np.sort(rng.normal(20, 20, (count + 1, columns)), axis=0).astype(np.float32)
    factor = rng.uniform(-2, 2, columns).astype(np.float32)
    return rng, psums, np.tile(thresholds, times), np.tile(levels, times), np.tile(factor, times)


@common
@given(sizes)
def test_levels_are_those_of_the_thresholds_reached(drawn):
    _, psums, thresholds, levels, _ = case(*drawn)
    count = min(psums.shape[1], thresholds.shape[1])
    made, wanted = (np.empty(count, np.float32) for _ in range(2))
    table_step.look_up(psums[0], thresholds, levels, made)
    table_step.look_up_naive(psums[0], thresholds, levels, wanted)
    assert made.tobytes() == wanted.tobytes()


@common
@given(sizes)
def test_values_of_outputs_equal_the_definition(drawn):
    given_ = case(*drawn)[1:]
    made, wanted = (np.empty((3, POSITIONS, drawn[2]), np.float32) for _ in range(2))
    table_step.table_sum(*given_, np.empty((1, len(given_[-1])), np.float32), made)
    table_step.table_sum_naive(*given_, None, wanted)
    assert made == pytest.approx(wanted, rel=1e-4, abs=1e-3)


@common
@given(sizes)
def test_gradients_equal_the_definition(drawn):
    _, _, outputs, times, _ = drawn
    rng, *given_ = case(*drawn)
    slope = rng.normal(size=(3, POSITIONS, outputs)).astype(np.float32)
    results = []
    for step in (
        lambda *arrays: table_step.table_sum_back(*arrays),
        lambda *arrays: table_step.table_sum_back_naive(*arrays),
    ):
        back, total = np.empty_like(given_[0]), np.zeros(len(given_[-1]))
        step(*given_, slope, back, np.empty((5, len(total)), np.float32), total)
        results.append((back, total.reshape(times, -1).sum(axis=0)))
    for made, wanted in zip(*results):
        assert made == pytest.approx(wanted, rel=1e-4, abs=1e-3)
