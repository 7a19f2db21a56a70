"""Exports every architecture by both of PyTorch's exporters, runs it with a trace and checks it: one row each.

    python workloads/studies/torch_architectures/measure.py RESULTS.csv [--only TEXT] [--files FOLDER]

`--only` measures the rows whose architecture contains the text again and keeps the others; `--files` keeps the ONNX files, and
takes those that are there already.
"""

import argparse
import csv
import logging
import sys
import tempfile
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from architectures import ARCHITECTURES, Architecture, build

import cimemu
from cimemu.check.network import check_network
from cimemu.errors import CimemuError
from cimemu.loading.bare import random_images

EXPORTERS = ("dynamo", "torchscript")
CHIP = ("rram_128", {"chip.tiles": 400})
CALIBRATION, IMAGES, TOP = 8, 2, 240
COLUMNS = (
    "architecture", "exporter", "verdict", "layers", "layers on macros", "integers compared", "integers that differ",
    "codes compared", "codes that differ", "floats compared", "floats that differ", "largest float difference",
    "largest float bound", "what was said",
)  # fmt: skip
AGREES, DIFFERS, REFUSED, TRACEBACK = "agrees", "differs", "refused", "traceback"


def export(architecture: Architecture, exporter: str, file: Path) -> None:
    """Write one image's network as `torch.onnx.export` does it by default."""
    module, inputs = build(architecture), architecture.inputs(1)
    options = {"dynamo": True, "external_data": False} if exporter == "dynamo" else {"dynamo": False}
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(module, inputs, str(file), verbose=False, **options)
    finally:
        logging.disable(logging.NOTSET)


def measured(architecture: Architecture, exporter: str, folder: Path) -> dict[str, object]:
    """The row of one file."""
    row: dict[str, object] = {"architecture": architecture.name, "exporter": exporter}
    file = folder / f"{architecture.name.replace(' ', '_').replace('/', '_')}.{exporter}.onnx"
    if not file.exists():
        try:
            export(architecture, exporter, file)
        except Exception as error:  # the exporters' kinds are many
            said = " ".join(str(error.__cause__ or error).split())
            return row | {"verdict": REFUSED, "what was said": f"PyTorch cannot export it: {said}"[:TOP]}
    try:
        return row | _checked(file, folder)
    except CimemuError as error:
        return row | {"verdict": REFUSED, "what was said": str(error).replace(f"{file}: ", "")[:TOP]}
    except Exception:  # what must not be: it is told
        return row | {"verdict": TRACEBACK, "what was said": traceback.format_exc().splitlines()[-1][:TOP]}


def _checked(file: Path, folder: Path) -> dict[str, object]:
    arch = cimemu.load_arch(*CHIP)
    network = cimemu.load_network(file)
    quantized = cimemu.quantize(network, arch, random_images(network, CALIBRATION, 1))
    images = random_images(network, IMAGES, 0)
    cimemu.run(arch, quantized, images, trace=folder / "trace.h5", overwrite=True)
    found = check_network(quantized, arch.macro, images, path="auto")
    return {
        "verdict": DIFFERS if found.failed else AGREES,
        "layers": len(quantized.layers),
        "layers on macros": sum(layer.on_macros for layer in quantized.layers),
        "integers compared": found.integers.elements,
        "integers that differ": found.integers.differing,
        "codes compared": found.codes.elements,
        "codes that differ": found.codes.differing,
        "floats compared": found.floats.elements,
        "floats that differ": found.floats.differing,
        "largest float difference": f"{found.floats.largest:.2g}",
        "largest float bound": f"{found.floats.bound:.2g}",
        "what was said": f"first layer that differs: {found.first_layer}" if found.failed else "",
    }


def main(arguments: list[str]) -> int:
    """Write the table, row by row; 1 where a row differs or ends in a traceback."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--files", type=Path)
    given = parser.parse_args(arguments)
    rows = {}
    if given.only:
        with given.results.open(encoding="utf-8", newline="") as file:
            rows = {(row["architecture"], row["exporter"]): row for row in csv.DictReader(file)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.files or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for architecture in ARCHITECTURES:
            for exporter in EXPORTERS:
                if given.only.lower() in architecture.name.lower():
                    row = measured(architecture, exporter, folder)
                    rows[architecture.name, exporter] = row
                    print(architecture.name, exporter, row["verdict"], row["what was said"], flush=True)
                    _write(given.results, rows)
    return int(any(row["verdict"] in (DIFFERS, TRACEBACK) for row in rows.values()))


def _write(path: Path, rows: dict[tuple[str, str], dict[str, object]]) -> None:
    """In the order of the architectures."""
    order = [(architecture.name, exporter) for architecture in ARCHITECTURES for exporter in EXPORTERS]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in order if key in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
