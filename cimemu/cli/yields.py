"""`cimemu yield`: the share of drawn chips that reach an accuracy."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimemu.bounds import MOST_IMAGES, MOST_TRIALS
from cimemu.cli.app import (
    ArchName,
    CalibrateOption,
    ChipOption,
    ImagesOption,
    JsonOption,
    ModuleOption,
    NetworkOption,
    SeedOption,
    SetOption,
    VaryOption,
    WorkloadName,
    app,
    arch_of,
    drawn,
    real,
    whole,
    workload_of,
)
from cimemu.cli.bare import CalibrationOption, InputsOption, LabelsOption, given_of, print_notes
from cimemu.errors import CimemuError
from cimemu.terminal import ProgressBars, make_console, print_json, print_table

if TYPE_CHECKING:
    from cimemu.stress.ideal import Cost


@app.command(name="yield")
def yield_(
    arch: ArchName,
    workload: WorkloadName,
    vary: VaryOption = None,
    chip_file: ChipOption = None,
    accuracy: Annotated[
        float | None,
        typer.Option("--accuracy", "-a", metavar="X", callback=real(0, 1), help="what a good chip reaches, e.g. 0.95"),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", "-t", metavar="N", callback=whole(1, MOST_TRIALS), help="chips drawn, at most"),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(
            "--width", metavar="W", callback=real(1e-9, 1 - 1e-9), help="stop when the 95 % interval is no wider"
        ),
    ] = None,
    plan: Annotated[
        float | None,
        typer.Option(
            "--plan",
            metavar="YIELD",
            callback=real(0, 1),
            help="draw nothing: how many chips --width takes at this yield",
        ),
    ] = None,
    rare: Annotated[
        bool,
        typer.Option("--rare", help="for rare bad chips of --vary stuck_at: draw by strata of the number of faults"),
    ] = False,
    pilot: Annotated[
        int | None,
        typer.Option(
            "--pilot",
            metavar="IMAGES",
            callback=whole(1, MOST_IMAGES),
            help="with --rare: try every single fault on so many images first; strata are of the number of harmful cells",
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
    as_json: JsonOption = False,
) -> None:
    """Draw chips and count those that reach an accuracy: the yield with its interval, or the chance of a rare bad chip."""
    if plan is not None:
        _planned(plan, width, as_json)
        return
    if accuracy is None or trials is None:
        raise CimemuError("yield: --accuracy and --trials are needed (or --plan with --width: how many trials)")
    if pilot is not None and not rare:
        raise CimemuError("--pilot without --rare: only strata take harmful cells, add --rare")
    from cimemu.options import Draws
    from cimemu.prepare import quantized_network
    from cimemu.stress.ideal import ideal_cost
    from cimemu.stress.yields import Chips, yield_of
    from cimemu.variation.compose import compose

    made, work = (
        arch_of(arch, overrides),
        workload_of(workload, network_file, given_of(inputs_file, labels_from, calibration_file, None, module)),
    )
    models = drawn(chip_file, vary)
    compose(models).check(2**made.macro.cell.bits - 1)  # before the network is read
    inputs, labels = work.inputs(images)
    network = quantized_network(work, made, converters=calibrate_adc, module=module)
    draws = Draws(seed=seed, vary=models)
    chips = Chips(made, network, inputs, labels)
    what: dict[str, Any] = {"draws": draws, "accuracy": accuracy, "trials": trials}
    title = f"{work.name} on {made.name}, {len(inputs)} images, seed {seed}"
    with ProgressBars(not as_json) as progress:
        if rare:
            from cimemu.stress.strata import rare_failures

            harmful = None
            if pilot is not None:
                harmful = _harmful(made, network, inputs[:pilot], labels, accuracy, progress.update)
            found = rare_failures(chips, harmful=harmful, width=width, progress=progress.update, **what)
        else:
            counted = yield_of(chips, width=width, progress=progress.update, **what)
    cost = ideal_cost(made, network, inputs)
    if rare:
        _tell_rare(found, accuracy, title, as_json, cost)
        return
    told = {
        "yield": counted.share, "low": counted.low, "high": counted.high, "good": counted.good, "trials": counted.trials,
        "stopped_early": counted.stopped, "accuracy": accuracy, "worst": float(counted.accuracy.min()),
        "worst_trial": int(counted.accuracy.argmin()), "seed": seed, **asdict(cost),
    }  # fmt: skip
    guard = chips.checksums()
    told |= {} if guard is None else {"checksums": guard.row()}
    if as_json:
        print_json(told)
        return
    print_notes(work, network)
    console = make_console()
    early = ", stopped as the interval is narrow enough" if counted.stopped else ""
    console.print(
        f"{title}: {counted.good} of {counted.trials} chips reach {100 * accuracy:g} %{early}; yield {100 * counted.share:.2f} % "
        f"[{100 * counted.low:.2f}, {100 * counted.high:.2f}] (95 %, Clopper-Pearson)",
        soft_wrap=True,
    )
    console.print(f"worst chip: trial {told['worst_trial']}, {100 * told['worst']:.2f} %", soft_wrap=True)
    console.print(f"every chip: {cost.told()}", soft_wrap=True)
    if guard is not None:
        for line in guard.lines():
            console.print(line, soft_wrap=True)


def _harmful(made: Any, network: Any, inputs: Any, labels: Any, accuracy: float, progress: Any) -> Any:
    """The cells of which one fault costs at least a quarter of what a chip may lose."""
    from cimemu.emulate import run
    from cimemu.faults.campaign import every_fault
    from cimemu.faults.report import harmful_cells

    truth = None if labels is None else labels[: len(inputs)]
    ideal = run(made, network, inputs, truth, detail=None).accuracy
    margin = (0.0 if ideal is None else ideal) - accuracy
    if margin <= 0:
        has = f"has {margin + accuracy:.4g} on the {len(inputs)} images of --pilot"
        raise CimemuError(f"--accuracy {accuracy:g}: the chip without a fault {has}, ask for less")
    found = every_fault(made, network, inputs, truth, progress=progress)
    cells = harmful_cells(found, margin / 4)
    if not len(cells):
        raise CimemuError(
            f"--pilot {found.images}: no single fault costs {100 * margin / 4:.3g} points or more, leave out --pilot"
        )
    return cells


def _planned(expected: float, width: float | None, as_json: bool) -> None:
    from cimemu.stress.yields import trials_planned

    if width is None:
        raise CimemuError("--plan: how narrow must the interval be? give --width, e.g. 0.02")
    needed = trials_planned(expected, width)
    if as_json:
        print_json({"trials": needed, "expected": expected, "width": width})
        return
    make_console().print(
        f"{needed:,} trials: at a yield of {100 * expected:g} % their 95 % interval is no wider than {100 * width:g} points",
        soft_wrap=True,
    )


def _tell_rare(found: Any, accuracy: float, title: str, as_json: bool, cost: "Cost") -> None:
    name = "harmful stuck cells" if found.harmful else "stuck cells"
    rows = [{name: f"{s.least} .. {s.most}", "chance": s.chance, "chips": s.drawn, "bad": s.bad} for s in found.strata]
    if as_json:
        told = ("failure", "low", "high", "effective", "trials", "cells", "harmful", "seed")
        print_json(
            {**{name: getattr(found, name) for name in told}, "accuracy": accuracy, "strata": rows, **asdict(cost)}
        )
        return
    cells = f"{found.harmful:,} harmful ones of {found.cells:,}" if found.harmful else f"{found.cells:,}"
    print_table(rows, f"{title}; strata of {cells} cells")
    make_console().print(
        f"chance of a chip below {100 * accuracy:g} %: {found.failure:.3g} [{found.low:.3g}, {found.high:.3g}] (95 %) from "
        f"{found.trials:,} chips; effective number of bad chips {found.effective:.1f}",
        soft_wrap=True,
    )
    make_console().print(f"every chip: {cost.told()}", soft_wrap=True)
