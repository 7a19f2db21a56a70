"""Which events of a trace a view shows: cycles, images, layers, units, and at most how many."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import TraceError
from cimemu.trace.read import Trace
from cimemu.trace.tables import Table

COLUMNS = ("unit", "op", "kind", "layer", "image", "start", "end")


@dataclass(frozen=True)
class Window:
    """Events that touch cycles `first` .. `last` (exclusive; None: open), of given images, layers and units."""

    first: int = 0
    last: int | None = None
    images: tuple[int, ...] | None = None
    layers: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None  # beginnings of unit names
    limit: int | None = None

    def __post_init__(self) -> None:
        """Refuse what holds no cycle."""
        if self.first < 0:
            raise TraceError(f"window: first cycle = {self.first}, must be >= 0")
        if self.last is not None and self.last <= self.first:
            raise TraceError(f"window: cycles {self.first} .. {self.last}, the last must be larger than the first")
        if self.limit is not None and self.limit < 1:
            raise TraceError(f"window: limit = {self.limit}, must be >= 1")


@dataclass(frozen=True, eq=False)
class Selection:
    """Chosen events in order of (start, unit, end), of how many that lie in the window."""

    events: Table
    found: int

    @property
    def cut(self) -> bool:
        """Whether the limit left some out."""
        return len(self.events["op"]) < self.found


def select_events(trace: Trace, window: Window) -> Selection:
    """The window's events, the earliest ones where there are more than its limit. TraceError for unknown names."""
    layers = _chosen(window.layers, list(trace.layers["name"]), "layer", exact=True)
    units = _chosen(window.units, list(trace.units["name"]), "unit", exact=False)
    kept: Table = {name: np.zeros(0, dtype=np.int64) for name in COLUMNS}
    found = 0
    for chunk in trace.event_chunks(COLUMNS):
        inside = chunk["end"] >= window.first if window.first else np.ones(len(chunk["op"]), dtype=bool)
        if window.last is not None:
            inside &= chunk["start"] < window.last
        if window.images is not None:
            inside &= np.isin(chunk["image"], window.images)
        if layers is not None:
            inside &= layers[chunk["layer"]]
        if units is not None:
            inside &= units[chunk["unit"]]
        found += int(inside.sum())
        if window.limit is not None and len(kept["op"]) == window.limit:
            inside &= chunk["start"] <= kept["start"][-1]
        kept = {name: np.concatenate([kept[name], chunk[name][inside]]) for name in COLUMNS}
        order = np.lexsort((kept["end"], kept["unit"], kept["start"]))[: window.limit]
        kept = {name: values[order] for name, values in kept.items()}
    return Selection(kept, found)


def _chosen(wanted: Sequence[str] | None, names: list[str], what: str, exact: bool) -> NDArray[np.bool_] | None:
    """Which of `names` are wanted; None for all."""
    if wanted is None:
        return None
    chosen = np.zeros(len(names), dtype=bool)
    for one in wanted:
        hits = [i for i, name in enumerate(names) if (name == one if exact else name.startswith(one))]
        if not hits:
            raise TraceError(f"window: no {what} {one!r} in the trace, has {', '.join(names[:8])} ...")
        chosen[hits] = True
    return chosen
