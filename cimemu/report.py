"""`cimemu report`: the tables of a trace; every number comes from the file."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cimemu.facts import NO_PRICES, ends_text
from cimemu.fitted import Column, print_columns
from cimemu.shown import printable
from cimemu.timing.rate import LIFTS
from cimemu.trace.idle import idle_cost
from cimemu.trace.read import Trace
from cimemu.trace.schema import STALLS
from cimemu.uncertainty import ChipDraws, interval

LOW, HIGH = " low", " high"
SECTIONS = ("summary", "layers", "dequantization", "components", "stalls", "utilization", "limits")
Rows = list[dict[str, Any]]


def report_data(trace: Trace) -> dict[str, Any]:
    """The report as plain values: a mapping `summary` and a list of rows for each other section."""
    draws = trace.chip_draws()
    return {
        "summary": _summary(trace, draws),
        "layers": _layers(trace, draws),
        "dequantization": _dequantization(trace),
        "components": _components(trace, draws),
        "stalls": _stalls(trace),
        "utilization": _utilization(trace),
        "limits": limit_rows(trace),
    }


def print_report(
    data: Mapping[str, Any], console: Console, sections: Iterable[str] = SECTIONS, top: int | None = 12
) -> None:
    """The tables of `report_data` for people; `top` limits the units listed in stalls (None: all)."""
    titles = {
        "layers": "Layers",
        "dequantization": "Dequantization: multiplications by scales of weights and converters",
        "components": "Energy and area",
        "stalls": "Units: work and waiting, share of the run's cycles (busiest first)",
        "utilization": "Macros",
        "limits": "What lifts the rate of images: each change alone, simulated",
    }
    for section in sections:
        if section == "summary":
            _print_summary(data["summary"], console)
            continue
        if not data[section]:
            continue
        rows = data[section][:top] if section == "stalls" else data[section]
        left_out = len(data[section]) - len(rows)
        print_columns(list(_columns(rows)), console, titles[section])
        if left_out:
            console.print(f"... and {left_out} units more (--json has them all)")
        console.print()


def _columns(rows: Rows) -> Iterator[Column]:
    """The columns of a table; two ends of an interval are one, behind their figure."""
    for name in rows[0]:
        if name.endswith(HIGH):
            continue
        if name.endswith(LOW):
            figure = name.removesuffix(LOW)
            ends = tuple(ends_text((row[name], row[figure + HIGH])).strip() for row in rows)
            if any(ends):
                yield Column((figure, "90 %"), ends, text=False)
            continue
        yield Column((name,), tuple(_cell(name, row[name]) for row in rows), isinstance(rows[0][name], str))


def _ends(name: str, draws: NDArray[Any], scale: float = 1.0) -> dict[str, float | None]:
    """The 90 % interval of a figure under its name; None where there is nothing to be unsure of."""
    known = bool((draws > 0).any())
    low, high = interval(draws * scale) if known else (None, None)
    return {name + LOW: low, name + HIGH: high}


def _sure(trace: Trace, draws: ChipDraws) -> dict[str, Any]:
    """Intervals of the run's figures, and the prices that make them wide."""
    a = trace.attributes
    energy, area = draws.total(), draws.areas().sum(axis=1) / 1e6
    seconds, operations = a["latency_us"] / 1e6, 2.0 * a["macs"]
    priced, built = bool((energy > 0).all()), bool((area > 0).all())
    found: dict[str, Any] = {}
    for name, values in (
        ("energy_uj", energy / 1e6),
        ("energy_uj_per_image", energy / 1e6 / int(a["images"])),
        ("power_mw", energy * 1e-9 / seconds if seconds else 0 * energy),
        ("tops_per_w", operations / energy if priced else 0 * energy),
        ("tops_per_mm2", operations / seconds / 1e12 / area if seconds and built else 0 * area),
        ("area_mm2", area),
    ):
        found.update({key.replace(" ", "_"): value for key, value in _ends(name, values).items()})
    return {**found, "interval_by": draws.dominating()}


def _summary(trace: Trace, draws: ChipDraws) -> dict[str, Any]:
    a = trace.attributes
    arch = trace.arch
    images = int(a["images"])
    energy = trace.energy
    seconds = a["latency_us"] / 1e6
    area = float(energy["area_um2"].sum() / 1e6)
    spans = trace.table("images")
    return {
        "trace": str(trace.path),
        "arch": arch["name"],
        "workload": a["workload"],
        "images": images,
        "accuracy": a.get("accuracy"),
        "detail": a["detail"],
        "schedule": arch["schedule"],
        "cycles": int(a["cycles"]),
        "cycles_per_image": int(a["image_cycles"]),
        "clock_ns": float(a["clock_ns"]),
        "latency_us": float(a["latency_us"]),
        "images_per_s": images / seconds if seconds else None,
        "energy_uj": a["energy_pj"] / 1e6,
        "energy_uj_per_image": a["energy_pj"] / 1e6 / images,
        "power_mw": a["energy_pj"] * 1e-9 / seconds if seconds else None,
        "tops": 2 * a["macs"] / seconds / 1e12 if seconds else None,
        "tops_per_w": a.get("tops_per_w"),
        "tops_per_mm2": 2 * a["macs"] / seconds / 1e12 / area if seconds and area else None,
        **_slowest(trace),
        "image_latency_us": float((spans["end"] - spans["start"]).mean() * a["clock_ns"] / 1000),
        "macs": int(a["macs"]),
        "conversions": int(a["conversions"]),
        "adc_conversions": int(a["adc_conversions"]),
        "macros": int(a["macros"]),
        "utilization": float(a["utilization"]),
        "area_mm2": area,
        **_idle(trace),
        "programming_cycles": int(a["programming_cycles"]),
        "writes_per_cell": float(a["writes_per_cell"]),
        "lifetime_runs": a.get("lifetime_runs"),
        "checks_hold": bool(trace.table("check")["holds"].all()),
        **_sure(trace, draws),
    }


def _slowest(trace: Trace) -> dict[str, Any]:
    """The unit that works longest: images cannot come more often than it takes for one."""
    units, images = trace.units, int(trace.attributes["images"])
    place = int(units["busy_cycles"].argmax())
    each = int(units["busy_cycles"][place]) / images
    rate = 1e9 / (each * float(trace.attributes["clock_ns"])) if each else None
    return {"slowest_unit": str(units["name"][place]), "slowest_cycles": each, "slowest_images_per_s": rate}


def _lifted(unit: str) -> str:
    """What makes a unit work less for an image."""
    key = LIFTS.get(unit.split("/")[0])
    return "copies of its layers lift it" if key is None else f"a larger {key} lifts it"


def limit_rows(trace: Trace) -> Rows:
    """What `cimemu run --limits` found; none of other traces."""
    rows = json.loads(trace.attributes.get("provenance_json", "{}")).get("limits", [])
    keys = ("change", "lifts", "images/s", "times", "us an image", "slowest unit", "which allows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(keys) <= set(row) for row in rows):
        return []
    return [{key: row[key] for key in keys} for row in rows]


def _idle(trace: Trace) -> dict[str, Any]:
    """What macros leak that do not work, what switching them off saves, and what switching them on takes."""
    found = idle_cost(trace)
    return {
        "idle_leakage": found["idle_share"],
        "gating_saved_uj": found["saved_uj"],
        "wake_ups": found["wake_ups"],
        "wake_up_uj": found["wake_up_uj"],
    }


def _layers(trace: Trace, draws: ChipDraws) -> Rows:
    table = trace.layers
    images = int(trace.attributes["images"])
    spent = draws.rows()
    total = float(trace.attributes["energy_pj"]) or 1.0
    return [
        {
            "layer": table["name"][i],
            "op": table["op"][i],
            "MMAC/image": table["macs"][i] / images / 1e6,
            "cycles/image": int(table["cycles"][i]) // images,
            "conversions/image": int(table["conversions"][i]) // images,
            "nJ/image": table["energy_pj"][i] / images / 1e3,
            **_ends("nJ/image", spent[:, i], 1e-3 / images),
            "energy": table["energy_pj"][i] / total,
            "macros": int(table["macros"][i]),
            "replicas": int(table["replicas"][i]),
            "utilization": float(table["utilization"][i]),
            "path": table["path"][i],
        }
        for i in range(len(table["name"]))
    ]


def _dequantization(trace: Trace) -> Rows:
    """Layers on macros; none in traces of earlier versions, which did not count it."""
    table, images = trace.layers, int(trace.attributes["images"])
    if "scale_multiplications" not in table:
        return []
    return [
        {
            "layer": table["name"][i],
            "positions": int(table["positions"][i]),
            "multiplications/position": int(table["scale_multiplications"][i]) // (images * int(table["positions"][i])),
            "multiplications/image": int(table["scale_multiplications"][i]) // images,
        }
        for i in range(len(table["name"]))
        if table["positions"][i]
    ]


def _components(trace: Trace, draws: ChipDraws) -> Rows:
    spent, areas = draws.components(), draws.areas()
    energy = trace.energy
    by_component, total = energy["pj"].sum(axis=0), float(energy["pj"].sum()) or 1.0
    area = float(energy["area_um2"].sum()) or 1.0
    leakage = energy["pj"][-1]
    return [
        {
            "component": energy["component"][i],
            "uJ": by_component[i] / 1e6,
            **_ends("uJ", spent[:, i], 1e-6),
            "energy": by_component[i] / total,
            "of it leakage uJ": leakage[i] / 1e6,
            "pJ/count": float(energy["price_pj"][i]),
            "instances": int(energy["instances"][i]),
            "mm2": energy["area_um2"][i] / 1e6,
            **_ends("mm2", areas[:, i], 1e-6),
            "area": energy["area_um2"][i] / area,
        }
        for i in range(len(energy["component"]))
    ]


def _stalls(trace: Trace) -> Rows:
    table = trace.units
    cycles = max(1, int(trace.attributes["cycles"]))
    order = np.argsort(-table["busy_cycles"], kind="stable")
    names = [name.removeprefix("stall_").removesuffix("_cycles") for name in STALLS]
    return [
        {
            "unit": table["name"][i],
            "operations": int(table["operations"][i]),
            "busy": table["busy_cycles"][i] / cycles,
            **{short: table[name][i] / cycles for short, name in zip(names, STALLS)},
        }
        for i in order
    ]


def _utilization(trace: Trace) -> Rows:
    table = trace.table("macros")
    shares = table["utilization"]
    edges = [0.0, 0.25, 0.5, 0.75, 0.9, 1.0]
    rows: Rows = []
    for low, high in itertools.pairwise(edges):
        inside = (shares > low) & (shares <= high)
        rows.append(
            {
                "cells used": f"{low:.0%} .. {high:.0%}",
                "macros": int(inside.sum()),
                "cells": int(table["cells"][inside].sum()),
            }
        )
    return rows


SHARES = (
    "energy",
    "area",
    "utilization",
    "busy",
    *(s.removeprefix("stall_").removesuffix("_cycles") for s in STALLS),
)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and np.isnan(value):
        return ""
    if name in SHARES:
        return f"{100 * value:.1f} %"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}"


def _tops(summary: dict[str, Any]) -> list[str]:
    """The rates that this chip has: without prices there is no energy, without areas no density."""
    names = {"tops": "TOPS", "tops_per_w": "TOPS/W", "tops_per_mm2": "TOPS/mm2"}
    return [
        f"{summary[key]:.3g} {unit}{_told(summary, key)}" for key, unit in names.items() if summary[key] is not None
    ]


def _told(summary: Mapping[str, Any], key: str) -> str:
    """The interval of a figure of the summary, in words."""
    return ends_text((summary.get(f"{key}_low"), summary.get(f"{key}_high")))


def _interval_line(shares: Mapping[str, float]) -> str:
    """What makes the interval of the energy wide."""
    most = ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(shares.items())[:3])
    return f"in brackets: 90 % intervals, from those of the prices; the energy's comes from {most}"


def _print_summary(summary: dict[str, Any], console: Console) -> None:
    s = summary
    accuracy = "no labels" if s["accuracy"] is None else f"{100 * s['accuracy']:.2f} %"
    lines = [
        (
            "run",
            f"{s['workload']} on {s['arch']}: {s['images']} images, {s['schedule']}, detail {s['detail']}",
        ),
        ("accuracy", accuracy),
        (
            "time",
            f"{s['cycles']:,} cycles = {s['latency_us']:,.1f} us at {s['clock_ns']:g} ns; {s['cycles_per_image']:,} an image; "
            f"one image takes {s['image_latency_us']:,.1f} us from its first event to its last",
        ),
        (
            "energy",
            f"{s['energy_uj']:,.3f} uJ{_told(s, 'energy_uj')}, {s['energy_uj_per_image']:,.4f} uJ an image"
            f"{_told(s, 'energy_uj_per_image')}, {s['power_mw']:,.3g} mW{_told(s, 'power_mw')}"
            if s["energy_uj"]
            else NO_PRICES,
        ),
        *([("", _interval_line(s["interval_by"]))] if s["interval_by"] else []),
        (
            "work",
            f"{s['macs']:,} MACs, {s['conversions']:,} conversions ({s['adc_conversions']:,} by an ADC)",
        ),
        ("rates", ", ".join([f"{s['images_per_s']:,.1f} images/s", *_tops(s)])),
        ("", "counted: 2 operations a MAC of the network; the whole chip's time, energy with leakage, and area"),
        (
            "limit",
            f"{s['slowest_unit']} works {s['slowest_cycles']:,.0f} cycles for an image: at most "
            f"{s['slowest_images_per_s'] or 0:,.1f} images/s; {_lifted(s['slowest_unit'])} (cimemu run --limits: by how much)",
        ),
        (
            "chip",
            f"{s['macros']} macros used, {100 * s['utilization']:.1f} % of their cells"
            + (f"; {s['area_mm2']:.3g} mm2{_told(s, 'area_mm2')}" if s["area_mm2"] else "; area not known"),
        ),
    ]
    if s["idle_leakage"] or s["wake_ups"]:
        gates = "power.gating switches them off"
        if s["wake_ups"]:
            gates = (
                f"without gating {s['gating_saved_uj']:,.4g} uJ more; "
                f"{s['wake_ups']:,} wake-ups take {s['wake_up_uj']:,.4g} uJ"
            )
        lines.append(("idle", f"macros that do not work leak {100 * s['idle_leakage']:.1f} % of the energy ({gates})"))
    if s["programming_cycles"]:
        life = "" if s["lifetime_runs"] is None else f"; cells last {s['lifetime_runs']:,.4g} runs"
        lines.append(
            (
                "reprogramming",
                f"{s['programming_cycles']:,} cycles, {s['writes_per_cell']:g} writes a cell{life}",
            )
        )
    elif s["writes_per_cell"]:
        life = "" if s["lifetime_runs"] is None else f"; cells last {s['lifetime_runs']:,.4g} runs"
        lines.append(("activations", f"written into macros, {s['writes_per_cell']:g} writes a cell{life}"))
    if not s["checks_hold"]:
        lines.append(("check", "a conservation law does not hold: see /check"))
    if s["trace"] is not None:
        lines.append(("trace", s["trace"]))
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, text in lines:
        table.add_row(Text(name, style="bold"), Text(printable(text)))
    console.print(table)
    console.print()
