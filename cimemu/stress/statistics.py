"""Means, intervals and quantiles of trials, and the Pareto set of points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
RESAMPLES = 4000
RESAMPLED = 1 << 20  # trials that are drawn at a time, so that many trials take no more memory
Z95 = 1.959963984540054  # two-sided 95 % of the standard normal


@dataclass(frozen=True)
class Interval:
    """A 95 % interval and the method that gave it."""

    low: float
    high: float
    method: str

    @property
    def width(self) -> float:
        """Upper minus lower end."""
        return self.high - self.low


def wilson(correct: int, images: int) -> Interval:
    """Score interval of a share of independent images (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    share, z2 = correct / images, Z95**2
    middle = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = Z95 / (1 + z2 / images) * np.sqrt(share * (1 - share) / images + z2 / (4 * images**2))
    return Interval(max(0.0, float(middle - half)), min(1.0, float(middle + half)), "wilson")


def bootstrap(accuracies: NDArray[np.float64], seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean over trials (Efron, Ann. Stat. 7, 1979), 4000 resamples of a fixed stream."""
    rng = np.random.Generator(np.random.Philox(seed))
    count = len(accuracies)
    rows = max(1, RESAMPLED // count)  # at a time; the stream is the same however it is cut
    means = [
        accuracies[rng.integers(0, count, (min(rows, RESAMPLES - first), count))].mean(axis=1)
        for first in range(0, RESAMPLES, rows)
    ]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return Interval(float(low), float(high), "bootstrap")


def interval(correct: NDArray[np.int64], images: int) -> Interval:
    """Bootstrap over chips where they differ; one chip, or chips all alike: Wilson over its images."""
    if len(correct) > 1 and bool((correct != correct[0]).any()):
        return bootstrap(correct / images)
    return wilson(int(correct[0]), images)


def looked_at(count: int) -> int:
    """The number of trials after which an interval is made again: one more, or a twentieth more.

    So that the resampling of a long run takes as long as so many trials, not as their square.
    """
    return count + max(1, count // 20)


def pareto(columns: Sequence[NDArray[np.float64]], larger_is_better: Sequence[bool]) -> NDArray[np.bool_]:
    """Which points no other point beats: at least as good in every column and better in one. nan never is better."""
    table = np.stack(
        [np.where(np.isnan(c), np.inf, -c if larger else c) for c, larger in zip(columns, larger_is_better)], axis=1
    )
    kept = np.ones(len(table), dtype=bool)
    for point, row in enumerate(table):
        kept[point] = not bool(((table <= row).all(axis=1) & (table < row).any(axis=1)).any())
    return kept
