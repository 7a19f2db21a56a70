"""`cimemu fit`: how a network fills a chip's macros, and channel widths that would fill them."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.bounds import MOST_SEED
from cimemu.cli.app import (
    DEFAULT_ARCH,
    DEFAULT_WORKLOAD,
    ArchName,
    ForceOption,
    JsonOption,
    SetOption,
    app,
    arch_of,
    real,
    refuse_outputs,
    whole,
    workload_of,
)
from cimemu.errors import WorkloadError
from cimemu.terminal import print_fit, print_json


@app.command()
def fit(
    arch: ArchName = DEFAULT_ARCH,
    network: Annotated[
        str, typer.Argument(metavar="NETWORK", help="a network file (.onnx, .tflite), or a workload")
    ] = DEFAULT_WORKLOAD,
    macros: Annotated[
        int | None,
        typer.Option(
            "--macros",
            metavar="N",
            callback=whole(1, 10**6),
            help="macros that proposed widths may take; default: as many as now",
        ),
    ] = None,
    goal: Annotated[
        float,
        typer.Option(
            "--goal", metavar="SHARE", callback=real(0.001, 1), help="share of their cells that should hold weights"
        ),
    ] = 0.9,
    propose: Annotated[
        bool, typer.Option("--propose/--no-propose", help="look for channel widths that fill the macros")
    ] = True,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.csv", help="write the layers' table as CSV")
    ] = None,
    resized: Annotated[
        Path | None,
        typer.Option("--resized", metavar="FILE.onnx", help="write the network of the proposed widths, random weights"),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", callback=whole(0, MOST_SEED), help="seed of the search and of random weights"
        ),
    ] = 0,
    overrides: SetOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Map a network: rows, columns, macros, utilisation, weight loading; and propose widths that fill the macros."""
    from cimemu.exporter import save_onnx
    from cimemu.fitting.report import fit as fit_network
    from cimemu.fitting.report import write_csv
    from cimemu.importer import FORMATS, load_network

    chip = arch_of(arch, overrides)
    is_file = Path(network).suffix.lower() in FORMATS
    refuse_outputs(out, resized, force=force)
    if resized is not None and not propose:
        raise WorkloadError(f"--resized {resized}: there is no proposal to write, leave --no-propose out")
    source = load_network(network if is_file else workload_of(network).network)
    found = fit_network(chip, source, macros=macros, goal=goal, propose=propose and not source.is_quantized, seed=seed)
    if out is not None:
        write_csv(found, out, overwrite=force)
    if resized is not None:
        if found.proposal is None:
            raise WorkloadError(f"--resized {resized}: {network} is quantised, widths are proposed for float networks")
        save_onnx(found.proposal.network, resized, overwrite=force)
    if as_json:
        print_json(found.as_dict())
        return
    print_fit(found)
