"""What `cimemu golden` prints of the vectors that it has written: how many, and what they reach."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from cimemu.terminal import make_console

if TYPE_CHECKING:
    from cimemu.golden.coverage.cover import Covered, RandomReach

MOST_REASONS = 3


def tell_coverage(out: Path, made: "Covered", files: int, compared: "RandomReach | None", *, as_json: bool) -> None:
    """A line, a table by kind of goal, and the most frequent reasons; or all of it as JSON."""
    from cimemu.golden.coverage.result import COLUMNS

    layer, coverage = made.vectors.layer.name, made.coverage
    if as_json:
        told = {"folder": str(out), "layer": layer, "macros": len(made.vectors.macros), "files": files}
        told |= {"added": made.vectors.added, "coverage": coverage.as_dict()}
        print(json.dumps(told | ({} if compared is None else {"random": compared.as_dict()}), indent=1))
        return
    from rich.table import Table

    console = make_console()
    added = f" ({made.vectors.added} of them added)" if made.vectors.added else ""
    text = f"{out}: layer {layer}, {len(made.vectors.macros)} macros, {coverage.operations} operations{added}, {files} files"
    console.print(text, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("coverage")
    for name in COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for kind, *counts in coverage.rows:
        table.add_row(kind, *(f"{count:,}" for count in counts))
    console.print(table)
    found = Counter((hole.kind, hole.reason) for hole in coverage.holes if hole.reason is not None)
    for (kind, reason), count in found.most_common(MOST_REASONS):
        console.print(f"{count:,} {kind} out of reach: {reason}", soft_wrap=True)
    if len(found) > MOST_REASONS:
        console.print(f"All reasons are in {out / 'coverage.json'}.", soft_wrap=True)
    if compared is not None:
        console.print(str(compared), soft_wrap=True)
