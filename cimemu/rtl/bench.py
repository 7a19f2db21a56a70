"""A module of one's own against golden vectors: its simulation by cocotb on Icarus Verilog, the dump compared."""

import contextlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.errors import CimemuError, TraceError
from cimemu.golden.format import FILES, SKIPPED, MacroEntry, Manifest, read_manifest
from cimemu.golden.verify import Verification, verify_dump
from cimemu.golden.words import vector_words
from cimemu.rtl.bench_file import BenchFile, read_bench

Simulator = Literal["icarus", "verilator"]
OLDEST_VERILATOR = (5, 36)  # that cocotb 2 works with


def run_bench(
    bench: str | Path, vectors: str | Path, work: str | Path, simulator: Simulator = "icarus"
) -> Verification:
    """Run the module of a bench.yaml on golden vectors in the folder `work`; what `golden verify` says of its dump.

    Raises CimemuError where a file, a program or a library is missing, or the simulation fails; its log is named.
    """
    path, folder, work = Path(bench), Path(vectors), Path(work).absolute()
    asked, manifest = read_bench(path), read_manifest(folder)
    sources = [(path.parent / source).absolute() for source in asked.sources]
    for source in sources:
        if not source.is_file():
            raise CimemuError(f"{path}: sources: {source} is no file, name Verilog files beside the bench")
    _ready(simulator)
    macros = [
        _macro(asked, folder, manifest, (name, entry), work / "dump" / name) for name, entry in manifest.macros.items()
    ]
    work.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work / "dump", ignore_errors=True)
    job = work / "job.json"
    job.write_text(json.dumps({"bench": asked.model_dump(mode="json"), "macros": macros}))
    _simulate(asked, sources, work, job, simulator)
    only = [result.value for result in asked.results] + (["op_cycles"] if asked.cycles else [])
    return verify_dump(folder, work / "dump", [*only, "macros"])


def _ready(simulator: Simulator) -> None:
    """CimemuError where cocotb or the simulator is missing, or too old."""
    try:
        import cocotb_tools.runner  # noqa: F401
    except ImportError:
        raise CimemuError('rtl bench needs cocotb: pip install "cimemu[rtl]"') from None
    program = {"icarus": "iverilog", "verilator": "verilator"}[simulator]
    if shutil.which(program) is None:
        raise CimemuError(f"rtl bench: {program} is not installed, install it or choose another --sim")
    if simulator == "verilator":
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"([0-9]+)\.([0-9]+)", said)
        if found is None or (int(found[1]), int(found[2])) < OLDEST_VERILATOR:
            shown = found[0] if found else "unknown"
            raise CimemuError(f"rtl bench: Verilator {shown}, cocotb needs 5.036 or newer; use --sim icarus")


def _simulate(asked: BenchFile, sources: list[Path], work: Path, job: Path, simulator: Simulator) -> None:
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    log = work / "simulation.log"
    runner = get_runner(simulator)
    here = os.environ.get("PYTHONPATH", "")
    package = str(Path(__file__).parents[2])
    try:
        with open(work / "bench.out", "w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            runner.build(
                sources=sources, hdl_toplevel=asked.module, parameters=asked.parameters, build_dir=work / "build",
                build_args=["-g2012"] if simulator == "icarus" else [], timescale=("1ns", "1ps"), always=True, log_file=log,
            )  # fmt: skip
            results = runner.test(
                hdl_toplevel=asked.module, test_module="cimemu.rtl.bench_cocotb", build_dir=work / "build", test_dir=work,
                extra_env={"CIMEMU_BENCH": str(job), "PYTHONPATH": f"{package}{os.pathsep}{here}"}, log_file=log,
                results_xml=str(work / "results.xml"),
            )  # fmt: skip
            failed = get_results(results)[1]
    except (subprocess.CalledProcessError, SystemExit, RuntimeError, OSError) as error:
        raise CimemuError(f"rtl bench: {asked.module} was not simulated ({_why(log) or error}), see {log}") from error
    if failed:
        raise CimemuError(f"rtl bench: the simulation of {asked.module} failed ({_why(log)}), see {log}")


def _why(log: Path) -> str:
    """The last line of a log that speaks of an error."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    said = [line.strip() for line in lines if re.search(r"error|Error", line)]
    return said[-1][:200] if said else ""


def _macro(
    asked: BenchFile, folder: Path, manifest: Manifest, which: tuple[str, MacroEntry], dump: Path
) -> dict[str, Any]:
    """What the simulation has to know of one macro."""
    name, entry = which
    macro = Macro.model_validate(manifest.macro)
    steps = entry.groups * entry.slices
    counts = {
        "codes": (steps, entry.columns),
        "reference_codes": (steps, entry.reference_columns),
        "shift_add": (steps, entry.outputs),
        "outputs": (1, entry.outputs),
    }
    for result in asked.results:
        if f"{result.value}.hex" not in entry.files:
            raise TraceError(f"{name} has no {result.value}.hex to compare {result.value} with, leave this result out")
    return {
        "dump": str(dump),
        "program": [_values(folder, macro, (name, entry), place.value) for place in asked.program],
        "inputs": _numbers(folder, name, entry, "inputs").tolist(),
        "driven": _driven(folder, name, entry),
        "counts": counts,
        "adcs": -(-entry.columns // macro.columns_per_adc),
        "per_adc": macro.columns_per_adc,
        "rounds": min(macro.columns_per_adc, entry.columns),
    }


def _values(folder: Path, macro: Macro, which: tuple[str, MacroEntry], value: str) -> list[list[int]]:
    """Rows of numbers to programme."""
    name, entry = which
    if value != "weights":
        if f"{value}.hex" not in entry.files:
            raise TraceError(f"{name} has no {value}.hex to programme {value} with, leave it out")
        table = _numbers(folder, name, entry, value)
        made: list[list[int]] = table.reshape(len(table), -1).tolist()
        return made
    if "flipped.hex" in entry.files:
        raise TraceError(f"{name}: columns are stored inverted, programme cells and flipped in the place of weights")
    cells = _numbers(folder, name, entry, "cells").reshape(entry.rows, entry.outputs, -1).tolist()
    return [[macro.encoding.decode(levels, macro.weight.bits, macro.cell.bits) for levels in row] for row in cells]


def _numbers(folder: Path, name: str, entry: MacroEntry, stem: str) -> NDArray[np.int64]:
    """[lines, numbers of a line], or in the file's own shape."""
    about = entry.files[f"{stem}.hex"]
    if about.kind == "float64":
        raise TraceError(f"{name}/{stem}.hex holds real numbers, a module is not programmed with them")
    words = [int(word, 16) for word in vector_words(folder, name, f"{stem}.hex", about)]
    bits, each = about.number_bits, about.width_bits // about.number_bits
    rows = [[(word >> (k * bits)) & ((1 << bits) - 1) for k in range(each)] for word in words]
    if about.kind == "signed":
        rows = [[v - (1 << bits) if v >> (bits - 1) else v for v in row] for row in rows]
    packed = bool(FILES[f"{stem}.hex"].packed)
    return np.array(rows, dtype=np.int64).reshape(*about.shape, *([each] if packed else []))


def _driven(folder: Path, name: str, entry: MacroEntry) -> list[list[int]]:
    """The steps of every operation that are not skipped."""
    words = vector_words(folder, name, "drive_cycles.hex", entry.files["drive_cycles.hex"])
    steps = entry.groups * entry.slices
    return [[s for s in range(steps) if words[op * steps + s] != SKIPPED] for op in range(entry.ops)]
