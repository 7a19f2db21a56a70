"""Golden vectors as `$readmemh` files with a JSON manifest."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.errors import TraceError
from cimemu.golden.vectors import MacroVectors
from cimemu.layer.macro_layer import MacroLayer
from cimemu.mapping.cycles import drive_cycles

FORMAT_VERSION = 1
SKIPPED = "x"
# file -> (index names, what a line holds)
FILES = {
    "cells.hex": (("row",), "levels of a row's cells, column 0 in the lowest bits"),
    "thresholds.hex": (("column", "k"), "t_(k+1), ascending; one table where columns share it; two's complement"),
    "inputs.hex": (("op",), "inputs of all rows, row 0 in the lowest bits"),
    "wordlines.hex": (("op", "group", "slice"), "slice values on the wordlines, row 0 in the lowest bits"),
    "drive_cycles.hex": (
        ("op", "group", "slice"),
        "cycles from the start of the operation to the first one with the slice on the wordlines; x: skipped",
    ),
    "codes.hex": (("op", "group", "slice", "column"), "the code of a converted column; x: the step was skipped"),
    "code_cycles.hex": (
        ("op", "group", "slice", "column"),
        "cycles from the start of the operation to the finished code",
    ),
    "shift_add.hex": (("op", "group", "slice", "output"), "running sum after the step; two's complement"),
    "outputs.hex": (("op", "output"), "outputs after the correction; two's complement"),
    "op_cycles.hex": (("op",), "cycles of the operation"),
}
# files of programmed things, which come before every operation; the order of FILES is that of signals within a step
PROGRAMMED = ("cells.hex", "thresholds.hex")
PACKED = {"cells.hex": "column", "inputs.hex": "row", "wordlines.hex": "row"}  # a line holds many numbers
SIGNED = ("thresholds.hex", "shift_add.hex", "outputs.hex")
README = """# Golden vectors

Made by `cimemu golden`. One folder a macro; files are `$readmemh` text, one number a line, hexadecimal. `manifest.json`
says every file's width in bits, its index (the last one fastest), its shape and its SHA-256.

A simulator or a chip that is to be compared writes the same files (any of them) into a folder with the same names:
`cimemu golden verify THIS_FOLDER DUMP_FOLDER` finds the first difference (programmed cells and thresholds, then operation
by operation, step by step) and says layer, operation, group, input slice, column, cycle, expected and got. A dump may have
comments (`// ...`), any spacing, either case, and `x` where a step was skipped.

A slice stays on the wordlines for `drive_cycles` of `timing` in the manifest, sampling included; with `dac: pulse` row r
is high in the first `value * wordline_cycles` of them. A running sum belongs to the end of its step's last conversion round,
outputs to the last cycle of the operation. Cycle 0 is the clock edge that takes the operation.

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
        "timing": {
            "drive_cycles": drive_cycles(arch.macro),
            "conversion_cycles": arch.macro.adc.conversion_cycles(),
            "shift_add_cycles": arch.macro.timing.shift_add_cycles,
            "overlap": arch.macro.timing.overlap,
        },
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
                "signed_codes": vectors.signed_codes,
                "files": {},
            }
            for name, width, shape, lines in _contents(vectors, arch):
                text = "\n".join(lines) + "\n"
                (folder / vectors.name / name).write_text(text)
                entry["files"][name] = {
                    "width_bits": width,
                    "number_bits": width
                    // {"column": vectors.cells.shape[1], "row": vectors.cells.shape[0]}.get(PACKED.get(name, ""), 1),
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
    starts = _numbers(v.drive_cycles, 32)
    off_steps = ~v.driven.reshape(-1)
    yield "drive_cycles.hex", 32, order, [SKIPPED if off else c for c, off in zip(starts, off_steps)]
    if v.thresholds is not None:
        yield "thresholds.hex", 32, v.thresholds.shape, _numbers(v.thresholds, 32)
    codes = _numbers(v.codes, v.code_bits)
    columns = v.codes.shape[2]
    skipped = np.repeat(off_steps, columns)
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
