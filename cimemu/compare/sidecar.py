"""What stands beside a table: errors of every layer, and levels of its converter over the partial sums it was fitted to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import LinearAdc, NonlinearAdc, plain
from cimemu.compare.grid import Point
from cimemu.compare.table import append_rows, done_rows, read_table_rows
from cimemu.compute.psum_samples import PsumSamples
from cimemu.errors import WorkloadError
from cimemu.ptq.apply import Fitted
from cimemu.ptq.psum_fit import histograms
from cimemu.whole_file import refuse_output

SHOWN_BINS = 128
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LevelsRow:
    """One layer's first converter (of the layer, the first array or the first column) under the psums it converts."""

    key: tuple[str, ...]  # of the point
    layer: str
    values: Floats  # [bins] psums
    shares: Floats  # [bins] of all psums, weighed as in the fit; sum 1
    levels: Floats  # [codes]


def layers_path(out: Path) -> Path:
    """Where errors by layer stand beside a table."""
    return out.with_name(f"{out.stem}.layers.csv")


def levels_path(out: Path) -> Path:
    """Where levels and histograms by layer stand beside a table."""
    return out.with_name(f"{out.stem}.levels.csv")


def append_layers(out: Path, point: Point, axes: Sequence[str], fitted: Fitted) -> None:
    """Errors by layer of one point."""
    rows = []
    for layer in fitted.layers:
        errors = (layer.weight_error, layer.psum_error, layer.interior_error)
        shown = ["" if error is None else f"{error:.6g}" for error in errors]
        rows.append([*point.key, layer.layer, *shown, int(layer.folded)])
    head = ["scheme", *axes, "layer", "weight_error", "psum_error", "interior_error", "folded"]
    _append(layers_path(out), head, rows)


def append_levels(out: Path, point: Point, axes: Sequence[str], fitted: Fitted, samples: Iterable[PsumSamples]) -> None:
    """Levels and psum histograms by layer of one point; nothing where no converter was fitted."""
    rows = [
        [*point.key, row.layer, _joined(row.values), _joined(row.shares), _joined(row.levels)]
        for row in levels_rows(point, fitted, samples)
    ]
    if rows:
        _append(levels_path(out), ["scheme", *axes, "layer", "psums", "shares", "levels"], rows)


def levels_rows(point: Point, fitted: Fitted, samples: Iterable[PsumSamples]) -> list[LevelsRow]:
    """By layer, from the samples that the converters were fitted to."""
    rows = []
    shared = {layer.layer: layer.granularity for layer in fitted.layers}
    for seen in samples:
        values, weights = _coarse(seen, shared[seen.layer])
        levels = first_levels(fitted.network.converters[seen.layer])
        rows.append(LevelsRow(point.key, seen.layer, values, weights / weights.sum(), levels))
    return rows


def first_levels(adc: Any) -> Floats:
    """Levels [codes] of the converter of the first row block's first column."""
    adc = plain(adc)
    if isinstance(adc, LinearAdc):
        lsb, zero = (v[0][0] if isinstance(v, list) else v for v in (adc.lsb, adc.zero))
        return np.asarray(zero + lsb * np.arange(2**adc.bits))
    assert isinstance(adc, NonlinearAdc)
    first: Any = adc.levels[0]
    return np.unique(np.asarray(first[0] if isinstance(first, list) else adc.levels, dtype=np.float64))


def read_levels(out: Path, axes: Sequence[str]) -> dict[tuple[str, ...], dict[str, LevelsRow]]:
    """What `append_levels` wrote beside the table `out`, by point and layer; nothing where there is no such file."""
    found: dict[tuple[str, ...], dict[str, LevelsRow]] = {}
    for row in _read(levels_path(out)):
        if not row.get("levels"):
            continue  # cut by a kill; the point is made again and has its row further down
        key = (row["scheme"], *(row[axis] for axis in axes))
        numbers = [np.array(row[name].split(), dtype=np.float64) for name in ("psums", "shares", "levels")]
        found.setdefault(key, {})[row["layer"]] = LevelsRow(key, row["layer"], *numbers)
    return found


def read_layers(out: Path, axes: Sequence[str]) -> dict[tuple[str, ...], dict[str, Mapping[str, str]]]:
    """What `append_layers` wrote beside the table `out`, by point and layer."""
    found: dict[tuple[str, ...], dict[str, Mapping[str, str]]] = {}
    for row in _read(layers_path(out)):
        if row.get("folded") is None:
            continue
        found.setdefault((row["scheme"], *(row[axis] for axis in axes)), {})[row["layer"]] = row
    return found


def _coarse(samples: PsumSamples, granularity: str) -> tuple[Floats, Floats]:
    """(values, weights) of the first group in at most SHOWN_BINS bins, where it has any sample."""
    found = histograms(samples, granularity)
    weights = found.weights[0] if found.weights[0].any() else found.weights.sum(axis=0)
    together = -(-len(weights) // SHOWN_BINS)
    padded = np.pad(weights, (0, -len(weights) % together)).reshape(-1, together).sum(axis=1)
    width = found.values[1] - found.values[0] if len(found.values) > 1 else 1.0
    values = found.values[::together] + width * (together - 1) / 2
    seen = np.flatnonzero(padded)
    span = slice(seen[0], seen[-1] + 1)
    return values[span], padded[span]


def _joined(values: Floats) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def refuse_tables(out: Path, axes: Sequence[str]) -> None:
    """WorkloadError, before any work, where one of the three tables could not be read or added to."""
    for path in (out, layers_path(out), levels_path(out)):
        refuse_output(path, WorkloadError, overwrite=True)
        read_table_rows(path)
    done_rows(out, axes)


def _read(path: Path) -> list[dict[str, str]]:
    return read_table_rows(path)[1]


def _append(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    append_rows(path, head, rows)
