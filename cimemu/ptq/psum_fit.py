"""Converters fitted to samples of partial sums: a step (or a table of levels) per layer, array or column."""

from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, LinearAdc, NonlinearAdc, plain
from cimemu.adc.base import LIMIT
from cimemu.compute.psum_samples import PsumSamples
from cimemu.errors import WorkloadError
from cimemu.ptq.levels import clipping_ranges, edges, fit_levels
from cimemu.ptq.output_fit import least_output
from cimemu.ptq.scheme import LinearConverter, NonlinearConverter

BINS = 512
MEASURED = 64  # vectors that errors are measured on
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Histograms:
    """weights[group, bin] of values [bin]: a sample counts with the square of what its error does to the output."""

    values: Floats
    weights: Floats


def groups_of(samples: PsumSamples, granularity: str) -> NDArray[np.int64]:
    """A number per (row block, column): equal where converters share their parameters."""
    shape = (samples.blocks, samples.columns)
    if granularity == "layer":
        return np.zeros(shape, dtype=np.int64)
    if granularity == "column":
        return np.arange(shape[0] * shape[1]).reshape(shape)
    if granularity != "array":
        raise WorkloadError(f"granularity = {granularity!r}, must be layer, array or column")
    array = np.zeros(samples.columns, dtype=np.int64)
    for number, (first, last) in enumerate(samples.arrays):
        array[first:last] = number
    return np.arange(shape[0])[:, None] * len(samples.arrays) + array


def histograms(samples: PsumSamples, granularity: str, span: tuple[int, int] | None = None) -> Histograms:
    """Histograms of every group; `span` fixes the range of the bins."""
    low, high = span_of(samples) if span is None else span
    width = max(1, -(-(high - low + 1) // BINS))
    bins = (high - low) // width + 1
    groups = groups_of(samples, granularity)
    weights = np.zeros(((int(groups.max()) + 1), bins))
    for step in samples.steps:
        columns = slice(step.first, step.first + step.psums.shape[1])
        base = np.arange(step.psums.shape[1]) * bins
        index = np.clip((step.psums - low) // width, 0, bins - 1)
        hits = np.bincount((index + base).ravel(), minlength=bins * len(base)).reshape(-1, bins)
        significance = (step.place * samples.place[columns] * samples.scale[step.block, columns]) ** 2
        np.add.at(weights, groups[step.block, columns], hits * significance[:, None])
    values = np.asarray(low + width * np.arange(bins) + (width - 1) / 2, dtype=np.float64)
    return Histograms(values, weights)


def span_of(samples: PsumSamples) -> tuple[int, int]:
    """Smallest and largest partial sum."""
    return min(int(s.psums.min()) for s in samples.steps), max(int(s.psums.max()) for s in samples.steps)


def fit_linear(samples: PsumSamples, spec: LinearConverter) -> tuple[Floats, Floats]:
    """(lsb, zero) [row blocks, columns] of `spec`; equal inside a group."""
    found = histograms(samples, spec.granularity)
    groups = groups_of(samples, spec.granularity)
    count = spec.levels
    match spec.method:
        case "minmax" | "percentile":
            bottoms, tops = _range(found, spec)
            lsb, zero = (tops - bottoms) / (count - 1), bottoms
        case "mse" | "output":
            lsb, zero = _least_squares(found, count)
        case other:
            assert_never(other)
    lsb = np.maximum(np.where(lsb > 0, lsb, 1.0), 2.0**-20)
    if spec.method != "output":
        return lsb[groups], zero[groups]
    starts = [(lsb[groups], zero[groups])]
    coarser = {"column": "array", "array": "layer", "layer": None}[spec.granularity]
    if coarser is not None:
        starts.append(fit_linear(samples, spec.model_copy(update={"granularity": coarser})))
    return least_output(samples, starts, groups, count)


def _range(found: Histograms, spec: LinearConverter) -> tuple[Floats, Floats]:
    weights = found.weights.copy()
    weights[~(weights > 0).any(axis=1)] = found.weights.sum(axis=0)
    if spec.method == "minmax":
        return edges(found.values, weights)
    share = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    tail = (100 - spec.percentile) / 100
    last = len(found.values) - 1
    return (
        found.values[np.minimum((share <= tail).sum(axis=1), last)],
        found.values[np.minimum((share < 1 - tail).sum(axis=1), last)],
    )


def _least_squares(found: Histograms, count: int) -> tuple[Floats, Floats]:
    """Of every group the step and zero of the least squared error; all groups have the same candidates."""
    values, weights = found.values, found.weights
    bottoms, tops = clipping_ranges(values, weights.sum(axis=0))
    lsbs = (tops - bottoms) / (count - 1)
    seen = values[weights.sum(axis=0) > 0]
    whole = np.unique(np.rint(np.linspace(seen[0], np.median(seen), 24)))  # step 1: exact where the range is covered
    zeros, lsbs = np.concatenate([whole, bottoms]), np.concatenate([np.ones(len(whole)), lsbs])
    codes = np.clip(np.floor((values[None] - zeros[:, None]) / lsbs[:, None] + 0.5), 0, count - 1)
    errors = (zeros[:, None] + codes * lsbs[:, None] - values[None]) ** 2
    best = (weights @ errors.T).argmin(axis=1)
    return lsbs[best], zeros[best]


def linear_adc(lsb: Floats, zero: Floats, samples: PsumSamples, spec: LinearConverter, circuit: Any) -> Adc:
    """The converter model of fitted steps; three levels are a table whose fourth code is never reached."""
    if spec.bits != 1.5:
        return LinearAdc(
            circuit=circuit,
            bits=int(spec.bits),
            lsb=grid(lsb, samples, spec.granularity),
            zero=grid(zero, samples, spec.granularity),
        )
    k = np.arange(4)
    levels = zero[..., None] + np.minimum(k, 2) * lsb[..., None]
    cuts = np.concatenate(
        [zero[..., None] + np.array([0.5, 1.5]) * lsb[..., None], np.full((*lsb.shape, 1), LIMIT)], axis=2
    )
    return NonlinearAdc(
        circuit=circuit,
        bits=2,
        thresholds=grid(cuts, samples, spec.granularity),
        levels=grid(levels, samples, spec.granularity),
    )


def grid(values: Floats, samples: PsumSamples, granularity: str) -> Any:
    """[row blocks, columns, ...] as a converter takes it: one value, [row blocks][arrays] or [row blocks][columns]."""
    if granularity == "layer":
        return values[0, 0].tolist()
    if granularity == "array":
        return values[:, [first for first, _ in samples.arrays]].tolist()
    if granularity == "column":
        return values.tolist()
    raise WorkloadError(f"granularity = {granularity!r}, must be layer, array or column")


def fit_table(samples: PsumSamples, spec: NonlinearConverter) -> Floats:
    """Levels [row blocks, columns, 2^bits] of `spec` for partial sums."""
    found = histograms(samples, spec.granularity)
    levels = fit_levels(found.values, found.weights, 2**spec.bits, spec.method, seed=0)
    return np.asarray(levels[groups_of(samples, spec.granularity)])


def quantized(psums: NDArray[np.int32], thresholds: Floats, levels: Floats) -> Floats:
    """Values of psums [P, C] by the thresholds [C, T] and levels [C, T + 1] of their columns."""
    codes = np.zeros(psums.shape, dtype=np.int64)
    for t in range(thresholds.shape[1]):
        codes += psums >= thresholds[:, t]
    return np.take_along_axis(np.broadcast_to(levels, (len(psums), *levels.shape)), codes[..., None], axis=2)[..., 0]


@dataclass(frozen=True, eq=False)
class View:
    """Psums of a column seen as `gain * psum - shift`, clamped to low .. high: activations where a ramp applies them."""

    gain: Floats  # [columns]
    shift: Floats
    low: float
    high: float


def errors_of(samples: PsumSamples, adc: Adc, view: View | None = None) -> tuple[float, float]:
    """(over all samples, over interior samples) squared error / variance of the samples, weighed as in the fit.

    The interior leaves out the samples at both edges of the layer's range, or of the activation's, where the converter
    applies it (`view`): errors are then those of activations.
    """
    if view is None:
        low, high = (float(edge) for edge in span_of(samples))
        view = View(np.ones(samples.columns), np.zeros(samples.columns), low, high)
    margin = 1e-3 * (view.high - view.low)
    sums = np.zeros((2, 4))  # error, weight, first and second moment
    for step in samples.steps:
        columns = slice(step.first, step.first + step.psums.shape[1])
        psums = step.psums[:MEASURED]
        gain, shift = view.gain[columns], view.shift[columns]
        values = np.clip(gain * psums - shift, view.low, view.high)
        error = (gain * _converted(adc, samples, step.block, columns, psums) - shift - values) ** 2
        weight = np.broadcast_to(
            (step.place * samples.place[columns] * samples.scale[step.block, columns]) ** 2, error.shape
        )
        inside = (values > view.low + margin) & (values < view.high - margin)
        for row, keep in ((0, np.ones_like(inside)), (1, inside)):
            w = weight * keep
            sums[row] += (w * error).sum(), w.sum(), (w * values).sum(), (w * values**2).sum()
    found = []
    for error, mass, first, second in sums:
        variance = second - first**2 / max(mass, 1e-300)
        found.append(float(error / variance) if variance > 0 else 0.0)
    return found[0], found[1]


def _converted(adc: Adc, samples: PsumSamples, block: int, columns: slice, psums: NDArray[np.int32]) -> Floats:
    """Values of psums [P, C] of some columns of a row block."""
    width = columns.stop - columns.start

    def of(value: Any, depth: int) -> Floats:
        array = np.asarray(value, dtype=np.float64)
        if array.ndim == depth:
            return np.broadcast_to(array, (width, *array.shape))
        row = array[block]
        if len(row) == samples.columns:
            made: Floats = row[columns]
            return made
        where = groups_of(samples, "array")[0, columns]
        spread: Floats = row[where]
        return spread

    adc = plain(adc)
    if isinstance(adc, LinearAdc):
        lsb, zero = of(adc.lsb, 0), of(adc.zero, 0)
        return np.asarray(zero + lsb * np.clip(np.floor((psums - zero) / lsb + 0.5), 0, 2**adc.bits - 1))
    assert isinstance(adc, NonlinearAdc)
    return quantized(psums, of(adc.thresholds, 1), of(adc.levels, 1))
