"""Tables as CSV files that spreadsheets open without computing anything."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cimemu.shown import csv_cell


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], *, ends: str = "\r\n") -> None:
    """Rows with a heading of the first one's keys, as UTF-8 whatever the locale. OSError."""
    heading = list(rows[0])
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=ends)
        writer.writerow([csv_cell(name) for name in heading])
        for row in rows:
            writer.writerow([csv_cell(row[name]) for name in heading])
