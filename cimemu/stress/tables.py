"""Results as rows for people and spreadsheets."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimemu.errors import CimemuError
from cimemu.whole_file import whole_file

if TYPE_CHECKING:
    from cimemu.stress.sweep import SweepResult

SHOWN = ("accuracy", "cycles", "latency_us", "energy_uj", "area_mm2", "tops_per_w", "macros", "utilization")


def sweep_rows(result: "SweepResult") -> list[dict[str, Any]]:
    """A row per point: its values, its figures, whether it is in the Pareto set, and why it failed."""
    rows = []
    for number, point in enumerate(result.parameters):
        figures = {name: result.columns[name][number].item() for name in SHOWN}
        rows.append(
            {**point, **figures, "pareto": "*" if result.pareto[number] else "", "error": result.errors[number]}
        )
    if not any(row["error"] for row in rows):
        for row in rows:
            del row["error"]
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], *, overwrite: bool) -> None:
    """Rows as CSV with a heading. CimemuError where the file is there already or cannot be written."""
    with whole_file(path, CimemuError, overwrite=overwrite) as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
