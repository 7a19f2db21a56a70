"""Scales of uniform weights at any granularity: min-max, percentile, least weight error, least output error.

The candidates of a finer granularity hold what a coarser one chose, so its fitted error is never larger.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.ptq.cut import Cut

TRIED = np.geomspace(1.0, 0.25, 40)  # clipping points tried, as shares of the largest weight
COARSER = {"layer": (), "channel": ("layer",), "array": ("layer",), "column": ("array", "channel")}
Floats = NDArray[np.float64]


def fit_scales(
    w: Floats,
    cut: Cut,
    bits: int,
    granularity: str,
    method: str,
    *,
    percentile: float = 99.9,
    moments: Floats | None = None,
) -> Floats:
    """Scales [N, row blocks] of real weights `w` [N, K] on -(2^(bits-1)-1) .. 2^(bits-1)-1, or on {-1, +1} (one bit).

    `moments` [1 or N, K, K] are the mean products of a layer's inputs, for method "output".
    """
    top = largest_code(bits)
    groups = cut.groups(granularity)
    if method == "minmax":
        return _by_group(w, cut, groups, lambda values: np.abs(values).max()) / top
    if method == "percentile":
        return _by_group(w, cut, groups, lambda values: np.percentile(np.abs(values), percentile)) / top
    coarser = [
        fit_scales(w, cut, bits, parent, method, percentile=percentile, moments=moments)
        for parent in COARSER[granularity]
    ]
    largest = _by_group(w, cut, groups, lambda values: np.abs(values).max()) / top
    candidates = [*coarser, *(largest * share for share in TRIED)]
    if bits == 1:  # the mean magnitude is the least squares scale of two levels (XNOR-Net)
        candidates.append(_by_group(w, cut, groups, lambda values: np.abs(values).mean()))
    if method == "mse":
        return _least(candidates, lambda scales: _group_errors(squared(w, scales, cut, bits), groups, cut), groups)
    if method != "output" or moments is None:
        raise WorkloadError(f"method = {method!r}, must be minmax, percentile, mse, or output with moments")
    return _least_output(w, candidates, cut, bits, groups, moments, split=granularity in ("array", "column"))


def largest_code(bits: int) -> int:
    """The largest integer of a width: the most negative code is left out; one bit is {-1, +1}."""
    made: int = max(1, 2 ** (bits - 1) - 1)
    return made


def codes(w: Floats, scales: Floats, cut: Cut, bits: int) -> NDArray[np.int64]:
    """Integers [N, K] of weights under scales [N, row blocks]."""
    if bits == 1:
        return np.where(w >= 0, 1, -1)
    top = largest_code(bits)
    step = np.take_along_axis(scales, cut.block, axis=1)
    return np.clip(np.rint(w / step), -top, top).astype(np.int64)


def real(integers: NDArray[np.int64], scales: Floats, cut: Cut) -> Floats:
    """Weights that integers stand for."""
    return np.asarray(integers * np.take_along_axis(scales, cut.block, axis=1))


def squared(w: Floats, scales: Floats, cut: Cut, bits: int) -> Floats:
    """Squared error of every weight [N, K]."""
    return np.asarray((real(codes(w, scales, cut, bits), scales, cut) - w) ** 2)


def output_error(delta: Floats, moments: Floats) -> Floats:
    """Mean squared error of every output [N] that weight errors `delta` [N, K] make on inputs of these moments."""
    if len(moments) == 1:
        return np.asarray(((delta @ moments[0]) * delta).sum(axis=1))
    made: Floats = np.einsum("nk,nkl,nl->n", delta, moments, delta)
    return made


def _by_group(w: Floats, cut: Cut, groups: NDArray[np.int64], reduce: Callable[[Floats], Any]) -> Floats:
    """`reduce` of the weights of every group, spread over [N, row blocks]; never 0."""
    of_weight = np.take_along_axis(groups, cut.block, axis=1).ravel()
    order = np.argsort(of_weight, kind="stable")
    values, numbers = w.ravel()[order], of_weight[order]
    edges = np.flatnonzero(np.diff(numbers)) + 1
    found = {int(n[0]): float(reduce(v)) for v, n in zip(np.split(values, edges), np.split(numbers, edges))}
    spread = np.array([found.get(int(g), 0.0) for g in groups.ravel()]).reshape(groups.shape)
    made: Floats = np.maximum(spread, 1e-12)
    return made


def _group_errors(errors: Floats, groups: NDArray[np.int64], cut: Cut) -> Floats:
    """Errors of weights [N, K] summed over their group, spread over [N, row blocks]."""
    of_weight = np.take_along_axis(groups, cut.block, axis=1)
    total = np.bincount(of_weight.ravel(), weights=errors.ravel(), minlength=int(groups.max()) + 1)
    return np.asarray(total[groups])


def _least(candidates: list[Floats], error: Callable[[Floats], Floats], groups: NDArray[np.int64]) -> Floats:
    """Of every group the candidate of the least error; the first of equals."""
    best = candidates[0].copy()
    least = error(best)
    for scales in candidates[1:]:
        errors = error(scales)
        better = errors < least
        best, least = np.where(better, scales, best), np.where(better, errors, least)
    return best


def _least_output(
    w: Floats, candidates: list[Floats], cut: Cut, bits: int, groups: NDArray[np.int64], moments: Floats, *, split: bool
) -> Floats:
    """Coordinate descent on the layer's output error: row blocks one after the other where scales differ between them."""

    def error_of(scales: Floats) -> Floats:
        return output_error(real(codes(w, scales, cut, bits), scales, cut) - w, moments)

    def summed(errors: Floats, block: int) -> Floats:
        """Errors of outputs summed over the outputs that share a scale of this row block."""
        numbers = groups[:, block]
        return np.asarray(np.bincount(numbers, weights=errors)[numbers])

    starts = [(float(error_of(scales).sum()), number) for number, scales in enumerate(candidates)]
    best = candidates[min(starts)[1]].copy()
    sweeps = [[block] for block in range(cut.blocks)] * 2 if split else [list(range(cut.blocks))]
    for blocks in sweeps:
        least = summed(error_of(best), blocks[0])
        chosen = best.copy()
        for scales in candidates:
            tried = best.copy()
            tried[:, blocks] = scales[:, blocks]
            errors = summed(error_of(tried), blocks[0])
            better = errors < least
            chosen[:, blocks] = np.where(better[:, None], scales[:, blocks], chosen[:, blocks])
            least = np.where(better, errors, least)
        best = chosen
    return best


def slice_factors(
    w: Floats,
    integers: NDArray[np.int64],
    scales: Floats,
    cut: Cut,
    groups: NDArray[np.int64],
    parts: NDArray[np.int64],
) -> Floats:
    """A factor of every bit slice [N, row blocks, conversions] that fits `w` best by least squares, group by group.

    `parts` [N, K, conversions] are what each conversion adds to an integer (the offset's correction counted with the
    top slice). Where the best factors are not well above 0 (too few weights), they stay 1: the error never grows.
    """
    step = np.take_along_axis(scales, cut.block, axis=1)
    missing = w / step - integers
    found = np.ones((int(groups.max()) + 1, parts.shape[2]))
    of_weight = np.take_along_axis(groups, cut.block, axis=1)
    order = np.argsort(of_weight.ravel(), kind="stable")
    flat = parts.reshape(-1, parts.shape[2])[order].astype(np.float64)
    # rows weighed by their step, so that the error is that of the real weights
    rows, wanted = flat * step.ravel()[order, None], (missing * step).ravel()[order]
    numbers = of_weight.ravel()[order]
    edges = np.flatnonzero(np.diff(numbers)) + 1
    for a, b in zip([0, *edges], [*edges, len(numbers)]):
        more, *_ = np.linalg.lstsq(rows[a:b], wanted[a:b], rcond=1e-6)
        if bool((1 + more > 0.05).all()) and bool(
            ((wanted[a:b] - rows[a:b] @ more) ** 2).sum() <= (wanted[a:b] ** 2).sum()
        ):
            found[numbers[a]] = 1 + more
    return found[groups]
