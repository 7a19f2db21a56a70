"""`cimemu rtl regress`: generated hardware of several architectures, simulated and compared."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cimemu.errors import CimemuError
from cimemu.terminal import make_console
from cimemu.whole_file import whole_file

if TYPE_CHECKING:
    from cimemu.arch.schema import Arch
    from cimemu.rtl.bench import Simulator
    from cimemu.workload.manifest import Workload


def regression(
    archs: "list[Arch]",
    work: "Workload",
    how: "tuple[str | None, int, Simulator]",
    out: Path | None,
    *,
    as_json: bool,
    junit: Path | None,
    force: bool,
) -> None:
    """Print a line for each as it ends; status 1 where one is not equal. `how`: layer, operations, simulator."""
    from cimemu.golden.results import junit_of
    from cimemu.rtl.generate import write_files
    from cimemu.rtl.regress import regress

    console, done = make_console(), []
    layer, ops, sim = how
    if out is not None:
        write_files(out, {}, force=force)
    with tempfile.TemporaryDirectory() as gone:
        for one in regress(archs, work, out or Path(gone), layer=layer, ops=ops, sim=sim):
            done.append(one)
            if as_json:
                continue
            verdict = one.error or (f"equal, {one.found.lines:,} values" if one.found and one.equal else str(one.found))
            if one.found is not None and not one.equal:
                verdict = f"layer {one.found.layer}: {one.found.difference}"
            console.print(f"{one.name}: {verdict} ({one.seconds:.1f} s)", soft_wrap=True)
    if junit is not None:
        found = {one.name: one.found for one in done if one.found is not None}
        errors = {one.name: one.error for one in done if one.found is None}
        with whole_file(junit, CimemuError, overwrite=force) as partial:
            partial.write_text(junit_of(found, errors, f"cimemu rtl regress, {work.name}"), encoding="utf-8")
    if as_json:
        told = [
            {"arch": o.name, "equal": o.equal, "error": o.error or None, "seconds": round(o.seconds, 1)} for o in done
        ]
        print(json.dumps(told, indent=1))
    equal = sum(one.equal for one in done)
    if not as_json:
        console.print(f"{equal} of {len(done)} are equal")
    if equal < len(done):
        raise typer.Exit(1)
