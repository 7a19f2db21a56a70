"""`open_trace`: a trace as tables in memory, with nothing but h5py."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cimemu.errors import TraceError
from cimemu.trace.schema import SCHEMA_VERSION

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


def open_trace(path: str | Path) -> Trace:
    """Open a trace. TraceError for a file that is missing, unfinished, no trace, or of another schema version."""
    path = Path(path)
    if not path.exists():
        partial = path.with_name(path.name + ".partial")
        hint = f"; {partial.name} is an unfinished one" if partial.exists() else ""
        raise TraceError(f"{path}: no such file, name a trace that `cimemu run` wrote{hint}")
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
