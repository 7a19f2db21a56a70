"""Plots of a comparison (extra `plot`): accuracy against bits, and errors by layer; levels on a psum histogram."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compare.measure import layers_path
from cimemu.compare.table import Row
from cimemu.errors import CimemuError, WorkloadError

BITS = "converter.bits"


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise CimemuError('plots need matplotlib: pip install "cimemu[plot]"') from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def write_plots(rows: Sequence[Row], axes: Sequence[str], table: Path, folder: Path) -> list[Path]:
    """accuracy.png (where the grid varies converter bits or activation bits) and layer_errors.png in `folder`."""
    pyplot = _pyplot()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    bits = next((axis for axis in (BITS, "activations.bits", "weights.bits") if axis in axes), None)
    if bits is not None:
        written.append(_accuracy(pyplot, rows, [axis for axis in axes if axis != bits], bits, folder / "accuracy.png"))
    path = layers_path(table)
    if path.is_file():
        written.append(_layer_errors(pyplot, rows, axes, path, folder / "layer_errors.png"))
    return written


def _label(row: Row, axes: Sequence[str]) -> str:
    return " ".join([row["scheme"], *(f"{axis.rsplit('.', 1)[0]}={row[axis]}" for axis in axes)])


def _accuracy(pyplot: Any, rows: Sequence[Row], others: Sequence[str], bits: str, path: Path) -> Path:
    figure, plot = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for label in dict.fromkeys(_label(row, others) for row in rows):
        mine = sorted((row for row in rows if _label(row, others) == label), key=lambda row: float(row[bits]))
        x = [float(row[bits]) for row in mine]
        y = [100 * float(row["accuracy"]) for row in mine]
        plot.errorbar(x, y, [100 * float(row["standard_error"]) for row in mine], marker="o", capsize=3, label=label)
    plot.set_xlabel(bits)
    plot.set_ylabel("accuracy, %")
    plot.legend(fontsize="small")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path


def _layer_errors(pyplot: Any, rows: Sequence[Row], axes: Sequence[str], table: Path, path: Path) -> Path:
    with table.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    figure, plot = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for row in rows[:12]:
        mine = {r["layer"]: r["psum_error"] for r in found if all(r[k] == row[k] for k in ("scheme", *axes))}
        errors = [float(error) if error else np.nan for error in mine.values()]
        label = " ".join([row["scheme"], *(f"{axis.rsplit('.', 1)[0]}={row[axis]}" for axis in axes)])
        plot.plot(list(mine), errors, marker=".", label=label)
    plot.set_yscale("log")
    plot.set_ylabel("psum error / variance")
    plot.tick_params("x", rotation=90, labelsize="x-small")
    plot.legend(fontsize="x-small")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path


def plot_levels(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    levels: dict[str, NDArray[np.float64]],
    path: Path,
    title: str,
) -> Path:
    """Levels [count] of several methods under the histogram `weights` of psums `values`."""
    if not levels:
        raise WorkloadError("no levels to plot")
    pyplot = _pyplot()
    figure, (top, bottom) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 4.5), layout="constrained")
    top.fill_between(values, weights / weights.sum(), step="mid", alpha=0.6)
    top.set_yscale("log")
    top.set_ylabel("share of psums")
    top.set_title(title)
    for number, (name, found) in enumerate(levels.items()):
        bottom.plot(found, np.full(len(found), number), "|", markersize=12, label=name)
    bottom.set_yticks(range(len(levels)), list(levels))
    bottom.set_xlabel("partial sum")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path
