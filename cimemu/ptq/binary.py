"""Weights of two real levels: `alpha * B + beta` with B in {-1, +1}, by group.

closed_form: BWMA's layer-wise binarisation (arXiv 2508.21524; reconstructed from its abstract, the algebra is the
least-squares optimum for B = sign(w - mean)). centred: another reading of that abstract: weights are centred, so that signs
are balanced, alpha = mean|w - mean|, and the mean is dropped. xnor: `B = sign(w)`, alpha = mean|w|, no offset (XNOR-Net,
Rastegari et al., ECCV 2016). exact: the two levels of the least squared error, from sorted weights and prefix sums.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cimemu.ptq.cut import Cut

Floats = NDArray[np.float64]
TINY = 1e-9


def closed_form(w: Floats) -> tuple[NDArray[np.int64], float, float]:
    """(B, alpha, beta) of B = sign(w - mean): `alpha = mean|w - mu| / (1 - mb^2)`, `beta = mu - alpha mb`, mb = mean B."""
    mu = float(w.mean())
    signs = np.where(w >= mu, 1, -1)
    mb = float(signs.mean())
    if abs(mb) >= 1:  # all weights are equal
        return signs, TINY, mu - TINY * mb
    alpha = float(np.abs(w - mu).mean()) / (1 - mb**2)
    return signs, max(alpha, TINY), mu - max(alpha, TINY) * mb


def centred(w: Floats) -> tuple[NDArray[np.int64], float, float]:
    """(B, alpha, 0) of B = sign(w - mean), alpha = mean|w - mean|: the mean is dropped."""
    mu = float(w.mean())
    return np.where(w >= mu, 1, -1), max(float(np.abs(w - mu).mean()), TINY), 0.0


def xnor(w: Floats) -> tuple[NDArray[np.int64], float, float]:
    """(B, alpha, 0) of B = sign(w), alpha = mean|w|."""
    return np.where(w >= 0, 1, -1), max(float(np.abs(w).mean()), TINY), 0.0


def exact(w: Floats) -> tuple[NDArray[np.int64], float, float]:
    """(B, alpha, beta) of the least squared error: the best cut of the sorted weights into two means."""
    order = np.argsort(w, kind="stable")
    sums = np.cumsum(w[order])
    count = np.arange(1, len(w), dtype=np.float64)
    if len(w) < 2 or w[order[0]] == w[order[-1]]:
        return np.ones(len(w), dtype=np.int64), TINY, float(w.mean()) - TINY
    # the squared error is sum w^2 less what the two means explain
    explained = sums[:-1] ** 2 / count + (sums[-1] - sums[:-1]) ** 2 / (len(w) - count)
    cut = int(np.argmax(explained)) + 1
    signs = np.ones(len(w), dtype=np.int64)
    signs[order[:cut]] = -1
    low, high = float(w[order[:cut]].mean()), float(w[order[cut:]].mean())
    alpha = max((high - low) / 2, TINY)
    return signs, alpha, (high + low) / 2


METHODS: dict[str, Callable[[Floats], tuple[NDArray[np.int64], float, float]]] = {
    "closed_form": closed_form,
    "centred": centred,
    "xnor": xnor,
    "exact": exact,
}


def binarize(w: Floats, cut: Cut, granularity: str, method: str) -> tuple[NDArray[np.int64], Floats, Floats]:
    """(B [N, K], alpha [N, row blocks], beta [N, row blocks]) of weights `w` [N, K], group by group."""
    groups = cut.groups(granularity)
    of_weight = np.take_along_axis(groups, cut.block, axis=1).ravel()
    order = np.argsort(of_weight, kind="stable")
    edges = np.flatnonzero(np.diff(of_weight[order])) + 1
    signs = np.empty(w.size, dtype=np.int64)
    alpha, beta = np.full(int(groups.max()) + 1, TINY), np.zeros(int(groups.max()) + 1)
    for chosen in np.split(order, edges):
        number = of_weight[chosen[0]]
        signs[chosen], alpha[number], beta[number] = METHODS[method](w.ravel()[chosen])
    return signs.reshape(w.shape), alpha[groups], beta[groups]
