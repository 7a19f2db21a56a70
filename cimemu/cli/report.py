"""`cimemu report`: tables of a trace."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import ForceOption, JsonOption, app, print_sections
from cimemu.terminal import make_console, print_json


@app.command()
def report(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="a trace that `cimemu run` wrote")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write one self-contained page instead of tables")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tables of a trace: summary, layers, components, stalls, utilisation; or a page to look at."""
    if html is not None:
        from cimemu.views import write_html

        write_html(trace, html, overwrite=force)
        make_console().print(f"{html}: open it in a browser", soft_wrap=True)
        return
    if as_json:
        from cimemu.report import report_data
        from cimemu.trace.read import open_trace

        print_json(report_data(open_trace(trace)))
        return
    print_sections(trace)
