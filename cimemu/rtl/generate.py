"""A folder of generated hardware for one arch: SystemVerilog, its testbench, a Makefile and a README."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimemu.arch.schema import Arch
from cimemu.errors import CimemuError
from cimemu.rtl.design import Design, make_design
from cimemu.rtl.view import View, c_mixed, literal, mixed, weighed
from cimemu.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,59}")
PARTS = ("array", "converter", "sequencer", "shift_add", "macro")


def environment() -> "Environment":
    """Where templates are rendered. CimemuError where jinja2 is missing."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise CimemuError('generated hardware needs jinja2: pip install "cimemu[rtl]"') from None
    made = Environment(
        loader=PackageLoader("cimemu.rtl"), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    made.globals |= {"c_mixed": c_mixed, "lit": literal, "weighed": weighed, "mixed": mixed, "version": __version__}
    return made


def check_name(name: str) -> None:
    """CimemuError where a module cannot have this name."""
    if not NAME.fullmatch(name):
        raise CimemuError(f"name = {name!r:.70}, must be letters, digits and _, a letter first, 60 at most")


def rendered(design: Design, arch: Arch) -> dict[str, str]:
    """The files of a design by their names in the folder."""
    check_name(design.name)
    view, made = View(design), environment()

    def place(column: str, index: str) -> str:
        return f"{{{column}, {index}}}" if design.per_adc > 1 else index

    def step_of(phase: str) -> str:
        """The step's number, group * slices + slice."""
        bits = view.step_bits
        group, part = f"{bits}'({phase}_group)", f"{bits}'({phase}_slice)"
        terms = [f"{group} * {bits}'d{design.slices}" if design.slices > 1 else group] if design.row_groups > 1 else []
        return " + ".join(terms + ([part] if design.slices > 1 else [])) or f"{bits}'d0"

    given: dict[str, Any] = {
        "d": view, "arch": arch.name, "summary": summary(design), "place": place, "step_of": step_of,
    }  # fmt: skip
    names = {part: f"{design.name}.sv" if part == "macro" else f"{design.name}_{part}.sv" for part in PARTS}
    parts = [part for part in PARTS if part != "converter" or design.tables is not None]
    files = {names[part]: made.get_template(f"{part}.sv.j2").render(given) for part in parts}
    given["sources"] = sorted(files)
    files[f"{design.name}_tb.sv"] = made.get_template("testbench.sv.j2").render(given)
    for part in ("model.h", "model.c", "model_dpi.svh"):
        files[f"{design.name}_{part}"] = made.get_template(f"{part}.j2").render(given)
    for name in ("Makefile", "README.md"):
        files[name] = made.get_template(f"{name}.j2").render(given)
    return files


def summary(d: Design) -> list[str]:
    """What the macro is, in sentences."""
    macro = d.macro
    weight, adc = macro.weight, macro.adc
    analog = [what for what, how in (("slices", weight.combine), ("sides", weight.subtract)) if how == "analog"]
    before = f", {' and '.join(analog)} combined before the converter" if analog else ""
    converter = (
        "An ideal converter, whose code is the sum itself,"
        if d.tables is None
        else f"A {getattr(adc, 'model', 'converter')} converter of {d.tables.bits} bits"
    )
    lines = [
        f"{d.rows} rows, {d.active} raised together; {d.outputs} outputs of {d.per_output} columns each "
        f"({d.physical} of {macro.columns} columns are used).",
        f"Weights of {weight.bits} bits, encoding {weight.encoding}, in cells of {d.cell_bits} bits{before}.",
        f"{'Signed' if macro.input.signed else 'Unsigned'} inputs of {macro.input.bits} bits, {macro.input.dac_bits} a "
        f"slice, least significant slice first, driven as {macro.input.dac}.",
        f"{converter} serves {d.per_adc} neighbouring columns, {d.adc_cycles} cycles a conversion.",
    ]
    held = {"error": "flagged", "saturate": "held at the ends", "wrap": "wrapped"}
    if d.overflow is not None:
        lines.append(f"Running sums have {d.running.bits} bits; what leaves them is {held[d.overflow]}.")
    if d.tables is not None and d.tables.programmable:
        lines.append("References are programmed, each column its own.")
    if d.sums != "shift_add":
        lines.append("Levels are no integers: the digital unit gets sums of codes, not of levels.")
    return lines


def write_rtl(
    folder: str | Path,
    arch: Arch,
    *,
    name: str = "cim_macro",
    groups: int = 1,
    programmable: bool = False,
    force: bool = False,
) -> list[str]:
    """Write generated hardware of an arch's macro into `folder`; the names of the files.

    `groups` convolution groups may share the macro. With `programmable`, references are programmed with the cells; those
    that differ between columns always are. Raises ArchError where the macro is too large to be generated, CimemuError where
    the folder holds something already (without `force`) or cannot be written.
    """
    check_name(name)
    design = make_design(arch.macro, name=name, groups=groups, references="programmable" if programmable else "auto")
    files, folder = rendered(design, arch), Path(folder)
    write_files(folder, files, force=force)
    return list(files)


def write_files(folder: Path, files: dict[str, str], *, force: bool) -> None:
    """Write files into a folder that is new or empty, or with `force` beside what is there. Raises CimemuError."""
    refuse_taken(folder, force=force)
    try:
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CimemuError(
            f"{folder}: cannot be written ({error.strerror}), name a folder in a writable place"
        ) from error


def refuse_taken(folder: Path, *, force: bool) -> None:
    """CimemuError where `write_files` would not write there: before the work."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise CimemuError(f"{folder}: is a link or a file, name a folder")
    if folder.exists() and any(folder.iterdir()) and not force:
        raise CimemuError(f"{folder}: exists already, name another folder or add --force")
