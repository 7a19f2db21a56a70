"""A chip as a file: what its cells and converters are, by macro, row and column, in HDF5.

`docs/manual/variation.md` has the layout. cimemu writes such files of chips that it draws; a measured chip in the same form
needs no more than the levels (or conductances) of its macros.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cimemu.errors import ArchError
from cimemu.given_file import refuse_input
from cimemu.variation.table import SIEMENS

FORMAT = 1


@dataclass(frozen=True, eq=False)
class ChipFile:
    """An open chip file; blocks of cells are read as they are wanted, by one thread at a time."""

    path: str
    file: Any
    lock: Any = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """ArchError where it is no chip file, or of a later form."""
        found = self.file.attrs.get("cimemu_chip")
        if found is None or "macros" not in self.file:
            raise ArchError(f"{self.path}: is no chip file, write one with: cimemu chip ARCH WORKLOAD --vary MODEL")
        if int(found) > FORMAT:
            raise ArchError(f"{self.path}: chip file of form {found}, this version reads {FORMAT}; take a newer cimemu")

    def number(self, name: str, default: float | None = None) -> Any:
        """A number among the file's attributes. ArchError where it is missing and has no default, or is none."""
        value = self.file.attrs.get(name, default)
        if value is None:
            raise ArchError(f"{self.path}: has no attribute {name}")
        try:
            made = float(value)
        except (TypeError, ValueError):
            raise ArchError(f"{self.path}: attribute {name} = {value!r}, must be a number") from None
        if not np.isfinite(made):
            raise ArchError(f"{self.path}: attribute {name} = {made}, must be finite")
        return made

    def texts(self, name: str) -> tuple[str, ...]:
        """Models among the attributes, as `--vary` takes them, in order."""
        found = self.file.attrs.get(name, ())
        return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in np.atleast_1d(found))

    def levels(
        self, macro: int, write: int, shape: tuple[int, int], first_column: int, top: int
    ) -> tuple[NDArray[np.float64], NDArray[np.uint8] | None]:
        """(levels, targets or None) [rows, columns] of the cells of a macro from `first_column` on, as it was written then."""
        rows, columns = slice(0, shape[0]), slice(first_column, first_column + shape[1])
        with self.lock:
            group = self._writing(macro, write)
            name = "levels" if "levels" in group else "conductances"
            if name not in group:
                raise ArchError(f"{self.path}: macro {macro}: has neither levels nor conductances")
            data = group[name]
            if data.ndim != 2 or data.shape[0] < shape[0] or data.shape[1] < columns.stop:
                raise ArchError(
                    f"{self.path}: macro {macro}: {name} {list(data.shape)}, the network has cells up to row {shape[0] - 1} and "
                    f"column {columns.stop - 1} there"
                )
            made = np.asarray(data[rows, columns], dtype=np.float64)
            targets = np.asarray(group["targets"][rows, columns], dtype=np.uint8) if "targets" in group else None
            unit = data.attrs.get("unit")
        if name == "conductances":
            made = self._as_levels(made, unit, top)
        if not np.isfinite(made).all() or (made < 0).any():
            row, column = np.argwhere(~(np.isfinite(made) & (made >= 0)))[0]
            place = f"macro {macro}, row {row}, column {first_column + column}"
            raise ArchError(f"{self.path}: {place}: {name} {made[row, column]}, must be 0 or more")
        return made, targets

    def _as_levels(self, made: NDArray[np.float64], unit: Any, top: int) -> NDArray[np.float64]:
        """Conductances in level steps: levels 0 .. top lie evenly between the file's `low_S` and `high_S`."""
        unit = unit.decode() if isinstance(unit, bytes) else unit
        if unit not in SIEMENS:
            raise ArchError(f"{self.path}: conductances with unit = {unit}, must be one of {', '.join(SIEMENS)}")
        low, high = self.number("low_S"), self.number("high_S")
        if not 0 <= low < high:
            raise ArchError(f"{self.path}: low_S = {low}, high_S = {high}, must be 0 <= low_S < high_S")
        return np.asarray(np.maximum((made * SIEMENS[unit] - low) / (high - low) * top, 0.0))

    def faults(self, macro: int, write: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """Faults [rows, columns] of the cells of a macro: 0 none, 1 stuck at level 0, 2 stuck at the highest level.

        ArchError where the file does not say which cells are stuck.
        """
        with self.lock:
            data = self._writing(macro, write).get("faults")
            if data is None:
                raise ArchError(
                    f"{self.path}: macro {macro}: has no faults, which macro.repair chooses its spare lines by; add them, or set "
                    "macro.repair.spare_rows and spare_columns to 0"
                )
            if data.ndim != 2 or data.shape[0] < shape[0] or data.shape[1] < shape[1]:
                raise ArchError(
                    f"{self.path}: macro {macro}: faults {list(data.shape)}, the arch has {list(shape)} cells with spare lines"
                )
            made = np.asarray(data[: shape[0], : shape[1]])
        if not np.isin(made, (0, 1, 2)).all():
            raise ArchError(
                f"{self.path}: macro {macro}: faults must be 0 (none), 1 (at level 0) or 2 (at the highest)"
            )
        return made.astype(np.uint8)

    def _writing(self, macro: int, write: int) -> Any:
        group = self.file["macros"].get(f"{macro:05d}")
        if group is None:
            raise ArchError(
                f"{self.path}: has no macro {macro}, which the network uses; its macros are {self._macros()}"
            )
        found = group.get(f"writing_{write}")
        if found is None:
            raise ArchError(
                f"{self.path}: macro {macro}: has no writing {write}, the network writes it {write + 1} times"
            )
        return found

    def _macros(self) -> str:
        names = sorted(self.file["macros"])
        return f"{names[0]} to {names[-1]}" if names else "none"

    def pulses(self, macro: int, write: int, first_column: int) -> tuple[int, int] | None:
        """(write pulses, the longest of every row, summed) of the block from `first_column` on; None where nobody counted."""
        with self.lock:
            table = self._writing(macro, write).get("pulses")
            rows = [] if table is None else np.asarray(table).reshape(-1, 3).tolist()
        return next(((int(cells), int(longest)) for first, cells, longest in rows if int(first) == first_column), None)

    def converters(self, macro: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """(transitions in LSB [models, converters, thresholds], gain errors [models, converters]); None: they are ideal."""
        with self.lock:
            group = self.file["macros"].get(f"{macro:05d}", {}).get("converters")
            if group is None:
                return None
            moved, gain = (np.asarray(group[name], dtype=np.float64) for name in ("transitions", "gain"))
        if moved.ndim == 2:  # a measured file has one set of errors
            moved, gain = moved[None], gain.reshape(1, -1)
        if (
            moved.ndim != 3
            or gain.shape != moved.shape[:2]
            or not (np.isfinite(moved).all() and np.isfinite(gain).all())
        ):
            raise ArchError(
                f"{self.path}: macro {macro}: converters: transitions {list(moved.shape)} and gain {list(gain.shape)}, must be "
                "finite [converters, thresholds] and [converters]"
            )
        return moved, gain

    @property
    def has_converters(self) -> bool:
        """Whether converters of some macro have errors."""
        with self.lock:
            return any("converters" in group for group in self.file["macros"].values())


def open_chip(file: str) -> ChipFile:
    """The chip file of this name. ArchError in one line where it is none."""
    path = refuse_input(Path(file), ArchError, "a chip file of cimemu chip")
    found = path.stat()
    return _opened(str(path), found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4)
def _opened(path: str, changed: int, size: int) -> ChipFile:
    try:
        return ChipFile(path, h5py.File(path, "r"))
    except OSError:
        raise ArchError(
            f"{path}: is no HDF5 file, write a chip file with: cimemu chip ARCH WORKLOAD --vary MODEL"
        ) from None
