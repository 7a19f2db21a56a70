"""Two networks, or two schemes trained with several seeds, on the same images: by how many points one is better."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimemu.compare.answers import Answers, read_answers
from cimemu.compare.smallest import LEVEL, smallest_seen
from cimemu.errors import CimemuError

RESAMPLES = 20_000
PAIRS_AT_MOST = 1000


@dataclass(frozen=True)
class Paired:
    """First minus second, in points, on one set of images; accuracies are means over the pairs, in %."""

    test: str
    images: int
    pairs: int
    first: float
    second: float
    difference: float
    low: float  # 95 %
    high: float
    smallest: float  # that such an experiment sees in four of five cases
    discordant: float  # share of images that one of the two alone gets right, mean over the pairs
    spread: float  # standard deviation of the difference from pair to pair; nan for one pair

    @property
    def seen(self) -> str:
        """What follows."""
        if self.low > 0:
            return "the first is better"
        return "the second is better" if self.high < 0 else "no difference seen"


def paired_files(files: Sequence[Path]) -> list[Paired]:
    """A row for each set of images that all files have; first and second in turn, a pair for each seed. CimemuError."""
    if len(files) < 2 or len(files) % 2:
        raise CimemuError(f"paired: {len(files)} files given, give two, or first and second of each seed in turn")
    if len(files) > 2 * PAIRS_AT_MOST:
        raise CimemuError(f"paired: {len(files) // 2} pairs given, must be at most {PAIRS_AT_MOST}")
    read = [read_answers(path) for path in files]
    tests = [name for name in read[0] if all(name in sets for sets in read)]
    if not tests:
        told = "; ".join(f"{path}: {', '.join(sets)}" for path, sets in zip(files[:2], read))
        raise CimemuError(f"paired: the files have no set of images in common ({told}), compare answers to the same")
    return [paired(test, _same_images(test, files, [sets[test] for sets in read])) for test in tests]


def _same_images(test: str, files: Sequence[Path], answers: Sequence[Answers]) -> Sequence[Answers]:
    for path, other in zip(files[1:], answers[1:]):
        if not np.array_equal(other.labels, answers[0].labels):
            raise CimemuError(
                f"{path}: {test} are {len(other.labels)} images whose labels are not those of the {len(answers[0].labels)} in "
                f"{files[0]}, compare answers to the same images"
            )
    return answers


def paired(test: str, answers: Sequence[Answers]) -> Paired:
    """First and second of each pair in turn.

    One pair: the percentile bootstrap over images, paired (Efron, Ann. Stat. 7, 1979); other seeds are not in it. Several:
    Student's t over the pairs, whose variance has the images' added, since all pairs answer the same images.
    """
    first = np.stack([one.right for one in answers[::2]]).astype(np.int64)
    second = np.stack([one.right for one in answers[1::2]]).astype(np.int64)
    pairs, images = first.shape
    per_image = (first - second).mean(axis=0)
    difference = float(per_image.mean())
    of_images = float(per_image.var() / images)
    if pairs == 1:
        error, spread = of_images**0.5, float("nan")
        low, high = _bootstrap(per_image)
    else:
        from scipy import stats

        by_pair = (first - second).mean(axis=1)
        spread = float(by_pair.std(ddof=1))
        error = (spread**2 / pairs + of_images) ** 0.5
        half = float(stats.t(pairs - 1).ppf((1 + LEVEL) / 2)) * error
        low, high = difference - half, difference + half
    return Paired(
        test=test,
        images=images,
        pairs=pairs,
        first=100 * float(first.mean()),
        second=100 * float(second.mean()),
        difference=100 * difference,
        low=100 * low,
        high=100 * high,
        smallest=smallest_seen(100 * error, pairs),
        discordant=float((first != second).mean()),
        spread=100 * spread,
    )


def _bootstrap(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """95 % of the mean. Images drawn with replacement are a multinomial draw of the values that occur."""
    kinds, counts = np.unique(values, return_counts=True)
    draws = np.random.Generator(np.random.Philox(seed)).multinomial(len(values), counts / len(values), RESAMPLES)
    low, high = np.quantile(draws @ kinds / len(values), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
