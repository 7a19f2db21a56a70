"""What `cimemu golden` prints of the vectors that it has written: how many, and what they reach."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from cimemu.fitted import Column, print_columns
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
    console = make_console()
    added = f" ({made.vectors.added} of them added)" if made.vectors.added else ""
    text = f"{out}: layer {layer}, {len(made.vectors.macros)} macros, {coverage.operations} operations{added}, {files} files"
    console.print(text, soft_wrap=True)
    kinds, *counts = zip(*coverage.rows, strict=True)
    columns = [Column(("coverage",), tuple(map(str, kinds)), text=True)]
    for name, column in zip(COLUMNS, counts, strict=True):
        columns.append(Column((name.replace("_", " "),), tuple(f"{count:,}" for count in column), text=False))
    print_columns(columns, console)
    found = Counter((hole.kind, hole.reason) for hole in coverage.holes if hole.reason is not None)
    for (kind, reason), count in found.most_common(MOST_REASONS):
        console.print(f"{count:,} {kind} out of reach: {reason}", soft_wrap=True)
    if len(found) > MOST_REASONS:
        console.print(f"All reasons are in {out / 'coverage.json'}.", soft_wrap=True)
    if compared is not None:
        console.print(str(compared), soft_wrap=True)
