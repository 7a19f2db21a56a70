"""`cimemu schema`: JSON Schema of the files that users write."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import ForceOption, app


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="arch, workload or scheme")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="write it to a file; default: print it")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Print the JSON Schema of a kind of file, by which editors complete and check its keys."""
    import json

    from cimemu.cli.app import refuse_outputs
    from cimemu.errors import CimemuError
    from cimemu.file_schema import json_schema
    from cimemu.terminal import make_console
    from cimemu.whole_file import whole_file

    if out is not None:
        refuse_outputs(out, force=force)
    text = json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    with whole_file(out, CimemuError, overwrite=force) as made:
        made.write_text(text, encoding="utf-8")
    make_console().print(
        f"wrote {out}; editors use it where a file begins with: # yaml-language-server: $schema={out}", highlight=False
    )
