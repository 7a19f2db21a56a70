"""`cimemu size`: the chip on which a network reaches a rate of images."""

from typing import Annotated

import typer

from cimemu.cli.app import (
    ArchName,
    ImagesOption,
    JsonOption,
    SetOption,
    WorkloadName,
    app,
    arch_of,
    real,
    workload_of,
)
from cimemu.terminal import print_json, print_sized


@app.command()
def size(
    arch: ArchName,
    network: WorkloadName,
    rate: Annotated[
        float,
        typer.Option(
            "--images-per-second", "-r", metavar="N", callback=real(1e-6, 1e12), help="the rate that is wanted"
        ),
    ],
    images: ImagesOption = 1,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the smallest chip on which a network reaches a rate of images: copies, macros, tiles, area, power; or what limits it."""
    from cimemu.fitting.size import size as size_chip
    from cimemu.prepare import load_recipe

    chip, work = arch_of(arch, overrides), workload_of(network)
    inputs, _ = work.inputs(images)
    sized = size_chip(chip, load_recipe(work).for_arch(chip), inputs, rate)
    if as_json:
        print_json(sized.as_dict())
        return
    print_sized(sized, f"{arch} {network}", overrides or [])
