"""`cimemu diff`: what changed between two runs, from their traces alone; amounts are an image's, so that runs compare."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cimemu.report import report_data
from cimemu.trace.read import Trace, open_trace
from cimemu.trace.schema import STALLS
from cimemu.uncertainty import beats

Row = dict[str, Any]
COMPARED = (
    "workload",
    "detail",
    "schedule",
    "images",
    "accuracy",
    "cycles",
    "cycles_per_image",
    "image_latency_us",
    "images_per_s",
    "energy_uj_per_image",
    "power_mw",
    "idle_leakage",
    "tops",
    "tops_per_w",
    "tops_per_mm2",
    "area_mm2",
    "macros",
    "utilization",
    "programming_cycles",
)
ABSENT = "(absent)"  # an arch key that only the other run's architecture has


def diff_traces(before: str | Path, after: str | Path) -> dict[str, Any]:
    """What changed from one trace to the other: `arch` keys that differ, `summary`, `layers`, `components`, `stalls`
    (one row each, `before`, `after` and `change` = after / before - 1, None where before is 0 or no number), `outputs`, and
    `after_takes_less`, the share of draws of all prices in which an image takes less energy on the second chip.

    Raises TraceError where a file is no whole trace.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> image = workload.inputs(1)[0]
    >>> for bits in (7, 5):
    ...     chip = cimemu.load_arch("rram_128", {"macro.adc.bits": bits})
    ...     _ = cimemu.run(chip, quantized, image, trace=f"{bits}.h5")
    >>> changes = cimemu.diff_traces("7.h5", "5.h5")
    >>> changes["arch"]
    [{'key': 'macro.adc.bits', 'before': 7, 'after': 5}]
    """
    old, new = open_trace(before), open_trace(after)
    summaries = report_data(old)["summary"], report_data(new)["summary"]
    return {
        "before": str(old.path),
        "after": str(new.path),
        "arch": _differing(_flat(old.arch), _flat(new.arch)),
        "summary": [
            {"what": key, **_change(summaries[0][key], summaries[1][key])}
            for key in COMPARED
            if summaries[0][key] != summaries[1][key]
        ],
        "layers": _layers(old, new),
        "components": _named(_components(old), _components(new), "component"),
        "stalls": _named(_stalls(old), _stalls(new), "cause"),
        "outputs": _outputs(old, new),
        "after_takes_less": _takes_less(old, new),
    }


def _takes_less(old: Trace, new: Trace) -> float | None:
    """The share of draws of the prices in which an image of the new run takes less energy; None without prices."""
    before, after = (trace.chip_draws().total() / int(trace.attributes["images"]) for trace in (old, new))
    return beats(after, before) if before.any() and after.any() else None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys, as `--set` takes them; lists stay whole."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Row]:
    return [
        {"key": key, "before": old.get(key, ABSENT), "after": new.get(key, ABSENT)}
        for key in dict.fromkeys([*old, *new])
        if old.get(key, ABSENT) != new.get(key, ABSENT)
    ]


def _change(old: Any, new: Any) -> Row:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and v == v for v in (old, new))
    return {"before": old, "after": new, "change": new / old - 1 if numbers and old else None}


def _named(old: Mapping[str, float], new: Mapping[str, float], name: str) -> list[Row]:
    """Rows of what differs, the largest move first."""
    rows = [
        {name: key, **_change(old.get(key, 0.0), new.get(key, 0.0))}
        for key in dict.fromkeys([*old, *new])
        if old.get(key, 0.0) != new.get(key, 0.0)
    ]
    return sorted(rows, key=lambda row: -abs(row["after"] - row["before"]))


def _layers(old: Trace, new: Trace) -> list[Row]:
    """Layers of either network by name, in the order of the first; those that cost the same are left out."""
    columns = {"cycles": "cycles/image", "nJ": "nJ/image"}
    tables = [{row["layer"]: row for row in report_data(trace)["layers"]} for trace in (old, new)]
    rows = []
    for name in dict.fromkeys([*tables[0], *tables[1]]):
        row: Row = {"layer": name}
        for short, column in columns.items():
            values = [float(table[name][column]) if name in table else 0.0 for table in tables]
            row.update({f"{short} {key}": value for key, value in _change(*values).items()})
        if any(row[f"{short} before"] != row[f"{short} after"] for short in columns):
            rows.append(row)
    return rows


def _components(trace: Trace) -> dict[str, float]:
    """nJ an image; the leakage of all components together is one more."""
    energy, images = trace.energy, int(trace.attributes["images"])
    dynamic = energy["pj"][:-1].sum(axis=0) / images / 1e3
    return {
        **dict(zip(energy["component"], dynamic.tolist())),
        "(leakage)": float(energy["pj"][-1].sum()) / images / 1e3,
    }


def _stalls(trace: Trace) -> dict[str, float]:
    """Cycles an image that all units together waited, by cause; and worked."""
    units, images = trace.units, int(trace.attributes["images"])
    waits = {name.removeprefix("stall_").removesuffix("_cycles"): int(units[name].sum()) / images for name in STALLS}
    return {**waits, "busy": int(units["busy_cycles"].sum()) / images}


def _outputs(old: Trace, new: Trace) -> Row | None:
    """Over the images that both ran: predictions and elements that differ; None where there is nothing to compare."""
    tables = old.table("outputs"), new.table("outputs")
    count = min(int(trace.attributes["images"]) for trace in (old, new))
    same = [
        n for n in tables[0] if n in tables[1] and tables[0][n].shape[1:] == tables[1][n].shape[1:] and n != "label"
    ]
    if not same:
        return None
    moved = {n: int(np.count_nonzero(tables[0][n][:count] != tables[1][n][:count])) for n in same}
    tensors = {name: amount for name, amount in moved.items() if name != "prediction"}
    return {"images": count, "predictions_differing": moved.get("prediction"), "elements_differing": tensors}
