"""Layers of a network as generated hardware: a top level, a module a layer, the macro, and a testbench with its vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.schema import Arch
from cimemu.errors import ArchError, WorkloadError
from cimemu.layer.base import Array
from cimemu.rtl.design import Design, make_design
from cimemu.rtl.generate import check_name, environment, refuse_taken, rendered, write_files
from cimemu.rtl.layers import LayerPart, layer_parts
from cimemu.rtl.view import View
from cimemu.workload.network import Network

MACRO_FILES = ("_tb.sv", "_model.c", "_model.h", "_model_dpi.svh", "Makefile", "README.md")  # of a macro by itself


def write_network_rtl(
    folder: str | Path,
    arch: Arch,
    network: Network,
    inputs: Array,
    layers: Sequence[str],
    *,
    name: str = "cim_network",
    force: bool = False,
) -> list[str]:
    """Write generated hardware of layers that follow each other, with vectors of `inputs` [images, ...]; names of the files.

    The layers run one after another: windows out of a map, macros, sums of row blocks, requantisation into the next map.
    Raises WorkloadError where a layer cannot be generated, ArchError for a macro that cannot, CimemuError as `write_rtl`.
    """
    check_name(name)
    folder = Path(folder)
    refuse_taken(folder, force=force)
    if not layers:
        raise WorkloadError("layers: none given, name layers that follow each other")
    if len(network.inputs) != 1:
        raise WorkloadError(f"network {network.name}: has {len(network.inputs)} inputs, generated networks have one")
    design = network_design(arch, name)
    parts, first = layer_parts(network, arch, inputs, layers, design, name)
    files = network_files(arch, network.name, design, parts, len(inputs), name)
    write_files(folder, files, force=force)
    vectors = vector_files(design, parts, first)
    write_files(folder / "vectors", vectors, force=force)
    return [*files, *(f"vectors/{file}" for file in vectors)]


def network_design(arch: Arch, name: str) -> Design:
    """The macro of a network. ArchError for one that a network cannot use, names the key."""
    design = make_design(arch.macro, name=f"{name}_macro")
    if design.sums != "shift_add":
        raise ArchError(
            "macro.adc: its levels are no integers, generated networks need integers; use integer lsb, zero and levels"
        )
    if design.tables is not None and design.tables.programmable:
        raise ArchError("macro.adc: has references of columns of their own, generated networks take one table for all")
    if design.jumps:
        raise ArchError("macro.timing.skip_cycles = 0 is not generated for networks, must be >= 1")
    return design


def network_files(
    arch: Arch, network: str, design: Design, parts: list[LayerPart], images: int, name: str
) -> dict[str, str]:
    """The text of every file but the vectors'."""
    macro = {file: text for file, text in rendered(design, arch).items() if not file.endswith(MACRO_FILES)}
    made, view = environment(), View(design)
    given: dict[str, Any] = {
        "d": view, "arch": arch.name, "network": network, "name": name, "layers": parts, "images": images,
        "macros": sum(len(part.macros) for part in parts), "works": images * sum(part.works for part in parts),
        "values": images * sum(part.maps.shape[1] for part in parts),
        "line_bits": max(view.line_bits, parts[0].inputs * parts[0].input_bits),
    }  # fmt: skip
    files = dict(macro)
    for part in parts:
        files[f"{part.module}.sv"] = made.get_template("layer.sv.j2").render(given | {"l": part})
    files[f"{name}.sv"] = made.get_template("network.sv.j2").render(given)
    given["sources"] = sorted(files)
    files[f"{name}_tb.sv"] = made.get_template("network_tb.sv.j2").render(given)
    for file in ("Makefile", "README.md"):
        files[file] = made.get_template(f"network_{file}.j2").render(given)
    return files


def vector_files(design: Design, parts: list[LayerPart], first: NDArray[np.int64]) -> dict[str, str]:
    """Cells, inputs, and what values and cycles have to be."""
    files = {"inputs.hex": _lines([packed(image, parts[0].input_bits) for image in first])}
    for part in parts:
        for macro in part.macros:
            cells = [packed(row, design.cell_bits) for row in macro.cells]
            files[f"cells_{part.first_macro + macro.number}.hex"] = _lines(cells)
        mask = (1 << part.output_bits) - 1
        files[f"{part.file}_outputs.hex"] = _lines([f"{value & mask:x}" for value in part.maps.reshape(-1).tolist()])
        files[f"{part.file}_cycles.hex"] = _lines([f"{count:x}" for image in part.cycles.works for count in image])
    return files


def packed(values: NDArray[np.int64], bits: int) -> str:
    """Numbers in one line, the first in the lowest bits."""
    mask = (1 << bits) - 1
    return f"{sum((value & mask) << (number * bits) for number, value in enumerate(values.tolist())):x}"


def _lines(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
