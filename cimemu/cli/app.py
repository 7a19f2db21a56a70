"""The command line's application object, and the options and helpers that several subcommands share."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimemu.errors import CimemuError
from cimemu.terminal import make_console

if TYPE_CHECKING:
    from cimemu.arch.schema import Arch
    from cimemu.workload.manifest import Workload
    from cimemu.workload.network import Network

DEFAULT_ARCH, DEFAULT_WORKLOAD = "rram_128", "digits"
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
NetworkOption = Annotated[
    Path | None,
    typer.Option(
        "--network", metavar="FILE", help="this network instead of the workload's, e.g. of cimemu quantize or adapt"
    ),
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", metavar="N", help="threads for values; default: one")]
MemoryOption = Annotated[
    float, typer.Option("--memory-gib", metavar="X", help="memory for tensors and the work in progress, in GiB")
]
ForceOption = Annotated[bool, typer.Option("--force", help="overwrite the output file")]
WorkersOption = Annotated[int, typer.Option("--workers", "-w", metavar="N", help="local processes")]
SchedulerOption = Annotated[
    str | None, typer.Option("--scheduler", metavar="ADDRESS", help="run on a Dask cluster: tcp://host:port")
]
ResumeOption = Annotated[
    Path | None, typer.Option("--resume", metavar="OUT.partial", help="go on with an unfinished run")
]
VaryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="MODEL:PARAM=VALUE,...",
        help="cells, converters or reads as a variation model makes them (cimemu list); again for more, in order",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="root of every random draw, kept in the trace")]
TrialOption = Annotated[
    int, typer.Option("--trial", metavar="N", help="which draw of the seed; cimemu stress counts them")
]
CalibrateOption = Annotated[
    str | None,
    typer.Option(
        "--calibrate-adc",
        metavar="layer|array|column",
        help="fit lsb and zero of linear converters to calibration images",
    ),
]


def arch_of(name: str, overrides: list[str] | None) -> "Arch":
    """The architecture of that name or path, with `--set` overrides."""
    from cimemu.arch.load import load_arch, parse_override

    return load_arch(name, dict(parse_override(text) for text in overrides or ()))


def workload_of(name: str, network: Path | None = None) -> "Workload":
    """The workload of that name or path; `network` replaces its network's file."""
    from cimemu.workload.manifest import load_workload

    work = load_workload(name)
    if network is None:
        return work
    return replace(work, manifest=work.manifest.model_copy(update={"network": str(network.resolve())}))


def refuse_fixed(network: "Network", overrides: list[str] | None) -> None:
    """Refuse a `--set` of what a network's file fixes (its widths, encoding, converter)."""
    from cimemu.arch.load import parse_override

    for text in overrides or ():
        key, _ = parse_override(text)
        for fixed in network.overrides:
            if key == fixed or key.startswith(fixed + ".") or fixed.startswith(key + "."):
                raise CimemuError(
                    f"--set {text}: {fixed} = {network.overrides[fixed]} is fixed by the network, which was made for it; "
                    "make another one with cimemu quantize --scheme"
                )


def print_sections(path: Path, sections: tuple[str, ...] | None = None) -> None:
    """Print a trace's tables."""
    from cimemu.report import SECTIONS, print_report
    from cimemu.trace.read import open_trace

    print_report(open_trace(path), make_console(), sections or SECTIONS)
