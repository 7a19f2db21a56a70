"""Which epoch of a training run is kept: the one that does best on images that are held back from training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adapt.accuracy import Accuracy, scores_of
from cimemu.adapt.images import ImageSet
from cimemu.adapt.settings import HoldBack

HELD_CHIPS = 1 << 29  # first trial of the chips that held-back and test images are measured on; stress counts from 0
Row = dict[str, float | int | None]
Answers = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Score:
    """Right answers of `images` images, on several chips perhaps, and the mean cross-entropy."""

    right: int
    images: int
    loss: float

    @property
    def share(self) -> float:
        """Right answers / images."""
        return self.right / self.images

    def better_than(self, other: "Score") -> bool:
        """More right answers; as many with a lower loss."""
        mine, theirs = (s.loss if s.loss == s.loss else float("inf") for s in (self, other))
        return (self.right, -mine) > (other.right, -theirs)


def hold_back(data: ImageSet, settings: HoldBack) -> tuple[ImageSet, ImageSet | None]:
    """(images to train on, images held back), each in the order of `data`; the seed alone says which."""
    count = min(settings.largest, int(settings.share * len(data)))
    if count == 0:
        return data, None
    draws = np.random.Generator(np.random.Philox(np.random.SeedSequence((settings.seed, 2))))
    held = np.zeros(len(data), dtype=bool)
    held[draws.permutation(len(data))[:count]] = True
    return data.part(~held), data.part(held)


@dataclass(frozen=True)
class Judge:
    """How a model is measured: on the exact chip, or on chips drawn as training's are, none of which it trained on."""

    vary: tuple[str, ...] = ()
    seed: int = 0
    chips: int = 1

    def score(self, model: Any, held: ImageSet, device: Any) -> Score:
        """On held-back images: what chooses the epoch. With varied cells all chips together."""
        found = [_score(scores_of(model, held, device=device, chip=chip), held.labels) for chip in self._chips()]
        images = sum(s.images for s in found)
        return Score(sum(s.right for s in found), images, sum(s.loss * s.images for s in found) / images)

    def row(self, model: Any, tests: Mapping[str, ImageSet], device: Any, answers: Answers | None = None) -> Row:
        """Accuracy and its standard error by test set; with varied cells also the mean over the chips.

        `answers` gets the class that the exact chip gives each image, by test set.
        """
        row: Row = {}
        for name, test in tests.items():
            scores = scores_of(model, test, device=device)
            exact = _accuracy(scores, test.labels)
            if answers is not None:
                answers[name] = scores.argmax(1)
            row |= {f"accuracy_{name}": exact.share, f"standard_error_{name}": exact.standard_error}
            if self.vary:
                varied = [
                    _accuracy(scores_of(model, test, device=device, chip=chip), test.labels) for chip in self._chips()
                ]
                mean = float(np.mean([found.share for found in varied]))
                row |= {f"accuracy_{name}_varied": mean}
                row |= {f"standard_error_{name}_varied": sqrt(mean * (1 - mean) / len(test))}
        return row

    def _chips(self) -> Sequence[Any]:
        if not self.vary:
            return (None,)
        return [(self.vary, self.seed, HELD_CHIPS + number) for number in range(self.chips)]


@dataclass(frozen=True)
class Held:
    """Held-back images and how models are measured on them."""

    images: ImageSet
    judge: Judge


@dataclass(frozen=True)
class Trained:
    """A run's metrics; accuracies are shares."""

    rows: list[Row]  # one an epoch
    start: Row  # before training
    kept: Row  # of the epoch that is kept: 0, the start, or one of `rows`; with accuracy on test images
    answers: Answers = field(default_factory=dict)  # of the epoch that is kept, by test set: the class of each image

    @property
    def below_start(self) -> str | None:
        """How the run ended below its start, in one line; None where it did not."""
        found = []
        last, first = self.rows[-1], self.start
        before, after = first.get("held_back_accuracy"), last.get("held_back_accuracy")
        if before is not None and after is not None and after < before:
            found.append(f"held-back images {_percent(before)} before, {_percent(after)} after epoch {last['epoch']}")
        for key, start in first.items():
            if not key.startswith("accuracy_") or start is None:
                continue
            value, end = self.kept.get(key), last.get(key)
            if end is not None and end < start and self.kept["epoch"] != last["epoch"]:
                found.append(
                    f"{key.removeprefix('accuracy_')} images {_percent(start)} before, {_percent(end)} after epoch {last['epoch']}"
                )
            if value is not None and value < start:
                found.append(
                    f"{key.removeprefix('accuracy_')} images {_percent(start)} before, {_percent(value)} in what is kept"
                )
        if not found:
            return None
        kept = "the start" if self.kept["epoch"] == 0 else f"epoch {self.kept['epoch']}"
        return (
            f"training ended below its start: {'; '.join(found)}; kept is {kept}, try a lower --rate and --scale-rate"
        )


def _percent(share: Any) -> str:
    return f"{100 * share:.2f} %"


def _accuracy(scores: NDArray[Any], labels: NDArray[np.int64]) -> Accuracy:
    return Accuracy(int((scores.argmax(1) == labels).sum()), len(labels))


def _score(scores: NDArray[Any], labels: NDArray[np.int64]) -> Score:
    """Of scores [images, classes]."""
    real = scores.astype(np.float64)
    shifted = real - real.max(axis=1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return Score(int((scores.argmax(1) == labels).sum()), len(labels), float(loss.mean()))
