"""Conductance against time as it was measured: every cell follows one measured cell of its level."""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from cimemu.variation.base import Block, Owner, Per, Stream, VariationBase, per_field
from cimemu.variation.table import CELL_UNITS, SECONDS, Columns, Scale, open_table


@dataclass(frozen=True, eq=False)
class Track:
    """One measured cell: what it conducted (less its target) at times in ascending order."""

    seconds: tuple[float, ...]
    deviations: NDArray[np.float64]

    def at(self, seconds: float) -> float:
        """The deviation at a time: linear in the logarithm of time between two readings, in time from a reading at 0 on."""
        if seconds <= self.seconds[0]:
            return float(self.deviations[0])
        after = next(i for i, time in enumerate(self.seconds) if time >= seconds)
        share = _share(self.seconds[after - 1], seconds, self.seconds[after])
        return float(self.deviations[after - 1] * (1 - share) + self.deviations[after] * share)


class MeasuredDrift(VariationBase):
    """`level + (measured at that time - target)` of a measured cell that was written to the nearest target.

    The file has a row a reading, with columns `cell` (its name), `time_UNIT` (s, min, h or day since it was
    written), `target_UNIT` and `measured_UNIT`. Every cell takes a measured one by chance and follows it; before
    its first reading it is as at that one. The file holds writing errors too: leave out `measured`.
    """

    model: Literal["measured_drift"] = "measured_drift"
    file: str = Field(
        description="CSV of readings: cell, time_UNIT (s, min, h, day), target_UNIT and measured_UNIT; UNIT level, S, mS, uS or nS"
    )
    seconds: float = Field(ge=0, le=1e12, description="time since the cells were written, in s")
    low: float | None = Field(None, ge=0, description="conductance of level 0; none: the lowest target")
    high: float | None = Field(None, gt=0, description="conductance of the highest level; none: the highest target")
    per: Per = per_field("write")

    draws_of: ClassVar[Owner | None] = None
    source: ClassVar[str] = "a file of cells that were read again and again"

    _tracks: tuple[tuple[Track, ...], ...] = PrivateAttr()  # by target
    _targets: NDArray[np.float64] = PrivateAttr()
    _scale: Scale = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Read the file once."""
        unit, self._targets, self._tracks = _tracks(open_table(self.file, "a CSV of readings over time"))
        self._scale = Scale.of(self.file, unit, self._targets, self.low, self.high)
        last = min(track.seconds[-1] for tracks in self._tracks for track in tracks)
        if self.seconds > last:
            raise ValueError(f"seconds = {self.seconds:g}, must be <= {last:g}, when {self.file} last read every cell")

    @property
    def age(self) -> float:
        """Time since the cells were written."""
        return self.seconds

    @property
    def refresh(self) -> None:
        """They are written once."""
        return

    @property
    def writings(self) -> int:
        """How often the cells have been written."""
        return 1

    def calibrated(self, every: float) -> "MeasuredDrift":
        """The cells when a calibration of every so many seconds was made last."""
        return self.model_copy(update={"seconds": self.seconds // every * every})

    @property
    def is_identity(self) -> bool:
        """No cell is off its target."""
        return not any(deviations.any() for deviations in self._now())

    def smallest(self, top: int) -> float | None:
        """The smallest spread of a target, or where none has a spread the smallest deviation."""
        now, step = self._now(), self._scale.step(top)
        spreads = [float(d.std()) / step for d in now if d.std() > 0]
        return min(spreads or [float(np.abs(d[d != 0]).min()) / step for d in now if d.any()])

    def check(self, top: int) -> str | None:
        """Levels of the file are those that a cell can have."""
        return self._scale.check(self.file, top)

    def write(self, block: Block, stream: Stream) -> None:
        """One draw a cell: the measured cell that it follows at all times."""
        step, now = self._scale.step(block.top), self._now()
        lanes = stream.lanes(block, self.per).astype(np.int64)
        for level, target in enumerate(self._scale.nearest(self._targets, block.top).tolist()):
            mine = block.targets == level
            if mine.any():
                block.levels[mine] += now[target][(lanes[mine] * len(now[target])) >> 16] / step
        np.maximum(block.levels, 0.0, out=block.levels)

    def _now(self) -> list[NDArray[np.float64]]:
        """Deviations at the time, of every measured cell by target."""
        return [np.array([track.at(self.seconds) for track in tracks]) for tracks in self._tracks]


def _share(before: float, now: float, after: float) -> float:
    """How far `now` is between two times, by the logarithm where it has one; rounded once, so that no maths library matters."""
    with localcontext() as context:
        context.prec = 50
        times = [Decimal(time) for time in (before, now, after)]
        if before > 0:
            times = [time.ln() for time in times]
        return float((times[1] - times[0]) / (times[2] - times[0]))


def _tracks(columns: Columns) -> tuple[str, NDArray[np.float64], tuple[tuple[Track, ...], ...]]:
    """(unit, targets in ascending order, the cells of each in order of their names)."""
    file = columns.file
    names = {
        "time": columns.pick("time", tuple(SECONDS)),
        **{w: columns.pick(w, CELL_UNITS) for w in ("target", "measured")},
    }
    if None in names.values() or "cell" not in columns.texts:
        raise ValueError(
            f"{file}: has columns {', '.join(columns.texts)[:80]}; must have cell, time_UNIT, target_UNIT and measured_UNIT"
        )
    time, target, measured = (str(names[word]) for word in ("time", "target", "measured"))
    unit = columns.units[target]
    if columns.units[measured] != unit:
        raise ValueError(f"{file}: units {unit} and {columns.units[measured]}, must be the same in both columns")
    seconds = columns.numbers(time) * SECONDS[columns.units[time]]
    given, read, cells = columns.numbers(target), columns.numbers(measured), np.array(columns.texts["cell"])
    if (seconds < 0).any() or (read < 0).any() or (given < 0).any():
        raise ValueError(f"{file}: a time or a conductance is negative, must be 0 or more")
    found: dict[float, list[Track]] = {float(t): [] for t in np.unique(given)}
    for cell in np.unique(cells):
        mine = np.flatnonzero(cells == cell)
        mine = mine[np.argsort(seconds[mine], kind="stable")]
        if len(np.unique(given[mine])) > 1 or (np.diff(seconds[mine]) == 0).any():
            raise ValueError(f"{file}: cell {cell}: has two targets, or two readings at one time; must have one")
        times = tuple(seconds[mine].tolist())
        found[float(given[mine[0]])].append(Track(times, read[mine] - given[mine]))
    return unit, np.array(list(found)), tuple(tuple(tracks) for tracks in found.values())
