"""A campaign of faults outside cells as rows: shares with intervals by layer and by bit, the worst sites, and a CSV file."""

import csv
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from cimemu.errors import CimemuError
from cimemu.faults.report import share_row
from cimemu.faults.upset_sites import FIELDS, Upset, columns_of, site_of
from cimemu.faults.upsets import COUNTED, UpsetResult
from cimemu.given_file import read_text
from cimemu.table_file import write_rows
from cimemu.whole_file import whole_file

MOST_BYTES = 1 << 28  # of a file of sites: some ten million


def upset_summary(result: UpsetResult) -> dict[str, Any]:
    """The campaign in figures."""
    counts = result.counts
    lost = counts["lost"] / result.images
    return {
        "site": result.kind,
        "permanent": result.permanent,
        "faults": len(result.sites),
        "of": result.total,
        "images": result.images,
        "seconds": result.seconds,
        "faults_per_second": len(result.sites) / max(result.seconds, 1e-9),
        "masked": float((counts["changed"] == 0).mean()),
        "absorbed": float(((counts["changed"] > 0) & (counts["reached"] == 0)).mean()),
        **share_row(counts["harmful"] > 0, len(result.sites) == result.total),
        "accuracy": result.correct / result.images if result.labelled else None,
        "mean_drop": float(lost.mean()) if result.labelled else None,
        "largest_drop": float(lost.max()) if result.labelled else None,
    }


def upset_rows(result: UpsetResult, by: str) -> list[dict[str, Any]]:
    """A row for every layer (`by` "layer") or every bit ("bit"): faults, and shares with the interval of Clopper and Pearson."""
    keys = np.array([getattr(site, by) for site in result.sites])
    order = list(dict.fromkeys(keys.tolist())) if by == "layer" else sorted(set(keys.tolist()))
    rows = []
    for key in order:
        mine = keys == key
        row = {by: key, "faults": int(mine.sum()), "masked": float((result.counts["changed"][mine] == 0).mean())}
        rows.append(row | share_row(result.counts["harmful"][mine] > 0, len(result.sites) == result.total))
    return rows


def upset_table(result: UpsetResult) -> list[dict[str, Any]]:
    """Every fault as a row."""
    columns = {**columns_of(result.sites), **result.counts}
    return [dict(zip(columns, row)) for row in zip(*(values.tolist() for values in columns.values()))]


def worst_upsets(result: UpsetResult, count: int) -> list[dict[str, Any]]:
    """The most harmful faults, a row each, without the fields that no such site has."""
    counts = result.counts
    order = np.lexsort((-counts["reached"], -counts["harmful"], -counts["lost"]))[:count]
    rows = upset_table(result)
    used = [name for name in FIELDS if name == "layer" or any(row[name] != -1 for row in rows)]
    return [{name: rows[n][name] for name in (*used, *COUNTED[1:])} for n in order.tolist()]


def write_upsets(path: Path, result: UpsetResult, *, overwrite: bool = False) -> None:
    """Every fault in a CSV file, which `read_upsets` takes. CimemuError for another suffix, and where the file is there."""
    if path.suffix != ".csv":
        raise CimemuError(f"{path}: faults of {result.kind} are written as .csv, name such a file")
    with whole_file(path, CimemuError, overwrite=overwrite) as made:
        write_rows(made, [{"site": result.kind, **row} for row in upset_table(result)])


def _rows(path: Path) -> list[dict[str, str]]:
    text = read_text(path, CimemuError, "a CSV file of cimemu faults --out", most=MOST_BYTES)
    try:
        return list(csv.DictReader(StringIO(text, newline="")))
    except csv.Error as error:
        raise CimemuError(f"{path}: is no CSV file ({error}), take one that faults --out has written") from None


def read_upsets(path: Path) -> tuple[str, list[Upset]]:
    """(kind, sites) of a file that `write_upsets` has written; a kind of "cells" and no sites for one of `write_faults`."""
    rows = _rows(path)
    if not rows:
        raise CimemuError(f"{path}: has no row, take a file that faults --out has written")
    kinds = {row.get("site") for row in rows}
    if len(kinds) != 1:
        raise CimemuError(f"{path}: sites of {len(kinds)} kinds, a campaign has one")
    kind = kinds.pop()
    if kind is None:
        return "cells", []
    return kind, [site_of(row, number) for number, row in enumerate(rows, 1)]


def read_cells(path: Path) -> list[tuple[int, int, int, int, int]]:
    """Places of cells in a file of `write_faults`."""
    rows = _rows(path)
    made = []
    for number, row in enumerate(rows, 1):
        try:
            macro, write, line, column, bit = (int(row[name]) for name in ("macro", "write", "row", "column", "bit"))
        except (KeyError, TypeError, ValueError):
            raise CimemuError(
                f"{path}: row {number}: needs whole numbers macro, write, row, column and bit, as faults --out writes them"
            ) from None
        made.append((macro, write, line, column, bit))
    return made
