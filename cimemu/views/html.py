"""`cimemu report --html`: a trace as one self-contained page, which needs no network."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import TraceError
from cimemu.report import report_data
from cimemu.trace.read import Trace, open_trace
from cimemu.trace.schema import STALLS
from cimemu.views.answers import questions
from cimemu.views.bins import bin_events
from cimemu.views.names import short_names
from cimemu.views.paths import critical_path, roofline
from cimemu.views.paths import power as power_windows
from cimemu.views.window import Window, select_events
from cimemu.whole_file import refuse_output, whole_file

EXACT_EVENTS = 50_000  # drawn one by one; beyond them the page shows busy shares
MOST_BINS = 200_000  # entries of busy shares: with the events above less than 4 MB
MOST_UNIT_ROWS = 5_000  # of the table of units and of the map of macros
TYPES = {"u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "f32": np.float32, "f64": np.float64}


def write_html(
    trace: Trace | str | Path, out: str | Path, *, power: str | None = None, overwrite: bool = False
) -> Path:
    """Write the page of `trace` to `out`: totals are exact, the timeline is cut down to what can be drawn.

    `power` is the width of windows of power over time ("1000" cycles, "2us"), as `cimemu.power_of` takes it. Returns the path.
    Raises TraceError for a file that is no trace, windows that it has not, and for an `out` that is there already, unless
    `overwrite`.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> result = cimemu.run(arch, quantized, workload.inputs(1)[0], trace="digits.h5")
    >>> page = cimemu.write_html("digits.h5", "digits.html")
    >>> page.read_text().startswith("<!doctype html>")
    True
    """
    refuse_output(Path(out), TraceError, overwrite=overwrite)
    source = trace if isinstance(trace, Trace) else open_trace(trace)
    page = filled("page.html", page_data(source, power), "page.js")
    with whole_file(Path(out), TraceError, overwrite=overwrite) as partial:
        partial.write_text(page, encoding="utf-8")
    return Path(out)


def filled(template: str, data: Any, *scripts: str) -> str:
    """A page of this folder with its style, the script of tables, `scripts` and `data` in it: one file, no network."""
    folder = Path(__file__).parent
    read = {name: (folder / name).read_text(encoding="utf-8") for name in (template, "page.css", "tables.js", *scripts)}
    packed = json.dumps(_finite(data), separators=(",", ":"), default=_plain).replace("</", "<\\/")
    page = read[template].replace("/*STYLE*/", read["page.css"]).replace("/*TABLES*/", read["tables.js"])
    for script in scripts:
        page = page.replace("/*SCRIPT*/", read[script])
    return page.replace("/*DATA*/", packed)


def page_data(trace: Trace, width: str | None = None) -> dict[str, Any]:
    """Everything the page shows, as JSON takes it; arrays of the timeline packed in base64. `width` is that of windows of power."""
    report = report_data(trace)
    attributes, energy = trace.attributes, trace.energy
    arch = trace.arch
    images = trace.table("images")
    return {
        "file": trace.path.name,
        "version": attributes["cimemu_version"],
        "clock_ns": attributes["clock_ns"],
        "cycles": max(1, int(attributes["cycles"])),
        "first_image": [int(images["start"][0]), int(images["end"][0])],
        "summary": report["summary"],
        "questions": questions(trace),
        "twin": {
            "name": [*trace.layers["name"], "leakage of the chip"],
            "cycles": [*trace.layers["cycles"].tolist(), 0],
            "pj": energy["pj"].sum(axis=1).tolist(),
        },
        "path": critical_path(trace),
        "roofline": roofline(trace),
        "layers": {"name": list(trace.layers["name"]), "short": short_names(list(trace.layers["name"]))},
        "layer_rows": report["layers"],
        "components": report["components"],
        "units": report["stalls"][:MOST_UNIT_ROWS],
        "unit_count": len(report["stalls"]),
        "energy": {
            "row": list(energy["row"]),
            "component": list(energy["component"]),
            "pj": energy["pj"].tolist(),
        },
        "causes": _causes(trace),
        "checks": [
            {"name": name, "holds": bool(holds)}
            for name, holds in zip(trace.table("check")["name"], trace.table("check")["holds"])
        ],
        "arch": arch,
        "sources": list(_sources(arch, "")),
        "provenance": json.loads(attributes.get("provenance_json", "{}")),
        **_map(trace, arch),
        "power": power_windows(trace, width),
        **_timeline(trace),
    }


def _causes(trace: Trace) -> list[dict[str, Any]]:
    units = trace.units
    totals = {name.removeprefix("stall_").removesuffix("_cycles"): int(units[name].sum()) for name in STALLS}
    waited = sum(totals.values()) or 1
    return [{"name": name, "cycles": cycles, "share": cycles / waited} for name, cycles in totals.items()]


def _timeline(trace: Trace) -> dict[str, Any]:
    """Busy shares of all units, and the first events one by one; units in groups, macros first."""
    names = list(trace.units["name"])
    order = sorted(range(len(names)), key=lambda unit: _place(names[unit]))
    shown = np.array(order, dtype=np.int64)
    row_of = np.empty(len(names), dtype=np.int64)
    row_of[shown] = np.arange(len(shown))
    bins = bin_events(trace, shown, max_entries=MOST_BINS)
    exact = select_events(trace, Window(limit=EXACT_EVENTS))
    events = exact.events
    until = float(events["start"].max(initial=0)) if exact.cut else float(trace.attributes["cycles"])
    fill = np.clip(np.rint(bins.busy * 255 / bins.width), 1, 255)
    total, covered = trace.event_count, int(trace.attributes.get("event_images", 0))
    images = int(trace.attributes["images"])
    note = f"{total:,} events" + ("" if covered >= images else f" of the first {covered} of {images} images")
    note += "; colours are layers. " + (
        "" if not exact.cut else "From afar: how busy; near the start, zoomed in: every event. "
    )
    note += "A folded tile shows how many of its units work."
    return {
        "timeline_units": [names[unit] for unit in shown],
        "groups": _groups([names[unit] for unit in shown]),
        "timeline_note": note,
        "kinds": trace.kinds,
        "bin_width": bins.width,
        "exact_until": until,
        "arrays": {
            "bin_unit": _pack("u16", row_of[bins.unit]),
            "bin_layer": _pack("u16", bins.layer),
            "bin_bin": _pack("u16", bins.bin),
            "bin_fill": _pack("u8", fill),
            "event_unit": _pack("u16", row_of[events["unit"]]),
            "event_layer": _pack("u16", events["layer"]),
            "event_kind": _pack("u8", events["kind"]),
            "event_image": _pack("u16", np.where(events["image"] < 0, 65535, events["image"] % 65535)),
            "event_start": _pack("f64", events["start"]),
            "event_length": _pack("f64", events["end"] - events["start"]),
            "event_op": _pack("u32", events["op"] % (1 << 32)),
        },
    }


def _map(trace: Trace, arch: dict[str, Any]) -> dict[str, Any]:
    """Macros by tile (and reprogramming phase), with the share of their cells in use."""
    table = trace.table("macros")
    phases = int(table["phase"].max(initial=0)) + 1
    tiles: dict[str, list[dict[str, Any]]] = {}
    for i in range(min(len(table["macro"]), MOST_UNIT_ROWS)):
        phase = f", phase {table['phase'][i]}" if phases > 1 else ""
        tiles.setdefault(f"tile {table['tile'][i]}{phase}", []).append(
            {name: table[name][i].item() for name in ("macro", "cells", "utilization")}
        )
    hidden = len(table["macro"]) - MOST_UNIT_ROWS
    note = f"{len(table['macro']):,} macros used." + (f" The last {hidden:,} are not drawn." if hidden > 0 else "")
    return {"map": [{"name": name, "macros": macros} for name, macros in tiles.items()], "map_note": note}


def _sources(tree: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every `source:` of the architecture and the key that it belongs to."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == "source" and value:
                yield where or "chip", str(value)
            else:
                yield from _sources(value, f"{where}.{key}" if where else key)


def _groups(names: list[str]) -> list[dict[str, Any]]:
    """Neighbouring units of one group: a tile, or what all tiles share."""
    made: list[dict[str, Any]] = []
    for place, name in enumerate(names):
        group = _group(name)
        if not made or made[-1]["name"] != group:
            made.append({"name": group, "first": place, "units": 0})
        made[-1]["units"] += 1
    return made


def _group(name: str) -> str:
    """The tile of a unit, or the part of the chip that all tiles share."""
    first = name.split("/")[0]
    if first.startswith("tile"):
        return first
    return "links" if first in ("link", "bus") else "memory, digital unit"


def _place(name: str) -> list[Any]:
    """Sort key: tiles by number, in each its macros first; then memory and digital unit, then links."""
    group = _group(name)
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
    number = int(group[4:]) if group.startswith("tile") else 0
    return [{"m": 1, "l": 2}.get(group[0], 0), number, "/macro" not in name, parts]


def _pack(kind: str, values: NDArray[Any]) -> dict[str, str]:
    return {"type": kind, "data": base64.b64encode(np.ascontiguousarray(values, dtype=TYPES[kind]).tobytes()).decode()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating) and not np.isfinite(value):
        return None
    return value


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
