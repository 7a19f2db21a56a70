"""What a person asks of a run first: where time and energy go, what waits for what, and what would help."""

from typing import Any

import numpy as np

from cimemu.arch.schema import Arch
from cimemu.trace.read import Trace
from cimemu.trace.schema import STALLS
from cimemu.views.names import short_names

LARGE = 0.25  # a share of time or energy that a remedy is worth naming for
MOST_REMEDIES = 3
CAUSES = {  # of waiting, in words, and what makes it shorter
    "adc": ("converters of their macro", "more converters: a smaller macro.columns_per_adc"),
    "bus": ("the bus or a tile's adder", "a wider chip.interconnect.bits_per_cycle, or more tile.adder_lanes"),
    "buffer": ("room in a buffer", "a larger tile.input_buffer.size_kib, tile.output_buffer.size_kib or global buffer"),
    "noc": ("a link of the mesh", "a wider chip.interconnect.bits_per_cycle"),
    "memory": ("the global buffer or the off-chip memory", "more chip.global_buffer.ports, or wider ones"),
    "data": ("inputs that are not computed yet", ""),
    "programming": ("cells that are being written", "a chip with more macros, or faster programming.row_write_cycles"),
}


def questions(trace: Trace) -> list[dict[str, Any]]:
    """Four questions, each with a short answer and what stands behind it, from the trace's own figures."""
    return [
        {"question": "Where does the time go?", **_time(trace)},
        {"question": "Where does the energy go?", **_energy(trace)},
        {"question": "What waits for what?", **_waiting(trace)},
        {"question": "What would help?", **_help(trace)},
    ]


def waits(trace: Trace) -> dict[str, int]:
    """Cycles that all units together waited, by cause, while they had work to come."""
    units = trace.units
    named = {name.removeprefix("stall_").removesuffix("_cycles"): int(units[name].sum()) for name in STALLS}
    return {name: cycles for name, cycles in named.items() if name != "done"}


def busiest(trace: Trace) -> tuple[str, float]:
    """The unit that works longest, and the share of the run that it works: it bounds the rate of images."""
    busy = trace.units["busy_cycles"]
    place = int(busy.argmax())
    return str(trace.units["name"][place]), float(busy[place]) / max(1, int(trace.attributes["cycles"]))


def leakage_share(trace: Trace) -> float:
    """Leakage over all energy; 0 without prices."""
    pj = trace.energy["pj"]
    return float(pj[-1].sum() / pj.sum()) if pj.sum() > 0 else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _time(trace: Trace) -> dict[str, str]:
    layers = trace.layers
    total = max(1, int(layers["cycles"].sum()))
    order = np.argsort(-layers["cycles"], kind="stable")[:3]
    names = short_names(list(layers["name"]))
    first, *rest = ((names[i], float(layers["cycles"][i]) / total) for i in order)
    others = ", ".join(f"{name} {_percent(share)}" for name, share in rest if share >= 0.01)
    return {
        "answer": f"{first[0]}: {_percent(first[1])}",
        "detail": (f"then {others}. " if others else "")
        + "Shares of the layers' cycles, each from its first event to its last.",
    }


def _energy(trace: Trace) -> dict[str, str]:
    energy = trace.energy
    pj = energy["pj"]
    total = float(pj.sum())
    if total <= 0:
        return {"answer": "no prices in the chip's file", "detail": "Give the chip costs, and energy is counted."}
    rows = [*short_names(list(energy["row"][:-1])), "leakage"]
    order = np.argsort(-pj.sum(axis=1), kind="stable")[:3]
    first, *rest = ((rows[i], float(pj[i].sum()) / total) for i in order)
    others = ", ".join(f"{name} {_percent(share)}" for name, share in rest if share >= 0.01)
    by_component = pj.sum(axis=0)
    place = int(by_component.argmax())
    component = f"{energy['component'][place]} {_percent(float(by_component[place]) / total)}"
    return {
        "answer": f"{first[0]}: {_percent(first[1])}",
        "detail": (f"then {others}. " if others else "") + f"By component: {component}, its leakage included.",
    }


def _waiting(trace: Trace) -> dict[str, str]:
    unit, share = busiest(trace)
    found = waits(trace)
    cause = max(found, key=lambda name: found[name])
    waited = sum(found.values())
    most = found[cause] / waited if waited else 0.0
    how_much = "Nearly all" if 0.995 < most < 1 else f"{_percent(most)} of all"
    share_of = f"{how_much} waiting is for {CAUSES[cause][0]}. " if waited else ""
    return {
        "answer": f"{unit} is busy {_percent(share)} of the run",
        "detail": f"{share_of}No unit works longer than {unit}: it bounds how often images can come.",
    }


def _help(trace: Trace) -> dict[str, Any]:
    remedies = _remedies(trace)
    if not remedies:
        return {"answer": "nothing stands out", "detail": "No layer, component or cause takes a quarter of the run."}
    return {
        "answer": remedies[0][0],
        "detail": f"{remedies[0][1]}.",
        "more": [f"{what}: {why}." for what, why in remedies[1:]],
    }


def _remedies(trace: Trace) -> list[tuple[str, str]]:
    """(what to change, what it could give at most), the largest gain first; every bound follows from the trace's figures."""
    arch, layers = Arch.model_validate(trace.arch), trace.layers
    _, busy = busiest(trace)
    found: list[tuple[float, str, str]] = []
    if arch.schedule == "layer_by_layer" and 0 < busy < 1 - LARGE:
        found.append(
            (1 - busy, "--set schedule=pipelined", f"Layers overlap, images come up to {1 / busy:.2g} times as often")
        )
    share = layers["cycles"] / max(1, int(layers["cycles"].sum()))
    slow = int(share.argmax())
    name, on_macros = short_names(list(layers["name"]))[slow], layers["macros"][slow] > 0
    if share[slow] >= LARGE and on_macros and arch.mapping.max_replicas == 1:
        spare = arch.macros - int(trace.attributes["macros"])
        if spare >= int(layers["macros"][slow]):
            gain = share[slow] / 2
            found.append(
                (
                    gain,
                    "--set mapping.max_replicas=2",
                    f"Two copies of {name} would save up to {_percent(gain)} of the time",
                )
            )
    if share[slow] >= LARGE and not on_macros:
        gain = share[slow] / 2
        what = f"--set chip.digital.lanes={2 * arch.chip.digital.lanes}"
        found.append(
            (gain, what, f"{name} runs on the digital unit; twice the lanes save up to {_percent(gain)} of the time")
        )
    leak = leakage_share(trace)
    if leak >= LARGE:
        needed = -(-int(trace.attributes["macros"]) // arch.tile.macros)
        unused = 1 - int(trace.attributes["macros"]) / max(1, arch.macros)
        why = f"Leakage is {_percent(leak)} of the energy and grows with time and area"
        what = f"--set chip.tiles={needed}" if unused >= LARGE else "a shorter run"
        found.append((leak, what, f"{why}; {_percent(unused)} of the chip's macros hold nothing"))
    found += _by_component(trace, arch)
    waited = waits(trace)
    cause = max(waited, key=lambda key: waited[key])
    total = float(trace.units["busy_cycles"].sum() + sum(waited.values())) or 1.0
    if CAUSES[cause][1] and waited[cause] / total >= LARGE:
        found.append(
            (waited[cause] / total, CAUSES[cause][1], f"Units wait {_percent(waited[cause] / total)} of their time")
        )
    found.sort(key=lambda row: -row[0])
    return [(what, why) for _, what, why in found[:MOST_REMEDIES]]


def _by_component(trace: Trace, arch: Arch) -> list[tuple[float, str, str]]:
    """Converters that take much of the energy of events: a bit less halves what many kinds of them draw."""
    pj = trace.energy["pj"]
    total, place = float(pj.sum()), list(trace.energy["component"]).index("adc")
    bits = getattr(arch.macro.adc, "bits", None)
    share = float(pj[:-1, place].sum()) / total if total > 0 else 0.0
    if share < LARGE or bits is None or bits < 2:
        return []
    what = f"--set macro.adc.bits={bits - 1}"
    return [(share / 2, what, f"Conversions draw {_percent(share)} of the energy; look at the accuracy, too")]
