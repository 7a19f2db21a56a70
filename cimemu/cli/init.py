"""`cimemu init`: files to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import ForceOption, app, default_output
from cimemu.cli.bare import InputShapeOption, given_of
from cimemu.errors import CimemuError

KINDS = ("arch", "workload")  # written to KIND.yaml


@app.command()
def init(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="what to write: arch or workload")],
    source: Annotated[
        str, typer.Argument(metavar="PRESET|NETWORK", help="arch: the preset to begin with; workload: a network file")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="the file; default: arch.yaml, workload.yaml, numbered"),
    ] = None,
    input_shape: InputShapeOption = None,
    force: ForceOption = False,
) -> None:
    """Write a file to begin with: a chip's (a preset to edit), or a workload.yaml for a network with every key explained."""
    from cimemu.cli.app import refuse_outputs
    from cimemu.terminal import make_console, print_default_name
    from cimemu.whole_file import whole_file

    if kind not in KINDS:
        raise CimemuError(f"init {kind}: no such file to begin with, there are: {', '.join(KINDS)}")
    target = out or default_output(kind, ".yaml", force=force)
    refuse_outputs(target, force=force)
    if kind == "arch":
        from cimemu.loading.arch_starter import arch_starter

        if input_shape is not None:
            raise CimemuError("init arch --input-shape: a chip has no input shape, leave it out")
        text, told = arch_starter(source, target), f"edit it, then: cimemu run {target} digits"
    else:
        from cimemu.loading.starter import starter

        text = starter(Path(source), target, given_of(None, None, None, input_shape, None))
        told = f"name your images in it, then: cimemu run rram_128 {target}"
    with whole_file(target, CimemuError, overwrite=force) as made:
        made.write_text(text, encoding="utf-8")
    make_console().print(f"wrote {target}; {told}", highlight=False)
    if out is None:
        print_default_name(target)
