"""The smallest difference that an experiment can see: said before it is run."""

from dataclasses import dataclass

import numpy as np

from cimemu.errors import CimemuError

LEVEL, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Experiment:
    """Two schemes trained from `pairs` seeds each, and measured on the same `images`.

    `spread` is the standard deviation in points of the difference from seed to seed, where images without end are
    looked at; `discordant` the share of images that one of the two alone gets right.
    """

    pairs: int
    spread: float
    images: int
    discordant: float

    def __post_init__(self) -> None:
        if self.pairs < 2:
            raise CimemuError(f"pairs = {self.pairs}, must be >= 2: one pair says nothing of how seeds differ")
        if self.images < 1 or not 0 <= self.discordant <= 1 or not self.spread >= 0:
            raise CimemuError(
                f"images = {self.images}, discordant = {self.discordant:g}, spread = {self.spread:g}: must be >= 1, a share of "
                "0 to 1, and >= 0 points"
            )

    @property
    def standard_error(self) -> float:
        """Of the mean difference, in points: seeds are drawn anew for each pair, the images are the same for all."""
        return float(np.sqrt(self.spread**2 / self.pairs + 100**2 * self.discordant / self.images))

    @property
    def smallest(self) -> float:
        """The difference in points that a two-sided t test at 95 % finds in 80 % of experiments."""
        return smallest_seen(self.standard_error, self.pairs)


def smallest_seen(standard_error: float, pairs: int) -> float:
    """What a two-sided test at 95 % finds in 80 % of experiments; one pair: of these two networks, whatever the seed."""
    from scipy import stats

    t = stats.t(pairs - 1) if pairs > 1 else stats.norm
    return float((t.ppf((1 + LEVEL) / 2) + t.ppf(POWER)) * standard_error)


def pairs_needed(difference: float, like: Experiment, most: int = 10_000) -> int | None:
    """The fewest pairs with which `difference` points can be seen; None where more images are needed as well."""
    from dataclasses import replace

    low, high = 2, most
    if not difference > 0:
        raise CimemuError(f"difference = {difference:g}, must be above 0 points")
    if replace(like, pairs=high).smallest > difference:
        return None
    while low < high:
        middle = (low + high) // 2
        if replace(like, pairs=middle).smallest <= difference:
            high = middle
        else:
            low = middle + 1
    return low
