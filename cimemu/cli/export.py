"""`cimemu export`: a trace's events for Perfetto, a waveform viewer, a spreadsheet."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cimemu.bounds import MOST_CYCLE, MOST_IMAGES
from cimemu.cli.app import ForceOption, app, default_output, refuse_outputs, whole
from cimemu.terminal import make_console, print_default_name


@app.command()
def export(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="a trace that `cimemu run` wrote")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="perfetto|vcd|csv|parquet",
            help="what to write; a plug-in's format, too (cimemu list)",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="file to write; default: TRACE with its suffix, numbered"),
    ] = None,
    start: Annotated[
        int, typer.Option("--start", metavar="CYCLE", callback=whole(0, MOST_CYCLE), help="events from this cycle on")
    ] = 0,
    end: Annotated[
        int | None,
        typer.Option("--end", metavar="CYCLE", callback=whole(1, MOST_CYCLE), help="events before this cycle"),
    ] = None,
    image: Annotated[
        list[int] | None,
        typer.Option("--image", metavar="N", callback=whole(-1, MOST_IMAGES), help="of this image; again for more"),
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option("--layer", metavar="L", help="of this layer; again for more")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option("--unit", metavar="U", help="of units whose names begin so; again for more")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            callback=whole(1, MOST_CYCLE),
            help="at most N events; default for viewers: a million",
        ),
    ] = None,
    group: Annotated[
        str, typer.Option("--group", metavar="G", help="csv, parquet: events, layers, units, macros, images or energy")
    ] = "events",
    power: Annotated[
        str | None,
        typer.Option(
            "--power",
            metavar="WIDTH",
            help="power in windows of so many cycles, or of a time (2us): counters for perfetto, the table for csv and parquet",
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Write a trace's events for Perfetto (ui.perfetto.dev), GTKWave or Surfer, pandas or a spreadsheet."""
    from cimemu.views import Window, export_trace
    from cimemu.views.export import suffix_of

    window = Window(start, end, _tuple(image), _tuple(layer), _tuple(unit), limit)
    target = out or default_output(str(trace.with_suffix("")), suffix_of(format), force=force)
    refuse_outputs(target, force=force)
    chosen = export_trace(trace, target, format, window=window, group=group, power=power, overwrite=force)
    if chosen is None:
        make_console().print(f"{target}: {'power' if power else group}", soft_wrap=True)
        if out is None:
            print_default_name(target)
        return
    written = len(chosen.events["op"])
    more = f" of {chosen.found:,}: choose a window (--start, --end, --image, --layer) or a larger --limit"
    make_console().print(f"{target}: {written:,} events{more if chosen.cut else ''}", soft_wrap=True)
    if out is None:
        print_default_name(target)


def _tuple(values: list[Any] | None) -> tuple[Any, ...] | None:
    return tuple(values) if values else None
