"""`cimemu report`: tables of a trace."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import ForceOption, JsonOption, app, print_sections, refuse_outputs
from cimemu.errors import TraceError
from cimemu.terminal import make_console, print_json, print_table


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
    from cimemu.trace.read import open_trace

    refuse_outputs(html, force=force)
    source = open_trace(trace)
    if "kind" in source.attributes:
        from cimemu.stress.reading import file_rows, title
        from cimemu.stress.tables import FIGURES, shown_rows

        if html is not None:
            raise TraceError(
                f"{trace}: is a {source.attributes['kind']} file, a page shows single runs; use --plot there"
            )
        rows = file_rows(source)
        if as_json:
            print_json({"points": rows})
        else:
            print_table(shown_rows(rows), title(source), figures=FIGURES)
        return
    if html is not None:
        from cimemu.views import write_html

        write_html(source, html, overwrite=force)
        make_console().print(f"{html}: open it in a browser", soft_wrap=True)
        return
    from cimemu.report import report_data

    if as_json:
        print_json(report_data(source))
        return
    print_sections(report_data(source))
