"""What would make a run faster or cheaper, and by how much at most: every bound follows from the trace's own figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.config_file import parse_value
from cimemu.errors import CimemuError
from cimemu.mapping.cycles import op_cycles
from cimemu.tally import event_prices
from cimemu.trace.idle import idle_cost
from cimemu.trace.read import Trace
from cimemu.trace.schema import STALLS

LARGE = 0.25  # a share of time or energy that a remedy is worth naming for
WORTH = 0.05  # a share that it must be able to save
MOST_REMEDIES = 3
COPIES = (2, 4, 8)
SAVED, GATE_CYCLES = (
    0.9,
    10,
)  # of a macro that is switched off: the share of its leakage, cycles to decide it and to be on again


class Cause(NamedTuple):
    """What a unit can wait for, in a few words and in more, and what makes the waiting shorter."""

    short: str
    long: str
    remedy: str


CAUSES = {
    "adc": Cause("converters", "converters of their macro", "more converters: a smaller macro.columns_per_adc"),
    "bus": Cause(
        "the bus",
        "the bus or a tile's adder",
        "a wider chip.interconnect.bits_per_cycle, or more tile.adder_lanes",
    ),
    "buffer": Cause(
        "room in a buffer",
        "room in a buffer",
        "a larger tile.input_buffer.size_kib, tile.output_buffer.size_kib or global buffer",
    ),
    "noc": Cause("the mesh", "a link of the mesh", "a wider chip.interconnect.bits_per_cycle"),
    "memory": Cause(
        "memory",
        "the global buffer or the off-chip memory",
        "more chip.global_buffer.ports, or wider ones",
    ),
    "data": Cause("the layers before them", "inputs that are not computed yet", ""),
    "programming": Cause(
        "cells being written",
        "cells that are being written",
        "a chip with more macros, or faster programming.row_write_cycles",
    ),
}


@dataclass(frozen=True)
class Remedy:
    """One thing to change; `setting` is empty where no single value of a key says it."""

    title: str  # in words
    setting: str  # KEY=VALUE for --set
    how: str  # what is typed, or the keys in words
    what: str  # time, rate, energy of an image, or that of its events: energy without leakage
    factor: float  # at most so many times as fast, or so many times less
    gain: str  # the same in words


def remedies(trace: Trace) -> list[Remedy]:
    """The remedies that could save most, the largest first."""
    arch = Arch.model_validate(trace.arch)
    found = [
        one
        for look in (_overlap, _copies, _converters, _lanes, _idle, _gates, _bits, _waiting)
        for one in look(trace, arch)
        if one.factor >= 1 / (1 - WORTH) and _allowed(arch, one)
    ]
    found.sort(key=lambda one: -one.factor)
    return found[:MOST_REMEDIES]


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


def percent(share: float) -> str:
    """A share with as many digits as it needs."""
    return f"{100 * share:.3g} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _leakage_share(trace: Trace) -> float:
    pj = trace.energy["pj"]
    return float(pj[-1].sum() / pj.sum()) if pj.sum() > 0 else 0.0


def _allowed(arch: Arch, one: Remedy) -> bool:
    """A setting that the chip's own rules refuse is not proposed."""
    if not one.setting:
        return True
    key, _, value = one.setting.partition("=")
    try:
        load_arch(arch, {key: parse_value(value)})
    except CimemuError:
        return False
    return True


def _set(title: str, setting: str, what: str, factor: float, gain: str) -> Remedy:
    return Remedy(title, setting, f"--set {setting}", what, factor, gain)


def _times(factor: float) -> str:
    return f"{factor:.2g}" if factor < 9.95 else f"{factor:.0f}"


def _on_macros(trace: Trace) -> float:
    """The share of time that macros decide upon.

    Layers that follow one another each have a part of the time. Of layers that overlap, all of the rate hangs on the
    busiest unit, or on nothing that works for most of the run.
    """
    if trace.arch["schedule"] == "layer_by_layer":
        layers = trace.layers
        return float(layers["cycles"][layers["macros"] > 0].sum()) / max(1, int(layers["cycles"].sum()))
    unit, busy = busiest(trace)
    return float("macro" in unit and busy >= LARGE)


def _on_digital(trace: Trace) -> float:
    """The same of the digital unit."""
    if trace.arch["schedule"] == "layer_by_layer":
        return 1 - _on_macros(trace)
    unit, busy = busiest(trace)
    return float(unit == "digital" and busy >= LARGE)


def _sooner(arch: Arch, factor: float) -> tuple[str, str]:
    """What comes sooner by `factor`, as a word and in words."""
    if arch.schedule == "layer_by_layer":
        return "time", f"an image is up to {_times(factor)} times as fast"
    return "rate", f"images come up to {_times(factor)} times as often"


def _overlap(trace: Trace, arch: Arch) -> Iterator[Remedy]:
    _, busy = busiest(trace)
    if arch.schedule == "layer_by_layer" and 0 < busy < 1 - LARGE:
        gain = f"images come up to {_times(1 / busy)} times as often"
        yield _set("Let layers overlap", "schedule=pipelined", "rate", 1 / busy, gain)


def _copies(trace: Trace, arch: Arch) -> Iterator[Remedy]:
    """Copies of slow layers on macros that hold nothing, dealt out as the mapper does: the slowest first."""
    idle = arch.macros - int(trace.attributes["macros"])
    if arch.mapping.max_replicas > 1 or idle < 1 or _on_macros(trace) < LARGE:
        return
    if arch.schedule == "pipelined":
        what, gain = _sooner(arch, 2.0)
        yield _set("Copy the slow layers", "mapping.max_replicas=2", what, 2.0, f"{gain}, on macros that are idle now")
        return
    bounds = {copies: _sped_up(trace, idle, copies) for copies in COPIES}
    best = max(bounds.values())
    copies = next(number for number in COPIES if bounds[number] >= 0.9 * best)
    what, gain = _sooner(arch, bounds[copies])
    setting = f"mapping.max_replicas={copies}"
    yield _set("Copy the slow layers", setting, what, bounds[copies], f"{gain}, on macros that are idle now")


def _sped_up(trace: Trace, idle: int, most: int) -> float:
    layers = trace.layers
    rows = [
        (int(cycles), int(blocks))
        for cycles, blocks, macros in zip(layers["cycles"], layers["blocks"], layers["macros"])
        if macros > 0
    ]
    copies = [1] * len(rows)
    while True:
        open_to = [i for i, (_, blocks) in enumerate(rows) if copies[i] < most and blocks <= idle]
        if not open_to:
            break
        slowest = max(open_to, key=lambda i: rows[i][0] / copies[i])
        idle -= rows[slowest][1]
        copies[slowest] += 1
    total = float(layers["cycles"].sum())
    saved = sum(cycles * (1 - 1 / n) for (cycles, _), n in zip(rows, copies))
    return total / (total - saved) if total > saved else 1.0


def _converters(trace: Trace, arch: Arch) -> Iterator[Remedy]:
    """Half as many columns at each converter, where turns at it are what an operation takes its time for."""
    macro, share = arch.macro, _on_macros(trace)
    if macro.columns_per_adc < 2 or share < LARGE:
        return
    columns = macro.outputs * macro.columns_per_output
    half = -(-macro.columns_per_adc // 2)
    more = macro.model_copy(update={"columns_per_adc": half})
    quicker = op_cycles(more, macro.rows, columns) / op_cycles(macro, macro.rows, columns)
    factor = 1 / (1 - share * (1 - quicker))
    what, gain = _sooner(arch, factor)
    yield _set("More converters", f"macro.columns_per_adc={half}", what, factor, f"{gain}; converters take more area")


def _lanes(trace: Trace, arch: Arch) -> Iterator[Remedy]:
    share = _on_digital(trace)
    if share >= LARGE:
        factor = 1 / (1 - share / 2)
        what, gain = _sooner(arch, factor)
        yield _set("A wider digital unit", f"chip.digital.lanes={2 * arch.chip.digital.lanes}", what, factor, gain)


def _idle(trace: Trace, arch: Arch) -> Iterator[Remedy]:
    leak = _leakage_share(trace)
    needed = -(-int(trace.attributes["macros"]) // arch.tile.macros)
    if leak >= LARGE and needed < arch.tiles:
        saved = leak * (1 - needed / arch.tiles)
        gain = f"idle tiles leak; without them an image draws up to {percent(saved)} less energy"
        yield _set("Fewer tiles", f"chip.tiles={needed}", "energy", 1 / (1 - saved), gain)


def _gates(trace: Trace, arch: Arch) -> Iterator[Remedy]:
    """Macros that leak while they do not work, switched off: what a gate saves of it is assumed."""
    share = idle_cost(trace)["idle_share"]
    if share >= LARGE and arch.power.gating is None:
        saved = SAVED * share
        gain = (
            f"macros leak {percent(share)} of the energy while they do not work; gates that save {percent(SAVED)} of it, where "
            f"waking takes little, draw up to {percent(saved)} less"
        )
        setting = f"power.gating={{saved: {SAVED}, after_cycles: {GATE_CYCLES}, wake_cycles: {GATE_CYCLES}}}"
        yield Remedy("Switch idle macros off", setting, f'--set "{setting}"', "energy", 1 / (1 - saved), gain)


def _bits(trace: Trace, arch: Arch) -> Iterator[Remedy]:
    """Converters that draw much: one bit less, at the chip's own prices."""
    pj = trace.energy["pj"]
    total, place = float(pj.sum()), list(trace.energy["component"]).index("adc")
    bits: Any = getattr(arch.macro.adc, "bits", None)
    share = float(pj[:-1, place].sum()) / total if total > 0 else 0.0
    if share < LARGE or bits is None or bits < 2:
        return
    setting = f"macro.adc.bits={bits - 1}"
    try:
        fewer = event_prices(load_arch(arch, {"macro.adc.bits": bits - 1}))["adc"]
    except CimemuError:
        return
    saved = share * (1 - fewer / event_prices(arch)["adc"])
    gain = f"conversions draw up to {percent(saved)} of the energy less, and end sooner; look at the accuracy, too"
    yield _set("Converters of fewer bits", setting, "events", 1 / (1 - saved), gain)


def _waiting(trace: Trace, arch: Arch) -> Iterator[Remedy]:
    waited = waits(trace)
    cause = max(waited, key=lambda key: waited[key])
    total = float(trace.units["busy_cycles"].sum() + sum(waited.values())) or 1.0
    share = waited[cause] / total
    if CAUSES[cause].remedy and LARGE <= share < 1:
        gain = f"units wait {percent(share)} of their time for {CAUSES[cause].long}"
        yield Remedy(f"Less waiting for {CAUSES[cause].short}", "", CAUSES[cause].remedy, "time", 1 / (1 - share), gain)
