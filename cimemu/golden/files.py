"""Golden vectors as `$readmemh` files with a JSON manifest."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.arch.schema import Arch
from cimemu.golden.block import signed_bits
from cimemu.golden.folder import READ_ME, whole_folder
from cimemu.golden.format import COVERAGE, FILES, FORMAT_VERSION, MANIFEST, SKIPPED
from cimemu.golden.vectors import DigitalVectors, LayerVectors, MacroVectors
from cimemu.macro.encode import columns_of
from cimemu.mapping.cycles import drive_cycles

CYCLE_BITS = 32
README = """# Golden vectors

Made by `cimemu golden`. One folder a macro, and one a column block for what the digital unit makes of it; files are
`$readmemh` text, one number a line, hexadecimal. `manifest.json` says every file's width in bits, its kind (unsigned,
signed: two's complement, float64: the bits of an IEEE double), its index (the last one fastest), its shape and its SHA-256.

A simulator or a chip that is to be compared writes the same files (any of them) into a folder with the same names:
`cimemu golden verify THIS_FOLDER DUMP_FOLDER` finds the first difference (programmed cells and thresholds, then operation
by operation, step by step) and says layer, operation, group, input slice, column, cycle, expected and got, and which files
the dump lacks. A dump may have comments (`// ...`), any spacing, either case, and `x` where a step was skipped.

A slice stays on the wordlines for `drive_cycles` of `timing` in the manifest, sampling included; with `dac: pulse` row r
is high in the first `value * wordline_cycles` of them. A running sum belongs to the end of its step's last conversion round
(a reference column's code too), outputs to the last cycle of the operation. Cycle 0 is the clock edge that takes the
operation.

The running sum of an output starts at 0 with the operation. A step adds the values (`levels.hex`) of its columns, weighed by
weight slice and input slice, columns stored inverted (`flipped.hex`) taken off; then the sum is held to the accumulator:
an error, saturated or wrapped. The correction comes after the last step and has the room that it needs; so have the sums of
row blocks. Where levels are no integers there is no running sum: the digital unit gets the codes of each column
(`column_sums.hex`), for nonlinear levels of each column and level (`level_sums.hex`).

`coverage.json` says which codes, signs, carries and waits the operations reach, and why others are out of reach. Operations
that `cimemu golden --cover` added stand behind those of the network's inputs (`added_operations` of the manifest).

With varied cells, levels and thresholds are whole numbers of 2^-fraction_bits (`fraction_bits` of the manifest), and so are
the psums of an ideal converter. Replica r of R works at the output positions p of every image with p mod R = r.

"""


# What no comment of a design needs to be read for.
CONVENTIONS = {
    "rows": "row r of a macro is row first_row + r of the layer's matrix; a convolution's rows run input channel, kernel row, "
    "kernel column, the last fastest",
    "physical_columns": "column = output * columns_per_output + slice, least significant slice first; with two sides the plus "
    "side's slices, then the minus side's",
    "converted_columns": "column = output * conversions_per_output + conversion; `conversions` says what each one sees and what "
    "its value counts",
    "polarity": "a wordline, cell or bit of value 1 is high; levels count up from 0; a minus side's value is taken off",
    "steps": "groups of rows outer, input slices inner, least significant slice first; a signed input's last slice counts negative",
    "packed_lines": "the first number of a line is in its lowest bits",
    "unsigned": "hexadecimal, leading zeros may be left out",
    "signed": "two's complement in number_bits; a dump may repeat the sign in more bits",
    "float64": "the 64 bits of an IEEE double",
    "skipped": "x where a step was skipped; z counts as x",
    "cycles": "counted from the clock edge that takes the operation, which is cycle 0; a value belongs to the cycle at whose "
    "beginning it is there",
}


def conversions_of(macro: Macro) -> list[dict[str, Any]]:
    """What each conversion of an output sees, and what its value counts."""
    weight = columns_of(macro).weight.tolist()
    sides = ("plus", "minus") if macro.encoding.sides == 2 and macro.weight.subtract == "digital" else ("",)
    slices = [None] if macro.weight.combine == "analog" else range(macro.weight_slices)
    named = [(side, number) for side in sides for number in slices]
    return [{"slice": number, "side": side, "weight": w} for (side, number), w in zip(named, weight, strict=True)]


class Content(NamedTuple):
    """One file: bits of a number, how it is to be read, shape of the index, and the numbers [lines, of a line]."""

    name: str
    bits: int
    kind: str
    shape: tuple[int, ...]
    numbers: NDArray[Any]
    skipped: NDArray[np.bool_] | None = None  # [lines]


def write_vectors(
    folder: Path,
    arch: Arch,
    workload: str,
    vectors: LayerVectors,
    *,
    force: bool,
    coverage: dict[str, Any] | None = None,
) -> int:
    """Write all files, of `coverage` too where it is given; how many numbers' files. TraceError where the folder is taken or
    cannot be written."""
    macro, geometry = arch.macro, vectors.layer.geometry
    written = 0
    with whole_folder(folder, force=force) as partial:
        manifest: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "workload": workload,
            "layer": vectors.layer.name,
            "arch": arch.name,
            "fraction_bits": vectors.fraction_bits,
            "macro": macro.model_dump(mode="json"),
            "timing": {
                "drive_cycles": drive_cycles(macro),
                "conversion_cycles": macro.adc.conversion_cycles(),
                "shift_add_cycles": macro.timing.shift_add_cycles,
                "overlap": macro.timing.overlap,
            },
            "places": {
                "positions": geometry.positions,
                "height": geometry.height_out,
                "width": geometry.width_out,
                "added_operations": vectors.added,
            },
            "conversions": conversions_of(macro),
            "conventions": CONVENTIONS,
            "macros": {},
            "digital": {},
        }
        for m in vectors.macros:
            contents = macro_contents(m, macro.cell.bits, macro.input.bits, macro.input.dac_bits)
            manifest["macros"][m.name] = _macro_entry(m) | {"files": _write(partial / m.name, contents)}
        for d in vectors.digital:
            manifest["digital"][d.name] = _digital_entry(d) | {"files": _write(partial / d.name, digital_contents(d))}
        written = sum(len(e["files"]) for part in ("macros", "digital") for e in manifest[part].values())
        if coverage is not None:
            (partial / COVERAGE).write_text(json.dumps(coverage, indent=1), encoding="utf-8")
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        table = "\n".join(f"- `{name}` [{', '.join(kind.index)}]: {kind.what}" for name, kind in FILES.items())
        (partial / READ_ME).write_text(README + table + "\n", encoding="utf-8")
    return written


def _macro_entry(m: MacroVectors) -> dict[str, Any]:
    return {
        "unit": m.unit,
        "row_block": m.row_block,
        "first_row": m.first_row,
        "first_output": m.first_output,
        "col_block": m.col_block,
        "replica": m.replica.number,
        "replicas": m.replica.count,
        "rows": m.cells.shape[0],
        "physical_columns": m.cells.shape[1],
        "reference_columns": 0 if m.reference_cells is None else m.reference_cells.shape[1],
        "columns": m.codes.shape[2],
        "ops": len(m.codes),
        "groups": m.groups,
        "slices": m.slices,
        "outputs": m.output_count,
    }


def _digital_entry(d: DigitalVectors) -> dict[str, Any]:
    ops, outputs = d.outputs.shape
    return {"unit": d.unit, "col_block": d.col_block, "first_output": d.first_output, "ops": ops, "outputs": outputs}


def _write(folder: Path, contents: Iterator[Content]) -> Mapping[str, Any]:
    """Write the files of one folder; their entries in the manifest."""
    folder.mkdir()
    entries = {}
    for content in contents:
        text = "\n".join(lines_of(content)) + "\n"
        (folder / content.name).write_text(text, encoding="utf-8")
        entries[content.name] = {
            "width_bits": content.bits * content.numbers.shape[1],
            "number_bits": content.bits,
            "kind": content.kind,
            "index": list(FILES[content.name].index),
            "shape": list(content.shape),
            "what": FILES[content.name].what,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
    return entries


def macro_contents(m: MacroVectors, cell_bits: int, input_bits: int, dac_bits: int) -> Iterator[Content]:
    """The files of a macro."""
    ops = len(m.driven)
    order = (ops, m.groups, m.slices)
    off = ~m.driven.reshape(-1)
    yield _whole("cells.hex", m.cells, cell_bits, m.cells.shape[:1], m.cells.shape[1])
    if m.reference_cells is not None:
        yield _whole("reference_cells.hex", m.reference_cells, 1, m.cells.shape[:1], m.reference_cells.shape[1])
    if m.flipped is not None:
        yield _whole("flipped.hex", m.flipped, 1, (1,), m.flipped.shape[1])
    for name, groups in (("row_groups.hex", m.row_groups), ("output_groups.hex", m.output_groups)):
        if groups is not None:
            yield _whole(name, groups, 1, groups.shape, 1)
    if m.thresholds is not None:
        yield _signed("thresholds.hex", m.thresholds, m.thresholds.shape)
    if m.levels is not None:
        of_levels = _real if m.levels.dtype.kind == "f" else _signed
        yield of_levels("levels.hex", m.levels, m.levels.shape)
    yield _whole("inputs.hex", m.inputs, input_bits, (ops,), m.inputs.shape[1])
    yield _whole("wordlines.hex", m.wordlines, dac_bits, order, m.wordlines.shape[2])
    yield _cycles("drive_cycles.hex", m.schedule.begins, order, off)
    for name, codes in (("codes.hex", m.codes), ("reference_codes.hex", m.reference_codes)):
        if codes is None:
            continue
        bits, kind = m.code_bits, "signed" if m.signed_codes else "unsigned"
        if name != "codes.hex":  # of an ideal converter: psums, with noise perhaps below 0
            low, high = int(codes.min()), int(codes.max())
            bits, kind = max(bits, signed_bits(low, high) - (low >= 0)), "signed" if low < 0 else kind
        shape = (*order, codes.shape[2])
        yield Content(name, bits, kind, shape, codes.reshape(-1, 1), np.repeat(off, codes.shape[2]))
    columns = m.codes.shape[2]
    yield _cycles("code_cycles.hex", m.schedule.codes, (*order, columns), np.repeat(off, columns))
    for name, sums in (("shift_add.hex", m.shift_add), ("column_sums.hex", m.column_sums)):
        if sums is not None:
            yield Content(name, m.sum_bits, "signed", (*order, sums.shape[2]), sums.reshape(-1, 1))
    if m.level_sums is not None:
        yield Content("level_sums.hex", m.sum_bits, "signed", m.level_sums.shape, m.level_sums.reshape(-1, 1))
    if m.outputs is not None:
        yield Content("outputs.hex", m.output_bits, "signed", m.outputs.shape, m.outputs.reshape(-1, 1))
    yield _cycles("op_cycles.hex", m.op_cycles, (ops,), None)


def digital_contents(d: DigitalVectors) -> Iterator[Content]:
    """The file of the digital unit's outputs."""
    yield (_real if d.outputs.dtype.kind == "f" else _signed)("outputs.hex", d.outputs, d.outputs.shape)


def _whole(name: str, numbers: NDArray[np.int64], bits: int, shape: tuple[int, ...], together: int) -> Content:
    """Numbers of `bits` at least, `together` a line; two's complement where one is negative (varied cells may be)."""
    low, high = int(numbers.min()), int(numbers.max())
    kind = "signed" if low < 0 else "unsigned"
    wide = signed_bits(low, high) - (low >= 0)
    return Content(name, max(bits, wide), kind, shape, numbers.reshape(-1, together))


def _signed(name: str, numbers: NDArray[np.int64], shape: tuple[int, ...]) -> Content:
    bits = 32 if signed_bits(int(numbers.min()), int(numbers.max())) <= 32 else 64
    return Content(name, bits, "signed", shape, numbers.reshape(-1, 1))


def _real(name: str, numbers: NDArray[np.float64], shape: tuple[int, ...]) -> Content:
    bits = np.ascontiguousarray(numbers, dtype=np.float64).view(np.int64)
    return Content(name, 64, "float64", shape, bits.reshape(-1, 1))


def _cycles(name: str, cycles: NDArray[np.int64], shape: tuple[int, ...], off: NDArray[np.bool_] | None) -> Content:
    wide = max(CYCLE_BITS, int(cycles.max()).bit_length())
    return Content(name, wide, "unsigned", shape, cycles.reshape(-1, 1), off)


def lines_of(content: Content) -> list[str]:
    """A file's lines."""
    if content.numbers.shape[1] > 1:
        return [_packed(row, content.bits) for row in content.numbers]
    mask, digits = (1 << content.bits) - 1, -(-content.bits // 4)
    lines = [f"{int(value) & mask:0{digits}x}" for value in content.numbers[:, 0].tolist()]
    if content.skipped is not None:
        lines = [SKIPPED if off else line for line, off in zip(lines, content.skipped.tolist())]
    return lines


def _packed(row: NDArray[np.int64], bits: int) -> str:
    total, mask = 0, (1 << bits) - 1
    for number, value in enumerate(row.tolist()):
        total |= (value & mask) << (number * bits)
    return f"{total:0{-(-bits * len(row) // 4)}x}"
