"""`cimemu golden`: vectors for RTL, and their comparison with a dump."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import (
    CalibrateChipOption,
    ChipOption,
    ForceOption,
    JsonOption,
    ModuleOption,
    SeedOption,
    SetOption,
    TrialOption,
    VaryOption,
    app,
    arch_of,
    drawn,
    refuse_outputs,
    whole,
    workload_of,
)
from cimemu.cli.coverage import tell_coverage
from cimemu.cli.verdict import tell
from cimemu.errors import CimemuError


@app.command()
def golden(
    names: Annotated[
        list[str], typer.Argument(metavar="ARCH WORKLOAD | verify DIR DUMP", help="what to write, or compare")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="folder to write")] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", "-l", metavar="L", help="name or number; default: the first")
    ] = None,
    ops: Annotated[
        int, typer.Option("--ops", metavar="N", callback=whole(1, 10**6), help="macro operations (output positions)")
    ] = 16,
    cover: Annotated[
        bool, typer.Option("--cover", help="add operations until all is reached that can be, as few as are found")
    ] = False,
    random_ops: Annotated[
        int,
        typer.Option(
            "--random",
            metavar="N",
            callback=whole(0, 10**6),
            help="cover: tell how much of the same up to N operations of random inputs reach",
        ),
    ] = 0,
    overrides: SetOption = None,
    vary: VaryOption = None,
    chip_file: ChipOption = None,
    calibrate: CalibrateChipOption = None,
    seed: SeedOption = 0,
    trial: TrialOption = 0,
    module: ModuleOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            help="verify: compare files of this name (codes), or macros, or digital; again for more",
        ),
    ] = None,
    as_json: JsonOption = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="verify: a test case a file, as JUnit XML")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Golden vectors for RTL: write those of a layer, or compare a simulator's dump with them (`golden verify`)."""
    if names[0] == "verify":
        if cover or random_ops:
            raise CimemuError("golden --cover and --random: are of golden ARCH WORKLOAD --out DIR, leave them out")
        if len(names) != 3:
            raise CimemuError(f"golden verify: {len(names) - 1} folders given, needs DIR DUMP")
        _verify(Path(names[1]), Path(names[2]), only or [], as_json=as_json, junit=junit, force=force)
        return
    from cimemu.golden.coverage.cover import covered_vectors, random_operations
    from cimemu.golden.files import write_vectors
    from cimemu.golden.folder import refuse_folder
    from cimemu.mapping.place import make_plan
    from cimemu.options import Draws
    from cimemu.prepare import quantized_network

    if len(names) != 2 or out is None:
        raise CimemuError("golden: needs ARCH WORKLOAD --out DIR, or verify DIR DUMP")
    for option, given in (("--only", only), ("--junit", junit)):
        if given:
            raise CimemuError(f"golden {option}: is of golden verify DIR DUMP, leave it out")
    if random_ops and not cover:
        raise CimemuError("golden --random: compares with covering operations, add --cover")
    refuse_folder(out, force=force)
    chip, work = arch_of(names[0], overrides), workload_of(names[1])
    network = quantized_network(work, chip, module=module)
    inputs, _ = work.inputs(None)
    models = drawn(chip_file, vary, calibrate)
    plan = make_plan(network, chip) if models else None
    draws = Draws(vary=models, seed=seed, trial=trial)
    made = covered_vectors(network, chip.macro, inputs, layer, ops, cover=cover, plan=plan, draws=draws)
    compared = random_operations(made, chip.macro, random_ops) if random_ops else None
    about = made.coverage.as_dict() | ({} if compared is None else {"random": compared.as_dict()})
    files = write_vectors(out, chip, work.name, made.vectors, force=force, coverage=about)
    tell_coverage(out, made, files, compared, as_json=as_json)


def _verify(folder: Path, dump: Path, only: list[str], *, as_json: bool, junit: Path | None, force: bool) -> None:
    from cimemu.golden.verify import verify_dump

    refuse_outputs(junit, force=force)
    tell(verify_dump(folder, dump, only), as_json=as_json, junit=junit, force=force)
