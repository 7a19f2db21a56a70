"""`cimemu faults`: single-bit faults of a network's cells, and of what lies around them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cimemu.cli.app import (
    ArchName,
    CalibrateOption,
    ForceOption,
    ImagesOption,
    JsonOption,
    ModuleOption,
    NetworkOption,
    SeedOption,
    SetOption,
    WorkloadName,
    app,
    arch_of,
    refuse_outputs,
    whole,
    workload_of,
)
from cimemu.cli.bare import CalibrationOption, InputsOption, LabelsOption, given_of, print_notes
from cimemu.errors import CimemuError
from cimemu.terminal import ProgressBars, make_console, print_json, print_table

WORST_SHOWN = 10
MOST_FAULTS = 10_000_000
SHARES = ("masked", "harmful", "low", "high", "largest drop")


@app.command()
def faults(
    arch: ArchName,
    workload: WorkloadName,
    cells: Annotated[
        str, typer.Option("--cells", metavar="all|N", help="flip every bit of every cell, or N of them drawn by --seed")
    ] = "all",
    sites: Annotated[
        list[str] | None,
        typer.Option(
            "--site",
            metavar="KIND|MACRO:WRITE:ROW:COLUMN:BIT",
            help="where bits are wrong: cells (default), codes, registers, accumulators, wordlines or buffers; or one fault of a "
            "cell, as a report names it; again for more",
        ),
    ] = None,
    faults_drawn: Annotated[
        int,
        typer.Option(
            "--faults",
            metavar="N",
            callback=whole(1, MOST_FAULTS),
            help="sites other than cells: how many faults are drawn by --seed",
        ),
    ] = 200,
    permanent: Annotated[
        bool,
        typer.Option("--permanent", help="sites other than cells: bits are stuck at 0 or 1; default: they flip once"),
    ] = False,
    sites_file: Annotated[
        Path | None,
        typer.Option("--sites", metavar="FILE.csv", help="the faults of a file that --out has written, again"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.csv|.h5", help="a row for every fault; default: no file")
    ] = None,
    chip: Annotated[
        Path | None,
        typer.Option(
            "--chip", metavar="FILE", help="with one --site: also write a chip file with this fault, for run --chip"
        ),
    ] = None,
    images: ImagesOption = None,
    overrides: SetOption = None,
    network_file: NetworkOption = None,
    inputs_file: InputsOption = None,
    labels_from: LabelsOption = None,
    calibration_file: CalibrationOption = None,
    module: ModuleOption = None,
    calibrate_adc: CalibrateOption = None,
    seed: SeedOption = 0,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make one bit wrong at a time, of cells or elsewhere: which faults change the network's outputs, by layer and by bit."""
    from cimemu.faults.campaign import every_fault
    from cimemu.faults.faulty_chip import write_faulty_chip
    from cimemu.faults.report import check_suffix, grouped_rows, summary, worst_rows, write_faults
    from cimemu.prepare import quantized_network

    kind, places, replayed = _sites(sites or [], sites_file)
    count = _count(cells)
    if kind != "cells":
        _refuse_cells(kind, count, chip)
    elif permanent:
        raise CimemuError("--permanent with cells: a cell that holds a wrong bit has it for good, leave it out")
    if places and count is not None:
        raise CimemuError("--site and --cells: the sites are all that is tried, leave out --cells")
    if chip is not None and len(places) != 1:
        raise CimemuError(f"--chip: {len(places)} sites, a chip file takes one --site")
    refuse_outputs(out, chip, force=force)
    if out is not None and kind == "cells":
        check_suffix(out)
    made, work = (
        arch_of(arch, overrides),
        workload_of(workload, network_file, given_of(inputs_file, labels_from, calibration_file, None, module)),
    )
    inputs, labels = work.inputs(images)
    network = quantized_network(work, made, converters=calibrate_adc, module=module)
    if kind != "cells":
        from cimemu.cli.upsets import tell_upsets
        from cimemu.faults.upsets import Campaign

        stuck = permanent or any(site.permanent for site in replayed)
        campaign = Campaign(kind, replayed or faults_drawn, stuck, seed)
        tell_upsets(made, work, network, (inputs, labels), campaign, out, (as_json, force))
        return
    with ProgressBars(not as_json) as progress:
        result = every_fault(made, network, inputs, labels, cells=places or count, seed=seed, progress=progress.update)
    if out is not None:
        write_faults(out, result, overwrite=force)
    if chip is not None:
        write_faulty_chip(chip, made, network, places[0], overwrite=force)
    told, layers, steps = summary(result), grouped_rows(result, "layer"), grouped_rows(result, "steps")
    worst = worst_rows(result, WORST_SHOWN)
    written = [str(path) for path in (out, chip) if path is not None]
    if as_json:
        print_json({**told, "layers": layers, "weight_steps": steps, "worst": worst, "files": written})
        return
    print_notes(work, network)
    title = f"{work.name} on {made.name}: {told['faults']:,} of {told['of']:,} single-bit faults of cells, {told['images']} images"
    print_table(layers, title, shares=SHARES)
    print_table(steps, "by the weight steps that a fault moves a weight by", shares=SHARES)
    print_table(worst, "the most harmful faults; images of each kind", shares=())
    console = make_console()
    interval = "" if result.every else f" [{100 * told['low']:.2f}, {100 * told['high']:.2f}]"
    console.print(
        f"{100 * told['harmful']:.2f} %{interval} of the faults change a prediction, {100 * told['masked']:.2f} % change "
        f"no output of their layer, and {100 * told['absorbed']:.2f} % are lost in the layers behind them; "
        f"{told['faults_per_second']:,.0f} faults/s",
        soft_wrap=True,
    )
    if told["accuracy"] is not None:
        console.print(
            f"accuracy {100 * told['accuracy']:.2f} %; a fault costs {100 * told['mean_drop']:.4f} points in the mean, "
            f"{100 * told['largest_drop']:.2f} at most",
            soft_wrap=True,
        )
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)


def _count(cells: str) -> int | None:
    """Of `--cells`: None for all."""
    if cells == "all":
        return None
    if not cells.isdecimal() or int(cells) < 1:
        raise CimemuError(f"--cells {cells}: must be all, or a number of faults from 1")
    return int(cells)


def _sites(texts: list[str], file: Path | None) -> tuple[str, list[tuple[int, int, int, int, int]], list[Any]]:
    """(kind of site, places of cells, sites of other kinds) of `--site` and `--sites`."""
    from cimemu.faults.upset_report import read_cells, read_upsets
    from cimemu.faults.upset_sites import KINDS

    if file is not None:
        if texts:
            raise CimemuError("--site with --sites: the file says which faults, leave out --site")
        kind, sites = read_upsets(file)
        if kind != "cells" and kind not in KINDS:
            raise CimemuError(f"{file}: site = {kind}, must be one of {', '.join(('cells', *KINDS))}")
        return kind, [] if sites else read_cells(file), sites
    kinds = [text for text in texts if ":" not in text]
    for text in kinds:
        if text != "cells" and text not in KINDS:
            raise CimemuError(
                f"--site {text}: must be one of {', '.join(('cells', *KINDS))}, or MACRO:WRITE:ROW:COLUMN:BIT of one cell"
            )
    if len(texts) > 1 and kinds:
        raise CimemuError(f"--site {kinds[0]} and {len(texts) - 1} more: a campaign has one kind of site, give one")
    return (kinds[0], [], []) if kinds else ("cells", [_place(text) for text in texts], [])


def _refuse_cells(kind: str, count: int | None, chip: Path | None) -> None:
    """CimemuError for options of cells with another site."""
    if count is not None:
        raise CimemuError(f"--cells with --site {kind}: how many faults of {kind} are drawn says --faults N")
    if chip is not None:
        raise CimemuError(f"--chip with --site {kind}: a chip file holds cells, leave it out")


def _place(text: str) -> tuple[int, int, int, int, int]:
    """Of `--site`."""
    parts = text.split(":")
    if len(parts) != 5 or not all(part.isdecimal() for part in parts):
        raise CimemuError(f"--site {text}: must be MACRO:WRITE:ROW:COLUMN:BIT, five numbers from 0")
    macro, write, row, column, bit = map(int, parts)
    return macro, write, row, column, bit
