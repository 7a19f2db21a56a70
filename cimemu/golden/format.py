"""The format of golden vectors: the files of a folder, and the manifest that describes them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from cimemu.errors import CimemuError, TraceError
from cimemu.record import Record

FORMAT_VERSION = 3
SKIPPED = "x"
MANIFEST = "manifest.json"
COVERAGE = "coverage.json"  # what the vectors reach; no file of a dump
LARGEST_MANIFEST = 1 << 28
MOST_NUMBERS = 1 << 31  # of one file


@dataclass(frozen=True)
class FileKind:
    """What one file holds."""

    index: tuple[str, ...]
    what: str
    packed: str = ""  # what shares a line: many numbers, the first one in the lowest bits


STEP = ("op", "group", "slice")
# in the order of signals within a step; programmed things come before every operation
FILES = {
    "cells.hex": FileKind(("row",), "levels of a row's cells, column 0 in the lowest bits", "column"),
    "reference_cells.hex": FileKind(("row",), "the same of reference columns", "reference"),
    "flipped.hex": FileKind(("macro",), "1: the column is stored inverted, column 0 in the lowest bits", "column"),
    "row_groups.hex": FileKind(
        ("row",),
        "where convolution groups share the macro: a row's, counted among the outputs' (their number: of none)",
    ),
    "output_groups.hex": FileKind(("output",), "the same of an output: its correction takes the rows of its group"),
    "thresholds.hex": FileKind(
        ("column", "k"), "t_(k+1), ascending, in the cells' units; one table where columns share it; two's complement"
    ),
    "levels.hex": FileKind(("column", "code"), "the value of every code; two's complement, or a float64's bits"),
    "inputs.hex": FileKind(("op",), "inputs of all rows, row 0 in the lowest bits", "row"),
    "wordlines.hex": FileKind(STEP, "slice values on the wordlines, row 0 in the lowest bits", "row"),
    "drive_cycles.hex": FileKind(
        STEP, "cycles from the start of the operation to the first one with the slice on the wordlines; x: skipped"
    ),
    "codes.hex": FileKind((*STEP, "column"), "the code of a converted column; x: the step was skipped"),
    "reference_codes.hex": FileKind((*STEP, "reference"), "the code of a reference column; x: the step was skipped"),
    "code_cycles.hex": FileKind(
        (*STEP, "column"), "cycles from the start of the operation to the finished code; x: skipped"
    ),
    "shift_add.hex": FileKind(
        (*STEP, "output"), "running sum after the step, as the accumulator holds it; two's complement"
    ),
    "column_sums.hex": FileKind(
        (*STEP, "column"), "where levels are no integers: codes weighed by input slices, added up; two's complement"
    ),
    "level_sums.hex": FileKind(
        ("op", "column", "code"), "the same of nonlinear levels: how often each code, weighed; two's complement"
    ),
    "outputs.hex": FileKind(
        ("op", "output"), "outputs after the correction; two's complement, or a float64's bits (digital unit)"
    ),
    "op_cycles.hex": FileKind(("op",), "cycles of the operation"),
}
PROGRAMMED = (
    "cells.hex",
    "reference_cells.hex",
    "flipped.hex",
    "row_groups.hex",
    "output_groups.hex",
    "thresholds.hex",
    "levels.hex",
)
STIMULI = (*PROGRAMMED, "inputs.hex")  # what a macro is given; all else it gives
FOLDER = re.compile(r"(macro_[0-9]{3,9}_[0-9]{3,9}_[0-9]{3,9}(_[0-9]{3,9})?)|(digital_[0-9]{3,9}_[0-9]{3,9})")

Count = Annotated[int, Field(strict=True, ge=1, le=MOST_NUMBERS)]
Number = Annotated[int, Field(strict=True, ge=0, le=MOST_NUMBERS)]


class Entry(Record):
    """A part of the manifest; what later versions add is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class FileEntry(Entry):
    """One file: what its numbers are and how many."""

    width_bits: Annotated[int, Field(strict=True, ge=1, le=1 << 22)]  # of a line
    number_bits: Annotated[int, Field(strict=True, ge=1, le=128)]
    kind: Literal["unsigned", "signed", "float64"]
    index: list[str]
    shape: list[Count]
    what: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @property
    def lines(self) -> int:
        """Numbers (or packed lines) of the file."""
        total = 1
        for size in self.shape:
            total *= size
        return total

    @model_validator(mode="after")
    def _sizes(self) -> "FileEntry":
        if len(self.index) != len(self.shape) or self.lines > MOST_NUMBERS or self.width_bits % self.number_bits:
            raise ValueError("index, shape and bits do not fit together")
        return self


class Conversion(Entry):
    """What one conversion of an output sees, and what its value counts."""

    slice: Number | None  # weight slice, least significant first; none: slices are combined before the converter
    side: Literal["", "plus", "minus"]  # of two sides that are converted by themselves
    weight: Annotated[int, Field(strict=True)]


class Places(Entry):
    """The layer's output positions of one image, row-major."""

    positions: Count
    height: Count
    width: Count
    added_operations: Number = 0  # behind those of output positions, of inputs that no image has


class FolderEntry(Entry):
    """What every folder of vectors says."""

    unit: Number
    col_block: Number
    first_output: Number  # of the layer's output channels
    ops: Count
    outputs: Count
    files: Annotated[dict[str, FileEntry], Field(min_length=1)]

    def sizes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Sizes that an index of file `name` may have."""
        return {"op": (self.ops,), "output": (self.outputs,)}

    @model_validator(mode="after")
    def _files_fit(self) -> "FolderEntry":
        for name, about in self.files.items():
            if name not in FILES or tuple(about.index) != FILES[name].index:
                raise ValueError(f"file {name!r} is none of this format")
            for index, size in zip(about.index, about.shape):
                allowed = self.sizes(name).get(index)
                if allowed is not None and size not in allowed:
                    raise ValueError(f"file {name}: {index} {size}, must be {allowed[0]}")
            if not FILES[name].packed and about.width_bits != about.number_bits:
                raise ValueError(f"file {name}: width_bits {about.width_bits}, must be number_bits {about.number_bits}")
        return self


class DigitalEntry(FolderEntry):
    """Outputs of the digital unit."""


class MacroEntry(FolderEntry):
    """One macro."""

    row_block: Number
    first_row: Number  # of the layer's matrix
    replica: Number
    replicas: Count
    rows: Count
    physical_columns: Count
    reference_columns: Number
    columns: Count
    groups: Count
    slices: Count

    def sizes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Sizes that an index of file `name` may have."""
        columns = (self.columns, 1) if name in ("thresholds.hex", "levels.hex") else (self.columns,)
        return super().sizes(name) | {
            "macro": (1,),
            "row": (self.rows,),
            "group": (self.groups,),
            "slice": (self.slices,),
            "column": columns,
            "reference": (self.reference_columns,),
        }


class Manifest(Entry):
    """All of it."""

    format_version: Literal[3]
    workload: str
    layer: str
    arch: str
    fraction_bits: Annotated[int, Field(strict=True, ge=0, le=62)] | None
    macro: dict[str, Any]
    timing: dict[str, Any]
    places: Places
    conversions: Annotated[list[Conversion], Field(min_length=1)]
    conventions: dict[str, str]
    macros: Annotated[dict[str, MacroEntry], Field(min_length=1)]
    digital: Annotated[dict[str, DigitalEntry], Field(min_length=1)]

    @model_validator(mode="after")
    def _inside(self) -> "Manifest":
        for name in (*self.macros, *self.digital):
            if not FOLDER.fullmatch(name):
                raise ValueError(f"folder {name[:40]!r} is none of this format")
        for name, entry in self.macros.items():
            if entry.columns != entry.outputs * len(self.conversions) or entry.physical_columns % entry.outputs:
                raise ValueError(f"{name}: columns, outputs and conversions do not fit together")
        return self

    @property
    def folders(self) -> dict[str, FolderEntry]:
        """Macros, then the digital unit."""
        return {**self.macros, **self.digital}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of vectors. TraceError where there is none, or it is damaged."""
    path = folder / MANIFEST
    none = f"{folder}: has no readable {MANIFEST}, name a folder that `cimemu golden` wrote"
    try:
        tree: Any = json.loads(inside(folder, path, LARGEST_MANIFEST).decode())
    except TraceError as error:
        raise error if path.is_symlink() or path.exists() else TraceError(none) from error
    except (ValueError, RecursionError) as error:
        raise TraceError(none) from error
    version = tree.get("format_version") if isinstance(tree, dict) else None
    if version != FORMAT_VERSION or isinstance(version, bool | float):
        shown = str(version)[:20] if isinstance(version, int | str) else type(version).__name__
        raise TraceError(
            f"{folder}: format_version = {shown!r}, this cimemu reads {FORMAT_VERSION}; make the vectors again"
        )
    try:
        return Manifest.model_validate(tree)
    except (CimemuError, RecursionError) as error:
        raise TraceError(f"{path}: damaged{_why(error)}, make the vectors again") from error


def _why(error: Exception) -> str:
    """What is wrong, of what a stranger may have written: printable, and not too long."""
    return f" ({ascii(str(error))[1:-1][:160]})" if isinstance(error, CimemuError) else ""


def inside(folder: Path, path: Path, most_bytes: int) -> bytes:
    """The bytes of a plain file of `folder`. TraceError where a link leads out of it, it is no file, or too large."""
    try:
        root, real = folder.resolve(strict=True), path.resolve(strict=True)
        if not real.is_relative_to(root):
            raise TraceError(f"{path}: is a link out of {folder}, links are not followed; put the file itself there")
        if not real.is_file():
            raise TraceError(f"{path}: is no plain file, name a folder of plain files")
        if real.stat().st_size > most_bytes:
            raise TraceError(f"{path}: has {real.stat().st_size:,} bytes, must be <= {most_bytes:,}")
        return real.read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name with a NUL
        reason = getattr(error, "strerror", None) or error
        raise TraceError(f"{path}: cannot be read ({reason}), name a folder of readable files") from error
