"""The command line: one function a subcommand; heavy imports happen inside."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimemu.errors import CimemuError, WorkloadError

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
    with _Progress(not as_json) as progress:
        inputs, labels = work.inputs(images)
        network = quantized_network(work, chip, converters=calibrate_adc)
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
    if as_json:
        _print_json(result.summary())
        return
    if result.trace is not None:
        _report(result.trace, ("summary", "layers"))
        _console().print(f"More: cimemu report {result.trace.name}")
        return
    for name, value in result.summary().items():
        _console().print(f"{name}: {value}")


@app.command()
def report(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="a trace that `cimemu run` wrote")],
    as_json: JsonOption = False,
) -> None:
    """Tables of a trace: summary, layers, components, stalls, utilisation."""
    if as_json:
        from cimemu.report import report_data
        from cimemu.trace.read import open_trace

        _print_json(report_data(open_trace(trace)))
        return
    _report(trace)


@app.command()
def check(
    arch: ArchName,
    workload: WorkloadName,
    against: Annotated[
        str,
        typer.Option("--against", metavar="onnxruntime|FILE", help="ONNX Runtime, or an .npz with a name per tensor"),
    ] = "onnxruntime",
    images: ImagesOption = None,
    overrides: SetOption = None,
    calibrate_adc: CalibrateOption = None,
    path: PathOption = "packed",
    as_json: JsonOption = False,
) -> None:
    """Compare every tensor with another runtime (lossless converter), and say how far the arch's converter moves them."""
    from cimemu.check.network import check_network
    from cimemu.prepare import quantized_network

    chip, work = _arch(arch, overrides), _workload(workload)
    inputs, _ = work.inputs(images)
    network = quantized_network(work, chip, converters=calibrate_adc)
    found = check_network(network, chip.macro, inputs, against=against, path=path)
    if as_json:
        _print_json(found.as_dict())
    else:
        _print_check(found)
    if found.differing:
        raise typer.Exit(1)


@app.command()
def quantize(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="a float .onnx file, or a workload")],
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
    force: ForceOption = False,
) -> None:
    """Quantise a float network to an arch's bits and write it as a standard QDQ ONNX file."""
    from cimemu.exporter import save_onnx
    from cimemu.importer import load_network
    from cimemu.ptq import quantize as to_integers
    from cimemu.workload.data import read_array

    chip = _arch(arch, overrides)
    if out.exists() and not force:
        raise WorkloadError(f"{out}: exists already, name another file or add --force")
    if Path(network).suffix.lower() == ".onnx":
        source, settings = load_network(network), None
        images = None if calibration is None else read_array(calibration)
        if images is None and not source.is_quantized:
            raise WorkloadError(f"{network}: is a float network, give --calibration FILE.npy or name a workload")
    else:
        work = _workload(network)
        source, settings = load_network(work.network), work.manifest.quantize
        images = work.calibration() if calibration is None else read_array(calibration)
    made = to_integers(
        source,
        chip,
        calibration=images,
        weight_granularity=weights or (settings.weights if settings else "channel"),
        method=method or (settings.activations if settings else "minmax"),
        percentile=percentile or (settings.percentile if settings else 99.99),
    )
    save_onnx(made, out)
    _console().print(
        f"{out}: {sum(layer.on_macros for layer in made.layers)} layers on macros, {len(made.layers)} in all"
    )


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
        _print_json(groups)
        return
    console = _console()
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


def _console() -> Any:
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    return Console(width=width, soft_wrap=False, highlight=False)


def _report(path: Path, sections: tuple[str, ...] | None = None) -> None:
    from cimemu.report import SECTIONS, print_report
    from cimemu.trace.read import open_trace

    print_report(open_trace(path), _console(), sections or SECTIONS)


def _print_json(value: Any) -> None:
    import numpy as np

    def plain(item: Any) -> Any:
        return item.item() if isinstance(item, np.generic) else str(item)

    def finite(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: finite(value) for key, value in item.items()}
        if isinstance(item, list | tuple):
            return [finite(value) for value in item]
        return None if isinstance(item, float) and item != item else item

    print(json.dumps(finite(value), default=plain))


def _print_check(found: Any) -> None:
    console = _console()
    console.print(
        f"against {found.against}: {len(found.tensors)} tensors, {found.elements:,} elements, "
        f"{found.differing:,} differ ({found.images} images)"
    )
    console.print(
        f"layers on macros: {found.bit_serial_layers} bit-serial, {found.shortcut_layers} by a proven shortcut; "
        f"{found.conversions:,} conversions"
    )
    if found.kernels:
        names = ", ".join(f"{count} {name}" for name, count in sorted(found.kernels.items()))
        console.print(f"ONNX Runtime ran: {names}; products left in float: {found.unfused}")
    for diff in found.tensors:
        if diff.differing:
            console.print(
                f"  {diff.name}: {diff.differing:,} of {diff.elements:,} differ, first at {list(diff.first)}: "
                f"ours {diff.ours:g}, theirs {diff.theirs:g}; largest difference {diff.largest:g}"
            )
    if found.movement:
        console.print("the arch's own converter moves the outputs of layers on macros by")
        for row in found.movement:
            console.print(
                f"  {row.name}: {100 * row.moved / row.elements:.2f} % of elements, largest {row.largest:g}, "
                f"mean {row.mean:.4g}, rms {100 * row.relative:.2f} % of the signal's"
            )


class _Progress:
    """A bar per stage on the terminal's error stream; silent where there is none."""

    def __init__(self, wanted: bool) -> None:
        self.shown = wanted and sys.stderr.isatty()
        self.tasks: dict[str, Any] = {}
        self.bar: Any = None

    def __enter__(self) -> "_Progress":
        if self.shown:
            from rich.console import Console
            from rich.progress import Progress

            self.bar = Progress(console=Console(stderr=True), transient=True)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` (0: not known) of a stage."""
        if self.bar is None:
            return
        if stage not in self.tasks:
            self.tasks[stage] = self.bar.add_task(stage, total=total or None)
        self.bar.update(self.tasks[stage], completed=done)
