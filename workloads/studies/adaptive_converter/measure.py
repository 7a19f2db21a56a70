"""Levels of a published adaptive converter (Nature Communications 2025, s41467-025-65233-w) made again from its samples.

`python workloads/studies/adaptive_converter/measure.py RESULTS.csv SPREADS.csv [FOLDER]` reads the figure data of
MIKEHHQ/ReADC (MIT) in CIMEMU_DATA/data/silicon/readc: 4,000 samples, 16 quantised values a method, and the boundaries between
them; and by bits and device variation the largest integral nonlinearity (INL), from which the second table has the spread of a
threshold. FOLDER gets files of converters with such thresholds, for `--vary measured_converters`.
"""

import csv
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cimemu.ptq.levels import METHODS, fit_levels, lloyd, thresholds_of
from cimemu.whole_file import whole_file

FOLDER = Path(os.environ.get("CIMEMU_DATA", ".")) / "data" / "silicon" / "readc"
COUNT = 16
BITS = (3, 4, 5)
VARIATIONS = ("0.5", "1", "1.5", "2")  # % of a device's conductance
CONVERTERS = 256  # of a file
DRAWS = 20_000


def columns(name: str) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """Columns of a file, without what is empty."""
    with (FOLDER / name).open(newline="") as file:
        header, *rows = csv.reader(file)
    # a line of fewer cells belongs to the longer, last column
    width = sum(bool(title.strip()) for title in header)
    filled = [[cell for cell in row if cell.strip()] for row in rows]
    return [np.array([float(cells[c - width]) for cells in filled if len(cells) >= width - c]) for c in range(width)]


def measured() -> tuple[list[dict[str, Any]], dict[str, float]]:
    """(rows by method, differences between the published tables and what their samples give)."""
    (x,) = columns("f5_5a_original_data.csv")
    uniform, adaptive = columns("f5_5b_quantized_result.csv")
    uniform_bounds, adaptive_bounds = columns("f5_5b_quantize_boundaries.csv")
    values, counts = np.unique(x, return_counts=True)
    weights = counts.astype(np.float64)[None]
    published = {"uniform, published": np.unique(uniform), "adaptive, published": np.unique(adaptive)}
    fitted = {method: fit_levels(values, weights, COUNT, method)[0] for method in METHODS}
    # Lloyd's iteration leaves a published optimum where it is
    fitted["lloyd from the published levels"] = lloyd(values, weights, published["adaptive, published"][None])[0]
    first, second = published.values()
    rows = []
    for name, levels in {**published, **fitted}.items():
        made = levels[np.searchsorted(thresholds_of(levels), x, side="right")]
        rows.append(
            {
                "levels": name,
                "squared error over variance": f"{((x - made) ** 2).mean() / x.var():.5f}",
                "largest difference to the published uniform levels": f"{np.abs(levels - first).max():.3f}",
                "to the published adaptive levels": f"{np.abs(levels - second).max():.3f}",
            }
        )
    facts = {
        "uniform boundaries": float(np.abs(uniform_bounds - thresholds_of(fitted["linear"])).max()),
        "adaptive boundaries": float(
            np.abs(adaptive_bounds[1:-1] - thresholds_of(published["adaptive, published"])).max()
        ),
    }
    for name, given in (("uniform", uniform), ("adaptive", adaptive)):
        levels = np.unique(given)
        made = levels[np.searchsorted(thresholds_of(levels), x, side="right")]
        facts[f"{name} values that differ"] = float((made != given).sum())
    return rows, facts


def largest_of(count: int) -> float:
    """Root mean square of the largest of `count` normal numbers of spread 1, without signs."""
    drawn = np.abs(np.random.default_rng(0).standard_normal((DRAWS, count))).max(axis=1)
    return float(np.sqrt((drawn**2).mean()))


def spreads() -> list[dict[str, str]]:
    """By bits and device variation: the spread of independent thresholds that gives the published largest INL.

    What there is without variation is taken off in squares. The DNL that follows is the largest difference of neighbours.
    """
    published = {}
    for what, name in (("INL", "f4_4c_Plotted_INL_Value.csv"), ("DNL", "f4_4d_Plotted_DNL_Value.csv")):
        with (FOLDER / name).open(newline="") as file:
            published[what] = {row["Variation (%)"]: row for row in csv.DictReader(file)}
    rows = []
    for bits in BITS:
        for variation in VARIATIONS:
            inl, dnl = (float(published[what][variation][f"{bits}-bit_RMS"]) for what in ("INL", "DNL"))
            still = float(published["INL"]["0"][f"{bits}-bit_RMS"])
            spread = max(0.0, inl**2 - still**2) ** 0.5 / largest_of(2**bits - 1)
            moved = np.random.default_rng(1).normal(0, spread, (DRAWS, 2**bits - 1))
            made = np.sqrt((np.abs(np.diff(moved, axis=1)).max(axis=1) ** 2).mean())
            rows.append(
                {
                    "bits": str(bits),
                    "device variation, %": variation,
                    "largest INL, published, LSB": f"{inl:.3f}",
                    "spread of a threshold, LSB": f"{spread:.4f}",
                    "largest DNL that follows, LSB": f"{made:.3f}",
                    "largest DNL, published, LSB": f"{dnl:.3f}",
                }
            )
    return rows


def write_converters(folder: Path) -> None:
    """Files of CONVERTERS drawn converters, for `--vary measured_converters:file=`, one a row of `spreads`."""
    for row in spreads():
        bits, spread = int(row["bits"]), float(row["spread of a threshold, LSB"])
        inl = np.random.default_rng(bits).normal(0, spread, (2**bits - 1, CONVERTERS))
        name = f"inl_{bits}_bits_{row['device variation, %']}.csv"
        lines = [["code", *(f"inl_{number}_LSB" for number in range(CONVERTERS))], [0] + [0.0] * CONVERTERS]
        lines += [[code + 1, *(f"{value:.5f}" for value in curve)] for code, curve in enumerate(inl)]
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(lines)


def write(path: str, rows: list[dict[str, Any]]) -> None:
    """A table as CSV."""
    with whole_file(Path(path), OSError, overwrite=True) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Write the tables; print what is no row of them."""
    rows, facts = measured()
    write(sys.argv[1], rows)
    write(sys.argv[2], spreads())
    if len(sys.argv) > 3:
        write_converters(Path(sys.argv[3]))
    for name, value in facts.items():
        print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    main()
