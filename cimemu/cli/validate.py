"""`cimemu validate`: published macros against the emulator."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimemu.cli.app import JsonOption, app
from cimemu.errors import CimemuError
from cimemu.facts import ends_text
from cimemu.terminal import make_console, print_json, print_table

if TYPE_CHECKING:
    from cimemu.validate.row import Row


def _foretell(csv: Path, as_json: bool) -> None:
    """Every row of a survey's table that has a published TOPS/W."""
    from cimemu.validate.survey import floors, predict, quality, quality_by_part

    rows, skipped = predict(csv)
    for reason in skipped:
        typer.echo(f"left out: {reason}", err=True)
    if as_json:
        print_json([{key: value for key, value in asdict(row).items() if value is not None} for row in rows])
        return
    shown = [
        {
            "index": str(row.index),
            "row": row.row,
            "published": row.published_tops_w,
            "foretold": row.predicted_tops_w,
            "low": row.low,
            "high": row.high,
            "factor": row.factor,
            "": "" if row.inside else "outside",
        }
        for row in rows
    ]
    print_table(shown, "TOPS/W of one-bit operations; low to high is a 90 % interval")
    console = make_console()
    for name, value in quality(rows).items():
        console.print(f"{name}: {value:.3g}")
    console.print()
    print_table(quality_by_part(rows), shares=("inside the 90 % interval",))
    print_table(floors(), "What the facts leave open, in the table that ships with cimemu")
    console.print(
        "Fitted to the half of the UIUC survey that ships with cimemu; a row's own paper is left out. More: arch/validation.md"
    )


@app.command()
def validate(
    macros: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MACRO ...]", help="jia, sinangil, wang, isaac, imadc, kim, neurram; default: all"),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="a table in the columns of the UIUC survey: foretell TOPS/W of every row instead",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Published macros against the emulator: every figure with its error; or a survey's rows, foretold with intervals."""
    from cimemu.validate import validate as run_all

    if csv is not None:
        if macros:
            raise CimemuError(f"validate {macros[0]} --csv {csv}: name macros or a table, not both")
        _foretell(csv, as_json)
        return
    rows = run_all(macros or ())
    if as_json:
        told = ("error", "within", "inside")
        print_json({"rows": [{**asdict(row), **{name: getattr(row, name) for name in told}} for row in rows]})
        return
    for macro in dict.fromkeys(row.macro for row in rows):
        print_table([_figure(row) for row in rows if row.macro == macro], macro, shares=("error",))
        make_console().print()
    held = [row for row in rows if row.use == "held out" and row.limit is not None]
    make_console().print(
        f"{sum(bool(row.within) for row in held)} of {len(held)} held-out figures are as near as aimed at"
    )
    sure = [row for row in rows if row.use == "held out" and row.inside is not None]
    if sure:
        make_console().print(
            f"{sum(bool(row.inside) for row in sure)} of {len(sure)} held-out figures of prices lie in their 90 % interval"
        )


def _figure(row: "Row") -> dict[str, Any]:
    """A published figure beside the emulator's."""
    mark = "calibrated" if row.use == "calibrated" else "held out"
    if row.use == "held out" and row.limit is not None:
        mark += f", {'within' if row.within else 'MISSES'} {100 * row.limit:g} %"
    return {
        "quantity": row.quantity,
        "condition": row.condition,
        "published": row.published,
        "emulated": row.emulated,
        "90 %": "" if row.low is None else ends_text((row.low, row.high)).strip() + ("" if row.inside else " outside"),
        "unit": row.unit,
        "error": row.error,
        "use": mark,
        "note": row.note or "",
    }
