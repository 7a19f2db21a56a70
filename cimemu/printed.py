"""The tables of the READMEs and of the manual, printed from the code that they describe (`python -m cimemu.printed FILES`)."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel


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
            kind = _type(field.annotation)
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
    from cimemu.adapt.morph_settings import MorphSettings
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


PRINTERS = {
    "variation": variation_markdown,
    "arch": arch_markdown,
    "component": component_markdown,
    "workload": workload_markdown,
    "adapt": adapt_markdown,
    "trace": trace_markdown,
}


def refreshed(text: str) -> str:
    """`text` with every block between `<!-- printed: NAME -->` and `<!-- end -->` printed anew."""
    parts = text.split("<!-- printed: ")
    out = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition(" -->")
        _, _, after = rest.partition("<!-- end -->")
        out.append(f"{name} -->\n{PRINTERS[name]()}\n<!-- end -->{after}")
    return "<!-- printed: ".join(out)


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
    from pathlib import Path

    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(refreshed(path.read_text()))
