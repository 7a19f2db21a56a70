"""`cimemu stress`: accuracy over many drawn chips."""

from collections.abc import Iterator
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimemu.bounds import MOST_TRIALS
from cimemu.cli.app import (
    SOME_FAILED,
    ArchName,
    CalibrateChipOption,
    ChipOption,
    ForceOption,
    ImagesOption,
    JsonOption,
    ModuleOption,
    ResumeOption,
    SchedulerOption,
    SeedOption,
    SetOption,
    TableOption,
    WorkersOption,
    WorkloadName,
    app,
    arch_of,
    default_output,
    drawn,
    real,
    refuse_campaign,
    refuse_fixed,
    whole,
    workload_of,
)
from cimemu.cli.bare import CalibrationOption, InputsOption, LabelsOption, given_of, print_each, print_notes
from cimemu.errors import CimemuError, WorkloadError
from cimemu.terminal import ProgressBars, make_console, print_default_name, print_json, print_table

if TYPE_CHECKING:
    from cimemu.arch.schema import Arch
    from cimemu.loading.bare import Given
    from cimemu.stress.result import StressResult
    from cimemu.workload.network import Network


@app.command()
def stress(
    arch: ArchName,
    workload: WorkloadName,
    trials: Annotated[
        int,
        typer.Option("--trials", "-t", metavar="N", callback=whole(1, MOST_TRIALS), help="chips drawn for every point"),
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="MODEL:PARAM=V1,V2",
            help="a variation model (cimemu list) and values of its parameters; again for more models, in order",
        ),
    ] = None,
    chip_file: ChipOption = None,
    calibrate: CalibrateChipOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="HDF5 file; default: WORKLOAD_ARCH_stress.h5")
    ] = None,
    csv: TableOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="curves and layer map: .png, .svg, .pdf")
    ] = None,
    images: ImagesOption = None,
    overrides: SetOption = None,
    calibrate_adc: Annotated[
        str | None,
        typer.Option(
            "--calibrate-adc",
            metavar="none,layer,array,column",
            help="fitted converters; several are schemes compared on the same chips",
        ),
    ] = None,
    network_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--network",
            metavar="FILE",
            help="this network instead of the workload's (of cimemu quantize or adapt); several are compared on the same chips",
        ),
    ] = None,
    inputs_file: InputsOption = None,
    labels_from: LabelsOption = None,
    calibration_file: CalibrationOption = None,
    module: ModuleOption = None,
    seed: SeedOption = 0,
    width: Annotated[
        float | None,
        typer.Option(
            "--width",
            metavar="W",
            callback=real(1e-9, 1 - 1e-9),
            help="stop a point when its 95 % interval is no wider, e.g. 0.01",
        ),
    ] = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    resume: ResumeOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw chips with varied cells and converters: mean accuracy with its interval, and which layer breaks first."""
    from cimemu.stress.ideal import Cost
    from cimemu.stress.monte_carlo import stress as monte_carlo
    from cimemu.stress.settings import settings
    from cimemu.stress.tables import stress_rows, telling, write_table

    given = given_of(inputs_file, labels_from, calibration_file, None, module)
    chip, work = arch_of(arch, overrides), workload_of(workload, given=given)
    named = out is not None or resume is not None
    if not named:
        out = default_output(f"{work.name}_{chip.name}_stress", ".h5", force=force)
    refuse_campaign(out, resume, csv, plot, force=force)
    models = drawn(chip_file, vary, calibrate)
    settings(chip, models)  # before the network is read
    schemes = [name.strip() for name in (calibrate_adc or "none").split(",")]
    inputs, labels = work.inputs(images)
    networks = _networks(chip, (workload, given), network_files or [], schemes, module, overrides)
    with ProgressBars(not as_json) as progress:
        result = monte_carlo(
            chip,
            networks,
            inputs,
            labels,
            vary=models,
            trials=trials,
            seed=seed,
            out=out,
            workers=workers,
            scheduler=scheduler,
            resume=resume,
            width=width,
            overwrite=force,
            progress=progress.update,
        )
    rows = stress_rows(result)
    if csv is not None:
        write_table(csv, rows, overwrite=force)
    if plot is not None:
        from cimemu.stress.plots import plot_stress

        plot_stress(result, plot, overwrite=force)
    if as_json:
        print_json({"points": rows, "paired": list(result.paired), "ideal": result.ideal, "file": str(result.path)})
        _refuse_failed(result)
        return
    print_notes(work, next(iter(networks.values())))
    if labels is None:
        print_each(["there are no labels, so no accuracy; of a network file alone they come with --labels"])
    console = make_console()
    method = ", ".join(sorted({str(m) for m in result.columns["method"] if m}))
    title = f"{work.name} on {chip.name}, {len(inputs)} images, seed {seed}; 95 % intervals of the mean: {method}"
    shown = [{**row, "vary": text} for row, text in zip(rows, telling(result.vary))]
    print_table(shown, title, shares=("mean", "std", "low", "high", "5 %", "median", "worst"))
    for row in result.paired:
        console.print(
            f"{row['scheme']} - {row['against']}, {row['vary']}: {100 * row['difference']:+.2f} points "
            f"[{100 * row['low']:+.2f}, {100 * row['high']:+.2f}] on the same {row['chips']} chips"
        )
    for name, ideal in result.ideal.items():
        right = "no labels" if isnan(ideal["accuracy"]) else f"{100 * ideal['accuracy']:.2f} %"
        cost = Cost(**{key: value for key, value in ideal.items() if key != "accuracy"})
        console.print(f"ideal cells{' ' * bool(name)}{name}: {right}, {cost.told()}", soft_wrap=True)
    for line in _upkeep(result):
        console.print(line, soft_wrap=True)
    for error in result.errors:
        console.print(f"failed: {error}", soft_wrap=True)
    names = schemes if len(schemes) > 1 else [path.stem for path in network_files or [Path()]]
    files = (("--inputs", inputs_file), ("--labels", labels_from), ("--calibration", calibration_file))
    bare = [f"{option} {value}" for option, value in files if value is not None]
    again = _again(result, arch, " ".join([workload, *bare]), (names, schemes), network_files or [], overrides)
    if again:
        console.print(f"worst chip again: {again}", soft_wrap=True)
    for written in (result.path, csv, plot):
        if written is not None:
            console.print(f"wrote {written}", soft_wrap=True)
    if not named:
        print_default_name(result.path)
    _refuse_failed(result)


def _upkeep(result: "StressResult") -> Iterator[str]:
    """What one calibration of every kind and one writing cost."""
    found = {
        name: kept for name, kept in zip(result.scheme_of, result.upkeep) if kept is not None and kept.calibrations
    }
    for name, kept in found.items():
        yield from replace(kept, writings=0).lines(name)
    written = max((kept for kept in result.upkeep if kept is not None), key=lambda kept: kept.writings, default=None)
    if written is not None:
        yield from replace(written, calibrations=0).lines()


def _refuse_failed(result: "StressResult") -> None:
    """A run of which no trial ended well is a mistake of what was asked for; one of which some did not has its status."""
    if result.errors and not result.columns["trials"].any():
        raise CimemuError(f"stress: every trial failed, the first one with {result.errors[0]}")
    if result.errors:
        failed = int(result.columns["failed"].sum())
        typer.echo(f"cimemu: {failed} trials failed and are in no figure; the file says why", err=True)
        raise typer.Exit(SOME_FAILED)


def _networks(
    chip: "Arch",
    source: "tuple[str, Given | None]",
    files: list[Path],
    schemes: list[str],
    module: str | None,
    overrides: list[str] | None,
) -> "dict[str, Network]":
    """The networks to compare, by name: a file each, or one file's with converters fitted in several ways."""
    from cimemu.prepare import load_recipe

    if len(files) > 1 and len(schemes) > 1:
        raise WorkloadError("--network several times with several --calibrate-adc: compare one or the other")
    names = [path.stem for path in files]
    for name in names:
        if names.count(name) > 1:
            raise WorkloadError(f"--network {name} twice: networks are told apart by file name, rename one")
    found: dict[str, Network] = {}
    for path in files or [None]:  # type: ignore[list-item]
        work = workload_of(source[0], path, source[1])
        recipe = load_recipe(work, module=module, calibrate=schemes != ["none"])
        for scheme in schemes:
            network = recipe.for_arch(chip, converters=None if scheme == "none" else scheme)
            refuse_fixed(network, overrides)
            found[scheme if len(schemes) > 1 else path.stem if len(files) > 1 else ""] = network
    return found


def _again(
    result: "StressResult",
    arch: str,
    workload: str,
    told: tuple[list[str], list[str]],
    files: list[Path],
    overrides: list[str] | None,
) -> str:
    """The command that runs the least accurate chip once more, "" where nothing was scored."""
    point = result.worst_point()
    if point is None:
        return ""
    names, schemes = told
    named = names[result.schemes.index(result.scheme_of[point]) * len(names) // len(result.schemes)]
    scheme = named if len(schemes) > 1 else schemes[0]
    words = ["cimemu run", arch, workload, *(f"--set {text}" for text in overrides or ())]
    words += [f"--network {path}" for path in files if len(files) == 1 or path.stem == named]
    words += [] if scheme == "none" else [f"--calibrate-adc {scheme}"]
    words += [f"--vary {text}" for text in result.vary[point]]
    return " ".join([*words, f"--seed {result.seed}", f"--trial {result.columns['worst_trial'][point]}"])
