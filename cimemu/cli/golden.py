"""`cimemu golden`: vectors for RTL, and their comparison with a dump."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import (
    ForceOption,
    ModuleOption,
    SeedOption,
    SetOption,
    TrialOption,
    VaryOption,
    app,
    arch_of,
    whole,
    workload_of,
)
from cimemu.errors import CimemuError
from cimemu.terminal import make_console


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
    overrides: SetOption = None,
    vary: VaryOption = None,
    seed: SeedOption = 0,
    trial: TrialOption = 0,
    module: ModuleOption = None,
    force: ForceOption = False,
) -> None:
    """Golden vectors for RTL: write those of a layer, or compare a simulator's dump with them (`golden verify`)."""
    if names[0] == "verify":
        if len(names) != 3:
            raise CimemuError(f"golden verify: {len(names) - 1} folders given, needs DIR DUMP")
        _verify(Path(names[1]), Path(names[2]))
        return
    from cimemu.golden.files import write_vectors
    from cimemu.golden.folder import refuse_folder
    from cimemu.golden.vectors import layer_vectors
    from cimemu.mapping.place import make_plan
    from cimemu.prepare import quantized_network

    if len(names) != 2 or out is None:
        raise CimemuError("golden: needs ARCH WORKLOAD --out DIR, or verify DIR DUMP")
    refuse_folder(out, force=force)
    chip, work = arch_of(names[0], overrides), workload_of(names[1])
    network = quantized_network(work, chip, module=module)
    inputs, _ = work.inputs(None)
    plan = make_plan(network, chip) if vary else None
    made = layer_vectors(network, chip.macro, inputs, layer, ops, plan=plan, vary=vary or (), seed=seed, trial=trial)
    files = write_vectors(out, chip, work.name, made, force=force)
    make_console().print(f"{out}: layer {made.layer.name}, {len(made.macros)} macros, {ops} operations, {files} files")


def _verify(folder: Path, dump: Path) -> None:
    from cimemu.golden.verify import verify_dump

    found = verify_dump(folder, dump)
    lacks = ""
    if found.missing:
        some = ", ".join(found.missing[:3]) + (" ..." if len(found.missing) > 3 else "")
        lacks = f"; {len(found.missing)} files that the dump lacks were not compared: {some}"
    if found.difference is None:
        print_line = f"equal: layer {found.layer}, {found.files} files, {found.lines:,} values{lacks}"
        make_console().print(print_line, soft_wrap=True)
        return
    make_console().print(f"layer {found.layer}: {found.difference}{lacks}", soft_wrap=True)
    raise typer.Exit(1)
