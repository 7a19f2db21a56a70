"""`cimemu report`: tables of a trace."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimemu.cli.app import ForceOption, JsonOption, TableOption, app, print_sections, refuse_outputs
from cimemu.errors import TraceError
from cimemu.shown import printable
from cimemu.terminal import make_console, print_json, print_table

if TYPE_CHECKING:
    from cimemu.trace.read import Trace

KINDS = ("part", "layer", "component")
MOST_ROWS = 20  # windows that are printed


@app.command()
def report(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="a trace that `cimemu run` wrote")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write one self-contained page instead of tables")
    ] = None,
    power: Annotated[
        str | None,
        typer.Option(
            "--power",
            metavar="WIDTH",
            help="power over time in windows of so many cycles, or of a time (2us); needs all events",
        ),
    ] = None,
    csv: TableOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tables of a trace: summary, layers, components, stalls, utilisation; or a page to look at."""
    from cimemu.trace.read import open_trace

    refuse_outputs(html, csv, force=force)
    if csv is not None and power is None:
        raise TraceError(f"--csv {csv}: is the table of power over time, give --power WIDTH too (or use cimemu export)")
    if csv is not None and html is not None:
        raise TraceError(f"--csv {csv} with --html: write one file after the other, leave one of them out")
    source = open_trace(trace)
    if "kind" in source.attributes:
        from cimemu.stress.reading import file_rows, title
        from cimemu.stress.tables import FIGURES, shown_rows

        if html is not None or power is not None:
            raise TraceError(
                f"{trace}: is a {source.attributes['kind']} file, a page and power over time show single runs; use --plot there"
            )
        rows = file_rows(source)
        if as_json:
            print_json({"points": rows})
        else:
            print_table(shown_rows(rows), title(source), figures=FIGURES)
        return
    if html is not None:
        from cimemu.views import write_html

        write_html(source, html, power=power, overwrite=force)
        make_console().print(f"{html}: open it in a browser", soft_wrap=True)
        return
    from cimemu.report import report_data

    if power is not None:
        _print_power(source, power, csv, force, as_json)
        return
    if as_json:
        print_json(report_data(source))
        return
    print_sections(report_data(source))


def _idle_line(idle: dict[str, Any]) -> str:
    """What macros leak that do not work; where they are switched off, what they would."""
    held = f"{idle['macros_empty']:,} of {idle['macros']:,} macros hold nothing"
    empty, rest, share = (
        f"{idle['empty_uj']:,.4g} uJ",
        f"{idle['idle_uj']:,.4g} uJ while they do not work",
        f"{100 * idle['idle_share']:.1f} %",
    )
    if "would_wake" in idle:
        return f"{held} and leak {empty}, the others {rest}: {share} of the energy"
    return f"{held}; without gating they would leak {empty}, the others {rest}; with it they leak {share} of the energy"


def _gating_line(idle: dict[str, Any]) -> str:
    """What switching idle macros off saves, or would save."""
    if "would_wake" not in idle:
        return (
            f"macros are off for {100 * idle['gated_share']:.1f} % of their time, which saves {idle['saved_uj']:,.4g} uJ of what "
            f"they would leak; {idle['wake_ups']:,} wake-ups take {idle['wake_up_uj']:,.4g} uJ"
        )
    said = f"none (power.gating); it would save at most {idle['would_save_uj']:,.4g} uJ"
    if idle["pays_below_pj"] is None:
        return said
    return f"{said}, by {idle['would_wake']:,} wake-ups: worth it where one takes less than {idle['pays_below_pj']:,.4g} pJ"


def _print_power(source: "Trace", width: str, csv: Path | None, force: bool, as_json: bool) -> None:
    """Power over time: average, peak and where, what idle macros cost, and the windows."""
    from cimemu.trace.idle import idle_cost, worth_gating
    from cimemu.trace.power import power_of

    power = power_of(source, width)
    told, idle = power.summary(), idle_cost(source)
    if "gated_cycles" not in source.attributes:
        idle |= worth_gating(source, idle)
    if csv is not None:
        from cimemu.stress.tables import write_table

        write_table(csv, power.table(), overwrite=force)
    if as_json:
        print_json({"power": told, "idle": idle, "windows": power.rows()})
        return
    console = make_console()
    where = ", ".join(f"{told[f'peak_{kind}']['name']} {told[f'peak_{kind}']['mw']:.4g} mW" for kind in KINDS)
    lines = [
        ("windows", f"{told['windows']:,} of {told['width_cycles']:,} cycles = {told['width_ns']:,.6g} ns"),
        ("average", f"{told['average_mw']:,.4g} mW"),
        (
            "peak",
            f"{told['peak_mw']:,.4g} mW in the window from cycle {told['peak_start_cycle']:,}; most of it: {where}",
        ),
        (
            "idle",
            _idle_line(idle),
        ),
        ("gating", _gating_line(idle)),
    ]
    for name, text in lines:
        console.print(f"{name:10}{printable(text)}", soft_wrap=True, highlight=False, markup=False)
    rows = sorted(power.rows(), key=lambda row: -row["mW"])[:MOST_ROWS]
    print_table(sorted(rows, key=lambda row: row["start"]), f"The {len(rows)} windows of most power, in order of time")
    if csv is not None:
        console.print(f"wrote {csv}", soft_wrap=True)
