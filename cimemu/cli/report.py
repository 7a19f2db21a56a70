"""`cimemu report`: tables of a trace."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import JsonOption, app, print_sections
from cimemu.terminal import print_json


@app.command()
def report(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="a trace that `cimemu run` wrote")],
    as_json: JsonOption = False,
) -> None:
    """Tables of a trace: summary, layers, components, stalls, utilisation."""
    if as_json:
        from cimemu.report import report_data
        from cimemu.trace.read import open_trace

        print_json(report_data(open_trace(trace)))
        return
    print_sections(trace)
