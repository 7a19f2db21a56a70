"""Pictures of results, by matplotlib: accuracy against spread, layers that break, the Pareto set."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cimemu.errors import CimemuError
from cimemu.whole_file import whole_file

if TYPE_CHECKING:
    from cimemu.stress.monte_carlo import StressResult
    from cimemu.stress.sweep import SweepResult

MARKERS = "osD^v<>PX*"


def plot_sweep(result: "SweepResult", path: Path, *, overwrite: bool = False) -> None:
    """Accuracy (or, without labels, area) against energy and latency, the Pareto set joined. CimemuError."""
    figure, axes = _figure(1, 2, (11, 4.4))
    measured = result.columns
    has_labels = not bool(np.isnan(measured["accuracy"].astype(float)).all())
    height, label = (100 * measured["accuracy"], "accuracy [%]") if has_labels else (measured["area_mm2"], "area [mm²]")
    for axis, (name, unit) in zip(axes, (("energy_uj", "energy [uJ]"), ("latency_us", "latency [us]"))):
        axis.scatter(measured[name], height, color="#9aa5b1", label="points")
        best = np.flatnonzero(result.pareto)
        order = best[np.argsort(measured[name][best])]
        axis.plot(measured[name][order], height[order], "o-", color="#1f5fbf", label="Pareto set")
        for point in best:
            text = ", ".join(f"{key.split('.')[-1]} {value}" for key, value in result.parameters[point].items())
            axis.annotate(
                text, (measured[name][point], height[point]), fontsize=7, xytext=(4, 4), textcoords="offset points"
            )
        axis.set(xlabel=unit, ylabel=label)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    _save(figure, path, overwrite)


def plot_stress(result: "StressResult", path: Path, *, overwrite: bool = False) -> None:
    """Mean accuracy with its 95 % interval and the range of chips, a line per scheme; below, error by layer."""
    figure, axes = _figure(1, 2, (13, 4.8))
    left, right = axes
    positions, names = result.axis()
    for number, scheme in enumerate(result.schemes):
        rows = [row for row in range(len(result.parameters)) if result.parameters[row]["scheme"] == scheme]
        x = positions[: len(rows)]
        mean = 100 * result.points["mean"][rows]
        low, high = 100 * result.points["low"][rows], 100 * result.points["high"][rows]
        line = left.errorbar(
            x, mean, yerr=[mean - low, high - mean], marker=MARKERS[number % len(MARKERS)], capsize=3, label=scheme
        )
        left.fill_between(
            x,
            100 * result.points["quantiles"][rows, 0],
            100 * result.points["quantiles"][rows, -1],
            alpha=0.12,
            color=line[0].get_color(),
        )
    left.set(xlabel=names, ylabel="accuracy [%]", title="mean, 95 % interval; shaded: all chips")
    if any(isinstance(value, str) for value in result.axis_labels()):
        left.set_xticks(positions, result.axis_labels())
    left.grid(alpha=0.3)
    left.legend(frameon=False)
    image = right.imshow(result.points["layer_error"], aspect="auto", cmap="viridis", interpolation="nearest")
    right.set(title="relative rms error of layer outputs", xlabel="layer", ylabel="point")
    right.set_xticks(range(len(result.layers)), result.layers, rotation=90, fontsize=6)
    right.set_yticks(range(len(result.parameters)), result.labels(), fontsize=6)
    figure.colorbar(image, ax=right)
    _save(figure, path, overwrite)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise CimemuError('matplotlib is not installed: pip install "cimemu[plot]", or write --csv') from None
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def _save(figure: Any, path: Path, overwrite: bool) -> None:
    kind = path.suffix.lstrip(".").lower()
    if kind not in ("png", "svg", "pdf"):
        raise CimemuError(f"{path}: plots are .png, .svg or .pdf")
    with whole_file(path, CimemuError, overwrite=overwrite) as partial:
        figure.savefig(partial, format=kind, dpi=150)
