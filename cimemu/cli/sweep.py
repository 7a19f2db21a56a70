"""`cimemu sweep`: one workload on many chips."""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimemu.bounds import MOST_SEED
from cimemu.cli.app import (
    SOME_FAILED,
    ArchName,
    CalibrateOption,
    ForceOption,
    ImagesOption,
    JsonOption,
    ModuleOption,
    ResumeOption,
    SchedulerOption,
    SetOption,
    TableOption,
    WorkersOption,
    WorkloadName,
    app,
    arch_of,
    default_output,
    refuse_campaign,
    whole,
    workload_of,
)
from cimemu.cli.bare import CalibrationOption, InputsOption, LabelsOption, given_of, print_each
from cimemu.errors import CimemuError
from cimemu.terminal import ProgressBars, make_console, print_default_name, print_json, print_table

if TYPE_CHECKING:
    from cimemu.stress.sweep import SweepResult


@app.command()
def sweep(
    arch: ArchName,
    workload: WorkloadName,
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            metavar="KEY=V1,V2",
            help="arch key and its values, or a variation model as for cimemu stress (MODEL:PARAM=V1,V2); again for more",
        ),
    ],
    coupled: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="KEY=V1,V2",
            help="arch key that changes with the --vary of as many values (VARIED:KEY=V1,V2: with that one); again for more",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="HDF5 file; default: WORKLOAD_ARCH_sweep.h5")
    ] = None,
    csv: TableOption = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Pareto plot: .png, .svg, .pdf")] = None,
    images: ImagesOption = None,
    overrides: SetOption = None,
    calibrate_adc: CalibrateOption = None,
    inputs_file: InputsOption = None,
    labels_from: LabelsOption = None,
    calibration_file: CalibrationOption = None,
    module: ModuleOption = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    resume: ResumeOption = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", callback=whole(0, MOST_SEED), help="seed of every run")
    ] = 0,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a workload on every combination of arch values: accuracy, latency, energy, area, and the Pareto set."""
    from cimemu.prepare import load_recipe
    from cimemu.stress.grid import coupled as together
    from cimemu.stress.grid import key_values
    from cimemu.stress.settings import settings
    from cimemu.stress.sweep import sweep as sweep_over
    from cimemu.stress.sweep import sweep_points
    from cimemu.stress.tables import FIGURES, compared, shown_rows, sweep_rows, write_table

    chip, work, keys = (
        arch_of(arch, overrides),
        workload_of(workload, given=given_of(inputs_file, labels_from, calibration_file, None, module)),
        together(key_values([text for text in vary if not _is_model(text)]), coupled or ()),
    )
    models = [text for text in vary if _is_model(text)]
    named = out is not None or resume is not None
    if not named:
        out = default_output(f"{work.name}_{chip.name}_sweep", ".h5", force=force)
    refuse_campaign(out, resume, csv, plot, force=force)
    if keys or not models:
        sweep_points(chip, keys)  # before the network is read
    if models:
        settings(chip, models)
    inputs, labels = work.inputs(images)
    recipe = load_recipe(work, module=module, calibrate=calibrate_adc is not None)
    with ProgressBars(not as_json) as progress:
        result = sweep_over(
            chip,
            recipe,
            inputs,
            labels,
            vary=keys,
            models=models,
            out=out,
            workers=workers,
            scheduler=scheduler,
            resume=resume,
            seed=seed,
            converters=calibrate_adc,
            overwrite=force,
            progress=progress.update,
        )
    rows = sweep_rows(result)
    if csv is not None:
        write_table(csv, rows, overwrite=force)
    if plot is not None:
        from cimemu.stress.plots import plot_sweep

        plot_sweep(result, plot, overwrite=force)
    if as_json:
        print_json({"points": rows, "file": None if result.path is None else str(result.path)})
        _refuse_failed(result)
        return
    print_each(list(work.notes))
    console = make_console()

    scored = not all(isnan(value) for value in result.columns["accuracy"])
    judged = "all four figures" if scored else "time, energy and area; there are no labels, so accuracy does not count"
    print_table(
        shown_rows(rows),
        f"{work.name} on {chip.name}, {len(inputs)} images; * Pareto: no other point is as good in {judged}",
        figures=FIGURES,
    )
    if sure := compared(result):
        console.print(sure)
    for name in (result.path, csv, plot):
        if name is not None:
            console.print(f"wrote {name}", soft_wrap=True)
    if not named:
        print_default_name(result.path)
    _refuse_failed(result)


def _is_model(text: str) -> bool:
    """Whether a `--vary` is a variation model, which has a colon before its first value; keys of the arch have none."""
    return ":" in text.partition("=")[0]


def _refuse_failed(result: "SweepResult") -> None:
    """A sweep of which no point ended well is a mistake of what was asked for; one of which some did not has its status."""
    if all(result.errors):
        raise CimemuError(f"sweep: every point failed, the first one with {result.errors[0]}")
    failed = sum(map(bool, result.errors))
    if failed:
        typer.echo(f"cimemu: {failed} of {len(result.errors)} points failed, their rows say why", err=True)
        raise typer.Exit(SOME_FAILED)
