"""The smallest difference that an experiment can see, against experiments that are drawn."""

import numpy as np
import pytest
from scipy import stats

from cimemu.compare.smallest import Experiment, pairs_needed
from cimemu.errors import CimemuError


@pytest.mark.parametrize("pairs", [3, 6, 20])
@pytest.mark.parametrize("discordant", [0.0, 0.15])
def test_four_of_five_experiments_see_it(pairs, discordant):
    """Differences of seeds are normal, those of images are the same for all pairs of an experiment."""
    plan = Experiment(pairs=pairs, spread=1.2, images=2_000, discordant=discordant)
    rng, trials = np.random.default_rng(1), 20_000
    shared = rng.normal(0, 100 * np.sqrt(discordant / plan.images), (trials, 1))
    means = (plan.smallest + rng.normal(0, plan.spread, (trials, pairs)) + shared).mean(axis=1)
    seen = means / plan.standard_error > stats.t(pairs - 1).ppf(0.975)
    assert seen.mean() >= 0.78  # the t distribution is wider than what is drawn here: never promises too much


def test_pairs_needed_are_the_fewest():
    like = Experiment(pairs=2, spread=0.6, images=5_000, discordant=0.001)
    pairs = pairs_needed(1.0, like)
    assert Experiment(pairs, 0.6, 5_000, 0.001).smallest <= 1.0 < Experiment(pairs - 1, 0.6, 5_000, 0.001).smallest
    assert pairs_needed(0.99, Experiment(2, 0.6, 500, 0.15)) is None


@pytest.mark.parametrize(
    "given", [(1, 1.0, 10, 0.1), (3, -1.0, 10, 0.1), (3, 1.0, 0, 0.1), (3, 1.0, 10, 1.1), (3, float("nan"), 9, 0.1)]
)
def test_what_is_no_experiment_is_one_line(given):
    with pytest.raises(CimemuError):
        Experiment(*given)
