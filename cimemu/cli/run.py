"""`cimemu run`: emulate a workload on a chip and write its trace."""

from pathlib import Path
from typing import Annotated

import typer

from cimemu.cli.app import (
    DEFAULT_ARCH,
    DEFAULT_WORKLOAD,
    ArchName,
    CalibrateOption,
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
    print_sections,
    refuse_fixed,
    workload_of,
)
from cimemu.errors import CimemuError
from cimemu.terminal import ProgressBars, make_console, print_json


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
    seed: SeedOption = 0,
    trial: TrialOption = 0,
    overrides: SetOption = None,
    calibrate_adc: CalibrateOption = None,
    network_file: NetworkOption = None,
    module: ModuleOption = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="images computed together")] = 64,
    path: PathOption = "auto",
    threads: ThreadsOption = None,
    memory_gib: MemoryOption = 1.0,
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
    from cimemu.variation.compose import compose

    chip, work = arch_of(arch, overrides), workload_of(workload, network_file)
    if detail not in ("ops", "cycles"):
        raise CimemuError(f"--detail {detail}: must be ops or cycles")
    compose(vary or ()).check(2**chip.macro.cell.bits - 1)  # before the network is read
    if not memory_gib * 2**30 >= 1 << 20:
        raise CimemuError(f"--memory-gib {memory_gib}: must be at least 0.001 (1 MiB); the default is 1")
    target = out
    if out is None and not no_trace:
        target = free_name(Path.cwd(), f"{work.name}_{chip.name}", ".h5")
    with ProgressBars(not as_json) as progress:
        inputs, labels = work.inputs(images)
        network = quantized_network(work, chip, converters=calibrate_adc, module=module)
        refuse_fixed(network, overrides)
        result = emulate(
            chip,
            network,
            inputs,
            None if work.manifest.metric.kind == "reconstruction" else labels,  # these are no classes
            trace=None if no_trace else target,
            detail=detail,
            seed=seed,
            trial=trial,
            vary=vary or (),
            batch=batch,
            path=path,
            threads=threads,
            budget_bytes=int(memory_gib * 2**30),
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
            metric=work.score,
        )
    extra = work.metrics(result.outputs, labels)
    if as_json:
        print_json({**result.summary(), **extra})
        return
    if result.trace is not None:
        print_sections(result.trace, ("summary", "layers"))
    else:
        for name, value in result.summary().items():
            make_console().print(f"{name}: {value}")
    for name, value in extra.items():
        shown = f"{value:.4f}" if isinstance(value, float) else "unknown, no labels" if value is None else value
        make_console().print(f"{name.replace('_', ' ')}: {shown}")
    if result.trace is not None:
        make_console().print(f"More: cimemu report {result.trace.name}")


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()
