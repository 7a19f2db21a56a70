"""Pictures of results, by matplotlib: accuracy against spread, layers that break, the Pareto set."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cimemu.figure import new_figure, save_figure
from cimemu.stress.grid import split
from cimemu.stress.tables import telling

if TYPE_CHECKING:
    from cimemu.stress.result import StressResult
    from cimemu.stress.sweep import SweepResult


def plot_sweep(result: "SweepResult", path: Path, *, overwrite: bool = False) -> None:
    """Accuracy (or, without labels, area) against energy and latency, the Pareto set joined. CimemuError."""
    figure, axes = new_figure(1, 2, (11, 4.4))
    measured = result.columns
    has_labels = not bool(np.isnan(measured["accuracy"].astype(float)).all())
    height, label = (
        (100 * measured["accuracy"], "accuracy [%]")
        if has_labels
        else (measured["area_mm2"], "area [mm²], with its 90 % interval")
    )
    for axis, (name, unit) in zip(
        axes, (("energy_uj", "energy [uJ], with its 90 % interval"), ("latency_us", "latency [us]"))
    ):
        bars: dict[str, Any] = {"xerr": _reach(measured, "energy", "uj")} if name == "energy_uj" else {}
        bars |= {} if has_labels else {"yerr": _reach(measured, "area", "mm2")}
        if bars:
            axis.errorbar(measured[name], height, **bars, fmt="none", ecolor="#c5ccd3", elinewidth=1, capsize=2)
        axis.scatter(measured[name], height, color="#9aa5b1", label="points")
        best = np.flatnonzero(result.pareto)
        order = best[np.argsort(measured[name][best])]
        axis.plot(measured[name][order], height[order], "o-", color="#1f5fbf", label="Pareto set")
        for point in best:
            text = ", ".join(f"{key} {value}" for key, value in result.parameters[point].items())
            axis.annotate(
                text, (measured[name][point], height[point]), fontsize=7, xytext=(4, 4), textcoords="offset points"
            )
        axis.set(xlabel=unit, ylabel=label)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    save_figure(figure, path, overwrite=overwrite)


def _reach(measured: Mapping[str, Any], figure: str, unit: str) -> Any:
    """How far the 90 % interval of a figure goes below and above it [2, points]."""
    ends = [measured[f"{figure}_{end}_{unit}"] for end in ("low", "high")]
    middle = measured[f"{figure}_{unit}"]
    return np.maximum([middle - ends[0], ends[1] - middle], 0)


def plot_stress(result: "StressResult", path: Path, *, overwrite: bool = False) -> None:
    """Mean accuracy with its 95 % interval and the range of chips, a line per scheme; beside it, errors of layers."""
    figure, (left, right) = new_figure(1, 2, (13, 4.8))
    settings = result.settings()
    name, values = _axis(settings)
    for number, scheme in enumerate(result.schemes):
        rows = slice(number * len(settings), (number + 1) * len(settings))
        column = {key: 100 * result.columns[key][rows] for key in ("mean", "low", "high", "quantiles")}
        bounds = [column["mean"] - column["low"], column["high"] - column["mean"]]
        line = left.errorbar(
            values, column["mean"], yerr=np.maximum(bounds, 0), marker="o", capsize=3, label=scheme or "mean"
        )
        shade = line[0].get_color()
        left.fill_between(values, column["quantiles"][:, 0], column["quantiles"][:, -1], alpha=0.12, color=shade)
        ideal = 100 * result.ideal[scheme]["accuracy"]
        left.axhline(ideal, color=shade, linewidth=0.8, linestyle=":")
    later = [value for value in values if name == "drift seconds" and value > 0]
    if later:  # times from 0 s on, by decades
        left.set_xscale("symlog", linthresh=min(later))
        left.set_xlim(-min(later) / 3, 2 * max(later))
        left.set_xticks(values, [f"{value:g}" for value in values], fontsize=8)
        left.set_xticks([], minor=True)
    left.set(xlabel=name, ylabel="accuracy [%]", title="mean, 95 % interval; shaded: all chips; dotted: ideal cells")
    left.grid(alpha=0.3)
    left.legend(frameon=False)
    image = right.imshow(result.own_error, aspect="auto", cmap="viridis", interpolation="nearest")
    right.set(title="error of each layer alone, rms relative to its output's spread", xlabel="layer on macros")
    right.set_xticks(range(len(result.layers)), result.layers, rotation=90, fontsize=6)
    right.set_yticks(range(len(result.vary)), _labels(result), fontsize=6)
    figure.colorbar(image, ax=right)
    save_figure(figure, path, overwrite=overwrite)


def _labels(result: "StressResult") -> list[str]:
    """A scheme's name and what tells the point from others."""
    return [", ".join(filter(None, pair)) for pair in zip(result.scheme_of, telling(result.vary))]


def _axis(settings: list[tuple[str, ...]]) -> tuple[str, list[Any]]:
    """(name, values) of the one parameter that differs between settings as a number, else their order."""
    differing = {i for setting in settings for i, text in enumerate(setting) if text != settings[0][i]}
    if len(differing) == 1:
        place = differing.pop()
        pairs = [dict(p.split("=", 1) for p in _pieces(s[place])) for s in settings]
        names = [n for n in pairs[0] if len({pair[n] for pair in pairs}) > 1]
        if len(names) == 1:
            try:
                return f"{settings[0][place].split(':')[0]} {names[0]}", [float(pair[names[0]]) for pair in pairs]
            except ValueError:
                pass
    return "setting", list(range(len(settings)))


def _pieces(text: str) -> list[str]:
    return [piece for piece in split(text.partition(":")[2]) if "=" in piece]
