"""`cimemu search`: chips that optimise several figures under constraints."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.bounds import MOST_SEED
from cimemu.cli.app import (
    ArchName,
    ForceOption,
    ImagesOption,
    JsonOption,
    SchedulerOption,
    SetOption,
    TableOption,
    WorkersOption,
    WorkloadName,
    app,
    arch_of,
    refuse_outputs,
    whole,
    workload_of,
)
from cimemu.errors import CimemuError
from cimemu.terminal import ProgressBars, make_console, print_json, print_table

HIDDEN = (
    "holds", "best", "error", "macs", "conversions", "adc_conversions", "cycles",
    "energy_low_uj", "energy_high_uj", "area_low_mm2", "area_high_mm2",
)  # fmt: skip


@app.command()
def search(
    arch: ArchName,
    workload: WorkloadName,
    vary: Annotated[
        list[str],
        typer.Option("--vary", metavar="KEY=V1,V2", help="arch key and the values to choose from; again for more"),
    ],
    coupled: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KEY=V1,V2", help="arch key that changes with a --vary, as in cimemu sweep"),
    ] = None,
    goals: Annotated[
        list[str] | None,
        typer.Option(
            "--goal",
            "-g",
            metavar="FIGURE",
            help="figure of a sweep to optimise; again for more (energy_uj, latency_us)",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="FIGURE<=X", help="figure that must hold a bound, <= or >=; again for more"),
    ] = None,
    trials: Annotated[
        int, typer.Option("--trials", "-t", metavar="N", callback=whole(1, 100_000), help="points in all")
    ] = 50,
    storage: Annotated[
        Path | None,
        typer.Option("--storage", metavar="FILE", help="keeps the search, which goes on where that file ends"),
    ] = None,
    images: ImagesOption = None,
    csv: TableOption = None,
    overrides: SetOption = None,
    workers: WorkersOption = 1,
    scheduler: SchedulerOption = None,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", callback=whole(0, MOST_SEED), help="seed of the search and of every run"),
    ] = 0,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look for chips that are best in several figures under constraints, with Optuna: fewer runs than a sweep of all."""
    from cimemu.prepare import load_recipe
    from cimemu.stress.grid import coupled as together
    from cimemu.stress.grid import key_values
    from cimemu.stress.search import Hunt, check_storage
    from cimemu.stress.search import search as search_for
    from cimemu.stress.sweep import sweep_points
    from cimemu.stress.tables import is_parquet, write_table

    refuse_outputs(csv, force=force)
    if csv is not None:
        is_parquet(csv)
    chip, work = arch_of(arch, overrides), workload_of(workload)
    keys = together(key_values(vary), coupled or ())
    hunt = Hunt(
        vary=keys,
        goals=goals or ("energy_uj", "latency_us"),
        where=where or (),
        trials=trials,
        seed=seed,
        workers=workers,
        scheduler=scheduler,
        storage=storage,
    )
    check_storage(storage)
    sweep_points(chip, keys)  # before the network is read
    inputs, labels = work.inputs(images)
    with ProgressBars(not as_json) as progress:
        found = search_for(chip, load_recipe(work), inputs, labels, hunt, progress=progress.update)
    if csv is not None:
        write_table(csv, found.rows, overwrite=force)
    if as_json:
        print_json({"points": found.rows, "goals": found.goals, "storage": None if storage is None else str(storage)})
        return
    if not any(row["holds"] for row in found.rows):
        errors = [row["error"] for row in found.rows if row["error"]]
        raise CimemuError(
            f"search: no point holds the constraints{f'; the first failed with {errors[0]}' if errors else ''}"
        )
    best = [{name: value for name, value in row.items() if name not in HIDDEN} for row in found.rows if row["best"]]
    print_table(
        best, f"{work.name} on {chip.name}: the best trade-offs of {len(found.rows)} points, {', '.join(found.goals)}"
    )
    for name in (csv, storage):
        if name is not None:
            make_console().print(f"wrote {name}", soft_wrap=True)
