"""`cimemu rtl`: generated hardware for an arch."""

import tempfile
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from cimemu.cli.app import ForceOption, JsonOption, SetOption, app, arch_of, refuse_outputs, whole
from cimemu.cli.verdict import tell
from cimemu.errors import CimemuError
from cimemu.terminal import make_console


@app.command()
def rtl(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCH | bench FILE VECTORS", help="what to generate, or a bench.yaml and golden vectors"
        ),
    ],
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
    sim: Annotated[str, typer.Option("--sim", metavar="icarus|verilator", help="bench: the simulator")] = "icarus",
    as_json: JsonOption = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="bench: a test case a file, as JUnit XML")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Hardware beside the emulator: generate a SystemVerilog macro of an arch, or run your own module (`rtl bench`)."""
    if names[0] == "bench":
        if len(names) != 3:
            raise CimemuError(f"rtl bench: {len(names) - 1} names given, needs FILE VECTORS")
        if sim not in ("icarus", "verilator"):
            raise CimemuError(f"--sim {sim}: must be icarus or verilator")
        _bench(Path(names[1]), Path(names[2]), out, sim, as_json=as_json, junit=junit, force=force)
        return
    from cimemu.rtl.generate import write_rtl

    if as_json or junit is not None:
        raise CimemuError("rtl --json and --junit: are of rtl bench FILE VECTORS, leave them out")
    if len(names) != 1 or out is None:
        raise CimemuError("rtl: needs ARCH --out DIR, or bench FILE VECTORS")
    chip = arch_of(names[0], overrides)
    files = write_rtl(out, chip, name=name, groups=groups, programmable=programmable, force=force)
    make_console().print(f"{out}: module {name} of arch {chip.name}, {len(files)} files", soft_wrap=True)


def _bench(
    file: Path, vectors: Path, out: Path | None, sim: str, *, as_json: bool, junit: Path | None, force: bool
) -> None:
    """Simulate in `out`, which is kept, or in a folder that goes away."""
    from cimemu.rtl.bench import run_bench

    refuse_outputs(junit, force=force)
    with tempfile.TemporaryDirectory() as gone:
        found = run_bench(file, vectors, out or gone, cast(Literal["icarus", "verilator"], sim))
    tell(found, as_json=as_json, junit=junit, force=force)
