"""Pictures of results, by matplotlib: accuracy against spread, layers that break, the Pareto set."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cimemu.errors import CimemuError
from cimemu.whole_file import whole_file

if TYPE_CHECKING:
    from cimemu.stress.sweep import SweepResult


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
