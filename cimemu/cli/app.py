"""The command line's application object, and the options and helpers that several subcommands share."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimemu import bounds
from cimemu.cli.help import SectionedGroup
from cimemu.errors import CimemuError, WorkloadError
from cimemu.given_file import refuse_input
from cimemu.terminal import loudness, make_console
from cimemu.whole_file import refuse_output

if TYPE_CHECKING:
    from cimemu.arch.schema import Arch
    from cimemu.loading.bare import Given
    from cimemu.workload.manifest import Workload
    from cimemu.workload.network import Network

SOME_FAILED = 4  # the status of a run of many points of which some failed: what did not is written
DEFAULT_ARCH, DEFAULT_WORKLOAD = "rram_128", "digits"
app = typer.Typer(
    name="cimemu",
    help="Cycle-level, bit-exact emulator of compute-in-memory crossbar hardware.",
    cls=SectionedGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _archs(incomplete: str) -> list[str]:
    """Presets that begin so, for the shell's completion; it completes names of files by itself where there are none."""
    from cimemu.arch.load import list_archs

    return [name for name, _ in list_archs() if name.startswith(incomplete)]


def _workloads(incomplete: str) -> list[str]:
    from cimemu.loading.load import list_workloads

    return [name for name, _ in list_workloads() if name.startswith(incomplete)]


ArchName = Annotated[
    str, typer.Argument(metavar="ARCH", help="architecture: a preset's name or a YAML file", autocompletion=_archs)
]
WorkloadName = Annotated[
    str,
    typer.Argument(
        metavar="WORKLOAD",
        help="workload: a preset's name, a folder, a workload.yaml, or a network file alone",
        autocompletion=_workloads,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change the arch, e.g. macro.adc.bits=6; again for more"),
]


def whole(least: int, most: int) -> Callable[[typer.CallbackParam, Any], Any]:
    """A callback that refuses a whole number (or one of several) outside least .. most, before any work is done."""
    return _within(lambda name, value: bounds.whole(name, value, least, most))


def real(least: float, most: float) -> Callable[[typer.CallbackParam, Any], Any]:
    """The same for real numbers; nan and infinity are outside."""
    return _within(lambda name, value: bounds.real(name, value, least, most))


def _within(check: Callable[[str, Any], object]) -> Callable[[typer.CallbackParam, Any], Any]:
    def checked(param: typer.CallbackParam, value: Any) -> Any:
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None:
                check(param.opts[0], one)
        return value

    return checked


ImagesOption = Annotated[
    int | None,
    typer.Option(
        "--images", "-n", metavar="N", callback=whole(1, bounds.MOST_IMAGES), help="first N images; default: all"
    ),
]
TableOption = Annotated[
    Path | None,
    typer.Option(
        "--csv", "--table", metavar="FILE", help="the table as CSV, or as Parquet where FILE ends with .parquet"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object")]
PathOption = Annotated[
    str,
    typer.Option(
        "--path",
        metavar="NAME",
        help="auto; serial: every conversion is made; an engine by its name (exact, planes, lookup, steps); naive: the slow twin",
    ),
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
FloatLayersOption = Annotated[
    str | None,
    typer.Option(
        "--float-layers",
        metavar="digital|quantize",
        help="products that a quantised file leaves in float: on the digital unit in float32, or quantised for macros; "
        "default: as the workload says, else digital",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", callback=whole(1, bounds.MOST_THREADS), help="threads for values; default: one"
    ),
]
MemoryOption = Annotated[
    float,
    typer.Option(
        "--memory-gib",
        metavar="X",
        callback=real(0.001, 65536),
        help="memory for tensors and the work in progress, in GiB",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="overwrite the output file; without a name the unnumbered default")
]
WorkersOption = Annotated[
    int, typer.Option("--workers", "-w", metavar="N", callback=whole(1, 1024), help="local processes")
]
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
ChipOption = Annotated[
    Path | None,
    typer.Option(
        "--chip", metavar="FILE", help="cells and converters of this chip file (cimemu chip), before any --vary"
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", metavar="N", callback=whole(0, bounds.MOST_SEED), help="root of every random draw, kept in the trace"
    ),
]
TrialOption = Annotated[
    int,
    typer.Option(
        "--trial",
        metavar="N",
        callback=whole(0, bounds.MOST_TRIAL),
        help="which draw of the seed; cimemu stress counts them",
    ),
]
CalibrateOption = Annotated[
    str | None,
    typer.Option(
        "--calibrate-adc",
        metavar="layer|array|column",
        help="fit lsb and zero of linear converters to calibration images",
    ),
]


CalibrateChipOption = Annotated[
    list[str] | None,
    typer.Option(
        "--calibrate",
        metavar="chip:what=factor|column|converter,...",
        help="calibrate the drawn chip by test vectors that it runs: at=digital|reference, every=SECONDS, vectors, rounds, bits",
    ),
]


def drawn(chip: Path | None, vary: list[str] | None, calibrate: list[str] | None = None) -> list[Any]:
    """The models of `--chip` and `--vary`, in the order in which they act, and the calibration of what they draw."""
    from cimemu.variation.parse import variations_at

    made: list[Any] = [*([] if chip is None else [{"model": "chip", "file": str(chip)}]), *(vary or ())]
    for text in calibrate or ():
        name, colon, rest = text.partition(":")
        if name.strip() != "chip":
            raise CimemuError(f"--calibrate {text}: must begin with chip, for example chip:what=column,at=reference")
        given = f"calibration{colon}{rest}"
        try:
            variations_at(given)
        except CimemuError as error:
            raise type(error)(str(error).replace("--vary calibration", "--calibrate chip")) from None
        made.append(given)
    return made


def arch_of(name: str, overrides: list[str] | None) -> "Arch":
    """The architecture of that name or path, with `--set` overrides."""
    from cimemu.arch.load import load_arch, parse_override

    return load_arch(name, dict(parse_override(text) for text in overrides or ()))


def workload_of(
    name: str, network: Path | None = None, given: "Given | None" = None, float_layers: str | None = None
) -> "Workload":
    """The workload of that name or path; `network` replaces its network's file, `given` is for a network file alone,
    `float_layers` replaces the workload's key of that name."""
    from cimemu.loading.load import load_workload

    work = load_workload(name, given)
    if float_layers is not None:
        if float_layers not in ("digital", "quantize"):
            raise CimemuError(f"--float-layers {float_layers}: must be digital or quantize")
        settings = work.manifest.quantize.model_copy(update={"float_layers": float_layers})
        work = replace(work, manifest=work.manifest.model_copy(update={"quantize": settings}))
    if network is None:
        return work
    refuse_input(network, WorkloadError, "a network file")
    return replace(work, manifest=work.manifest.model_copy(update={"network": str(network.resolve())}))


def default_output(stem: str, suffix: str, *, force: bool) -> Path:
    """The name of a file that nobody named: stem, then stem_2, stem_3 ...; with `--force` the unnumbered one."""
    from cimemu.prepare import free_name

    Path.cwd()  # OSError where the working folder has been removed: no name in it is free
    return Path(stem + suffix) if force else free_name(Path(), stem, suffix)


def refuse_outputs(*paths: Path | None, force: bool) -> None:
    """Refuse what could not be written in the end, before anything is computed; two outputs of one name too."""
    named = [path for path in paths if path is not None]
    for path in named:
        refuse_output(path, CimemuError, overwrite=force)
    for number, path in enumerate(named):
        if path.absolute() in [other.absolute() for other in named[:number]]:
            raise CimemuError(f"{path}: is named for two outputs, name another file")


def refuse_folder(path: Path) -> None:
    """Refuse a folder of plots that could not be written into, and plots where matplotlib is missing."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise CimemuError('plots need matplotlib: pip install "cimemu[plot]"')
    try:
        if path.exists() and not path.is_dir():
            raise CimemuError(f"{path}: is no folder, name one for the plots")
    except OSError as error:
        raise CimemuError(f"{str(path)[:100]}: cannot be made ({error.strerror}), name another folder") from None


def refuse_campaign(out: Path | None, resume: Path | None, csv: Path | None, plot: Path | None, *, force: bool) -> None:
    """Refuse, before anything is computed, the outputs of a stress run or sweep that could not be written."""
    from cimemu.trace.trials import refuse_partial

    refuse_outputs(out, csv, plot, force=force)
    if out is not None and resume is None:
        refuse_partial(out)
    if resume is not None:
        refuse_input(resume, CimemuError, "the unfinished run OUT.partial")
    if csv is not None:
        from cimemu.stress.tables import is_parquet

        is_parquet(csv)
    if plot is not None:
        from cimemu.figure import plot_kind

        plot_kind(plot)


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


def print_sections(report: Mapping[str, Any], sections: tuple[str, ...] | None = None) -> None:
    """Print a run's tables; with `--verbose` all of them."""
    from cimemu.report import SECTIONS, print_report

    chosen = SECTIONS if loudness() > 0 else sections or SECTIONS
    print_report(report, make_console(), chosen, top=None if loudness() > 0 else 12)
