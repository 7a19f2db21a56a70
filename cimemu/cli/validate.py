"""`cimemu validate`: published macros against the emulator."""

from dataclasses import asdict
from typing import Annotated

import typer

from cimemu.cli.app import JsonOption, app
from cimemu.terminal import print_json


@app.command()
def validate(
    macros: Annotated[
        list[str] | None, typer.Argument(metavar="[MACRO ...]", help="jia, sinangil, wang, isaac, imadc; default: all")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print published, emulated and error of every figure, and whether it was calibrated or held out."""
    from cimemu.validate import validate as run_all

    rows = run_all(macros or ())
    if as_json:
        print_json({"rows": [{**asdict(row), "error": row.error, "within": row.within} for row in rows]})
        return
    shown = ""
    for row in rows:
        if row.macro != shown:
            shown = row.macro
            print(f"\n{shown}")
            print(f"  {'quantity':39} {'condition':15} {'published':>10} {'emulated':>10} {'unit':8} {'error':>7}")
        mark = "calibrated" if row.use == "calibrated" else "held out"
        if row.use == "held out" and row.limit is not None:
            mark += f", {'within' if row.within else 'MISSES'} {100 * row.limit:g} %"
        note = f"; {row.note}" if row.note else ""
        print(
            f"  {row.quantity:39} {row.condition:15} {row.published:10.5g} {row.emulated:10.5g} {row.unit:8} "
            f"{100 * row.error:+6.1f} %  {mark}{note}"
        )
    held = [row for row in rows if row.use == "held out" and row.limit is not None]
    print(f"\n{sum(bool(row.within) for row in held)} of {len(held)} held-out figures are as near as aimed at")
