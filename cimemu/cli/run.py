"""`cimemu run`: emulate a workload on a chip and write its trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimemu.bounds import MOST_IMAGES
from cimemu.cli.app import (
    DEFAULT_ARCH,
    DEFAULT_WORKLOAD,
    ArchName,
    CalibrateChipOption,
    CalibrateOption,
    ChipOption,
    FloatLayersOption,
    ForceOption,
    ImagesOption,
    JsonOption,
    MemoryOption,
    ModuleOption,
    NetworkOption,
    PathOption,
    SeedOption,
    SetOption,
    ThreadsOption,
    TrialOption,
    VaryOption,
    WorkloadName,
    app,
    arch_of,
    default_output,
    drawn,
    print_sections,
    refuse_fixed,
    refuse_outputs,
    whole,
    workload_of,
)
from cimemu.cli.bare import (
    CalibrationOption,
    InputShapeOption,
    InputsOption,
    InputValueOption,
    LabelsOption,
    given_of,
    lone_network,
    print_notes,
    told,
)
from cimemu.errors import CimemuError
from cimemu.terminal import ProgressBars, make_console, print_default_name, print_json

if TYPE_CHECKING:
    from cimemu.arch.schema import Arch
    from cimemu.explained import LayerEngine
    from cimemu.stress.upkeep import Upkeep
    from cimemu.workload.network import Network


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
    vary: VaryOption = None,
    chip_file: ChipOption = None,
    calibrate: CalibrateChipOption = None,
    seed: SeedOption = 0,
    trial: TrialOption = 0,
    overrides: SetOption = None,
    calibrate_adc: CalibrateOption = None,
    network_file: NetworkOption = None,
    module: ModuleOption = None,
    inputs_file: InputsOption = None,
    labels_from: LabelsOption = None,
    calibration_file: CalibrationOption = None,
    input_shape: InputShapeOption = None,
    input_value: InputValueOption = None,
    float_layers: FloatLayersOption = None,
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", callback=whole(1, 10**6), help="images computed together")
    ] = 64,
    path: PathOption = "auto",
    threads: ThreadsOption = None,
    memory_gib: MemoryOption = 1.0,
    events: Annotated[
        int | None,
        typer.Option(
            "--events",
            metavar="N",
            callback=whole(0, MOST_IMAGES),
            help="events of the first N images only; default: all up to 20 million",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="say which engine computes each layer, and why each faster one does not")
    ] = False,
    limits: Annotated[
        bool,
        typer.Option(
            "--limits", help="say what lifts the rate of images and by how much: simulates some twenty changed chips"
        ),
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Emulate a network on a chip: outputs, cycles, energy, one trace."""
    from dataclasses import asdict, replace

    from cimemu.emulate import run as emulate
    from cimemu.prepare import quantized_network
    from cimemu.report import report_data
    from cimemu.trace.read import open_trace
    from cimemu.variation.compose import compose

    arch, workload = lone_network(arch, workload)
    given = given_of(inputs_file, labels_from, calibration_file, input_shape, module, input_value)
    chip, work = arch_of(arch, overrides), workload_of(workload, network_file, given, float_layers)
    if detail not in ("ops", "cycles"):
        raise CimemuError(f"--detail {detail}: must be ops or cycles")
    models = drawn(chip_file, vary, calibrate)
    compose(models).check(2**chip.macro.cell.bits - 1)  # before the network is read
    if no_trace and out is not None:
        raise CimemuError(f"--out {out} with --no-trace: leave one of them out")
    named = out is not None
    if not no_trace:
        out = out or default_output(f"{work.name}_{chip.name}", ".h5", force=force)
        refuse_outputs(out, force=force)
    with ProgressBars(not as_json) as progress, _trace_file(out) as target:
        inputs, labels = work.inputs(images)
        network = quantized_network(work, chip, converters=calibrate_adc, module=module)
        refuse_fixed(network, overrides)
        lifts = {"limits": _limits(chip, network)} if limits else {}
        result = emulate(
            chip,
            network,
            inputs,
            None if work.manifest.metric.kind in ("reconstruction", "perplexity") else labels,  # these are no classes
            trace=target,
            detail=detail,
            seed=seed,
            trial=trial,
            vary=models,
            batch=batch,
            path=path,
            threads=threads,
            budget_bytes=int(memory_gib * 2**30),
            overwrite=force,
            event_images=0 if no_trace else events,
            provenance={
                "workload": work.name,
                "network": work.network.name,
                "network_sha256": _sha256(work.network),
                "arch": arch,
                "overrides": list(overrides or ()),
                "calibrate_adc": calibrate_adc,
                **lifts,
            },
            progress=progress.update,
            metric=work.score,
        )
        report = report_data(open_trace(target))
    if no_trace:
        result, report["summary"]["trace"] = replace(result, trace=None), None
    extra = work.metrics(result.outputs, labels)
    kept = _upkeep(chip, network, models) if models else None
    how = {"images": result.images, "path": path, "vary": models, "seed": seed, "trial": trial}
    engines = _engines(chip, network, how) if explain else ()
    if as_json:
        listed = {"engines": [asdict(layer) for layer in engines]} if explain else {}
        figures = {**report.pop("summary"), **result.summary(), **({} if kept is None else {"upkeep": kept.row()})}
        figures |= {} if result.checksums is None else {"checksums": result.checksums.row()}
        print_json({**figures, **extra, "report": report, **told(work, network), **listed})
        return
    print_sections(report, ("summary", "layers", "limits"))
    for name, value in extra.items():
        shown = f"{value:.4f}" if isinstance(value, float) else "unknown, no labels" if value is None else value
        make_console().print(f"{name.replace('_', ' ')}: {shown}")
    checked = [] if result.checksums is None else result.checksums.lines()
    for line in checked + ([] if kept is None else kept.lines()):
        make_console().print(line, soft_wrap=True)
    print_notes(work, network)
    for layer in engines:
        make_console().print(str(layer), highlight=False, markup=False)
    if result.trace is not None:
        make_console().print(f"More: cimemu report {result.trace}", soft_wrap=True)
        if not named:
            print_default_name(result.trace)


def _limits(chip: "Arch", network: "Network") -> Any:
    """What lifts the rate of images. What few runs ask for is imported for them alone, here and below."""
    from cimemu.fitting.limits import limits

    return limits(chip, network).rows()


def _upkeep(chip: "Arch", network: "Network", models: Any) -> "Upkeep | None":
    """What keeping the chip costs; None where no model keeps it."""
    from cimemu.stress.upkeep import keepers, upkeep
    from cimemu.variation.parse import make_variations

    keeping = keepers(make_variations(models))
    return upkeep(chip, network, keeping) if keeping else None


def _engines(chip: "Arch", network: "Network", how: dict[str, Any]) -> "tuple[LayerEngine, ...]":
    """The engine of every layer."""
    from cimemu.explained import explain

    return explain(chip, network, **how)


@contextmanager
def _trace_file(out: Path | None) -> Iterator[Path]:
    """Where the trace is written. One that nobody wants to keep has no events, and is read for the tables before it goes."""
    if out is not None:
        yield out
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        yield Path(folder) / "run.h5"


def _sha256(path: Path) -> str:
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
