"""Golden vectors as `$readmemh` files with a JSON manifest, and the comparison of a dump with them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.errors import TraceError
from cimemu.golden.vectors import MacroVectors
from cimemu.layer.macro_layer import MacroLayer

FORMAT_VERSION = 1
SKIPPED = "x"
# file -> (index names, what a line holds)
FILES = {
    "cells.hex": (("row",), "levels of a row's cells, column 0 in the lowest bits"),
    "thresholds.hex": (("column", "k"), "t_(k+1), ascending; one table where columns share it; two's complement"),
    "inputs.hex": (("op",), "inputs of all rows, row 0 in the lowest bits"),
    "wordlines.hex": (("op", "group", "slice"), "slice values on the wordlines, row 0 in the lowest bits"),
    "codes.hex": (("op", "group", "slice", "column"), "the code of a converted column; x: the step was skipped"),
    "code_cycles.hex": (
        ("op", "group", "slice", "column"),
        "cycles from the start of the operation to the finished code",
    ),
    "shift_add.hex": (("op", "group", "slice", "output"), "running sum after the step; two's complement"),
    "outputs.hex": (("op", "output"), "outputs after the correction; two's complement"),
    "op_cycles.hex": (("op",), "cycles of the operation"),
}
README = """# Golden vectors

Made by `cimemu golden`. One folder a macro; files are `$readmemh` text, one number a line, hexadecimal. `manifest.json`
says every file's width in bits, its index (the last one fastest), its shape and its SHA-256.

A simulator or a chip that is to be compared writes the same files (any of them) into a folder with the same names:
`cimemu golden verify THIS_FOLDER DUMP_FOLDER` finds the first difference and says layer, operation, group, input slice,
column, cycle, expected and got.

"""


def write_vectors(
    folder: Path, arch: Arch, workload: str, layer: MacroLayer, macros: Sequence[MacroVectors], force: bool
) -> int:
    """Write all files; how many. TraceError where the folder is taken or cannot be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise TraceError(f"{folder}: exists already, name another folder or add --force")
    manifest: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "workload": workload,
        "layer": layer.name,
        "arch": arch.name,
        "macro": arch.macro.model_dump(mode="json"),
        "macros": {},
    }
    written = 0
    try:
        for vectors in macros:
            (folder / vectors.name).mkdir(parents=True, exist_ok=True)
            entry: dict[str, Any] = {
                "unit": vectors.unit,
                "row_block": vectors.row_block,
                "col_block": vectors.col_block,
                "rows": vectors.cells.shape[0],
                "physical_columns": vectors.cells.shape[1],
                "columns": vectors.codes.shape[2],
                "ops": len(vectors.codes),
                "groups": vectors.groups,
                "slices": vectors.slices,
                "outputs": vectors.outputs.shape[1],
                "files": {},
            }
            for name, width, shape, lines in _contents(vectors, arch):
                text = "\n".join(lines) + "\n"
                (folder / vectors.name / name).write_text(text)
                entry["files"][name] = {
                    "width_bits": width,
                    "index": list(FILES[name][0]),
                    "shape": list(shape),
                    "what": FILES[name][1],
                    "sha256": hashlib.sha256(text.encode()).hexdigest(),
                }
                written += 1
            manifest["macros"][vectors.name] = entry
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
        table = "\n".join(f"- `{name}` [{', '.join(index)}]: {what}" for name, (index, what) in FILES.items())
        (folder / "README.md").write_text(README + table + "\n")
    except OSError as error:
        raise TraceError(
            f"{folder}: cannot be written ({error.strerror}), name a folder in a writable place"
        ) from error
    return written


def _contents(v: MacroVectors, arch: Arch) -> Iterator[tuple[str, int, tuple[int, ...], list[str]]]:
    """(file, width in bits, shape, lines)."""
    macro = arch.macro
    ops, steps = v.driven.shape
    order = (ops, v.groups, v.slices)
    packed = (
        ("cells.hex", v.cells, macro.cell.bits, (len(v.cells),)),
        ("inputs.hex", v.inputs, macro.input.bits, (ops,)),
        ("wordlines.hex", v.wordlines.reshape(ops * steps, -1), macro.input.dac_bits, order),
    )
    for name, rows, bits, shape in packed:
        yield name, bits * rows.shape[1], shape, [_packed(row, bits) for row in rows]
    if v.thresholds is not None:
        yield "thresholds.hex", 32, v.thresholds.shape, _numbers(v.thresholds, 32)
    codes = _numbers(v.codes, v.code_bits)
    columns = v.codes.shape[2]
    skipped = np.repeat(~v.driven.reshape(-1), columns)
    yield "codes.hex", v.code_bits, (*order, columns), [SKIPPED if off else c for c, off in zip(codes, skipped)]
    cycles = _numbers(v.code_cycles, 32)
    yield "code_cycles.hex", 32, (*order, columns), [SKIPPED if off else c for c, off in zip(cycles, skipped)]
    yield "shift_add.hex", v.accumulator_bits, (*order, v.outputs.shape[1]), _numbers(v.shift_add, v.accumulator_bits)
    yield "outputs.hex", v.accumulator_bits, v.outputs.shape, _numbers(v.outputs, v.accumulator_bits)
    yield "op_cycles.hex", 32, (ops,), _numbers(v.op_cycles, 32)


def _packed(row: NDArray[np.int64], bits: int) -> str:
    total = 0
    for number, value in enumerate(row):
        total |= int(value) << (number * bits)
    return f"{total:0{-(-bits * len(row) // 4)}x}"


def _numbers(values: NDArray[np.int64], bits: int) -> list[str]:
    mask, digits = (1 << bits) - 1, -(-bits // 4)
    return [f"{int(value) & mask:0{digits}x}" for value in values.reshape(-1)]


@dataclass(frozen=True)
class Difference:
    """The first line in which a dump differs."""

    macro: str
    file: str
    where: dict[str, int]
    expected: str
    got: str
    cycle: int | None

    def __str__(self) -> str:
        """One line."""
        place = ", ".join(f"{name} {number}" for name, number in self.where.items())
        cycle = "" if self.cycle is None else f", cycle {self.cycle}"
        return f"{self.macro}/{self.file}: {place}{cycle}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True)
class Verification:
    """What a comparison found."""

    layer: str
    files: int
    lines: int
    difference: Difference | None


def verify_dump(folder: Path, dump: Path) -> Verification:
    """Compare the files of `dump` with the vectors in `folder`; files that the dump does not have are left out.

    Raises TraceError where the vectors are damaged or the dump has none of their files.
    """
    manifest = _manifest(folder)
    files = lines = 0
    first: Difference | None = None
    for macro, entry in manifest["macros"].items():
        for name, about in entry["files"].items():
            theirs = dump / macro / name
            if not theirs.is_file():
                continue
            ours = _read(folder / macro / name)
            if hashlib.sha256(("\n".join(ours) + "\n").encode()).hexdigest() != about["sha256"]:
                raise TraceError(f"{folder / macro / name}: does not match its checksum, make the vectors again")
            got = _read(theirs)
            files, lines = files + 1, lines + len(ours)
            difference = _first_difference(ours, got, macro, name, about)
            if difference is not None and first is None:
                first = _with_cycle(difference, folder, entry)
    if not files:
        raise TraceError(
            f"{dump}: has none of the files of {folder}, such as {next(iter(manifest['macros']))}/codes.hex"
        )
    return Verification(manifest["layer"], files, lines, first)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise TraceError(
            f"{folder}: has no readable manifest.json, name a folder that `cimemu golden` wrote"
        ) from error
    if manifest.get("format_version") != FORMAT_VERSION or "macros" not in manifest:
        raise TraceError(
            f"{folder}: format_version = {manifest.get('format_version')}, this cimemu reads {FORMAT_VERSION}"
        )
    return manifest


def _read(path: Path) -> list[str]:
    """Numbers of a `$readmemh` file: comments and blank lines left out, one number a word."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: cannot be read as text") from error
    return [word.lower() for line in text.splitlines() for word in line.split("//")[0].split()]


def _first_difference(
    ours: list[str], theirs: list[str], macro: str, name: str, about: dict[str, Any]
) -> Difference | None:
    for number in range(max(len(ours), len(theirs))):
        a = ours[number] if number < len(ours) else "nothing"
        b = theirs[number] if number < len(theirs) else "nothing"
        if a == b or (a == SKIPPED and set(b) <= {"x", "z"}) or _equal(a, b):
            continue
        where = {"line": number}
        if number < int(np.prod(about["shape"])):
            index = np.unravel_index(number, about["shape"])
            where = dict(zip(about["index"], (int(i) for i in index)))
        return Difference(macro, name, where, a, b, None)
    return None


def _equal(a: str, b: str) -> bool:
    try:
        return int(a, 16) == int(b, 16)
    except ValueError:
        return False


def _with_cycle(difference: Difference, folder: Path, entry: dict[str, Any]) -> Difference:
    """The cycle in which the code that differs is finished."""
    if difference.file != "codes.hex" or "column" not in difference.where:
        return difference
    about = entry["files"]["code_cycles.hex"]
    number = int(np.ravel_multi_index(tuple(difference.where.values()), about["shape"]))
    word = _read(folder / difference.macro / "code_cycles.hex")[number]
    cycle = None if word == SKIPPED else int(word, 16)
    return Difference(difference.macro, difference.file, difference.where, difference.expected, difference.got, cycle)
