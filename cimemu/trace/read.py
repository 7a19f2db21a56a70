"""`open_trace`: a trace as tables in memory, with nothing but h5py."""

import glob
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cimemu.errors import TraceError
from cimemu.facts import Facts, Shown, energy_text
from cimemu.given_file import refuse_input
from cimemu.trace.tables import EventNames, Table
from cimemu.trace.validate import check_events, damaged, kinds_of, own_dataset, validated_attributes
from cimemu.uncertainty import ChipDraws, Interval, interval
from cimemu.whole_file import NAME_KEPT

if TYPE_CHECKING:
    import pandas
    import xarray

EVENT_ROWS = 1 << 20  # rows of one piece of the event table


@dataclass(frozen=True, eq=False, repr=False)
class Trace(Shown):
    """A trace; groups are read when they are asked for."""

    path: Path
    attributes: dict[str, Any]

    def _facts(self) -> Facts:
        told = self.attributes
        if "kind" in told:
            return f"Trace {self.path}: {told['kind']}", [("groups", "open_trace(...).table(name) reads one")]
        accuracy = told.get("accuracy")
        return f"Trace {self.path}: {told['workload']} on {self.arch['name']}", [
            ("images", f"{int(told['images']):,}"),
            ("accuracy", "no labels" if accuracy is None else f"{100 * float(accuracy):.2f} %"),
            ("time", f"{int(told['cycles']):,} cycles = {float(told['latency_us']):,.1f} us"),
            ("energy", energy_text(float(told["energy_pj"]) / 1e6, int(told["images"]), self.energy_interval())),
            ("detail", str(told["detail"])),
        ]

    @property
    def arch(self) -> dict[str, Any]:
        """The architecture as a mapping (`Arch.model_validate` takes it)."""
        return dict(json.loads(self.attributes["arch_json"]))

    def table(self, group: str) -> Table:
        """All datasets of a group by name; strings as str objects. TraceError where there is no such group."""
        with self._opened() as file:
            if not isinstance(file.get(group), h5py.Group):
                raise TraceError(f"{self.path}: no group {group!r}, has {', '.join(file)}")
            names = [name for name in file[group] if own_dataset(file, f"{group}/{name}") is not None]
            return {name: _array(file[group][name]) for name in names}

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        """The open file. TraceError for all that can be wrong with it since it was checked."""
        try:
            with h5py.File(self.path, "r") as file:
                yield file
        except (TraceError, GeneratorExit, MemoryError):
            raise
        except Exception as error:  # the HDF5 library has a kind of its own for every sort of damage
            raise damaged(self.path, f"cannot be read ({str(error)[:100]})") from error

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

    def chip_draws(self) -> ChipDraws:
        """Energies by layer and component, and areas, in every draw of the chip's prices: what intervals are made of."""
        energy = self.energy
        return ChipDraws.of(self.arch, list(energy["component"]), energy["pj"], energy["area_um2"])

    def energy_interval(self) -> Interval:
        """Between which two energies in uJ the run's lies with 90 %, by the intervals of all prices (`cimemu docs energy`)."""
        low, high = interval(self.chip_draws().total())
        return Interval(low / 1e6, high / 1e6)

    @property
    def kinds(self) -> list[str]:
        """Names of event kinds."""
        with self._opened() as file:
            return kinds_of(file, self.path)

    @property
    def event_names(self) -> EventNames:
        """Names of kinds, units and layers, by the numbers in the event table."""
        return EventNames(self.kinds, list(self.units["name"]), list(self.layers["name"]))

    @property
    def event_count(self) -> int:
        """Rows of the event table."""
        with self._opened() as file:
            return len(file["events/op"])

    def event_chunks(self, columns: Sequence[str], rows: int = EVENT_ROWS) -> Iterator[Table]:
        """Pieces of the event table of at most `rows` rows, so that any trace fits in memory.

        TraceError where a row names a unit, layer or kind that is not there.
        """
        with self._opened() as file:
            counts = {"unit": len(file["units/name"]), "layer": len(file["layers/name"])}
            counts["kind"] = len(kinds_of(file, self.path))
            total = len(file["events/op"])
        for first in range(0, total, rows):
            with self._opened() as file:
                chunk = {name: np.asarray(file["events"][name][first : first + rows]) for name in columns}
            check_events(self.path, chunk, counts)
            yield chunk

    def plot(self, file: str | Path | None = None) -> Any:
        """Cycles and energy of every layer side by side, as a matplotlib figure (extra `plot`); written to `file` if given."""
        from cimemu.trace.figures import run_figure

        layers, energy = self.layers, self.energy
        leakage = float(energy["pj"][-1].sum())
        return run_figure(self._facts()[0], list(layers["name"]), layers["cycles"], layers["energy_pj"], leakage, file)

    def plot_timeline(self, first: int = 0, last: int | None = None, file: str | Path | None = None) -> Any:
        """What every unit does in cycles `first` .. `last`, as a matplotlib figure (extra `plot`).

        TraceError where there are more events than a picture can show: give cycles that lie closer together.
        """
        from cimemu.trace.figures import timeline_figure

        named = [str(name) for name in self.units["name"]], [str(name) for name in self.layers["name"]]
        events = self.event_chunks(("unit", "layer", "start", "end"))
        return timeline_figure(self.path, named, events, (first, last), file)

    def frame(self, group: str) -> "pandas.DataFrame":
        """A group as a pandas DataFrame, indexed by its first dimension; see `cimemu.trace.frames`."""
        from cimemu.trace.frames import frame

        return frame(self.path, group, self.table(group), self.event_names if group == "events" else None)

    def dataset(self, group: str) -> "xarray.Dataset":
        """A group as an xarray Dataset with named dimensions and units; see `cimemu.trace.frames`."""
        from cimemu.trace.frames import dataset

        return dataset(group, self.table(group))


def open_trace(path: str | Path) -> Trace:
    """Open a trace and check it against the schema.

    TraceError for a file that is missing, unfinished, no trace, of another schema version, or damaged: the line names
    the attribute or dataset.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> result = cimemu.run(arch, quantized, workload.inputs(1)[0], trace="digits.h5")
    >>> trace = cimemu.open_trace("digits.h5")
    >>> trace.attributes["cycles"], list(trace.layers["name"])[:2]
    (105283, ['image_QuantizeLinear', 'stem'])
    """
    path = Path(path)
    if not os.path.lexists(path) and len(path.name) < 255:
        unfinished = sorted(path.parent.glob(f"{glob.escape(path.name[:NAME_KEPT])}.*partial"))
        hint = f"; {unfinished[0].name} is an unfinished one" if unfinished else ""
        raise TraceError(f"{path}: no such file, name a trace that `cimemu run` wrote{hint}")
    refuse_input(path, TraceError, "a trace that `cimemu run` wrote")
    if path.name.endswith(".partial"):
        raise TraceError(
            f"{path}: is unfinished, its run is still going or was killed; run it again (a stress run or a sweep: "
            f"go on with --resume {path.name})"
        )
    return Trace(path, validated_attributes(path))


def _array(data: Any) -> NDArray[Any]:
    if h5py.check_string_dtype(data.dtype):
        return np.array(data.asstr(errors="backslashreplace")[()], dtype=object)
    return np.asarray(data[()])
