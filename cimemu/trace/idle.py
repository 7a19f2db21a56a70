"""What macros leak while they do not work: of the run's energy, what gating saves of it, and what it would save."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.tally import OF_MACROS
from cimemu.trace.read import Trace
from cimemu.trace.validate import damaged

Ints = NDArray[np.int64]


def idle_cost(trace: Trace) -> dict[str, Any]:
    """What macros leak: those that hold nothing, and the others while they do not work; what gating saves and takes.

    A component of which every macro has as many leaks by macro; those that a tile or the chip has are no part of it.
    `leakage_uj`, `empty_uj` and `idle_uj` are what there is without gating; `idle_share` is of the run as it was.
    """
    macros, saved = _gated(trace)
    cycles, clock_ns = max(1, int(trace.attributes["cycles"])), float(trace.attributes["clock_ns"])
    energy = trace.energy
    names = [str(name) for name in energy["component"]]
    of_macros = [place for place, name in enumerate(names) if name in OF_MACROS]
    drawn = float(energy["pj"][-1][of_macros].sum())
    gated = int(trace.attributes.get("gated_cycles", 0))
    leaked = drawn
    if saved and gated:
        leaked = float(energy["leakage_uw"][of_macros].sum()) * cycles * clock_ns * 1e-3
    used = len(set(trace.table("macros")["macro"].tolist()))
    units = trace.units
    works = [units["busy_cycles"][number] for number, name in enumerate(units["name"]) if _macro_of(str(name)) == name]
    working = float(np.sum(works)) / (cycles * macros)
    total = float(trace.attributes["energy_pj"]) or 1.0
    empty = 1 - used / macros
    woken = energy["pj"][:-1, names.index("wake_up")].sum() if "wake_up" in names else 0.0
    counters = list(energy["counter"])
    return {
        "macros": macros,
        "macros_empty": macros - used,
        "leakage_uj": leaked / 1e6,
        "empty_uj": leaked * empty / 1e6,
        "idle_uj": leaked * max(0.0, 1 - empty - working) / 1e6,
        "idle_share": max(0.0, leaked * (1 - working) - (leaked - drawn)) / total,
        "gated_share": gated / (cycles * macros),
        "saved_uj": (leaked - drawn) / 1e6,
        "wake_ups": int(energy["counts"][:, counters.index("wake_ups")].sum()) if "wake_ups" in counters else 0,
        "wake_up_uj": float(woken) / 1e6,
    }


def _gated(trace: Trace) -> tuple[int, float]:
    """(macros of the chip, the share of their leakage that gating saves); TraceError where the trace does not say."""
    tree = trace.arch
    try:
        gating = tree.get("power", {}).get("gating")
        macros = int(tree["chip"]["tiles"]) * int(tree["tile"]["macros"])
        saved = 0.0 if gating is None else float(gating["saved"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(trace.path, f"attribute arch_json lacks {error}") from None
    if macros < 1:
        raise damaged(trace.path, f"attribute arch_json: {macros} macros")
    return macros, saved


def worth_gating(trace: Trace, idle: dict[str, Any]) -> dict[str, Any]:
    """What gating would save at most of a chip without it, how often macros would be woken, and up to which energy that pays.

    A macro is off in every stretch of cycles without work. Needs the events of all images.
    """
    cycles = int(trace.attributes["cycles"])
    stretches = sum(len(first) for first, _ in idle_stretches(trace, cycles, ends=False))
    saved = idle["empty_uj"] + idle["idle_uj"]
    total = float(trace.attributes["energy_pj"]) / 1e6
    return {
        "would_save_uj": saved,
        "would_save_share": saved / total if total else 0.0,
        "would_wake": stretches,
        "pays_below_pj": saved * 1e6 / stretches if stretches else None,
    }


def idle_stretches(trace: Trace, cycles: int, *, ends: bool = True) -> Iterator[tuple[Ints, Ints]]:
    """Of every macro that works, (first cycles, first cycles after them) of stretches in which it does not; where `ends`, the
    one behind its last work too."""
    start, end, macro = _held(trace, _owners(trace))
    order = np.lexsort((start, macro))
    start, end, macro = start[order], end[order], macro[order]
    for own in np.split(np.arange(len(macro)), np.flatnonzero(np.diff(macro)) + 1):
        if not len(own):
            continue
        until = np.maximum.accumulate(end[own])  # of macros whose steps are events some lie side by side
        begins, stops = np.concatenate([[0], until]), np.concatenate([start[own], [cycles]])
        chosen = stops > begins
        chosen[-1] &= ends
        yield begins[chosen], stops[chosen]


def off_by_window(trace: Trace, arch: Arch, width: int, count: int) -> NDArray[Any]:
    """Cycles in which macros are off, all macros together, by window: whole numbers as Python integers [windows]."""
    cycles, gating = int(trace.attributes["cycles"]), arch.power.gating
    made = np.zeros(count, dtype=object)
    if gating is None:
        return made
    working = 0
    rising = np.zeros(count + 1, dtype=object)
    for first, stop in idle_stretches(trace, cycles):
        working += 1
        _cover(made, rising, first + gating.after_cycles, stop, width)
    _cover(made, rising, np.array([gating.after_cycles]), np.array([cycles]), width, arch.macros - working)
    covered: NDArray[Any] = made + np.cumsum(rising)[:-1] * width
    return covered


def _cover(made: NDArray[Any], rising: NDArray[Any], first: Ints, stop: Ints, width: int, times: int = 1) -> None:
    """Add the cycles first .. stop, `times` over, to windows: their ends to `made`, whole windows to the steps `rising`."""
    first, stop = first[stop > first], stop[stop > first]
    begin, last = first // width, (stop - 1) // width
    same = begin == last
    np.add.at(made, begin[same], (stop - first)[same] * times)
    first, stop, begin, last = (values[~same] for values in (first, stop, begin, last))
    np.add.at(made, begin, ((begin + 1) * width - first) * times)
    np.add.at(made, last, (stop - last * width) * times)
    np.add.at(rising, begin + 1, times)
    np.add.at(rising, last, -times)


def _macro_of(unit: str) -> str:
    """The macro that a unit belongs to, "" where it belongs to none."""
    parts = unit.split("/")
    is_macro = len(parts) >= 2 and parts[0].startswith("tile") and parts[1].removeprefix("macro").isdigit()
    return "/".join(parts[:2]) if is_macro and parts[1].startswith("macro") else ""


def _owners(trace: Trace) -> Ints:
    """The number of the macro of every unit, -1 where it belongs to none."""
    names = [_macro_of(str(name)) for name in trace.units["name"]]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for name in names if name))}
    return np.array([numbers.get(name, -1) for name in names], dtype=np.int64)


def _held(trace: Trace, owner: Ints) -> tuple[Ints, Ints, Ints]:
    """(start, end, macro) of what macros do, and are woken for.

    A macro is held from the first to the last step of an operation, whose steps may leave cycles between them: they have one
    image and task.
    """
    held = np.zeros((5, 0), dtype=np.int64)
    for chunk in trace.event_chunks(("unit", "op", "image", "start", "end")):
        macro = owner[chunk["unit"]]
        some = np.stack([macro, *(chunk[name].astype(np.int64) for name in ("image", "op", "start", "end"))])
        held = np.concatenate([held, _joined(some[:, macro >= 0])], axis=1)
    macro, _, _, start, end = _joined(held)
    return start, end, macro


def _joined(rows: Ints) -> Ints:
    """Rows (macro, image, task, start, end) [5, n], those of one operation as one."""
    order = np.lexsort((rows[2], rows[1], rows[0]))
    rows = rows[:, order]
    if not rows.shape[1]:
        return rows
    new = np.flatnonzero(np.concatenate([[True], (np.diff(rows[:3], axis=1) != 0).any(axis=0)]))
    return np.concatenate([rows[:3, new], [np.minimum.reduceat(rows[3], new)], [np.maximum.reduceat(rows[4], new)]])
