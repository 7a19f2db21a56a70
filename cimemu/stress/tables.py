"""Results as rows for people and spreadsheets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimemu.errors import CimemuError
from cimemu.table_file import write_rows
from cimemu.whole_file import whole_file

if TYPE_CHECKING:
    from cimemu.stress.monte_carlo import StressResult
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


def stress_rows(result: "StressResult") -> list[dict[str, Any]]:
    """A row per point: scheme and models, trials, mean with its interval, spread, worst chip, the layer that breaks first."""
    rows = []
    for point, vary in enumerate(result.vary):
        column = {name: values[point] for name, values in result.columns.items()}
        row: dict[str, Any] = {"scheme": result.scheme_of[point]} if len(result.schemes) > 1 else {}
        row.update({"vary": " ".join(vary), "trials": int(column["trials"])})
        row.update({name: float(column[name]) for name in ("mean", "low", "high", "std")})
        row.update({"5 %": float(column["quantiles"][1]), "median": float(column["quantiles"][3])})
        row.update({"worst": float(column["worst"]), "worst trial": int(column["worst_trial"])})
        row["breaks first"] = str(column["breaks_first"])
        if result.columns["failed"].any():
            row["failed"] = int(column["failed"])
        rows.append(row)
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], *, overwrite: bool) -> None:
    """Rows as CSV with a heading. CimemuError where the file is there already or cannot be written."""
    with whole_file(path, CimemuError, overwrite=overwrite) as made:
        write_rows(made, rows)
