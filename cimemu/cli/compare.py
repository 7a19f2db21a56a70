"""`cimemu compare`: schemes times bits on a workload, as a table and plots."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.bounds import MOST_IMAGES
from cimemu.cli.app import (
    DEFAULT_ARCH,
    DEFAULT_WORKLOAD,
    ArchName,
    ImagesOption,
    JsonOption,
    SetOption,
    WorkloadName,
    app,
    arch_of,
    refuse_folder,
    whole,
    workload_of,
)
from cimemu.terminal import ProgressBars, make_console, print_comparison, print_json


@app.command()
def compare(
    arch: ArchName = DEFAULT_ARCH,
    workload: WorkloadName = DEFAULT_WORKLOAD,
    schemes: Annotated[
        list[str] | None,
        typer.Option("--scheme", metavar="NAME|FILE", help="a scheme, or a YAML file of one; again for more"),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=V1,V2",
            help="values of a scheme's key (converter.bits=3,4) or of the arch's (arch.macro.rows=128,256); again for more",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="CSV; rows that it has already are not made again")
    ] = Path("compare.csv"),
    plots: Annotated[Path | None, typer.Option("--plots", metavar="DIR", help="write plots there (matplotlib)")] = None,
    plot_layer: Annotated[
        str | None,
        typer.Option(
            "--plot-layer",
            metavar="NAME",
            help="whose levels are plotted; default: of the largest error at the first point",
        ),
    ] = None,
    calibration: Annotated[
        int, typer.Option("--calibration", metavar="N", callback=whole(1, MOST_IMAGES), help="calibration images used")
    ] = 128,
    images: ImagesOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a grid of quantisation schemes and write accuracy, cost and errors as a table."""
    from cimemu.arch.load import parse_override
    from cimemu.compare.grid import grid_points, parse_axis
    from cimemu.compare.measure import compare as run_grid
    from cimemu.compare.sidecar import refuse_tables
    from cimemu.ptq.scheme import read_scheme

    axes = [parse_axis(text) for text in vary or ()]
    base = dict(parse_override(text) for text in overrides or ())
    points = grid_points([read_scheme(name) for name in schemes or ("layer", "array", "column")], axes, base)
    arch_of(arch, overrides)  # mistakes are told before images are read
    work = workload_of(workload)
    refuse_tables(out, [axis.key for axis in axes])
    if plots is not None:
        refuse_folder(plots)
    with ProgressBars(not as_json) as progress:
        rows = run_grid(arch, work, points, out, images=images, calibration=calibration, progress=progress.update)
    if plots is not None:
        from cimemu.compare.plots import write_plots

        for path in write_plots(rows, [axis.key for axis in axes], out, plots, plot_layer):
            if not as_json:
                make_console().print(f"plot      {path}")
    if as_json:
        print_json({"table": str(out), "rows": rows})
        return
    print_comparison(rows, [axis.key for axis in axes])
    make_console().print(f"table     {out}")
