"""Finished stress and sweep files as rows."""

import json
from pathlib import Path
from typing import Any

from cimemu.errors import TraceError
from cimemu.trace.read import Trace

KINDS = ("stress", "sweep")


def file_rows(trace: Trace) -> list[dict[str, Any]]:
    """A row per point of a stress or sweep file. TraceError for a trace of one run."""
    kind = trace.attributes.get("kind")
    if kind not in KINDS:
        raise TraceError(f"{trace.path}: is no stress or sweep file")
    points = trace.table("points")
    rows: list[dict[str, Any]] = []
    for number in range(len(points["status" if kind == "sweep" else "trials"])):
        if kind == "sweep":
            row = dict(json.loads(points["parameters_json"][number]))
            row.update(
                {
                    name: _plain(points[name][number])
                    for name in points
                    if name not in ("parameters_json", "status") and points[name].ndim == 1
                }
            )
        else:
            row = {name: _plain(points[name][number]) for name in points if points[name].ndim == 1}
        rows.append(row)
    return rows


def title(trace: Trace) -> str:
    """One line above the table."""
    a = trace.attributes
    arch = json.loads(a["arch_json"])["name"]
    return f"{Path(trace.path).name}: {a['kind']} of {a['workload']} on {arch}, {a['images']} images, seed {a['seed']}"


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
