"""How a comparison with golden vectors is printed, written and ended: `golden verify` and `rtl bench` share it."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cimemu.errors import CimemuError
from cimemu.terminal import make_console
from cimemu.whole_file import whole_file

if TYPE_CHECKING:
    from cimemu.golden.verify import Verification


def tell(found: "Verification", *, as_json: bool, junit: Path | None, force: bool) -> None:
    """Print it, write JUnit XML where a file is named, and end with status 1 where something is not equal."""
    from cimemu.golden.results import as_json as json_of
    from cimemu.golden.results import as_junit

    if junit is not None:
        with whole_file(junit, CimemuError, overwrite=force) as partial:
            partial.write_text(as_junit(found), encoding="utf-8")
    if as_json:
        print(json_of(found))
    else:
        make_console().print(_said(found), soft_wrap=True, highlight=False)
    if not found.equal:
        raise typer.Exit(1)


def _said(found: "Verification") -> str:
    """One line: the first difference, what is missing and what is short; or that all is equal, and how much it was."""
    said = [] if found.difference is None else [f"layer {found.layer}: {found.difference}"]
    for what, names in (("short", found.short), ("missing", found.missing)):
        if names:
            some = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
            said.append(f"{len(names)} {'file is' if len(names) == 1 else 'files are'} {what}: {some}")
    return "; ".join(said) or f"equal: layer {found.layer}, {found.files} files, {found.lines:,} values"
