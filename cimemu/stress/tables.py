"""Results as rows for people and spreadsheets."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimemu.arch.schema import AUTO
from cimemu.errors import CimemuError
from cimemu.facts import ends_text
from cimemu.stress.grid import split
from cimemu.table_file import write_rows
from cimemu.variation.parse import parts
from cimemu.whole_file import whole_file

if TYPE_CHECKING:
    from cimemu.stress.result import StressResult
    from cimemu.stress.sweep import SweepResult

ENDS = {"energy_uj": ("energy_low_uj", "energy_high_uj"), "area_mm2": ("area_low_mm2", "area_high_mm2")}
FIGURES = tuple(f"{figure} 90 %" for figure in ENDS)
SHOWN = (
    "accuracy",
    "cycles",
    "latency_us",
    "energy_uj",
    "energy_low_uj",
    "energy_high_uj",
    "area_mm2",
    "area_low_mm2",
    "area_high_mm2",
    "tops_per_w",
    "macros",
    "tiles",
    "utilization",
)


def sweep_rows(result: "SweepResult") -> list[dict[str, Any]]:
    """A row per point: its values, its figures, whether it is in the Pareto set, and why it failed."""
    rows = []
    grown = any(chip is not None and chip.chip.tiles == AUTO for chip in result.chips)
    for number, point in enumerate(result.parameters):
        figures = {name: result.columns[name][number].item() for name in SHOWN}
        if not grown:
            del figures["tiles"]
        rows.append(
            {**point, **figures, "pareto": "*" if result.pareto[number] else "", "error": result.errors[number]}
        )
    if not any(row["error"] for row in rows):
        for row in rows:
            del row["error"]
    return rows


def shown_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a sweep as people read them: the two ends of an interval in one column, behind their figure."""
    ends = {end for pair in ENDS.values() for end in pair}
    shown = []
    for row in rows:
        made: dict[str, Any] = {}
        for name, value in row.items():
            if name in ends:
                continue
            made[name] = value
            if name in ENDS and ENDS[name][0] in row:  # files of earlier versions have none
                low, high = (row[end] for end in ENDS[name])
                made[f"{name} 90 %"] = ends_text((low, high)).strip() if low == low else ""
        shown.append(made)
    return shown


def compared(result: "SweepResult") -> str:
    """How sure it is that the point of the least energy takes less than the next one; empty where there are no two."""
    energy = result.columns["energy_uj"].astype(float)
    known = [int(point) for point in energy.argsort(kind="stable") if energy[point] > 0]
    if len(known) < 2:
        return ""
    best, after = known[:2]
    first, second = (", ".join(f"{k}={v}" for k, v in result.parameters[p].items()) for p in (best, after))
    share = 100 * result.beats(best, after)
    return f"energy: {first} takes less than {second}, the next, in {share:.0f} % of draws of the prices"


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
        row.update({name.replace("_", " "): float(column[name]) for name in column if name.startswith("checksums_")})
        kept = result.upkeep[point]
        if kept is not None:
            row.update({"calibrations": kept.calibrations, "writings": kept.writings, "upkeep_uj": kept.total_uj})
        if result.columns["failed"].any():
            row["failed"] = int(column["failed"])
        rows.append(row)
    return rows


def telling(vary: Sequence[Sequence[str]]) -> list[str]:
    """What tells every point's models from the others': models with the parameters that differ; all of them at one point.

    Calibrations that differ are told by the names of their schemes.
    """
    pieces = [[_parameters(text) for text in models if not text.startswith("calibration:")] for models in vary]
    told = []
    for mine in pieces:
        shown = []
        for number, (name, given) in enumerate(mine):
            others = [models[number][1] for models in pieces if models[number][0] == name]
            own = [f"{key}={value}" for key, value in given.items() if any(o.get(key) != value for o in others)]
            shown += [f"{name}:{','.join(own)}"] if own else []
        told.append(" ".join(shown))
    if any(told):
        return told
    ways = {text for models in vary for text in models if text.startswith("calibration:")}
    return [" ".join(text for text in models if len(ways) < 2 or text not in ways) for models in vary]


def _parameters(text: str) -> tuple[str, dict[str, str]]:
    name, rest = parts(text)
    return name, dict(piece.split("=", 1) for piece in split(rest) if "=" in piece)


def is_parquet(path: Path) -> bool:
    """Whether a table's file is Parquet, by its suffix; all others are CSV. CimemuError where pandas is missing for it."""
    if path.suffix != ".parquet":
        return False
    missing = [name for name in ("pandas", "pyarrow") if find_spec(name) is None]
    if missing:
        raise CimemuError(f'{path}: Parquet needs {" and ".join(missing)}: pip install "cimemu[view]", or name a .csv')
    return True


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], *, overwrite: bool) -> None:
    """Rows as CSV with a heading, or as Parquet by the suffix. CimemuError where the file is there already."""
    parquet = is_parquet(path)
    with whole_file(path, CimemuError, overwrite=overwrite) as made:
        if parquet:
            import pandas

            pandas.DataFrame(list(rows)).to_parquet(made, index=False)
        else:
            write_rows(made, rows)
