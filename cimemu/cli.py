"""The command line: one function a subcommand; heavy imports happen inside."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimemu.errors import CimemuError, WorkloadError
from cimemu.terminal import ProgressBars, make_console, print_check, print_json

if TYPE_CHECKING:
    from cimemu.arch.schema import Arch
    from cimemu.workload.manifest import Workload

DEFAULT_ARCH, DEFAULT_WORKLOAD = "rram_128", "digits"
INTERRUPTED = 130
app = typer.Typer(
    name="cimemu",
    help="Cycle-level, bit-exact emulator of compute-in-memory crossbar hardware.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
ArchName = Annotated[str, typer.Argument(metavar="ARCH", help="architecture: a preset's name or a YAML file")]
WorkloadName = Annotated[
    str, typer.Argument(metavar="WORKLOAD", help="workload: a preset's name, a folder or a workload.yaml")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change the arch, e.g. macro.adc.bits=6; again for more"),
]
ImagesOption = Annotated[int | None, typer.Option("--images", "-n", metavar="N", help="first N images; default: all")]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object")]
PathOption = Annotated[
    str, typer.Option("--path", help="auto, or packed: no exact-product shortcut; fixed, naive: slower twins")
]
ModuleOption = Annotated[
    str | None,
    typer.Option(
        "--module", metavar="FILE.py:NAME", help="the torch module that PyTorch weights are for; its code runs"
    ),
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", metavar="N", help="threads for values; default: one")]
ForceOption = Annotated[bool, typer.Option("--force", help="overwrite the output file")]
CalibrateOption = Annotated[
    str | None,
    typer.Option(
        "--calibrate-adc",
        metavar="layer|array|column",
        help="fit lsb and zero of linear converters to calibration images",
    ),
]


@app.command()
def run(
    arch: ArchName = DEFAULT_ARCH,
    workload: WorkloadName = DEFAULT_WORKLOAD,
    images: ImagesOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="trace to write; default: WORKLOAD_ARCH.h5, numbered"),
    ] = None,
    no_trace: Annotated[bool, typer.Option("--no-trace", help="write no trace")] = False,
    detail: Annotated[
        str, typer.Option("--detail", metavar="ops|cycles", help="events of operations, or of every step")
    ] = "ops",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="seed, kept in the trace")] = 0,
    overrides: SetOption = None,
    calibrate_adc: CalibrateOption = None,
    module: ModuleOption = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="images computed together")] = 64,
    path: PathOption = "auto",
    threads: ThreadsOption = None,
    events: Annotated[
        int | None,
        typer.Option("--events", metavar="N", help="events of the first N images only; default: all up to 20 million"),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Emulate a network on a chip: outputs, cycles, energy, one trace."""
    from cimemu.emulate import run as emulate
    from cimemu.prepare import free_name, quantized_network

    chip, work = _arch(arch, overrides), _workload(workload)
    if detail not in ("ops", "cycles"):
        raise CimemuError(f"--detail {detail}: must be ops or cycles")
    target = out
    if out is None and not no_trace:
        target = free_name(Path.cwd(), f"{work.name}_{chip.name}", ".h5")
    with ProgressBars(not as_json) as progress:
        inputs, labels = work.inputs(images)
        network = quantized_network(work, chip, converters=calibrate_adc, module=module)
        result = emulate(
            chip,
            network,
            inputs,
            labels,
            trace=None if no_trace else target,
            detail=detail,
            seed=seed,
            batch=batch,
            path=path,
            threads=threads,
            overwrite=force,
            event_images=events,
            provenance={
                "workload": work.name,
                "network": work.network.name,
                "network_sha256": _sha256(work.network),
                "arch": arch,
                "overrides": list(overrides or ()),
                "calibrate_adc": calibrate_adc,
            },
            progress=progress.update,
        )
    score = work.reconstruction(result.outputs, labels)
    if as_json:
        extra = {} if score is None else {"mean_squared_error": score[0], "auc": score[1]}
        print_json({**result.summary(), **extra})
        return
    if result.trace is not None:
        _report(result.trace, ("summary", "layers"))
        if score is not None:
            auc = "" if score[1] is None else f", AUC {score[1]:.4f}"
            make_console().print(f"reconstruction: mean squared error {score[0]:.4f}{auc}")
        make_console().print(f"More: cimemu report {result.trace.name}")
        return
    for name, value in result.summary().items():
        make_console().print(f"{name}: {value}")


@app.command()
def report(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="a trace that `cimemu run` wrote")],
    as_json: JsonOption = False,
) -> None:
    """Tables of a trace: summary, layers, components, stalls, utilisation."""
    if as_json:
        from cimemu.report import report_data
        from cimemu.trace.read import open_trace

        print_json(report_data(open_trace(trace)))
        return
    _report(trace)


@app.command()
def check(
    arch: ArchName,
    workload: WorkloadName,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="onnxruntime|litert|FILE",
            help="a runtime, or an .npz with a name per tensor; default: LiteRT for integer TFLite, else ONNX Runtime",
        ),
    ] = None,
    images: ImagesOption = None,
    overrides: SetOption = None,
    calibrate_adc: CalibrateOption = None,
    module: ModuleOption = None,
    path: PathOption = "packed",
    as_json: JsonOption = False,
) -> None:
    """Compare every tensor with another runtime (lossless converter), and say how far the arch's converter moves them."""
    from cimemu.check.network import check_network
    from cimemu.prepare import quantized_network

    chip, work = _arch(arch, overrides), _workload(workload)
    inputs, _ = work.inputs(images)
    network = quantized_network(work, chip, converters=calibrate_adc, module=module)
    found = check_network(network, chip.macro, inputs, against=against, path=path)
    if as_json:
        print_json(found.as_dict())
    else:
        print_check(found)
    if found.differing:
        raise typer.Exit(1)


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
    percentile: Annotated[float | None, typer.Option("--percentile", help="for --method percentile")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="channel|layer", help="granularity of weight scales")
    ] = None,
    overrides: SetOption = None,
    module: ModuleOption = None,
    force: ForceOption = False,
) -> None:
    """Quantise a float network to an arch's bits and write it as a standard QDQ ONNX file."""
    from cimemu.exporter import save_onnx
    from cimemu.importer import FORMATS, load_network
    from cimemu.ptq import quantize as to_integers
    from cimemu.workload.data import read_array

    chip = _arch(arch, overrides)
    if out.exists() and not force:
        raise WorkloadError(f"{out}: exists already, name another file or add --force")
    if Path(network).suffix.lower() in FORMATS:
        images = None if calibration is None else read_array(calibration)
        shape = None if images is None else images.shape[1:]
        source, settings = load_network(network, module=module, input_shape=shape), None
        if images is None and not source.is_quantized:
            raise WorkloadError(f"{network}: is a float network, give --calibration FILE.npy or name a workload")
    else:
        work = _workload(network)
        images = work.calibration() if calibration is None else read_array(calibration)
        source = load_network(work.network, module=module, input_shape=images.shape[1:])
        settings = work.manifest.quantize
    made = to_integers(
        source,
        chip,
        calibration=images,
        weight_granularity=weights or (settings.weights if settings else "channel"),
        method=method or (settings.activations if settings else "minmax"),
        percentile=percentile or (settings.percentile if settings else 99.99),
    )
    save_onnx(made, out)
    make_console().print(
        f"{out}: {sum(layer.on_macros for layer in made.layers)} layers on macros, {len(made.layers)} in all"
    )


@app.command()
def golden(
    names: Annotated[
        list[str], typer.Argument(metavar="ARCH WORKLOAD | verify DIR DUMP", help="what to write, or compare")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="folder to write")] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", "-l", metavar="L", help="name or number; default: the first")
    ] = None,
    ops: Annotated[int, typer.Option("--ops", metavar="N", help="macro operations (output positions)")] = 16,
    overrides: SetOption = None,
    module: ModuleOption = None,
    force: ForceOption = False,
) -> None:
    """Golden vectors for RTL: write those of a layer, or compare a simulator's dump with them (`golden verify`)."""
    if names[0] == "verify":
        if len(names) != 3:
            raise CimemuError(f"golden verify: {len(names) - 1} folders given, needs DIR DUMP")
        _verify(Path(names[1]), Path(names[2]))
        return
    from cimemu.golden.files import write_vectors
    from cimemu.golden.vectors import layer_vectors
    from cimemu.prepare import quantized_network

    if len(names) != 2 or out is None:
        raise CimemuError("golden: needs ARCH WORKLOAD --out DIR, or verify DIR DUMP")
    chip, work = _arch(names[0], overrides), _workload(names[1])
    inputs, _ = work.inputs(None)
    chosen, macros = layer_vectors(quantized_network(work, chip, module=module), chip.macro, inputs, layer, ops)
    files = write_vectors(out, chip, work.name, chosen, macros, force)
    make_console().print(f"{out}: layer {chosen.name}, {len(macros)} macros, {ops} operations each, {files} files")


def _verify(folder: Path, dump: Path) -> None:
    from cimemu.golden.files import verify_dump

    found = verify_dump(folder, dump)
    if found.difference is None:
        make_console().print(f"equal: layer {found.layer}, {found.files} files, {found.lines:,} values")
        return
    make_console().print(f"layer {found.layer}: {found.difference}", soft_wrap=True)
    raise typer.Exit(1)


@app.command(name="list")
def list_all(as_json: JsonOption = False) -> None:
    """Presets and workloads, and the converter models, layers and formats that are there."""
    from cimemu.arch.load import list_archs
    from cimemu.importer import FORMATS
    from cimemu.workload.manifest import list_workloads

    groups: dict[str, Any] = {
        "archs": dict(list_archs()),
        "workloads": dict(list_workloads()),
        "network formats": dict.fromkeys(FORMATS, ""),
    }
    if as_json:
        print_json(groups)
        return
    console = make_console()
    for group, members in groups.items():
        console.print(f"[bold]{group}[/bold]")
        for name, title in members.items():
            default = " (default)" if name in (DEFAULT_ARCH, DEFAULT_WORKLOAD) and "default" not in title else ""
            console.print(f"  {name:20} {title}{default}", highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status. A user's mistake is one line and 2, Ctrl-C is 130."""
    # Click's base error, whether Typer brings its own Click or uses the installed one.
    usage_error: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(args=given or ["--help"], standalone_mode=False)
        if status == INTERRUPTED:  # newer Typers catch Ctrl-C themselves
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        print("cimemu: interrupted, nothing is left under the output's name", file=sys.stderr)
        return INTERRUPTED
    except typer.Exit as error:
        return int(error.exit_code)
    except CimemuError as error:
        return _complain(str(error))
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except MemoryError:
        return _complain("out of memory: ask for fewer --images or a smaller --batch")
    except usage_error as error:
        return _complain(error.format_message())


def _complain(message: str) -> int:
    print("cimemu: " + " ".join(message.split()), file=sys.stderr)
    return 2


def _arch(name: str, overrides: list[str] | None) -> "Arch":
    from cimemu.arch.load import load_arch, parse_override

    return load_arch(name, dict(parse_override(text) for text in overrides or ()))


def _workload(name: str) -> "Workload":
    from cimemu.workload.manifest import load_workload

    return load_workload(name)


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _report(path: Path, sections: tuple[str, ...] | None = None) -> None:
    from cimemu.report import SECTIONS, print_report
    from cimemu.trace.read import open_trace

    print_report(open_trace(path), make_console(), sections or SECTIONS)
