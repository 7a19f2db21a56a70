"""What is measured beside accuracy: separation of anomalies, errors of a detector."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def area_under_curve(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float | None:
    """How often a sample labelled 1 scores above one labelled 0 (ties count half); None where one kind is missing."""
    high, low = scores[labels == 1], scores[labels == 0]
    if not len(high) or not len(low):
        return None
    above = (high[:, None] > low[None]).mean() + 0.5 * (high[:, None] == low[None]).mean()
    return float(above)


def of_clips(
    scores: NDArray[np.float64], labels: NDArray[np.int64], each: int, first: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(mean score, label) of clips of `each` images; image 0 is number `first` of the file."""
    clip = (np.arange(len(scores)) + first) // each
    _, start, number, count = np.unique(clip, return_index=True, return_inverse=True, return_counts=True)
    return np.bincount(number, weights=scores) / count, labels[start]


def detection_errors(
    outputs: NDArray[Any], labels: NDArray[np.int64] | None, positive: int
) -> dict[str, float | int | None]:
    """False alarms and misses of class `positive` by the largest output [images, classes]; None without labels."""
    if labels is None:
        return {"false_positives": None, "false_negatives": None}
    found = outputs.reshape(len(outputs), -1).argmax(axis=1) == positive
    there = labels[: len(outputs)] == positive
    return {"false_positives": int((found & ~there).sum()), "false_negatives": int((~found & there).sum())}


def retrieval_top1(outputs: NDArray[Any]) -> float:
    """How often, of outputs 1, 3, 5 ..., the nearest to output 2i by angle is number 2i + 1; NaN without a pair."""
    flat = outputs.reshape(len(outputs), -1).astype(np.float64)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
    pairs = len(flat) // 2
    queries, matches = flat[0 : 2 * pairs : 2], flat[1 : 2 * pairs : 2]
    return float(((queries @ matches.T).argmax(axis=1) == np.arange(pairs)).mean()) if pairs else float("nan")
