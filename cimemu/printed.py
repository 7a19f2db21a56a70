"""The tables of pages, printed from code and figures: `python -m cimemu.printed FILES-OR-FOLDERS`."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict

from cimemu.config_file import read_mapping, validated
from cimemu.errors import CimemuError


def schema_rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(key, type, default, what) of every key of a pydantic model, sub-trees in place."""
    for name, field in model.model_fields.items():
        key, what = f"{prefix}{name}", field.description or ""
        inner = _models(field.annotation)
        if len(inner) == 1 and not prefix.startswith(f"{name}."):
            yield key, "mapping", "", what
            if _shared(inner[0]):
                continue
            yield from schema_rows(inner[0], f"{key}.")
        elif inner:
            yield key, " or ".join(_tag(m) for m in inner), "", what
            for option in inner:
                yield from (
                    (row[0].replace(f"{key}.", f"{key}.", 1), row[1], row[2], f"({_tag(option)}) {row[3]}")
                    for row in schema_rows(option, f"{key}.")
                    if not row[0].endswith(".model")
                )
        else:
            kind = " ".join(f"`{name}`" for name in field.examples) if field.examples else _type(field.annotation)
            yield (
                key,
                f"number or {kind}" if isinstance(field.default, float) and kind == "lists" else kind,
                _default(field),
                what,
            )


def markdown_table(model: type[BaseModel]) -> str:
    """The rows of `model` as a Markdown table."""
    lines = ["| key | type | default | what |", "|---|---|---|---|"]
    for key, kind, default, what in schema_rows(model):
        lines.append(f"| `{key}` | {kind} | {default} | {what} |".replace("  ", " "))
    return "\n".join(lines)


def arch_markdown() -> str:
    """Every key of an architecture file."""
    from cimemu.arch.schema import Arch

    return markdown_table(Arch)


def component_markdown() -> str:
    """The keys of one component of the cost table."""
    from cimemu.cost.schema import Component

    return markdown_table(Component)


def workload_markdown() -> str:
    """Every key of a workload file."""
    from cimemu.workload.manifest import Manifest

    return markdown_table(Manifest)


def adapt_markdown() -> str:
    """Every key of a file for `cimemu adapt`, but for those of its images, which a workload file has too."""
    from cimemu.adapt.config import Method
    from cimemu.adapt.morph.settings import MorphSettings
    from cimemu.adapt.settings import TrainSettings

    lines = markdown_table(Method).splitlines()
    for key, kind in (("train", TrainSettings), ("morph", MorphSettings)):
        rows = [line.removeprefix("| `") for line in markdown_table(kind).splitlines()[2:]]
        lines += [f"| `{key}.{row}" for row in rows if not row.startswith(("shrink.", "retrain."))]  # those of `train`
    return "\n".join(lines)


def trace_markdown() -> str:
    """Every attribute and dataset of a trace."""
    from cimemu.trace.schema import documentation

    return "\n".join(documentation())


def basis_markdown() -> str:
    """What prices rest on, and the intervals that follow."""
    from cimemu.cost.basis import KINDS, OF_ESTIMATOR

    lines = [
        "| `basis` | what it is | energy | area | leakage | node | family | estimators |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, kind in KINDS.items():
        asked = ", ".join(f"`{model}`" for model, basis in OF_ESTIMATOR.items() if basis == name)
        shares = f"{100 * kind.technology:.0f} % | {100 * kind.family:.0f} %"
        lines.append(
            f"| `{name}` | {kind.what} | {kind.energy:g} | {kind.area:g} | {kind.leakage:g} | {shares} | {asked} |"
        )
    return "\n".join(lines)


def variation_markdown() -> str:
    """Every variation model: parameters with units, defaults, what a draw belongs to, source."""
    from cimemu.variation import MODELS

    lines = ["| model | parameters | its draws belong to | source |", "|---|---|---|---|"]
    for name, kind in MODELS.items():
        fields = [
            f"`{key}` {field.description}" + (f" ({_default(field)})" if _default(field) else "")
            for key, field in kind.model_fields.items()
            if key != "model"
        ]
        owner = kind.draws_of or "device or writing (`per`)"
        lines.append(f"| `{name}` | {'; '.join(fields)} | {owner} | {kind.source} |")
    return "\n".join(lines)


def command_line_markdown() -> str:
    """Every subcommand: what it does, its arguments and options with defaults."""
    from cimemu.cli import commands
    from cimemu.cli.training import parameters_of

    lines: list[str] = []
    for name, command in sorted(commands().items()):
        lines += [f"## cimemu {name}", "", " ".join((command.help or "").split()), ""]
        lines += ["| argument or option | default | what |", "|---|---|---|"]
        lines += [_parameter_row(parameter) for parameter in parameters_of(command) if parameter.name != "help"]
        lines.append("")
    return "\n".join(lines).rstrip()


def _parameter_row(parameter: Any) -> str:
    flag, metavar = getattr(parameter, "is_flag", False), parameter.metavar or ""
    if parameter.param_type_name == "argument":
        told = f"`{metavar or parameter.name}`"
    else:
        told = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        told += f" `{metavar}`" if metavar and not flag else ""
    default = "required" if parameter.required else ""
    if not flag and parameter.default not in (None, (), []):
        default = f"`{parameter.default}`"
    what = " ".join((getattr(parameter, "help", None) or "").split())
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (told, default, what)) + " |"


def engines_markdown() -> str:
    """The table of `engines/choose.py`, the fastest engine first, with the first line of each engine's own text."""
    from importlib import import_module

    from cimemu.engines.choose import ENGINES, PAYS_FROM

    lines = ["| engine | what it does | every conversion | keeps codes | pays from inputs |", "|---|---|---|---|---|"]
    for engine in ENGINES:
        text = (import_module(f"cimemu.engines.{engine.name}").__doc__ or "").splitlines()[0]
        what = text.split(": ", 1)[1].rstrip(".")
        marks = ["yes" if one else "no" for one in (engine.serial, engine.gives_codes)]
        lines.append(f"| `{engine.name}` | {what} | {marks[0]} | {marks[1]} | {PAYS_FROM.get(engine.name, 1)} |")
    return "\n".join(lines)


def tflite_markdown() -> str:
    """The operators of TensorFlow Lite files that networks may hold."""
    from cimemu.importer.tflite_fold import INTEGER_FOLDS
    from cimemu.importer.tflite_table import FLOAT_OPS, INTEGER_OPS

    rows: dict[str, Iterable[str]] = {
        "integer files": INTEGER_OPS,
        "float files": FLOAT_OPS,
        "of constants, folded": {*INTEGER_FOLDS, "DENSIFY", "DEQUANTIZE", "SHAPE"},
    }
    lines = [f"| {what} | {', '.join(f'`{name}`' for name in sorted(names))} |" for what, names in rows.items()]
    return "\n".join(["| where | operators |", "|---|---|", *lines])


def onnx_markdown() -> str:
    """The operators of ONNX files that networks may hold."""
    from cimemu.importer.from_onnx import GROUPS

    lines = [f"| {what} | {', '.join(f'`{name}`' for name in sorted(names))} |" for what, names in GROUPS.items()]
    return "\n".join(["| what | operators |", "|---|---|", *lines])


def api_markdown() -> str:
    """Every public name: its signature, its text, and the example in it."""
    from cimemu.printed_api import entries

    return "\n\n".join(entries())


PRINTERS = {
    "api": api_markdown,
    "command_line": command_line_markdown,
    "engines": engines_markdown,
    "onnx": onnx_markdown,
    "tflite": tflite_markdown,
    "basis": basis_markdown,
    "variation": variation_markdown,
    "arch": arch_markdown,
    "component": component_markdown,
    "workload": workload_markdown,
    "adapt": adapt_markdown,
    "trace": trace_markdown,
}


class Study(BaseModel):
    """A study.yaml: what a folder of workloads/studies holds beside its figures."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str
    asked: str
    commands: tuple[str, ...]
    settings: tuple[str, ...] = ()  # files with the settings, relative to the folder
    machine: str = ""
    not_measured_again: str = ""


def read_study_page(folder: Path) -> Study:
    """The study.yaml of `folder`; a CimemuError names the key that is wrong."""
    path = folder / "study.yaml"
    tree = read_mapping(path, str(path), "a study (title, asked, commands ...)", CimemuError)
    return validated(Study, tree, str(path), CimemuError)


def results_markdown(folder: Path, stem: str = "results") -> str:
    """The figures in `folder`/`stem`.csv as a Markdown table: thousands set apart, columns of numbers to the right."""
    with (folder / f"{stem}.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    columns = [[row[number] for row in rows if row[number]] for number in range(len(header))]
    rule = ["---:" if cells and all(map(_is_number, cells)) else "---" for cells in columns]
    lines = [header, rule, *([_apart(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def commands_markdown(folder: Path) -> str:
    """The commands that measure the study in `folder`, and what its study.yaml says of the measurement."""
    study = read_study_page(folder)
    lines = ["```sh", *(command.rstrip() for command in study.commands), "```", ""]
    lines += [f"Settings: {', '.join(f'[{Path(name).name}]({name})' for name in study.settings)}."] * bool(
        study.settings
    )
    lines += [f"Machine: {study.machine}"] * bool(study.machine)
    lines += [f"Not measured again: {study.not_measured_again}"] * bool(study.not_measured_again)
    return "\n".join(lines).rstrip()


def studies_markdown(folder: Path) -> str:
    """Every study below `folder`, with what it asks."""
    lines = ["| study | what it asks |", "|---|---|"]
    for path in sorted(folder.glob("*/study.yaml")):
        study = read_study_page(path.parent)
        lines.append(f"| [{study.title}]({path.parent.name}/README.md) | {study.asked} |")
    return "\n".join(lines)


OF_FOLDER: dict[str, Callable[..., str]] = {
    "results": results_markdown,
    "commands": commands_markdown,
    "studies": studies_markdown,
}
BLOCK = re.compile(r"<!-- printed: (\w+)(?: ([\w./]+))? -->\n.*?<!-- end -->", re.S)


def refreshed(text: str, folder: Path = Path()) -> str:
    """`text`, a page in `folder`, with every block `<!-- printed: NAME -->` to `<!-- end -->` printed anew."""

    def again(block: re.Match[str]) -> str:
        name, argument = block[1], block[2]
        printed = OF_FOLDER[name](folder, *([argument] if argument else [])) if name in OF_FOLDER else PRINTERS[name]()
        return f"<!-- printed: {name}{f' {argument}' if argument else ''} -->\n{printed}\n<!-- end -->"

    return BLOCK.sub(again, text)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", cell) is not None


def _apart(cell: str) -> str:
    """A number with its thousands set apart; anything else as it stands."""
    return re.sub(r"\B(?=(\d{3})+$)", ",", cell) if re.fullmatch(r"-?\d+", cell) else _apart_real(cell)


def _apart_real(cell: str) -> str:
    whole, point, rest = cell.partition(".")
    return f"{_apart(whole)}.{rest}" if point and _is_number(cell) else cell


def _models(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type):
        return [kind] if issubclass(kind, BaseModel) else []
    return [m for part in get_args(kind) for m in _models(part)]


def _shared(model: type[BaseModel]) -> bool:
    """A component stands many times in a cost table; its keys are printed once."""
    return model.__name__ == "Component"


def _tag(model: type[BaseModel]) -> str:
    field = model.model_fields.get("model")
    return str(field.default) if field is not None else model.__name__


def _type(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _type(get_args(kind)[0])
    if any(get_origin(part) is Literal for part in get_args(kind)):  # a number, or a word
        return " or ".join(_type(part) for part in get_args(kind))
    text = kind.__name__ if isinstance(kind, type) else str(kind)
    for long, short in (
        ("typing.", ""),
        ("tuple[float, ...]", "list of numbers"),
        ("Annotated[float, FieldInfo(annotation=NoneType, required=True, metadata=[])]", "float"),
    ):
        text = text.replace(long, short)
    if text.startswith("Literal["):
        return text[8:-1].replace("'", "`").replace(", ", " ")
    if "list[" in text:
        return "lists"
    return text.replace(" | ", " or ").replace("NoneType", "none").replace("None", "none")


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return f"`{value}`" if value not in ("", (), None) else ""


if __name__ == "__main__":
    import sys

    for name in map(Path, sys.argv[1:]):
        for page in sorted(name.rglob("*.md")) if name.is_dir() else [name]:
            page.write_text(refreshed(page.read_text(encoding="utf-8"), page.parent), encoding="utf-8")
