"""How a run's time hangs together: a critical path of the first image, the chip's roofline, and power over time."""

from typing import Any

import numpy as np

from cimemu.arch.schema import Arch
from cimemu.mapping.cycles import op_cycles
from cimemu.trace.power import power_of
from cimemu.trace.read import Trace
from cimemu.views.window import Window, select_events

MOST_WALKED = 2_000_000  # events of the first image that the path is looked for in
MOST_SEGMENTS = 400
DRAWN_WINDOWS = 1024
PEAK = ("part", "layer", "component")
GLOBAL = ("global_read_bits", "global_write_bits")


def critical_path(trace: Trace) -> dict[str, Any]:
    """A chain of events that ends with the first image: each one the last to end before the next one began.

    Neighbours of one layer and kind are one segment [layer, kind, start, cycles]; kind -1: nothing ended in between, so the
    chain waits. The segments fill the image's time without a gap.
    """
    chosen = select_events(trace, Window(images=(0,), limit=MOST_WALKED))
    events = chosen.events
    if not len(events["op"]) or chosen.cut:
        return {"segments": [], "note": "The first image has no events in the trace." if not chosen.cut else _TOO_MANY}
    order = np.argsort(events["end"], kind="stable")
    start, end, layer, kind = (events[name][order] for name in ("start", "end", "layer", "kind"))
    at, segments = len(end) - 1, [_segment(layer[-1], kind[-1], start[-1], end[-1])]
    while True:
        before = int(np.searchsorted(end, start[at], side="right")) - 1
        if before < 0 or before >= at:
            break
        same = np.flatnonzero(end[max(0, before - 64) : before + 1] == end[before]) + max(0, before - 64)
        alike = same[layer[same] == layer[at]]
        now = int(alike[-1] if len(alike) else same[-1])
        if end[now] < start[at]:
            segments.append(_segment(layer[at], -1, end[now], start[at]))
        segments.append(_segment(layer[now], kind[now], start[now], end[now]))
        at = now
    joined = _joined(segments[::-1])
    if len(joined) > MOST_SEGMENTS:  # by layer, busy and waiting apart
        joined = _joined(sorted(joined, key=lambda one: (one[0], one[1] < 0)), whole_layers=True)
    return {"segments": joined, "note": ""}


_TOO_MANY = f"The first image has more than {MOST_WALKED:,} events, its critical path was not looked for."


def _segment(layer: Any, kind: Any, start: Any, end: Any) -> list[int]:
    return [int(layer), int(kind), int(start), int(end) - int(start)]


def _joined(segments: list[list[int]], *, whole_layers: bool = False) -> list[list[int]]:
    made: list[list[int]] = []
    for layer, kind, start, cycles in segments:
        alike = (
            made
            and made[-1][0] == layer
            and (made[-1][1] == kind or (whole_layers and (made[-1][1] < 0) == (kind < 0)))
        )
        if alike:
            made[-1][3] += cycles
        else:
            made.append([layer, kind, start, cycles])
    return made


def roofline(trace: Trace) -> dict[str, Any]:
    """Layers on macros by multiply-accumulates (MACs) a cycle and a bit of the global buffer, and what bounds both."""
    arch, layers, energy = Arch.model_validate(trace.arch), trace.layers, trace.energy
    counters = list(energy["counter"])
    bits = energy["counts"][:, [counters.index(name) for name in GLOBAL]].sum(axis=1)
    macro, buffer = arch.macro, arch.chip.global_buffer
    each = macro.rows * macro.outputs / op_cycles(macro, macro.rows, macro.outputs * macro.columns_per_output)
    points = [
        {
            "layer": str(layers["name"][i]),
            "number": i,
            "macs_per_bit": float(layers["macs"][i] / bits[i]),
            "macs_per_cycle": float(layers["macs"][i] / layers["cycles"][i]),
            "roof": each * int(layers["macros"][i]),
        }
        for i in range(len(layers["name"]))
        if layers["macs"][i] and layers["macros"][i] and bits[i] and layers["cycles"][i]
    ]
    return {
        "points": points,
        "chip": each * arch.macros,
        "used": each * int(trace.attributes["macros"]),
        "bits_per_cycle": buffer.ports * (buffer.read_bits_per_cycle + buffer.write_bits_per_cycle),
    }


def power(trace: Trace, width: str | None = None) -> dict[str, Any]:
    """Power over time [mW], of events and of leakage, in windows of `width` (`cimemu.power_of`); without one in as many as are
    drawn. Where there is none, `note` says why.

    Raises TraceError where a width is given and the trace has no such windows."""
    if float(trace.energy["pj"].sum()) <= 0:
        return {"width": 0, "mw": [], "leakage_mw": [], "note": "The chip's file has no prices."}
    covered, images = int(trace.attributes.get("event_images", 0)), int(trace.attributes["images"])
    if width is None and covered < images:
        note = f"The trace has the events of {covered} of {images} images, power over time needs all: run with --events {images}."
        return {"width": 0, "mw": [], "leakage_mw": [], "note": note}
    cycles = max(1, int(trace.attributes["cycles"]))
    found = power_of(trace, -(-cycles // DRAWN_WINDOWS) if width is None else width)
    told, leakage = found.summary(), found.mw(found.by_layer[:, -1])
    where = ", ".join(f"{told[f'peak_{kind}']['name']} {told[f'peak_{kind}']['mw']:.3g} mW" for kind in PEAK)
    return {
        "width": found.width,
        "mw": (found.total_mw - leakage).tolist(),
        "leakage_mw": leakage.tolist(),
        "note": f"Peak {told['peak_mw']:,.4g} mW from cycle {told['peak_start_cycle']:,}, most of it in {where}; "
        f"average {told['average_mw']:,.4g} mW.",
    }
