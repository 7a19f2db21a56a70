import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimemu.stress import monte_carlo, statistics
from cimemu.stress.monte_carlo import Enough
from cimemu.stress.statistics import Interval, bootstrap, interval, pareto, wilson
from cimemu.trace.trials import Status


def test_wilson_by_hand():
    # 8 of 10, z = 1.96: centre (0.8 + 3.8415 / 20) / (1 + 0.38415) = 0.7167,
    # half 1.96 / 1.38415 * sqrt(0.016 + 3.8415 / 400) = 0.2265
    found = wilson(8, 10)
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(10, 10).high == pytest.approx(1.0)
    assert wilson(0, 10).low == pytest.approx(0.0)


def test_the_bootstrap_covers_a_known_mean_as_often_as_it_says():
    rng = np.random.default_rng(5)
    covered = 0
    for number in range(300):
        found = bootstrap(rng.normal(0.5, 0.1, 20), seed=number)
        covered += found.low <= 0.5 <= found.high
    assert 0.88 <= covered / 300 <= 0.98  # the percentile bootstrap of 20 values is a little narrow


def test_a_bootstrap_in_parts_is_the_whole_one(monkeypatch):
    values = np.random.default_rng(3).random(70)
    found = {}
    for at_once in (1, 70, 1000, 1 << 20):
        monkeypatch.setattr(statistics, "RESAMPLED", at_once)
        found[at_once] = bootstrap(values)
    rng = np.random.Generator(np.random.Philox(0))
    means = values[rng.integers(0, 70, (statistics.RESAMPLES, 70))].mean(axis=1)
    assert set(found.values()) == {statistics.Interval(*np.quantile(means, (0.025, 0.975)), "bootstrap")}


def test_chips_that_differ_are_bootstrapped_and_chips_that_do_not_get_wilson():
    assert interval(np.array([80, 82]), 100).method == "bootstrap"
    assert interval(np.array([80, 80]), 100) == wilson(80, 100)
    assert interval(np.array([80]), 100) == wilson(80, 100)


def enough_naively(correct, images, width, least):
    """The smallest count that is looked at whose interval is narrow enough: every interval made anew."""
    count = least
    while count <= len(correct):
        if interval(correct[:count], images).width <= width:
            return count
        count += max(1, count // 20)
    return None


@given(
    st.integers(0, 1000), st.integers(1, 70), st.sampled_from([0.3, 0.1, 0.03]), st.integers(1, 9), st.integers(1, 13)
)
def test_trials_are_enough_when_the_leading_ones_are(seed, trials, width, least, step):
    rng = np.random.default_rng(seed)
    correct = rng.integers(60, 80, trials)
    failed = rng.random(trials) < 0.1
    status = np.zeros((1, trials), dtype=np.uint8)
    enough = Enough(100, width, least)
    wanted = trials
    order = rng.permutation(trials) if seed % 2 else np.arange(trials)
    for first in range(0, trials, step):  # whoever ends first
        status[0, order[first : first + step]] = np.where(
            failed[order[first : first + step]], Status.FAILED, Status.DONE
        )
        wanted = enough(0, status, {"correct": correct[None]})
    ran = np.flatnonzero(~failed)
    needed = enough_naively(correct[ran], 100, width, least)
    assert wanted == (trials if needed is None else ran[needed - 1] + 1)
    assert Enough(100, width, least)(0, status, {"correct": correct[None]}) == wanted  # as a resumed run decides


def test_a_long_run_makes_few_intervals(monkeypatch):
    made = []
    monkeypatch.setattr(
        monte_carlo, "interval", lambda correct, images: made.append(len(correct)) or Interval(0, 1, "")
    )
    enough, trials = Enough(100, 0.01, 5), 3000
    status, correct = np.zeros((1, trials), dtype=np.uint8), np.zeros((1, trials), dtype=np.int64)
    for trial in range(trials):
        status[0, trial] = Status.DONE
        assert enough(0, status, {"correct": correct}) == trials
    assert len(made) == len(set(made)) < 140
    assert sum(made) < 25 * trials


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_the_pareto_set_is_what_nobody_beats(points):
    table = np.array(points, dtype=float)
    kept = pareto([table[:, 0], table[:, 1]], [True, False])
    for i, (a, b) in enumerate(points):
        beaten = any(c >= a and d <= b and (c > a or d < b) for c, d in points)
        assert kept[i] == (not beaten)
