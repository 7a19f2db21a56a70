"""Options for a network file that is run without a workload.yaml."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cimemu.cli.app import DEFAULT_ARCH, DEFAULT_WORKLOAD
from cimemu.errors import WorkloadError
from cimemu.terminal import make_console

if TYPE_CHECKING:
    from cimemu.loading.bare import Given
    from cimemu.workload.manifest import Workload
    from cimemu.workload.network import Network

T = TypeVar("T")

InputsOption = Annotated[
    Path | None,
    typer.Option(
        "--inputs",
        metavar="FILE.npz|.npy",
        help="a network file alone: arrays [images, ...] as it takes them, by input name; default: random numbers",
    ),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="FILE|NAME",
        help="their class numbers: a file, or an array of --inputs; default: its array `labels`, if there is one",
    ),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="FILE.npz|.npy",
        help="images that the ranges of a float network are taken from; default: those that are run",
    ),
]
InputShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="NAME=1,3,224,224",
        help="sizes that an ONNX file leaves open, batch first; the name only where there are several inputs",
    ),
]


InputValueOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-value",
        metavar="NAME=16000",
        help="a number that an input always holds, again for more: a constant, by which branches are chosen",
    ),
]


def lone_network(arch: str, workload: str) -> tuple[str, str]:
    """(architecture, workload) where one argument was given: a network file is no architecture."""
    from cimemu.loading.load import is_network

    return (DEFAULT_ARCH, arch) if workload == DEFAULT_WORKLOAD and is_network(arch) else (arch, workload)


def given_of(
    inputs: Path | None,
    labels: str | None,
    calibration: Path | None,
    shapes: list[str] | None,
    module: str | None,
    values: list[str] | None = None,
) -> "Given | None":
    """What the options say of a network file's images; None where they say nothing."""
    from cimemu.loading.bare import Given

    if inputs is None and labels is None and calibration is None and not shapes and not values:
        return None if module is None else Given(module=module)
    sizes = once("--input-shape", [_shape(text) for text in shapes or ()])
    numbers = once("--input-value", [_value(text) for text in values or ()])
    return Given(inputs, labels, calibration, sizes, module, numbers)


def once(option: str, given: Sequence[tuple[str, T]]) -> dict[str, T]:
    """By name what an option gave each time. WorkloadError for a name that comes again: which of the two holds is not said."""
    made: dict[str, T] = {}
    for name, value in given:
        if name in made:
            raise WorkloadError(
                f"{option} {name}: given twice, as {_shown(made[name])} and {_shown(value)}; leave one out"
            )
        made[name] = value
    return made


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value}"


def _value(text: str) -> tuple[str, float]:
    """(name, number) of NAME=16000."""
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not name or not isfinite(value):
        raise WorkloadError(f"--input-value {text}: must be NAME=16000, an input and a finite number")
    return name, value


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """(name, shape) of NAME=1,3,224,224; the name may be left out."""
    name, _, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not shape or not all(1 <= size <= 2**31 for size in shape):
        raise WorkloadError(f"--input-shape {text}: must be NAME=1,3,224,224, sizes from 1, the batch first")
    return name, shape


def print_notes(work: "Workload", network: "Network") -> None:
    """What a reader of the results has to know of the images, and of products that are not on macros."""
    print_each(_notes(work, network))


def print_each(notes: list[str]) -> None:
    """A line for every note."""
    for note in notes:
        make_console().print(f"Note: {note}.", highlight=False, markup=False)


def told(work: "Workload", network: "Network") -> dict[str, list[str]]:
    """The same for `--json`: nothing where there is nothing to tell."""
    notes = _notes(work, network)
    return {"notes": notes} if notes else {}


def _notes(work: "Workload", network: "Network") -> list[str]:
    return [*work.notes, *product_notes(network)]


def product_notes(network: "Network") -> list[str]:
    """What to know of products that are not on macros."""
    from cimemu.lower import left_digital, left_in_float

    notes = []
    left = [layer.name for layer in left_in_float(network)]
    if left:
        are = "products are" if len(left) > 1 else "product is"
        notes.append(
            f"{len(left)} {are} left in float by the file and made in float32 on the digital unit: {_some(left)}; "
            "--float-layers quantize puts such products on macros"
        )
    digital = [layer.name for layer in left_digital(network)]
    if digital:
        are = "operators multiply" if len(digital) > 1 else "operator multiplies"
        notes.append(
            f"{len(digital)} {are} two activations on the digital unit all the same, as one is float or the operator is "
            f"Attention or Einsum: {_some(digital)}"
        )
    return notes


def _some(names: list[str]) -> str:
    """The first few."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
