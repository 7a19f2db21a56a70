"""Ranges of activations from calibration images: min-max, percentile, or least squared error."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.layer.base import Array

BINS = 2048
CHUNK = 1 << 14  # values counted at once stay in the first-level caches
METHODS = ("minmax", "percentile", "mse")


@dataclass(frozen=True)
class Ranges:
    """How the scales of a quantised network are found.

    Weights have a scale for each output channel or one for the layer (`weight_granularity`). Activations' ranges are found
    by `method`: "minmax", "percentile" (of which `percentile` is kept) or "mse". Raises WorkloadError for another.
    """

    weight_granularity: str = "channel"
    method: str = "minmax"
    percentile: float = 99.99

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise WorkloadError(f"method = {self.method!r}, must be one of {', '.join(METHODS)}")
        if self.weight_granularity not in ("channel", "layer"):
            raise WorkloadError(f"weight_granularity = {self.weight_granularity!r}, must be channel or layer")
        if not 50.0 < self.percentile <= 100.0:
            raise WorkloadError(f"percentile = {self.percentile}, must be above 50 and at most 100")


class RangesKeywords(TypedDict, total=False):
    """Every field of `Ranges`, as a keyword of `quantize`."""

    weight_granularity: str
    method: str
    percentile: float


class Observer:
    """Range of one tensor over batches and its histogram, which grows by whole bins: nothing is counted twice."""

    def __init__(self, counting: bool = True) -> None:
        """Nothing seen yet; without `counting` there is no histogram, and "minmax" is the only method."""
        self.counting = counting
        self.low = np.inf
        self.high = -np.inf
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.edge_low = 0.0
        self.width = 0.0

    def add(self, values: Array) -> None:
        """Count one batch."""
        flat = np.asarray(values).reshape(-1)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        if not self.counting:
            return
        if self.width == 0.0:
            span = max(high - low, 1e-12)
            self.edge_low, self.width = low, span / (BINS // 2)
        while high >= self.edge_low + BINS * self.width or low < self.edge_low:
            self._double(to_the_left=low < self.edge_low)
        for first in range(0, flat.size, CHUNK):
            part = flat[first : first + CHUNK].astype(np.float64)
            part -= self.edge_low
            part /= self.width
            index = np.clip(part.astype(np.int64), 0, BINS - 1)
            self.counts += np.bincount(index, minlength=BINS)

    def _double(self, to_the_left: bool) -> None:
        """Bins twice as wide; the covered range grows to one side."""
        pairs = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.zeros(BINS, dtype=np.int64)
        if to_the_left:
            self.counts[BINS // 2 :] = pairs
            self.edge_low -= BINS * self.width
        else:
            self.counts[: BINS // 2] = pairs
        self.width *= 2

    def centres(self) -> NDArray[np.float64]:
        """Middle of every bin."""
        return np.asarray(self.edge_low + (np.arange(BINS) + 0.5) * self.width, dtype=np.float64)

    def range(self, method: str, percentile: float, levels: int, symmetric: bool) -> tuple[float, float]:
        """(low, high), zero included, by `method` for a quantiser of `levels` levels."""
        if not np.isfinite(self.low):
            raise WorkloadError("calibration: no value seen, give at least one calibration image")
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if method == "percentile":
            share = np.cumsum(self.counts) / self.counts.sum()
            tail = (100.0 - percentile) / 100.0
            first = self.edge_low + np.searchsorted(share, tail) * self.width
            last = self.edge_low + (np.searchsorted(share, 1.0 - tail) + 1) * self.width
            low, high = max(low, min(first, 0.0)), min(high, max(last, 0.0))
        elif method == "mse":
            low, high = self._least_error(low, high, levels, symmetric)
        elif method != "minmax":
            raise WorkloadError(f"method = {method!r}, must be minmax, percentile or mse")
        if symmetric:
            high = max(-low, high)
            low = -high
        return low, high

    def _least_error(self, low: float, high: float, levels: int, symmetric: bool) -> tuple[float, float]:
        """Both ends shrunk by a common factor: the one of 64 with the least squared error on the histogram."""
        centres = self.centres()
        best, chosen = np.inf, (low, high)
        for factor in np.linspace(1.0, 0.3, 64):
            a, b = low * factor, high * factor
            if symmetric:
                b = max(-a, b)
                a = -b
            step = max((b - a) / (levels - 1), 1e-30)
            near = np.clip(np.rint((centres - a) / step), 0, levels - 1) * step + a
            error = float(((centres - near) ** 2 * self.counts).sum())
            if error < best:
                best, chosen = error, (a, b)
        return chosen


@dataclass(frozen=True, eq=False)
class Observed:
    """Ranges that were seen already, by the name of a tensor: given to `quantize` in the place of images."""

    observers: Mapping[str, Observer]


def observe(
    batches: Iterable[Mapping[str, Array]], method: str, one_range: Mapping[str, str] | None = None
) -> dict[str, Observer]:
    """An observer per tensor over all batches, for ranges by `method`; tensors of `one_range` have that of another, its value."""
    alias = one_range or {}
    observers: dict[str, Observer] = {}
    for batch in batches:
        for name, values in batch.items():
            if values.dtype.kind == "f":
                observers.setdefault(alias.get(name, name), Observer(method != "minmax")).add(values)
    return observers
