"""Tables of measurements: CSV whose columns end with their units, of a user or of the library of devices."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import ArchError
from cimemu.given_file import read_text

SIEMENS = {"S": 1.0, "mS": 1e-3, "uS": 1e-6, "nS": 1e-9}
CELL_UNITS = ("level", *SIEMENS)
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}
LIBRARY = "library:"  # begins the name of a file that comes with cimemu
MOST_BYTES = 1 << 26


@dataclass(frozen=True, eq=False)
class Columns:
    """A table's columns by their names, as text, and their units; `lines` are the rows' numbers in the file."""

    file: str
    texts: dict[str, tuple[str, ...]]
    units: dict[str, str]
    lines: tuple[int, ...]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column's values. ValueError naming the line where one is no finite number."""
        made = np.empty(len(self.lines))
        for i, (line, text) in enumerate(zip(self.lines, self.texts[name])):
            try:
                made[i] = float(text)
            except ValueError:
                made[i] = np.nan
            if not np.isfinite(made[i]):
                raise ValueError(f"{self.file}: line {line}: {name} = {text[:40]!r}, must be a number")
        return made

    def pick(self, word: str, units: Sequence[str]) -> str | None:
        """The first column whose name begins with `word`, None where there is none. ValueError for another unit."""
        found = next((name for name in self.texts if name.lower().startswith(word)), None)
        if found is not None and self.units[found] not in units:
            raise ValueError(
                f"{self.file}: column {found} is in {self.units[found] or 'no unit'}, must be in one of {', '.join(units)}"
            )
        return found


def open_table(file: str, what: str) -> Columns:
    """The CSV of that name. ValueError in one line where it is none; `what` says what it should be."""
    try:
        return _parsed(_text(file, what), file)
    except ArchError as error:
        raise ValueError(str(error)) from None


def _text(file: str, what: str) -> str:
    if not file.startswith(LIBRARY):
        return read_text(Path(file), ArchError, what, most=MOST_BYTES)
    name = file.removeprefix(LIBRARY)
    found = files("cimemu.variation") / "library" / f"{name}.csv"
    if not re.fullmatch(r"\w+", name) or not found.is_file():
        raise ArchError(f"{file}: no such file of the library, see: cimemu list devices")
    return found.read_text(encoding="utf-8")


@lru_cache(maxsize=8)
def _parsed(text: str, file: str) -> Columns:
    kept = [line for line in text.lstrip("\ufeff").splitlines() if not line.startswith("#")]
    reader = csv.reader(io.StringIO("\n".join(kept), newline=""))
    heading = [name.strip() for name in next(reader, [])]
    if not all(heading) or len(set(heading)) < len(heading):
        raise ValueError(f"{file}: has columns {', '.join(heading)[:80] or '(none)'}; each must have a name of its own")
    rows, lines = [], []
    for number, row in enumerate(reader, start=2 + len(text.splitlines()) - len(kept)):
        if any(cell.strip() for cell in row):
            rows.append([*(cell.strip() for cell in row), *[""] * len(heading)][: len(heading)])
            lines.append(number)
    if not rows:
        raise ValueError(f"{file}: has no row of measurements, must have one for each")
    units = {name: re.split(r"[_\s\[(]", name.rstrip(")] "))[-1] for name in heading}
    return Columns(file, dict(zip(heading, zip(*rows))), units, tuple(lines))


@dataclass(frozen=True)
class Scale:
    """Where the levels of a cell lie in a table's unit."""

    unit: str
    low: float
    high: float

    @classmethod
    def of(cls, file: str, unit: str, targets: NDArray[np.float64], low: float | None, high: float | None) -> "Scale":
        """Levels as they are, or evenly between two conductances. ValueError where these do not fit."""
        if unit == "level":
            if low is not None or high is not None:
                raise ValueError(f"low and high with {file}, which gives levels: leave them out")
            return cls(unit, 0.0, float(targets.max()))
        made = cls(unit, float(targets.min()) if low is None else low, float(targets.max()) if high is None else high)
        if made.high <= made.low:
            raise ValueError(f"high = {made.high:g} {unit}, must be above low = {made.low:g}; give low and high")
        return made

    def step(self, top: int) -> float:
        """A level step in the unit."""
        return 1.0 if self.unit == "level" else (self.high - self.low) / top

    def check(self, file: str, top: int) -> str | None:
        """Levels of the file are those that a cell can have."""
        if self.unit == "level" and self.high > top:
            return f"{file}: target {self.high:g} is no level of the cell, must be in 0 .. {top}"
        return None

    def nearest(self, targets: NDArray[np.float64], top: int) -> NDArray[np.int64]:
        """The number of the target that is nearest to every level 0 .. top; of two as near the first."""
        places = targets if self.unit == "level" else (targets - self.low) / self.step(top)
        return np.asarray(np.abs(places[None, :] - np.arange(top + 1)[:, None]).argmin(axis=1), dtype=np.int64)
