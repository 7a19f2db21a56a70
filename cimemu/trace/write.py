"""Writes a trace: into a temporary file, which says that it is unfinished and gets its name when it is whole."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cimemu.errors import TraceError
from cimemu.events import Counter, Kind
from cimemu.mapping.plan import LayerPlan, Plan
from cimemu.shown import printable
from cimemu.tally import CHARGED, Tally, count_prices
from cimemu.timing.timeline import Events, Timeline
from cimemu.trace.memory import memory_file
from cimemu.trace.schema import _EVENT, ATTRIBUTES, CHUNK, DATASETS, SCHEMA_VERSION, STALLS
from cimemu.version import __version__
from cimemu.whole_file import whole_file

_DTYPES = {item.path: item.dtype for item in DATASETS}
_FILTERS = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
MAX_EVENTS = 20_000_000
OF_GATES, GATES = ("wake_up",), (Counter.WAKE_UPS,)  # components and counters that only chips with gating have
UNFINISHED = "unfinished"  # root attribute of a partial file: what it is

DIGITAL_PRODUCT = "digital float32"
DIGITAL_INTEGERS = "digital integers"


@dataclass(frozen=True, eq=False)
class TraceContent:
    """All of a trace but its events. Counts are int64: `activity` [images, layers, counters], `programming` without images."""

    plan: Plan
    timeline: Timeline
    tally: Tally
    activity: NDArray[np.int64]
    programming: NDArray[np.int64]
    outputs: Mapping[str, NDArray[Any]]  # by name [images, ...]
    paths: Mapping[str, frozenset[str]]  # by layer
    predictions: NDArray[np.int64] | None  # [images]
    labels: NDArray[np.integer] | None  # [images]
    attributes: Mapping[str, Any]  # of the root
    provenance: Mapping[str, Any]


class TraceWriter:
    """A context manager; leaving it by an exception leaves no file behind."""

    def __init__(self, path: Path, *, overwrite: bool = False, event_images: int | None = None) -> None:
        """`event_images`: events of the first images only (None: as many as fit 20 million events)."""
        self.path, self.overwrite, self.event_images = path, overwrite, event_images
        self.written = 0
        self.pending: list[Events] = []
        self.pending_rows = 0
        self.images_seen: set[int] = set()

    def __enter__(self) -> "TraceWriter":
        """Claim a temporary file beside the trace. TraceError where the name is taken or cannot be written."""
        self.whole = whole_file(self.path, TraceError, overwrite=self.overwrite)
        self.partial = self.whole.__enter__()
        try:
            self.file = memory_file()
            self.partial.write_bytes(_unfinished(self.path.name))
        except BaseException:  # Ctrl-C here, before the caller's `with` takes over
            if not self.whole.__exit__(*sys.exc_info()):
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the whole file and give it its name, or remove what there is of it."""
        try:
            if kind is None:
                self.file.flush()
                self.partial.write_bytes(self.file.id.get_file_image())
        except BaseException:
            self.whole.__exit__(*sys.exc_info())
            raise
        finally:
            self.file.close()
        self.whole.__exit__(kind, error, trace)

    def events(self, events: Events) -> bool:
        """Take the events of one image; False where those of this and of later images are left out."""
        rows = len(events["op"])
        image = int(events["image"][0]) if rows else -1
        if image >= 0 and image not in self.images_seen:
            limit = self.event_images
            full = self.written + self.pending_rows + rows > MAX_EVENTS and bool(self.images_seen)
            if (limit is not None and image >= limit) or (limit is None and full) or self.event_images == 0:
                if limit is None:
                    self.event_images = image
                return False
            self.images_seen.add(image)
        elif image >= 0 and self.event_images is not None and image >= self.event_images:
            return False
        self.pending.append(events)
        self.pending_rows += rows
        if self.pending_rows >= 4 * CHUNK:
            self._flush(self.pending_rows // CHUNK * CHUNK)
        return True

    def _flush(self, rows: int) -> None:
        """Write the first `rows` of what is pending: whole chunks, each compressed once, but at the end."""
        columns = {name: np.concatenate([e[name] for e in self.pending]) for name in (self.pending or [{}])[0]}
        for item in _EVENT:
            name = item.path.split("/")[1]
            if item.path not in self.file:
                self.file.create_dataset(
                    item.path, shape=(0,), maxshape=(None,), dtype=item.dtype, chunks=(CHUNK,), **_FILTERS
                )
            if rows:
                data = self.file[item.path]
                data.resize((self.written + rows,))
                data[self.written :] = columns[name][:rows].astype(item.dtype, copy=False)
        self.written += rows
        self.pending_rows -= rows
        self.pending = [{name: column[rows:] for name, column in columns.items()}] if self.pending_rows else []

    def finish(self, content: TraceContent) -> None:
        """Everything but the events."""
        plan, timeline, tally = content.plan, content.timeline, content.tally
        self._flush(self.pending_rows)
        self.file["events"].attrs["kinds"] = [
            kind.name.lower() for kind in Kind if plan.arch.power.gating is not None or kind != Kind.WAKE
        ]
        arch, writes = plan.arch, plan.most_writes(timeline.images)
        known = {
            "schema_version": SCHEMA_VERSION,
            "cimemu_version": __version__,
            "arch_json": json.dumps(arch.model_dump(mode="json"), sort_keys=True),
            "clock_ns": arch.clock_ns,
            "event_images": len(self.images_seen),
            "cycles": timeline.cycles,
            "image_cycles": timeline.image_cycles,
            "programming_cycles": timeline.programming_cycles,
            "energy_pj": tally.total_pj,
            "macros": plan.macros_used,
            "utilization": plan.utilization,
            "writes_per_cell": writes,
            "provenance_json": json.dumps(dict(content.provenance), sort_keys=True, default=str),
            **content.attributes,
        }
        if arch.power.gating is not None:
            known["gated_cycles"] = timeline.gated_cycles
        if writes:
            known["lifetime_runs"] = arch.programming.endurance_writes / writes
        for item in ATTRIBUTES:
            value = known.get(item.path)
            if value is not None:
                self.file.attrs[item.path] = printable(value) if isinstance(value, str) else value
        for name, array in zip(_dataset_names(content.outputs), content.outputs.values()):
            self._put(f"outputs/{name}", array)
        if content.predictions is not None:
            self._put("outputs/prediction", content.predictions)
        if content.labels is not None:
            self._put("outputs/label", content.labels)
        self._layers(content)
        self._units(timeline, gated=arch.power.gating is not None)
        self._energy(plan, tally, content.activity, content.programming)
        self._macros(plan)
        self._put("images/start", timeline.image_start)
        self._put("images/end", timeline.image_end)
        laws = _laws(plan, timeline, tally, content.activity.sum(axis=0) + content.programming)
        self._put("check/name", list(laws))
        self._put("check/holds", np.array(list(laws.values())))

    def _put(self, path: str, values: Any) -> None:
        dtype = _DTYPES.get(path, "any")
        if dtype == "str" or isinstance(values, list | tuple):
            self.file.create_dataset(path, data=[printable(str(text)) for text in values], dtype=h5py.string_dtype())
            return
        array = np.asarray(values) if dtype == "any" else np.asarray(values, dtype=dtype)
        if array.size > 4096:
            self.file.create_dataset(path, data=array, chunks=True, **_FILTERS)
        else:
            self.file.create_dataset(path, data=array)

    def _layers(self, content: TraceContent) -> None:
        plan, timeline, tally = content.plan, content.timeline, content.tally
        activity, paths = content.activity, content.paths
        layers, images = plan.layers, len(activity)
        totals = activity.sum(axis=0)
        macros = [len({(p.phase, p.macro) for p in plan.placed if p.layer == layer.cells_of}) for layer in layers]
        cells = [sum(block.cells for block in layer.blocks) * layer.replicas for layer in layers]
        size = plan.arch.macro.rows * plan.arch.macro.columns
        columns: dict[str, Any] = {
            "name": [layer.name for layer in layers],
            "op": [layer.op for layer in layers],
            "phase": [layer.phase for layer in layers],
            "macs": [layer.macs * images for layer in layers],
            "cycles": timeline.layer_cycles,
            "conversions": totals[:, Counter.CONVERSIONS],
            "macro_ops": totals[:, Counter.MACRO_OPS],
            "skipped_steps": totals[:, Counter.SKIPPED_STEPS],
            "positions": [layer.geometry.positions if layer.geometry else 0 for layer in layers],
            "scale_multiplications": [
                int(total) or (layer.geometry.positions * layer.geometry.channels_out * images if layer.geometry else 0)
                for layer, total in zip(layers, totals[:, Counter.SCALE_MULTIPLICATIONS])
            ],
            "blocks": [len(layer.blocks) for layer in layers],
            "replicas": [layer.replicas for layer in layers],
            "macros": macros,
            "utilization": [c / (m * size) if m else np.nan for c, m in zip(cells, macros)],
            "energy_pj": tally.energy_pj[: len(layers)].sum(axis=1),
            "path": ["+".join(sorted(paths.get(layer.name, ()))) or _unit(layer) for layer in layers],
        }
        columns.update(zip(STALLS, timeline.layer_stalls.T))
        for name, values in columns.items():
            self._put(f"layers/{name}", values if _DTYPES[f"layers/{name}"] == "str" else np.asarray(values))

    def _units(self, timeline: Timeline, *, gated: bool) -> None:
        self._put("units/name", list(timeline.units))
        self._put("units/operations", timeline.operations)
        self._put("units/busy_cycles", timeline.busy)
        for name, values in zip(STALLS, timeline.stalls.T):
            self._put(f"units/{name}", values)
        if gated:
            self._put("units/off_cycles", timeline.off)

    def _energy(self, plan: Plan, tally: Tally, activity: NDArray[np.int64], programming: NDArray[np.int64]) -> None:
        prices, quanta_per_pj = count_prices(plan.arch)
        gated = plan.arch.power.gating is not None  # without, traces do not tell of waking
        names = [name for name in tally.components if gated or name not in OF_GATES]
        own, counters = (
            [tally.components.index(name) for name in names],
            [c for c in Counter if gated or c not in GATES],
        )
        self._put("energy/row", list(tally.rows))
        self._put("energy/component", names)
        self._put("energy/pj", tally.energy_pj[:, own])
        self._put("energy/image_pj", tally.image_pj)
        self._put("energy/price_pj", np.array([prices[name] / quanta_per_pj for name in names]))
        self._put("energy/area_um2", tally.area_um2[own])
        self._put("energy/leakage_uw", tally.leakage_uw[own])
        self._put("energy/instances", tally.instances[own])
        self._put("energy/counter", [counter.name.lower() for counter in counters])
        self._put("energy/counts", (activity.sum(axis=0) + programming)[:, counters])

    def _macros(self, plan: Plan) -> None:
        phases, macros = np.nonzero(plan.macro_cells)
        cells = plan.macro_cells[phases, macros]
        self._put("macros/phase", phases)
        self._put("macros/macro", macros)
        self._put("macros/tile", macros // plan.arch.tile.macros)
        self._put("macros/cells", cells)
        self._put("macros/utilization", cells / (plan.arch.macro.rows * plan.arch.macro.columns))


def _laws(plan: Plan, timeline: Timeline, tally: Tally, counts: NDArray[np.int64]) -> dict[str, bool]:
    """What must hold on the numbers of any run, and whether it does."""
    whole = timeline.busy + timeline.stalls.sum(axis=1)
    prices, _ = count_prices(plan.arch)
    by_event = sum(
        int(counts[:, counter].sum()) * prices[name] for name in tally.components for counter in CHARGED[name]
    )
    by_layer = sum(int(row.sum()) for row in tally.energy_quanta)
    by_component = sum(int(column.sum()) for column in tally.energy_quanta.T)
    return {
        "every unit: busy + stalls = cycles": bool((whole == timeline.cycles).all()),
        "no stall is negative": bool((timeline.stalls >= 0).all() and (timeline.layer_stalls >= 0).all()),
        "energy: images and components give the same total": int(tally.image_quanta.astype(object).sum())
        == tally.total_quanta,
        "energy: layers, components, and events x prices + leakage give the same total": by_layer
        == by_component
        == by_event + int(tally.energy_quanta[-1].sum()),
        "interconnect: bits in = bits out": timeline.noc_bits[0] == timeline.noc_bits[1],
    }


def _unit(layer: LayerPlan) -> str:
    """What computed a layer off macros: named for products, which are on macros as a rule."""
    if layer.op == "DigitalProduct":
        return DIGITAL_INTEGERS
    return DIGITAL_PRODUCT if layer.op in ("Conv", "Gemm", "MatMul") else ""


def _dataset_names(outputs: Iterable[str]) -> list[str]:
    """Names of outputs as HDF5 takes them: no path, no control characters, none twice or that of a dataset of ours."""
    taken, names = {"prediction", "label"}, []
    for name in outputs:
        plain = printable(name.strip("/").replace("/", ".")).strip(".") or "output"
        free = plain
        while free in taken:
            free += "_"
        taken.add(free)
        names.append(free)
    return names


def _unfinished(name: str) -> bytes:
    """A small HDF5 file that says what it is, for as long as the run goes on (or after it was killed)."""
    with memory_file(1 << 12) as file:
        file.attrs[UNFINISHED] = f"the run that writes {printable(name)} is not over, or was killed: run it again"
        file.flush()
        return bytes(file.id.get_file_image())
