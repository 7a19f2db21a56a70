"""`cimemu shape`: a published network with random weights, as a file."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.bounds import MOST_SEED
from cimemu.cli.app import ForceOption, app, refuse_outputs, whole
from cimemu.errors import WorkloadError
from cimemu.terminal import make_console


@app.command()
def shape(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a network of `cimemu list`, e.g. resnet18")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.onnx", help="float ONNX file to write")],
    side: Annotated[
        int | None,
        typer.Option(
            "--side", metavar="N", callback=whole(1, 65536), help="images of N x N pixels; default: as published"
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", callback=whole(0, MOST_SEED), help="seed of weights and images")
    ] = 0,
    images: Annotated[
        int,
        typer.Option(
            "--images",
            "-n",
            metavar="N",
            callback=whole(0, 10**6),
            help="write N random images too (.npz), and a workload of both (.yaml)",
        ),
    ] = 0,
    force: ForceOption = False,
) -> None:
    """Write a published network (ResNet-18, VGG-16, Inception-V3 ...) with random weights: shapes, not accuracy."""
    from cimemu.exporter import save_onnx
    from cimemu.shapes import make_shape, parameter_count
    from cimemu.shapes.files import save_images

    if out.suffix.lower() != ".onnx":
        raise WorkloadError(f"--out {out}: must end in .onnx, the only format that is written")
    beside = [out.with_suffix(suffix) for suffix in (".npz", ".yaml")] if images else []
    refuse_outputs(out, *beside, force=force)
    network = make_shape(name, side=side, seed=seed, fold=False)
    save_onnx(network, out, overwrite=force)
    pixels = " x ".join(map(str, network.types["x"].shape))
    make_console().print(f"{out}: {name}, {parameter_count(network):,} parameters, images of {pixels}", highlight=False)
    if images:
        work = save_images(network, out, images, seed=seed, overwrite=force)
        make_console().print(f"{work}: workload of {images} random images (cimemu run ARCH {work})", highlight=False)
