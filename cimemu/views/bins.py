"""The event table cut down to what a picture shows: busy cycles by unit, layer and stretch of time, exact in sum."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.trace.read import Trace

MAX_BINS, MAX_ENTRIES = 2048, 400_000


@dataclass(frozen=True, eq=False)
class Bins:
    """Rows (unit, layer, bin) with busy cycles > 0, in that order; bin b is cycles `b * width .. (b + 1) * width`."""

    width: int
    unit: NDArray[np.int64]
    layer: NDArray[np.int64]
    bin: NDArray[np.int64]
    busy: NDArray[np.int64]


def bin_events(
    trace: Trace, units: NDArray[np.int64], max_bins: int = MAX_BINS, max_entries: int = MAX_ENTRIES
) -> Bins:
    """Busy cycles of `units` (their numbers) in stretches of equal length, few enough to draw; nothing is lost.

    An event's cycles are shared among the bins that it lies in; their sum is the events' total length.
    """
    layers, cycles = len(trace.layers["name"]), max(1, int(trace.attributes["cycles"]))
    number = np.full(len(trace.units["name"]), -1, dtype=np.int64)
    number[units] = np.arange(len(units))
    bins = int(min(max_bins, max(1, (1 << 25) // max(1, len(units) * layers)), cycles))
    width = -(-cycles // bins)
    bins = -(-cycles // width)
    busy = np.zeros(len(units) * layers * (bins + 1), dtype=np.int64)
    rising = np.zeros_like(busy)  # +1 where whole bins begin, -1 where they end
    for chunk in trace.event_chunks(("unit", "layer", "start", "end")):
        own = number[chunk["unit"]]
        inside = (own >= 0) & (chunk["layer"] >= 0) & (chunk["end"] > chunk["start"])
        start, end = chunk["start"][inside], chunk["end"][inside]
        row = (own[inside] * layers + chunk["layer"][inside]) * (bins + 1)
        first, last = start // width, (end - 1) // width
        same = first == last
        _add(busy, row[same] + first[same], (end - start)[same])
        row, start, end, first, last = (values[~same] for values in (row, start, end, first, last))
        _add(busy, row + first, (first + 1) * width - start)
        _add(busy, row + last, end - last * width)
        _add(rising, row + first + 1, np.ones_like(row))
        _add(rising, row + last, -np.ones_like(row))
    whole = np.cumsum(rising.reshape(-1, bins + 1), axis=1) * width
    total = (busy.reshape(-1, bins + 1) + whole)[:, :bins]
    while np.count_nonzero(total) > max_entries and bins > 1:
        bins, width = -(-bins // 2), width * 2
        even = np.pad(total, ((0, 0), (0, total.shape[1] % 2)))
        total = even[:, ::2] + even[:, 1::2]
    row, where = np.nonzero(total)
    return Bins(width, units[row // layers], row % layers, where, total[row, where])


def _add(target: NDArray[np.int64], where: NDArray[np.int64], amount: NDArray[np.int64]) -> None:
    """target[where] += amount, repeated places included; exact in integers."""
    np.add.at(target, where, amount)
