"""Levels of nonlinear converters from weighted histograms, many groups at once.

Every method takes bin values [B] (ascending) and weights [groups, B] and gives ascending levels [groups, count];
thresholds are the midpoints. linear: uniform over the observed range; linear_mse: the uniform levels of the least
squared error; lloyd_max: Lloyd's iteration from uniform levels; cdf: equal shares of the mass; kmeans: k-means++ and
Lloyd's iteration; kmeans_exact: the one-dimensional optimum by dynamic programming; bs_kmq_pin and bs_kmq_drop: k-means
without the samples at both edges of the range, with the edges as levels of their own or not (BS-KMQ, arXiv 2603.10540;
reconstructed from its abstract).
"""

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError

Floats = NDArray[np.float64]
ITERATIONS = 100
EDGE = 1e-3  # of the range: what counts as its edge
TRIED = 32
DP_BINS = 512
METHODS = ("linear", "linear_mse", "lloyd_max", "cdf", "kmeans", "kmeans_exact", "bs_kmq_pin", "bs_kmq_drop")


def fit_levels(values: Floats, weights: Floats, count: int, method: str, *, seed: int = 0) -> Floats:
    """Levels [groups, count] by `method`; groups without any sample get those of all groups together."""
    weights = _no_empty_group(weights)
    low, high = edges(values, weights)
    if method == "linear":
        return _uniform(low, high, count)
    if method == "linear_mse":
        return _uniform_mse(values, weights, count)
    if method == "cdf":
        return _quantiles(values, weights, count)
    if method == "lloyd_max":
        return lloyd(values, weights, _uniform(low, high, count))
    if method == "kmeans":
        return lloyd(values, weights, _plus_plus(values, weights, count, seed))
    if method == "kmeans_exact":
        return np.stack([_optimal(values, w, count) for w in weights])
    if method not in ("bs_kmq_pin", "bs_kmq_drop"):
        raise WorkloadError(f"method = {method!r}, must be one of {', '.join(METHODS)}")
    inside = interior(values, weights)
    pinned = method == "bs_kmq_pin" and count > 2
    inner = _no_empty_group(inside, weights)
    levels = lloyd(values, inner, _plus_plus(values, inner, count - 2 if pinned else count, seed))
    return np.sort(np.concatenate([low[:, None], levels, high[:, None]], axis=1), axis=1) if pinned else levels


def thresholds_of(levels: Floats) -> Floats:
    """Midpoints [..., count - 1]."""
    return np.asarray((levels[..., 1:] + levels[..., :-1]) / 2)


def squared_error(values: Floats, weights: Floats, levels: Floats) -> Floats:
    """Weighted sum of squared errors of every group; weights [groups, B], levels [groups, count]."""
    bounds = np.stack([np.searchsorted(values, t, side="left") for t in thresholds_of(levels)])
    mass, first, second = (_prefix(weights * values**power) for power in (0, 1, 2))
    ends = np.concatenate([np.zeros((len(bounds), 1), int), bounds, np.full((len(bounds), 1), len(values))], axis=1)

    def between(sums: Floats) -> Floats:
        taken = np.take_along_axis(sums, ends, axis=1)
        return np.asarray(np.diff(taken, axis=1))

    each = between(second) - 2 * levels * between(first) + levels**2 * between(mass)
    return np.asarray(np.maximum(each, 0).sum(axis=1))


def edges(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Smallest and largest value seen of every group."""
    seen = weights > 0
    return values[seen.argmax(axis=1)], values[len(values) - 1 - seen[:, ::-1].argmax(axis=1)]


def interior(values: Floats, weights: Floats) -> Floats:
    """Weights without the samples at both edges of a group's range."""
    low, high = edges(values, weights)
    margin = EDGE * (high - low)
    keep = (values[None] > (low + margin)[:, None]) & (values[None] < (high - margin)[:, None])
    return np.asarray(weights * keep)


def lloyd(values: Floats, weights: Floats, levels: Floats) -> Floats:
    """Lloyd's iteration on every group until nothing moves; a level that no sample is nearest to stays."""
    mass, first = _prefix(weights), _prefix(weights * values)
    for _ in range(ITERATIONS):
        bounds = np.stack([np.searchsorted(values, t, side="left") for t in thresholds_of(levels)])
        ends = np.concatenate([np.zeros((len(bounds), 1), int), bounds, np.full((len(bounds), 1), len(values))], axis=1)
        total = np.diff(np.take_along_axis(mass, ends, axis=1), axis=1)
        sums = np.diff(np.take_along_axis(first, ends, axis=1), axis=1)
        moved = np.sort(np.where(total > 0, sums / np.maximum(total, 1e-300), levels), axis=1)
        if np.array_equal(moved, levels):
            break
        levels = moved
    return levels


def _prefix(weights: Floats) -> Floats:
    return np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)


def _no_empty_group(weights: Floats, other: Floats | None = None) -> Floats:
    empty = ~(weights > 0).any(axis=1)
    if not empty.any():
        return weights
    filled = weights.copy()
    filled[empty] = (weights.sum(axis=0) if other is None or not (weights > 0).any() else other[empty]) + 0.0
    if not (filled[empty] > 0).any():
        filled[empty] = 1.0 if other is None else other[empty]
    return filled


def _uniform(low: Floats, high: Floats, count: int) -> Floats:
    return np.asarray(low[:, None] + (high - low)[:, None] * np.linspace(0, 1, count))


def _quantiles(values: Floats, weights: Floats, count: int) -> Floats:
    mass = np.cumsum(weights, axis=1)
    wanted = (np.arange(count) + 0.5) / count
    return np.stack([values[np.minimum(np.searchsorted(m, wanted * m[-1]), len(values) - 1)] for m in mass])


def clipping_ranges(values: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Bottoms and tops tried, the same for all groups: from the whole range inwards to the median."""
    seen = np.flatnonzero(total)
    first, last = values[seen[0]], values[seen[-1]]
    middle = values[np.searchsorted(np.cumsum(total), total.sum() / 2)]
    lows, highs = np.unique(np.linspace(first, middle, TRIED // 2)), np.unique(np.linspace(middle, last, TRIED))
    pairs = [(a, b) for a in lows for b in highs if b > a] or [(first, first + 1)]
    bottoms, tops = np.array(pairs, dtype=np.float64).T
    return bottoms, tops


def _uniform_mse(values: Floats, weights: Floats, count: int) -> Floats:
    bottoms, tops = clipping_ranges(values, weights.sum(axis=0))
    step = (tops - bottoms) / (count - 1)
    near = np.clip(np.rint((values[None] - bottoms[:, None]) / step[:, None]), 0, count - 1)
    errors = (bottoms[:, None] + near * step[:, None] - values[None]) ** 2
    best = (weights @ errors.T).argmin(axis=1)
    return _uniform(bottoms[best], tops[best], count)


def _plus_plus(values: Floats, weights: Floats, count: int, seed: int) -> Floats:
    """k-means++ (Arthur and Vassilvitskii, SODA 2007): each further level drawn by squared distance to the nearest."""
    rng = np.random.default_rng(seed)
    distance: Floats = np.ones_like(weights)
    picked = []
    for number in range(count):
        mass = np.cumsum(weights * distance, axis=1)
        mass = np.where(mass[:, -1:] > 0, mass, np.cumsum(weights, axis=1))
        at = np.array([np.searchsorted(m, u * m[-1], side="right") for m, u in zip(mass, rng.random(len(mass)))])
        level = values[np.minimum(at, len(values) - 1)]
        picked.append(level)
        away: Floats = (values[None] - level[:, None]) ** 2
        distance = away if number == 0 else np.minimum(distance, away)
    return np.sort(np.stack(picked, axis=1), axis=1)


def _optimal(values: Floats, weights: Floats, count: int) -> Floats:
    """Optimal 1-D k-means (as Wang and Song, R Journal 2011) on the bins with mass, at most DP_BINS of them."""
    seen = weights > 0
    v: Floats = values[seen]
    w: Floats = weights[seen]
    if len(v) > DP_BINS:
        part = np.minimum((np.cumsum(w) / w.sum() * DP_BINS).astype(np.int64), DP_BINS - 1)
        shares = np.asarray(np.bincount(part, w, DP_BINS), dtype=np.float64)
        moments = np.asarray(np.bincount(part, w * v, DP_BINS), dtype=np.float64)
        v, w = moments[shares > 0] / shares[shares > 0], shares[shares > 0]
    n = len(v)
    if n <= count:
        return np.concatenate([v, np.full(count - n, v[-1])])
    mass, first, second = (np.concatenate([[0.0], np.cumsum(w * v**p)]) for p in (0, 1, 2))
    i, j = np.arange(n)[:, None], np.arange(1, n + 1)[None]
    between = np.where(j > i, mass[j] - mass[i], 1.0)
    cost = np.where(j > i, second[j] - second[i] - (first[j] - first[i]) ** 2 / between, np.inf)  # bins i .. j-1
    best, back = cost[0], []
    for _ in range(count - 1):
        total = best[: n - 1, None] + cost[1:, :]  # the last cluster starts at bin i + 1
        back.append(total.argmin(axis=0) + 1)
        best = total.min(axis=0)
    stop, levels = n, []
    for starts in back[::-1]:
        start = int(starts[stop - 1])
        levels.append((first[stop] - first[start]) / (mass[stop] - mass[start]))
        stop = start
    levels.append(first[stop] / mass[stop])
    return np.array(levels[::-1])
