"""`cimemu chip`: a drawn chip as a file."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import (
    ArchName,
    CalibrateOption,
    ForceOption,
    JsonOption,
    ModuleOption,
    NetworkOption,
    SeedOption,
    SetOption,
    TrialOption,
    WorkloadName,
    app,
    arch_of,
    default_output,
    real,
    refuse_outputs,
    workload_of,
)


@app.command()
def chip(
    arch: ArchName,
    workload: WorkloadName,
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            metavar="MODEL:PARAM=VALUE,...",
            help="what draws the chip (cimemu list); again for more, in order",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="chip file; default: WORKLOAD_ARCH_chip.h5, numbered"),
    ] = None,
    seed: SeedOption = 0,
    trial: TrialOption = 0,
    on_ohm: Annotated[
        float | None,
        typer.Option(
            "--on-ohm",
            metavar="X",
            callback=real(1e-3, 1e15),
            help="resistance of a cell at the highest level, for conductances in siemens; default: the models', if one has it",
        ),
    ] = None,
    overrides: SetOption = None,
    network_file: NetworkOption = None,
    module: ModuleOption = None,
    calibrate_adc: CalibrateOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw a chip and write its cells and converters to a file, which run, golden, sweep and stress take by --chip."""
    from cimemu.drawn_chip import write_chip
    from cimemu.prepare import quantized_network
    from cimemu.terminal import make_console, print_json
    from cimemu.variation.compose import compose

    made, work = arch_of(arch, overrides), workload_of(workload, network_file)
    compose(vary).check(2**made.macro.cell.bits - 1)  # before the network is read
    target = out or default_output(f"{work.name}_{made.name}_chip", ".h5", force=force)
    refuse_outputs(target, force=force)
    network = quantized_network(work, made, converters=calibrate_adc, module=module)
    totals = write_chip(target, made, network, vary=vary, seed=seed, trial=trial, on_ohm=on_ohm, overwrite=force)
    if as_json:
        print_json({"file": str(target), **totals})
        return
    spares = made.macro.repair.spare_rows, made.macro.repair.spare_columns
    replaced = (
        f"{totals['spare_rows']} rows and {totals['spare_columns']} columns replaced by spares; " if any(spares) else ""
    )
    make_console().print(
        f"{target}: {totals['macros']} macros, {totals['cells']} cells with weights, {totals['faults']} of them stuck; {replaced}"
        f"use it: cimemu run {arch} {workload} --chip {target}",
        highlight=False,
        soft_wrap=True,
    )
