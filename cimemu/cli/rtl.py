"""`cimemu rtl`: generated hardware for an arch."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from cimemu.cli.app import (
    ForceOption,
    JsonOption,
    ModuleOption,
    SetOption,
    app,
    arch_of,
    refuse_outputs,
    whole,
    workload_of,
)
from cimemu.cli.verdict import tell
from cimemu.errors import CimemuError
from cimemu.terminal import make_console

if TYPE_CHECKING:
    from cimemu.arch.schema import Arch


@app.command()
def rtl(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="ARCH | bench FILE VECTORS | regress ARCH ...",
            help="what to generate, or a bench.yaml and golden vectors, or architectures to simulate",
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="folder to write")] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="MODULE",
            help="name of the module, and what its files begin with; default: cim_macro, or cim_network",
        ),
    ] = None,
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
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="WORKLOAD",
            help="generate layers of this network, not one macro; regress: the network whose vectors are run; default: digits",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option("--layers", metavar="A,B,...", help="network: layers that follow each other; default: the first"),
    ] = None,
    ops: Annotated[
        int | None,
        typer.Option("--ops", metavar="N", callback=whole(1, 10**6), help="regress: operations of each; default: 2"),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images", "-n", metavar="N", callback=whole(1, 1000), help="network: images of its vectors; default: 1"
        ),
    ] = None,
    module: ModuleOption = None,
    overrides: SetOption = None,
    sim: Annotated[
        str, typer.Option("--sim", metavar="icarus|verilator", help="bench, regress: the simulator")
    ] = "icarus",
    as_json: JsonOption = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="bench, regress: a test case a file, as JUnit XML")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Hardware beside the emulator: a SystemVerilog macro of an arch, layers of a network on it, your module (`rtl bench`),
    or a regression of several architectures (`rtl regress`)."""
    if sim not in ("icarus", "verilator"):
        raise CimemuError(f"--sim {sim}: must be icarus or verilator")
    if ops is not None and names[0] != "regress":
        raise CimemuError("rtl --ops: is of rtl regress ARCH ..., leave it out")
    if names[0] == "regress":
        from cimemu.cli.regress import regression

        if len(names) == 1:
            raise CimemuError("rtl regress: no architectures given, name presets or files")
        refuse_outputs(junit, force=force)
        regression(
            [arch_of(arch, overrides) for arch in names[1:]],
            workload_of(network or "digits"),
            (layers, ops or 2, cast(Literal["icarus", "verilator"], sim)),
            out,
            as_json=as_json,
            junit=junit,
            force=force,
        )
        return
    if names[0] == "bench":
        if len(names) != 3:
            raise CimemuError(f"rtl bench: {len(names) - 1} names given, needs FILE VECTORS")
        if network is not None:
            raise CimemuError("rtl --network: is of rtl ARCH --out DIR, leave it out with bench")
        _bench(Path(names[1]), Path(names[2]), out, sim, as_json=as_json, junit=junit, force=force)
        return
    from cimemu.rtl.generate import write_rtl

    if as_json or junit is not None:
        raise CimemuError("rtl --json and --junit: are of rtl bench and rtl regress, leave them out")
    if len(names) != 1 or out is None:
        raise CimemuError("rtl: needs ARCH --out DIR, or bench FILE VECTORS, or regress ARCH ...")
    chip = arch_of(names[0], overrides)
    if network is not None:
        if groups != 1 or programmable:
            raise CimemuError("rtl --groups and --programmable: are of one macro, leave them out with --network")
        _network(chip, network, layers, images or 1, out, name or "cim_network", module=module, force=force)
        return
    if layers is not None or module is not None or images is not None:
        raise CimemuError("rtl --layers, --images and --module: are of a network, name it by --network")
    name = name or "cim_macro"
    files = write_rtl(out, chip, name=name, groups=groups, programmable=programmable, force=force)
    make_console().print(f"{out}: module {name} of arch {chip.name}, {len(files)} files", soft_wrap=True)


def _network(
    chip: "Arch",
    work_name: str,
    layers: str | None,
    images: int,
    out: Path,
    name: str,
    *,
    module: str | None,
    force: bool,
) -> None:
    """Quantise it for the chip, then generate."""
    from cimemu.prepare import quantized_network
    from cimemu.rtl.network import write_network_rtl

    work = workload_of(work_name)
    quantized = quantized_network(work, chip, module=module)
    inputs, _ = work.inputs(images)
    first = [layer.name for layer in quantized.layers if layer.on_macros][:1]
    chosen = first if layers is None else [part.strip() for part in layers.split(",")]
    files = write_network_rtl(out, chip, quantized, inputs, chosen, name=name, force=force)
    text = f"{out}: module {name} of {work.name} on arch {chip.name}, layers {', '.join(chosen)}, {len(files)} files"
    make_console().print(text, soft_wrap=True)


def _bench(
    file: Path, vectors: Path, out: Path | None, sim: str, *, as_json: bool, junit: Path | None, force: bool
) -> None:
    """Simulate in `out`, which is kept, or in a folder that goes away."""
    from cimemu.rtl.bench import run_bench

    refuse_outputs(junit, force=force)
    with tempfile.TemporaryDirectory() as gone:
        found = run_bench(file, vectors, out or gone, cast(Literal["icarus", "verilator"], sim))
    tell(found, as_json=as_json, junit=junit, force=force)
