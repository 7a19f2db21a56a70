"""What a person asks of a run first: where time and energy go, what waits for what, and what would help."""

from typing import Any

import numpy as np

from cimemu.arch.schema import Arch
from cimemu.mapping.cycles import convert_cycles, drive_cycles, op_cycles
from cimemu.report import limit_rows
from cimemu.trace.read import Trace
from cimemu.views.names import short_names
from cimemu.views.remedies import CAUSES, busiest, percent, remedies, waits

ALIKE = 0.95  # a layer that takes this much of what the slowest one takes is named with it
MOST_TRIED = 3
NAMED = 3  # layers of such a group that are all named; of a larger one, one less


def questions(trace: Trace) -> list[dict[str, Any]]:
    """Four questions, each with a short answer and what stands behind it, from the trace's own figures."""
    return [
        {"question": "Where does the time go?", **_time(trace)},
        {"question": "Where does the energy go?", **_energy(trace)},
        {"question": "What waits for what?", **_waiting(trace)},
        {"question": "What would help?", **_help(trace)},
    ]


def _time(trace: Trace) -> dict[str, str]:
    """The slowest layer, or all that are as slow as it: naming one of seven equal ones would mislead."""
    layers = trace.layers
    names, cycles = short_names(list(layers["name"])), layers["cycles"]
    total = max(1, int(cycles.sum()))
    order = [int(i) for i in np.argsort(-cycles, kind="stable")]
    slowest = order[0]
    group = [i for i in order if cycles[i] >= ALIKE * cycles[slowest]]
    share = percent(float(cycles[group].sum()) / total)
    why = _operation(trace) if layers["macros"][slowest] else "The digital unit computes it."
    if trace.arch["schedule"] == "pipelined":
        why = f"Layers overlap: a layer's time is from its first event to its last. {why}"
    if len(group) == 1:
        after = [f"{names[i]} {percent(float(cycles[i]) / total)}" for i in order[1:3] if cycles[i] >= 0.01 * total]
        detail = f"Then {', '.join(after)}. " if after else ""
        return {"answer": f"{names[slowest]}: {share}", "detail": detail + why}
    named = [names[i] for i in group[: NAMED if len(group) <= NAMED else NAMED - 1]]
    if len(group) > NAMED:
        named.append(f"{len(group) - len(named)} more")
    each = percent(float(cycles[slowest]) / total)
    said = f"{', '.join(named[:-1])} and {named[-1]} take {each} each"
    return {"answer": f"{len(group)} layers: {share}", "detail": f"{said}. {why}"}


def _operation(trace: Trace) -> str:
    """What the cycles of one macro operation are spent on."""
    macro = Arch.model_validate(trace.arch).macro
    columns = macro.outputs * macro.columns_per_output
    whole = op_cycles(macro, macro.rows, columns)
    steps = -(-macro.rows // macro.raised_rows) * macro.steps_per_group
    drive, convert = drive_cycles(macro), convert_cycles(macro, columns)
    said = f"A full macro takes {whole:,} cycles for one input vector"
    if convert >= drive:
        shared = min(macro.columns_per_adc, columns)
        turns = f", as {shared} columns take turns at a converter" if shared > 1 else ""
        return f"{said}, {steps * convert:,} of them in conversions{turns}."
    return f"{said}, {steps * drive:,} of them in driving its wordlines."


def _energy(trace: Trace) -> dict[str, str]:
    """Leakage and the events of each component are parts of one whole; layers are another cut through the same energy."""
    energy = trace.energy
    pj = energy["pj"]
    total = float(pj.sum())
    if total <= 0:
        return {"answer": "no prices in the chip's file", "detail": "Give the chip costs, and energy is counted."}
    by_component = pj[:-1].sum(axis=0)
    parts = [(_spelled(str(name)), float(e)) for name, e in zip(energy["component"], by_component)]
    parts.append(("leakage", float(pj[-1].sum())))
    parts.sort(key=lambda part: -part[1])
    after = [f"{name} {percent(e / total)}" for name, e in parts[1:3] if e >= 0.01 * total]
    names, by_layer = short_names(list(energy["row"][:-1])), pj[:-1].sum(axis=1)
    most = int(by_layer.argmax())
    return {
        "answer": f"{_begun(parts[0][0])}: {percent(parts[0][1] / total)}",
        "detail": (f"Then {', '.join(after)}. " if after else "")
        + f"The layer that draws most is {names[most]}, {percent(float(by_layer[most]) / total)}.",
    }


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _spelled(component: str) -> str:
    return {"adc": "converters (ADC)"}.get(component, component.replace("_", " "))


def _waiting(trace: Trace) -> dict[str, str]:
    unit, share = busiest(trace)
    bound = f"{unit} works longest, {percent(share)} of the run: it bounds how often images can come."
    found = waits(trace)
    waited = sum(found.values())
    if not waited:
        return {"answer": "Nothing waits", "detail": bound}
    cause = max(found, key=lambda name: found[name])
    most = found[cause] / waited
    how_much = "Nearly all" if 0.995 < most < 1 else f"{percent(most)} of all"
    return {
        "answer": f"Units wait for {CAUSES[cause].short}",
        "detail": f"{how_much} waiting is for {CAUSES[cause].long}. {bound}",
    }


def _simulated(row: dict[str, Any]) -> str:
    """One change that `cimemu run --limits` has tried."""
    change = row["change"].replace(" ", " --set ")
    return f"--set {change}: simulated, {row['images/s']:,.1f} images/s, {row['times']:.3g} times as many."


def _help(trace: Trace) -> dict[str, Any]:
    found = remedies(trace)
    tried = [row for row in limit_rows(trace) if row["lifts"]]
    if tried:
        more = [{"title": f"Lift {row['lifts']}", "text": _simulated(row)} for row in tried[1:MOST_TRIED]]
        more += [{"title": one.title, "text": f"{one.how}: {one.gain}."} for one in found]
        return {"answer": f"Lift {tried[0]['lifts']}", "detail": _simulated(tried[0]), "more": more}
    if not found:
        return {"answer": "Nothing stands out", "detail": "No layer, component or cause takes a quarter of the run."}
    return {
        "answer": found[0].title,
        "detail": f"{found[0].how}: {found[0].gain}.",
        "more": [{"title": one.title, "text": f"{one.how}: {one.gain}."} for one in found[1:]],
    }
