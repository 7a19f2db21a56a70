"""Pictures of one run: where time and energy go by layer, and what every unit does when."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import TraceError
from cimemu.figure import new_figure, save_figure
from cimemu.shown import printable
from cimemu.trace.tables import Table

TIME, ENERGY = "#1f5fbf", "#c25b12"  # apart for colour-blind readers too
MOST_BARS = 40  # layers that get a row; the others are one together
MOST_EVENTS = 20_000  # of a timeline; more cannot be told apart


def run_figure(
    title: str,
    names: Sequence[str],
    cycles: NDArray[Any],
    energy_pj: NDArray[Any],
    leakage_pj: float,
    file: str | Path | None = None,
) -> Any:
    """Cycles and energy of every layer side by side, the costliest first; leakage, which is no layer's, is a row of its own.

    `cycles` and `energy_pj` [layers] are of the whole run. Returns a matplotlib figure, and writes it where `file` is given.
    """
    order = np.argsort(-(energy_pj / max(energy_pj.sum(), 1e-30) + cycles / max(cycles.sum(), 1)), kind="stable")
    shown, rest = order[:MOST_BARS], order[MOST_BARS:]
    rows = [(printable(names[i]), float(cycles[i]), float(energy_pj[i])) for i in shown]
    if len(rest):
        rows.append((f"{len(rest)} other layers", float(cycles[rest].sum()), float(energy_pj[rest].sum())))
    rows.append(("leakage of the chip", 0.0, leakage_pj))
    figure, (left, right) = new_figure(1, 2, (11, 1.6 + 0.26 * len(rows)))
    places = range(len(rows))
    shown_as = (
        (left, TIME, "cycles", [row[1] for row in rows]),
        (right, ENERGY, "energy [uJ]", [row[2] / 1e6 for row in rows]),
    )
    for axis, colour, label, values in shown_as:
        axis.barh(places, values, color=colour)
        axis.set(xlabel=label)
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
    left.set_yticks(places, [row[0] for row in rows])
    right.set_yticks(places, [])
    left.set_title("time, first event to last", fontsize=10)
    right.set_title("energy", fontsize=10)
    figure.suptitle(printable(title), fontsize=11)
    if file is not None:
        save_figure(figure, Path(file))
    return figure


def timeline_figure(
    where: Path,
    named: tuple[list[str], list[str]],
    chunks: Iterable[Table],
    cycles: tuple[int, int | None],
    file: str | Path | None = None,
) -> Any:
    """What every unit does in the `cycles` (first, last), a row a unit, macros first, a colour a layer.

    `named` are the units and layers that events name by number, `chunks` the events of the trace at `where` with their unit, layer,
    start and end. TraceError where there are more events than a picture can show, or none.
    """
    (names, layers), (first, last) = named, cycles
    parts = []
    for chunk in chunks:
        inside = (chunk["end"] > first) & ((chunk["start"] < last) if last is not None else True)
        parts.append({name: values[inside] for name, values in chunk.items()})
        found = sum(len(part["unit"]) for part in parts)
        if found > MOST_EVENTS:
            raise TraceError(
                f"{where}: more than {MOST_EVENTS:,} events from cycle {first:,} on, give plot_timeline first and last "
                "cycles that lie closer together"
            )
    events = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    if not events or not len(events["unit"]):
        raise TraceError(f"{where}: no event in cycles {first:,} .. {last}, give others; detail ops has events")
    used = sorted(set(events["unit"].tolist()), key=lambda unit: (".macro" not in names[unit], unit))
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    tab20: Any = colormaps["tab20"]
    colours = tab20.colors
    figure, axis = new_figure(1, 1, (12, 1.4 + 0.17 * len(used)))
    for row, unit in enumerate(used):
        mine = events["unit"] == unit
        start, end, layer = (events[name][mine] for name in ("start", "end", "layer"))
        axis.broken_barh(
            list(zip(start.tolist(), np.maximum(end - start, 1).tolist())),
            (row - 0.4, 0.8),
            facecolors=[colours[int(number) % len(colours)] if number >= 0 else "#9aa5b1" for number in layer],
        )
    axis.set_yticks(range(len(used)), [printable(names[unit]) for unit in used], fontsize=7)
    axis.invert_yaxis()
    axis.set(xlabel="cycle")
    present = [int(number) for number in np.unique(events["layer"]) if number >= 0]
    keys = [Patch(color=colours[number % len(colours)], label=printable(layers[number])) for number in present[:20]]
    axis.legend(handles=keys, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=7)
    if file is not None:
        save_figure(figure, Path(file))
    return figure
