"""`cimemu quantize`: a float network as a standard integer file."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import (
    DEFAULT_ARCH,
    FloatLayersOption,
    ForceOption,
    ModuleOption,
    SetOption,
    app,
    arch_of,
    real,
    refuse_outputs,
    workload_of,
)
from cimemu.errors import WorkloadError
from cimemu.terminal import make_console, print_scheme


@app.command()
def quantize(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="a float network file, or a workload")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="QDQ ONNX file to write")],
    arch: Annotated[
        str, typer.Option("--arch", "-a", metavar="ARCH", help="architecture whose widths are used")
    ] = DEFAULT_ARCH,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="images as the network takes them: .npy, or .npz with one array",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", metavar="minmax|percentile|mse", help="ranges of activations")
    ] = None,
    percentile: Annotated[
        float | None, typer.Option("--percentile", callback=real(50, 100), help="for --method percentile")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="channel|layer", help="granularity of weight scales")
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            "--scheme",
            metavar="NAME|FILE",
            help="quantisation scheme, or a YAML file of one: weights, activations and converters, kept in the file's metadata",
        ),
    ] = None,
    scheme_keys: Annotated[
        list[str] | None,
        typer.Option(
            "--scheme-set", metavar="KEY=VALUE", help="change the scheme, e.g. converter.bits=4; again for more"
        ),
    ] = None,
    overrides: SetOption = None,
    module: ModuleOption = None,
    float_layers: FloatLayersOption = None,
    force: ForceOption = False,
) -> None:
    """Quantise a float network to an arch's bits and write it as a standard QDQ ONNX file."""
    from cimemu.arch.load import parse_override
    from cimemu.exporter import save_onnx
    from cimemu.importer import FORMATS, load_network
    from cimemu.ptq import apply_scheme, read_scheme, scheme_of
    from cimemu.ptq import quantize as to_integers
    from cimemu.workload.data import read_array

    chip = arch_of(arch, overrides)
    refuse_outputs(out, force=force)
    if Path(network).suffix.lower() in FORMATS:
        images = None if calibration is None else read_array(calibration)
        shape = None if images is None else images.shape[1:]
        source, settings = load_network(network, module=module, input_shape=shape), None
        if images is None and not source.is_quantized:
            raise WorkloadError(f"{network}: is a float network, give --calibration FILE.npy or name a workload")
    else:
        work = workload_of(network, float_layers=float_layers)
        images = work.calibration() if calibration is None else read_array(calibration)
        shape = None if isinstance(images, dict) else images.shape[1:]  # a dict: of a network of several inputs
        source = load_network(work.network, module=module, input_shape=shape)
        settings = work.manifest.quantize
    if scheme is not None:
        chosen = [
            name
            for name, value in (("--method", method), ("--percentile", percentile), ("--weights", weights))
            if value
        ]
        if chosen:
            raise WorkloadError(f"{chosen[0]} with --scheme: the scheme says it, change it with --scheme-set")
        fitted = apply_scheme(
            source,
            chip,
            images,
            scheme_of(read_scheme(scheme), dict(parse_override(text) for text in scheme_keys or ())),
        )
        save_onnx(fitted.network, out, overwrite=force)
        print_scheme(fitted.layers, out)
        return
    if scheme_keys:
        raise WorkloadError("--scheme-set without --scheme: name the scheme that it changes")
    made = to_integers(
        source,
        chip,
        calibration=images,
        weight_granularity=weights or (settings.weights if settings else "channel"),
        method=method or (settings.activations if settings else "minmax"),
        percentile=percentile or (settings.percentile if settings else 99.99),
        float_layers=float_layers or (settings.float_layers if settings else "digital"),
    )
    save_onnx(made, out, overwrite=force)
    make_console().print(
        f"{out}: {sum(layer.on_macros for layer in made.layers)} layers on macros, {len(made.layers)} in all"
    )
