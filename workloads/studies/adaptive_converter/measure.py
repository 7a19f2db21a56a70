"""Levels of a published adaptive converter (Nature Communications 2025, s41467-025-65233-w) made again from its samples.

`python workloads/studies/adaptive_converter/measure.py RESULTS.csv` reads the figure data of MIKEHHQ/ReADC (MIT) in
CIMEMU_DATA/data/silicon/readc: 4,000 samples, 16 quantised values a method, and the boundaries between them.
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


def main() -> None:
    """Write the table; print what is no row of it."""
    rows, facts = measured()
    with whole_file(Path(sys.argv[1]), OSError, overwrite=True) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for name, value in facts.items():
        print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    main()
