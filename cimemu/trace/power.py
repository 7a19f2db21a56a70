"""Power over time: the energy of a run's events in windows of a chosen width, by part of the chip, layer and component.

The energy of a layer and component is spread over the cycles of the events that draw it (conversions over macro operations,
bits of the global buffer over its accesses ...), leakage over all cycles, that of macros over those in which they are on.
Energies are split as integers, so that the windows' sums are the run's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.errors import TraceError
from cimemu.events import Kind
from cimemu.tally import CHARGED, LEAKAGE, OF_MACROS, count_prices, leaked_quanta
from cimemu.trace.idle import off_by_window
from cimemu.trace.read import Trace, open_trace

if TYPE_CHECKING:
    import pandas
    import xarray

MOST_WINDOWS = 20_000
CHIP = "whole chip"  # where leakage is drawn, and what no event stands for
MACRO = (Kind.MACRO, Kind.DRIVE, Kind.CONVERT, Kind.SHIFT_ADD, Kind.SKIP)
# Events whose cycles a component's energy is spread over, where components have others than macro operations.
DRAWN_BY: Mapping[str, tuple[Kind, ...]] = {
    "input_register": (Kind.LOAD,),
    "psum_adder": (Kind.PSUM,),
    "tile_buffer": (Kind.LOAD, Kind.PSUM),
    "global_buffer": (Kind.BUFFER,),
    "interconnect": (Kind.MOVE,),
    "digital": (Kind.DIGITAL,),
    "scale_multiplier": (Kind.DIGITAL,),
    "offchip": (Kind.OFFCHIP,),
    "programming": (Kind.PROGRAM,),
    "wake_up": (Kind.WAKE,),
}
PARTS = 10**6  # of a macro's leakage, of which gating saves some
UNITS = {"ns": 1.0, "us": 1e3, "ms": 1e6}


@dataclass(frozen=True, eq=False)
class Power:
    """Energy by window in integers of 1 / `quanta_per_pj` pJ, of which every way of summing gives the run's energy.

    Window w is cycles `w * width .. (w + 1) * width`; the last one ends with the run.
    """

    width: int
    cycles: int
    clock_ns: float
    quanta_per_pj: int
    parts: tuple[str, ...]  # tiles and what they share
    layers: tuple[str, ...]  # and leakage
    components: tuple[str, ...]
    by_part: NDArray[Any]  # [windows, parts] Python integers
    by_layer: NDArray[Any]  # [windows, layers]
    by_component: NDArray[Any]  # [windows, components]

    @property
    def start(self) -> NDArray[np.int64]:
        """First cycle of every window."""
        return np.arange(len(self.by_part), dtype=np.int64) * self.width

    @property
    def length_ns(self) -> NDArray[np.float64]:
        """Of every window."""
        made: NDArray[np.float64] = np.minimum(self.width, self.cycles - self.start) * self.clock_ns
        return made

    def mw(self, quanta: NDArray[Any]) -> NDArray[np.float64]:
        """Power of energies [windows] or [windows, ...]: 1 pJ in 1 ns is 1 mW."""
        pj = np.asarray(quanta / self.quanta_per_pj, dtype=np.float64)
        made: NDArray[np.float64] = (pj.T / self.length_ns).T
        return made

    @property
    def total_mw(self) -> NDArray[np.float64]:
        """Power of every window."""
        return self.mw(self.by_part.sum(axis=1))

    @property
    def average_mw(self) -> float:
        """Of the run."""
        return float(int(self.by_part.sum()) / self.quanta_per_pj / (self.cycles * self.clock_ns))

    def summary(self) -> dict[str, Any]:
        """Average, peak, and where the peak is."""
        total = self.total_mw
        peak = int(total.argmax())

        def most(names: Sequence[str], quanta: NDArray[Any]) -> dict[str, Any]:
            drawn = self.mw(quanta)[peak]
            place = int(drawn.argmax())
            return {"name": names[place], "mw": float(drawn[place])}

        return {
            "windows": len(total),
            "width_cycles": self.width,
            "width_ns": self.width * self.clock_ns,
            "average_mw": self.average_mw,
            "peak_mw": float(total[peak]),
            "peak_start_cycle": int(self.start[peak]),
            "peak_part": most(self.parts, self.by_part),
            "peak_layer": most(self.layers, self.by_layer),
            "peak_component": most(self.components, self.by_component),
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row a window: its first cycle, its power, the part and layer that draw most."""
        parts, layers, total = self.mw(self.by_part), self.mw(self.by_layer), self.total_mw
        return [
            {
                "start": int(self.start[w]),
                "mW": float(total[w]),
                "most in": self.parts[int(parts[w].argmax())],
                "mW there": float(parts[w].max()),
                "most for": self.layers[int(layers[w].argmax())],
                "mW for it": float(layers[w].max()),
            }
            for w in range(len(total))
        ]

    def table(self) -> list[dict[str, Any]]:
        """A row a window: its first cycle, its power, and that of every part, layer and component."""
        named = (("part", self.parts, self.by_part), ("layer", self.layers, self.by_layer))
        columns = [
            (f"{kind} {name} mW", self.mw(quanta)[:, place])
            for kind, names, quanta in (*named, ("component", self.components, self.by_component))
            for place, name in enumerate(names)
        ]
        total = self.total_mw
        return [
            {"start_cycle": int(self.start[w]), "mW": float(total[w]), **{name: float(v[w]) for name, v in columns}}
            for w in range(len(total))
        ]

    def frame(self) -> "pandas.DataFrame":
        """`table` as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame(self.table()).set_index("start_cycle")

    def dataset(self) -> "xarray.Dataset":
        """mW by window and part, layer, component, with names and units."""
        import xarray

        named = (("part", self.parts, self.by_part), ("layer", self.layers, self.by_layer))
        made = {
            f"by_{kind}": (("start", kind), self.mw(quanta), {"unit": "mW"})
            for kind, _, quanta in (*named, ("component", self.components, self.by_component))
        }
        coordinates = {"part": list(self.parts), "layer": list(self.layers), "component": list(self.components)}
        return xarray.Dataset(made, {**coordinates, "start": ("start", self.start, {"unit": "cycles"})})


def window_cycles(text: str, clock_ns: float) -> int:
    """`1000`, `500ns`, `2us` or `1ms` as cycles. TraceError for another text, and for less than a cycle."""
    unit = next((name for name in UNITS if text.strip().endswith(name)), "")
    number = text.strip().removesuffix(unit)
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    cycles = value * UNITS[unit] / clock_ns if unit else value
    if not 1 <= cycles <= 2**62 or (not unit and cycles != int(cycles)):
        raise TraceError(
            f"power windows of {text!r:.40}: must be a number of cycles, or a time with ns, us or ms of a cycle "
            f"({clock_ns:g} ns) or more, for example 1000 or 2us"
        )
    return int(cycles)


def power_of(trace: Trace | str | Path, width: int | str) -> Power:
    """Power of a run in windows of `width`: cycles, or a time such as "2us".

    Raises TraceError where the trace lacks events, and for too many windows.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.load_network(workload.network)
    >>> quantized = cimemu.quantize(network, arch, workload.calibration())
    >>> result = cimemu.run(arch, quantized, workload.inputs(1)[0], trace="digits.h5")
    >>> power = cimemu.power_of("digits.h5", "1us")
    >>> len(power.total_mw), int(power.by_layer.sum()) == result.tally.total_quanta
    (106, True)
    """
    trace = trace if isinstance(trace, Trace) else open_trace(trace)
    width = window_cycles(str(width), float(trace.attributes["clock_ns"]))
    attributes, arch = trace.attributes, Arch.model_validate(trace.arch)
    cycles = int(attributes["cycles"])
    images, covered = int(attributes["images"]), int(attributes.get("event_images", 0))
    if covered < images:
        raise TraceError(
            f"{trace.path}: has the events of {covered} of {images} images, power over time needs all; run with --events {images}"
        )
    count = -(-cycles // width)
    if count > MOST_WINDOWS:
        least = -(-cycles // MOST_WINDOWS)
        raise TraceError(
            f"power windows of {width} cycles: {count} of them, must be <= {MOST_WINDOWS}; give {least} or more"
        )
    names, layers = list(trace.units["name"]), [str(name) for name in trace.layers["name"]]
    parts = list(dict.fromkeys(map(part_of, names)))
    busy = _busy(trace, np.array([parts.index(part_of(name)) for name in names]), len(layers), width, count)
    prices, quanta_per_pj = count_prices(arch)
    energy = trace.energy
    counts = np.asarray(energy["counts"], dtype=object)
    counted = {str(name): column for column, name in enumerate(energy["counter"])}
    leaks = _leaks(trace, arch, quanta_per_pj)
    whole = _lengths(cycles, width, count)
    with_gates = gated_weights(trace, arch, width, whole)
    components = tuple(CHARGED)
    made = _Split(count, len(parts) + 1, len(layers) + 1, len(components))
    for place, name in enumerate(components):
        named = [counter.name.lower() for counter in CHARGED[name]]
        drawn = [counted[counter] for counter in named if counter in counted]  # traces of earlier versions count less
        for layer in range(len(layers)):
            amount = int(counts[layer, drawn].sum()) * prices[name]
            if amount:
                made.spread(amount, list(_cells(busy, layer, DRAWN_BY.get(name, MACRO))), layer, place)
        leak = leaks.get(name, 0)
        if leak:
            made.share(leak, [(-1, with_gates if name in OF_MACROS else whole)], -1, place)
    return Power(
        width=width,
        cycles=cycles,
        clock_ns=float(attributes["clock_ns"]),
        quanta_per_pj=quanta_per_pj,
        parts=(*parts, CHIP),
        layers=(*layers, LEAKAGE),
        components=components,
        by_part=made.by_part,
        by_layer=made.by_layer,
        by_component=made.by_component,
    )


def _lengths(cycles: int, width: int, count: int) -> NDArray[Any]:
    """Cycles of every window."""
    made: NDArray[Any] = np.minimum(width, cycles - np.arange(count, dtype=np.int64) * width).astype(object)
    return made


def _leaks(trace: Trace, arch: Arch, quanta_per_pj: int) -> dict[str, int]:
    """What every component leaks in the run, gates considered, in quanta."""
    uw = dict(zip(map(str, trace.energy["component"]), trace.energy["leakage_uw"]))
    gated = int(trace.attributes.get("gated_cycles", 0))
    whole, saved = leaked_quanta(arch, uw, int(trace.attributes["cycles"]), gated, quanta_per_pj)
    return {name: most - less for name, most, less in zip(uw, whole, saved)}


def gated_weights(trace: Trace, arch: Arch, width: int, lengths: NDArray[Any]) -> NDArray[Any]:
    """What macros leak in every window, in whole numbers of one unit: less where some are off."""
    if arch.power.gating is None:
        return lengths
    off = off_by_window(trace, arch, width, len(lengths))
    made: NDArray[Any] = lengths * (arch.macros * PARTS) - off * round(arch.power.gating.saved * PARTS)
    return made


def part_of(unit: str) -> str:
    """The part of the chip that a unit belongs to: its tile, or what tiles share."""
    first = unit.split("/")[0]
    return "interconnect" if first in ("link", "bus") else first


Cells = tuple[int, NDArray[Any]]  # a part, and its busy cycles by window


class _Split:
    """Energies shared out among windows, parts, layers and components; nothing is lost to rounding."""

    def __init__(self, windows: int, parts: int, layers: int, components: int) -> None:
        self.by_part, self.by_layer, self.by_component = (
            np.zeros((windows, size), dtype=object) for size in (parts, layers, components)
        )

    def spread(self, amount: int, cells: Sequence[Cells], layer: int, component: int) -> None:
        """By busy cycles; over the whole run where nothing works for it."""
        if not cells:
            self.share(amount, [(-1, np.ones(len(self.by_part), dtype=np.int64))], layer, component)
        else:
            self.share(amount, cells, layer, component)

    def share(self, amount: int, cells: Sequence[Cells], layer: int, component: int) -> None:
        """`amount` in proportion to the cells' cycles: whole numbers whose sum is `amount`."""
        total, before, given = sum(int(busy.sum()) for _, busy in cells), 0, 0
        for part, busy in cells:
            until = np.cumsum(busy).astype(object) + before
            upto = until * amount // total
            each = np.diff(np.concatenate([np.array([given], dtype=object), upto]))
            before, given = int(until[-1]), int(upto[-1])
            self.by_part[:, part] += each
            self.by_layer[:, layer] += each
            self.by_component[:, component] += each


Busy = dict[tuple[int, int], dict[int, NDArray[np.int64]]]  # by (layer, kind): by part, cycles in every window


def _cells(busy: Busy, layer: int, kinds: Sequence[Kind]) -> Iterator[Cells]:
    """Parts that work on these kinds of events of a layer; where none does, on any of its events."""
    own = [kind for kind in kinds if (layer, int(kind)) in busy]
    for kind in own or [Kind(number) for of, number in busy if of == layer]:
        yield from sorted(busy[layer, int(kind)].items())


def _busy(trace: Trace, part: NDArray[np.int64], layers: int, width: int, count: int) -> Busy:
    """Busy cycles of the events, window by window; an event's are shared among the windows that it lies in."""
    found: Busy = {}
    kinds = len(Kind)
    for chunk in trace.event_chunks(("unit", "kind", "layer", "start", "end")):
        key = (part[chunk["unit"]] * layers + chunk["layer"]) * kinds + chunk["kind"]
        order = np.argsort(key, kind="stable")
        for chosen in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            if not len(chosen):
                continue
            one = key[chosen[0]]
            where, kind = divmod(int(one), kinds)
            where, layer = divmod(where, layers)
            rows = found.setdefault((layer, kind), {})
            cycles = rows.setdefault(where, np.zeros(count, dtype=np.int64))
            _add(cycles, chunk["start"][chosen], chunk["end"][chosen], width)
    return found


def _add(cycles: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64], width: int) -> None:
    first, last = start // width, (end - 1) // width
    same = first == last
    np.add.at(cycles, first[same], (end - start)[same])
    start, end, first, last = (values[~same] for values in (start, end, first, last))
    np.add.at(cycles, first, (first + 1) * width - start)
    np.add.at(cycles, last, end - last * width)
    rising = np.zeros(len(cycles) + 1, dtype=np.int64)
    np.add.at(rising, first + 1, 1)
    np.add.at(rising, last, -1)
    cycles += np.cumsum(rising)[:-1] * width


__all__ = ["Power", "power_of", "window_cycles"]
