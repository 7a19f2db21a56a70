"""`open_trace`: a trace as tables in memory, with nothing but h5py."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cimemu.errors import TraceError
from cimemu.trace.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas
    import xarray

EVENT_ROWS = 1 << 20  # rows of one piece of the event table
Table = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Trace:
    """A trace; groups are read when they are asked for."""

    path: Path
    attributes: dict[str, Any]

    @property
    def arch(self) -> dict[str, Any]:
        """The architecture as a mapping (`Arch.model_validate` takes it)."""
        return dict(json.loads(self.attributes["arch_json"]))

    def table(self, group: str) -> Table:
        """All datasets of a group by name; strings as str objects. TraceError where there is no such group."""
        try:
            with h5py.File(self.path, "r") as file:
                if group not in file:
                    raise TraceError(f"{self.path}: no group {group!r}, has {', '.join(file)}")
                return {name: _array(data) for name, data in file[group].items()}
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be read, run the emulation again") from error

    @property
    def layers(self) -> Table:
        """A row per layer."""
        return self.table("layers")

    @property
    def units(self) -> Table:
        """A row per unit."""
        return self.table("units")

    @property
    def events(self) -> Table:
        """A row per event."""
        return self.table("events")

    @property
    def energy(self) -> Table:
        """Energy, area and counts."""
        return self.table("energy")

    @property
    def kinds(self) -> list[str]:
        """Names of event kinds."""
        with h5py.File(self.path, "r") as file:
            return [str(kind) for kind in file["events"].attrs["kinds"]]

    @property
    def event_count(self) -> int:
        """Rows of the event table."""
        with h5py.File(self.path, "r") as file:
            return len(file["events/op"])

    def event_chunks(self, columns: Sequence[str], rows: int = EVENT_ROWS) -> Iterator[Table]:
        """Pieces of the event table of at most `rows` rows, so that any trace fits in memory."""
        with h5py.File(self.path, "r") as file:
            group = file["events"]
            for first in range(0, len(group["op"]), rows):
                yield {name: np.asarray(group[name][first : first + rows]) for name in columns}

    def frame(self, group: str) -> "pandas.DataFrame":
        """A group as a pandas DataFrame, indexed by its first dimension; see `cimemu.trace.frames`."""
        from cimemu.trace.frames import frame

        return frame(self, group)

    def dataset(self, group: str) -> "xarray.Dataset":
        """A group as an xarray Dataset with named dimensions and units; see `cimemu.trace.frames`."""
        from cimemu.trace.frames import dataset

        return dataset(self, group)


def open_trace(path: str | Path) -> Trace:
    """Open a trace. TraceError for a file that is missing, unfinished, no trace, or of another schema version."""
    path = Path(path)
    if not path.exists():
        partial = path.with_name(path.name + ".partial")
        hint = f"; {partial.name} is an unfinished one" if partial.exists() else ""
        raise TraceError(f"{path}: no such file, name a trace that `cimemu run` wrote{hint}")
    if path.name.endswith(".partial"):
        raise TraceError(
            f"{path}: is unfinished, its run is still going or was killed; run it again (a stress run or a sweep: "
            f"go on with --resume {path.name})"
        )
    try:
        with h5py.File(path, "r") as file:
            attributes = {name: _plain(value) for name, value in file.attrs.items()}
    except OSError as error:
        raise TraceError(f"{path}: is no HDF5 file, name a trace that `cimemu run` wrote") from error
    version = attributes.get("schema_version")
    if version != SCHEMA_VERSION:
        raise TraceError(f"{path}: schema_version = {version}, this cimemu reads {SCHEMA_VERSION}")
    return Trace(path, attributes)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _array(data: Any) -> NDArray[Any]:
    if h5py.check_string_dtype(data.dtype):
        return np.array(data.asstr()[()], dtype=object)
    return np.asarray(data[()])
