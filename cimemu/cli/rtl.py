"""`cimemu rtl`: generated hardware for an arch."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import ForceOption, SetOption, app, arch_of, whole
from cimemu.errors import CimemuError
from cimemu.terminal import make_console


@app.command()
def rtl(
    names: Annotated[list[str], typer.Argument(metavar="ARCH", help="architecture: a preset's name or a YAML file")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="folder to write")] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="MODULE", help="name of the module, and what its files begin with")
    ] = "cim_macro",
    groups: Annotated[
        int,
        typer.Option(
            "--groups",
            metavar="N",
            callback=whole(1, 65536),
            help="convolution groups that may share a macro (mapping.groups = block_diagonal)",
        ),
    ] = 1,
    programmable: Annotated[
        bool,
        typer.Option(
            "--programmable", help="references are programmed with the cells, as those of a calibrated network must be"
        ),
    ] = False,
    overrides: SetOption = None,
    force: ForceOption = False,
) -> None:
    """Generated SystemVerilog of a macro: synthesizable, with a testbench that reads golden vectors, and a Makefile."""
    from cimemu.rtl.generate import write_rtl

    if len(names) != 1 or out is None:
        raise CimemuError("rtl: needs ARCH --out DIR")
    chip = arch_of(names[0], overrides)
    files = write_rtl(out, chip, name=name, groups=groups, programmable=programmable, force=force)
    make_console().print(f"{out}: module {name} of arch {chip.name}, {len(files)} files", soft_wrap=True)
