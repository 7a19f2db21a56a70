"""What is measured beside accuracy: separation of anomalies, errors of a detector."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError

IGNORED = -100  # a label that perplexity leaves out, as PyTorch's cross entropy does


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


def perplexity(logits: NDArray[Any], labels: NDArray[np.int64] | None) -> float | None:
    """exp of the mean negative log-likelihood of tokens `labels`, [images] or [images, steps], in float64; None without labels.

    `logits` are [images, ..., vocabulary]; of labels [images] those of the last step count. A label of -100 is left out.
    Raises WorkloadError for labels of another shape, or that are no token.
    """
    if labels is None:
        return None
    wanted = labels[: len(logits)]
    steps = logits.reshape(len(logits), -1, logits.shape[-1]).astype(np.float64)
    steps = steps[:, -1:] if wanted.ndim == 1 else steps
    truth = wanted.reshape(len(wanted), -1)
    if truth.shape != steps.shape[:2]:
        raise WorkloadError(f"labels of shape {list(wanted.shape)}, must be [images] or {list(steps.shape[:2])}")
    counted = truth != IGNORED
    if not counted.any() or truth[counted].min() < 0 or truth.max() >= steps.shape[-1]:
        raise WorkloadError(
            f"labels {truth.min()} .. {truth.max()}, must be tokens 0 .. {steps.shape[-1] - 1}, or {IGNORED}: left out"
        )
    shifted = steps - steps.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, np.where(counted, truth, 0)[..., None], axis=-1)[..., 0]
    loss = np.log(np.exp(shifted).sum(axis=-1)) - chosen
    return float(np.exp(loss[counted].mean()))


def retrieval_top1(outputs: NDArray[Any]) -> float:
    """How often, of outputs 1, 3, 5 ..., the nearest to output 2i by angle is number 2i + 1; NaN without a pair."""
    found = pairs_found(outputs)
    return float(found.mean()) if len(found) else float("nan")


def pairs_found(outputs: NDArray[Any]) -> NDArray[np.bool_]:
    """Of every pair i whether, of outputs 1, 3, 5 ..., the nearest to output 2i by angle is number 2i + 1."""
    flat = outputs.reshape(len(outputs), -1).astype(np.float64)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
    pairs = len(flat) // 2
    queries, matches = flat[0 : 2 * pairs : 2], flat[1 : 2 * pairs : 2]
    if not pairs:
        return np.zeros(0, dtype=np.bool_)
    nearest: NDArray[np.int64] = (queries @ matches.T).argmax(axis=1)
    return np.asarray(nearest == np.arange(pairs))
