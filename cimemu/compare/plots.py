"""Plots of a comparison (extra `plot`): accuracy against bits, errors by layer, levels against the psum histogram."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cimemu.compare.sidecar import LevelsRow, read_layers, read_levels
from cimemu.compare.table import Row
from cimemu.errors import CimemuError, WorkloadError
from cimemu.whole_file import whole_file

BITS = "converter.bits"
MOST_SHOWN = 12
Key = tuple[str, ...]


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise CimemuError('plots need matplotlib: pip install "cimemu[plot]"') from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def write_plots(
    rows: Sequence[Row], axes: Sequence[str], table: Path, folder: Path, layer: str | None = None
) -> list[Path]:
    """accuracy.png (where the grid varies converter bits or activation bits), layer_errors.png and levels.png in `folder`.

    The two last show the first MOST_SHOWN points; levels are those of `layer`, none: the layer of the largest psum error
    at the first point. WorkloadError where there is no such layer.
    """
    pyplot = _pyplot()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkloadError(f"{folder}: cannot be made ({error.strerror}), name a folder with --plots") from None
    written = []
    bits = next((axis for axis in (BITS, "activations.bits", "weights.bits") if axis in axes), None)
    if bits is not None:
        written.append(_accuracy(pyplot, rows, [axis for axis in axes if axis != bits], bits, folder / "accuracy.png"))
    shown = {_key(row, axes): _label(row, axes) for row in rows[:MOST_SHOWN]}
    errors = read_layers(table, axes)
    if errors:
        written.append(_layer_errors(pyplot, shown, errors, folder / "layer_errors.png"))
    levels = {shown[key]: found for key, found in read_levels(table, axes).items() if key in shown}
    if levels:
        first = next(iter(shown))
        name = layer or max(errors[first], key=lambda n: float(errors[first][n]["psum_error"] or 0))
        written.append(_levels(pyplot, levels, name, folder / "levels.png"))
    elif layer is not None:
        raise WorkloadError(f"--plot-layer {layer}: no converter was fitted at these points, give schemes with one")
    return written


def _written(pyplot: Any, figure: Any, path: Path) -> Path:
    """The picture under its name, in the place of an earlier one."""
    with whole_file(path, WorkloadError, overwrite=True) as made:
        figure.savefig(made, format="png", dpi=150)
    pyplot.close(figure)
    return path


def _key(row: Row, axes: Sequence[str]) -> Key:
    return (row["scheme"], *(row[axis] for axis in axes))


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
    return _written(pyplot, figure, path)


def _layer_errors(
    pyplot: Any, shown: Mapping[Key, str], errors: Mapping[Key, Mapping[str, Mapping[str, str]]], path: Path
) -> Path:
    figure, plot = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for key, label in shown.items():
        mine = {name: row["psum_error"] for name, row in errors.get(key, {}).items()}
        plot.plot(list(mine), [float(error) if error else np.nan for error in mine.values()], marker=".", label=label)
    plot.set_yscale("log")
    plot.set_ylabel("psum error / variance")
    plot.tick_params("x", rotation=90, labelsize="x-small")
    plot.legend(fontsize="x-small")
    return _written(pyplot, figure, path)


def _levels(pyplot: Any, levels: Mapping[str, Mapping[str, LevelsRow]], layer: str, path: Path) -> Path:
    """Levels of every point under the histogram of the psums that they were fitted to."""
    if any(layer not in found for found in levels.values()):
        known = ", ".join(next(iter(levels.values())))
        raise WorkloadError(f"--plot-layer {layer}: no such layer, must be one of {known}")
    mine = {label: found[layer] for label, found in levels.items()}
    height = 2.5 + 0.25 * len(mine)
    figure, (top, bottom) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 1.5 + height), layout="constrained")
    drawn = set()
    for row in mine.values():
        if row.shares.tobytes() not in drawn:  # points of the same weights and granularity see the same psums
            top.step(row.values, row.shares, where="mid")
        drawn.add(row.shares.tobytes())
    top.set_yscale("log")
    top.set_ylabel("share of psums, weighed")
    top.set_title(f"{layer}: psums of its first converter, and levels")
    for number, row in enumerate(mine.values()):
        bottom.plot(row.levels, np.full(len(row.levels), number), "|", markersize=12)
    bottom.set_yticks(range(len(mine)), list(mine), fontsize="x-small")
    bottom.set_xlabel("partial sum")
    return _written(pyplot, figure, path)
