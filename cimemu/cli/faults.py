"""`cimemu faults`: every single-bit fault of a network's cells."""

from pathlib import Path
from typing import Annotated

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
    workload_of,
)
from cimemu.cli.bare import CalibrationOption, InputsOption, LabelsOption, given_of, print_notes
from cimemu.errors import CimemuError
from cimemu.terminal import ProgressBars, make_console, print_json, print_table

WORST_SHOWN = 10
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
            metavar="MACRO:WRITE:ROW:COLUMN:BIT",
            help="this fault alone, as a report names it; again for more",
        ),
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
    """Flip one bit of one cell at a time: which faults change the network's outputs, by layer and by weight bit."""
    from cimemu.faults.campaign import every_fault
    from cimemu.faults.faulty_chip import write_faulty_chip
    from cimemu.faults.report import check_suffix, grouped_rows, summary, worst_rows, write_faults
    from cimemu.prepare import quantized_network

    places = [_place(text) for text in sites or ()]
    count = _count(cells)
    if places and count is not None:
        raise CimemuError("--site and --cells: the sites are all that is tried, leave out --cells")
    if chip is not None and len(places) != 1:
        raise CimemuError(f"--chip: {len(places)} sites, a chip file takes one --site")
    refuse_outputs(out, chip, force=force)
    if out is not None:
        check_suffix(out)
    made, work = (
        arch_of(arch, overrides),
        workload_of(workload, network_file, given_of(inputs_file, labels_from, calibration_file, None, module)),
    )
    inputs, labels = work.inputs(images)
    network = quantized_network(work, made, converters=calibrate_adc, module=module)
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


def _place(text: str) -> tuple[int, int, int, int, int]:
    """Of `--site`."""
    parts = text.split(":")
    if len(parts) != 5 or not all(part.isdecimal() for part in parts):
        raise CimemuError(f"--site {text}: must be MACRO:WRITE:ROW:COLUMN:BIT, five numbers from 0")
    macro, write, row, column, bit = map(int, parts)
    return macro, write, row, column, bit
