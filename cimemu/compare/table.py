"""The table: CSV rows written as they are made, read back to skip them, and differences of rows on the same images."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compare.grid import Point
from cimemu.errors import WorkloadError
from cimemu.given_file import read_text
from cimemu.shown import csv_cell

MEASURES = (
    "images",  # pairs, where the metric is retrieval
    "accuracy",
    "standard_error",
    "conversions_per_image",
    "scale_multiplications_per_image",
    "cycles_per_image",
    "energy_nj_per_image",
    "energy_low_nj_per_image",  # 90 % interval, from those of the prices
    "energy_high_nj_per_image",
    "macros",
    "utilization",
    "weight_error",
    "psum_error",
    "interior_error",
    "folded_layers",
    "correct",  # hexadecimal, a bit an image, the first image in the highest bit
)
Row = dict[str, str]


def header(axes: Sequence[str]) -> list[str]:
    """Columns of a table whose points differ in `axes`."""
    return ["scheme", *axes, *MEASURES]


def read_table(path: Path) -> list[Row]:
    """Rows of a table; none where there is no file."""
    return [row for row in read_table_rows(path)[1] if None not in row.values() and row.get("correct")]


def done_rows(path: Path, axes: Sequence[str]) -> dict[tuple[str, ...], Row]:
    """Rows that a table has already, by their key. WorkloadError where it has other columns."""
    first = read_table_rows(path)[0]
    if first and first != header(axes):
        raise WorkloadError(
            f"{path}: has the columns {', '.join(first[:6])} ..., this grid has {', '.join(header(axes)[:6])} ...; "
            "name another --out"
        )
    return {(row["scheme"], *(row[axis] for axis in axes)): row for row in read_table(path)}


def read_table_rows(path: Path) -> tuple[list[str], list[Row]]:
    """(columns, rows) of a CSV file; none where there is no file. WorkloadError where it is no table of text."""
    if not os.path.lexists(path):
        return [], []
    text = read_text(path, WorkloadError, "a table that `cimemu compare` wrote, or a new file")
    if "\0" in text:
        raise WorkloadError(f"{path}: holds a NUL, is no table; name another --out")
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        return list(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise WorkloadError(f"{path}: is no table ({error}), name another --out") from None


def append_rows(path: Path, heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """More rows at the end of a table; a row that a kill has cut is ended first. WorkloadError."""
    try:
        fresh = not path.is_file() or path.stat().st_size == 0
        ends_whole = fresh or path.read_bytes().endswith(b"\n")
        with path.open("a", newline="", encoding="utf-8") as file:
            if not ends_whole:
                file.write("\n")
            writer = csv.writer(file, lineterminator="\n")
            if fresh:
                writer.writerow(heading)
            writer.writerows([csv_cell(value) for value in row] for row in rows)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be written: {error.strerror}") from None


def append_row(path: Path, axes: Sequence[str], row: Row) -> None:
    """One more row, whole or not at all: a cut line would be skipped and made again."""
    append_rows(path, header(axes), [[row.get(name, "") for name in header(axes)]])


def to_hex(correct: NDArray[np.bool_]) -> str:
    """Right and wrong images as hexadecimal, the first image in the highest bit."""
    return np.packbits(correct).tobytes().hex()


def from_hex(text: str, images: int) -> NDArray[np.bool_]:
    """What `to_hex` wrote."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))[:images].astype(np.bool_)


def paired_difference(row: Row, other: Row) -> tuple[float, float]:
    """(accuracy of `row` less that of `other`, its standard error) over the images of both."""
    images = min(int(row["images"]), int(other["images"]))
    a, b = (from_hex(r["correct"], images).astype(np.float64) for r in (row, other))
    difference = a - b
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(images)) if images > 1 else 0.0


def baseline_of(row: Row, rows: Sequence[Row], axes: Sequence[str]) -> Row:
    """The first row that equals `row` on every axis but granularities and the scheme's name."""
    same = [axis for axis in axes if not axis.endswith("granularity")]
    return next(other for other in rows if all(other[axis] == row[axis] for axis in same))


def point_row(point: Point, measured: Row) -> Row:
    """A whole row."""
    return {"scheme": point.scheme.name, **dict(point.settings), **measured}
