"""`cimemu init`: files to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import ForceOption, app
from cimemu.cli.bare import InputShapeOption, given_of
from cimemu.errors import CimemuError

KINDS = ("workload",)


@app.command()
def init(
    kind: Annotated[str, typer.Argument(metavar="workload", help="what to write")],
    network: Annotated[Path, typer.Argument(metavar="NETWORK", help="a network file that it is for")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="the file to write")] = Path("workload.yaml"),
    input_shape: InputShapeOption = None,
    force: ForceOption = False,
) -> None:
    """Write a file to begin with: a workload.yaml for a network file, with its inputs and every key explained."""
    from cimemu.cli.app import refuse_outputs
    from cimemu.loading.starter import starter
    from cimemu.terminal import make_console
    from cimemu.whole_file import whole_file

    if kind not in KINDS:
        raise CimemuError(f"init {kind}: no such file to begin with, there are: {', '.join(KINDS)}")
    refuse_outputs(out, force=force)
    text = starter(network, out, given_of(None, None, None, input_shape, None))
    with whole_file(out, CimemuError, overwrite=force) as made:
        made.write_text(text, encoding="utf-8")
    make_console().print(f"wrote {out}; name your images in it, then: cimemu run rram_128 {out}", highlight=False)
