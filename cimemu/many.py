"""Runs and checks every network file of a folder: `python -m cimemu.many FOLDER RESULTS.csv [OPTION ...]`.

Each file (.onnx, .tflite, .pt2) is read, run with a timeline on random images, and checked: an integer file against its own
runtime, a float file quantised, against ONNX Runtime, and a float `.tflite` file as it is, against LiteRT, too. A file has a
process of its own, so that one that ends badly ends alone. Options: `--shapes FILE.csv` (columns file, input, shape: whole
shapes of inputs with open sizes, 1x3x8x8, or =16000 of an input that always holds a number),
 `--images N`, `--arch NAME` (with tiles enough for any network),
`--only TEXT`, `--seconds N` (the most for a file), `--jobs N` (files at a time),
`--keep` (rows that agree in RESULTS.csv and whose file is the same are not measured again; rows of files that the folder
does not hold, or that `--only` leaves out, stay as they are).
"""

import argparse
import csv
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from cimemu.arch.load import load_arch
from cimemu.check.float_network import check_float
from cimemu.check.network import check_network
from cimemu.emulate import run
from cimemu.errors import CimemuError
from cimemu.importer import FORMATS, WEIGHTS
from cimemu.loading.bare import BareWorkload, Given, random_images
from cimemu.prepare import quantized_network
from cimemu.workload.network import Network

COLUMNS = (
    "file", "sha256", "arithmetic", "kinds of layers", "layers", "layers on macros", "cycles", "compared with",
    "integers compared", "integers that differ", "of these, explained", "floats compared", "floats that differ",
    "as it is: floats compared", "as it is: floats that differ", "verdict", "what was said",
)  # fmt: skip
AGREES, DIFFERS, REFUSED, TRACEBACK = "agrees", "differs", "refused", "traceback"
SEED = 0
LOCK = Lock()
MOST_TILES = 4096  # so many that every network fits, whatever the chip


def one(path: Path, told: Mapping[str, str], images: int, arch: str) -> dict[str, Any]:
    """The row of one file, without its name and checksum. Raises CimemuError where it is refused."""
    chip = load_arch(arch, {"chip.tiles": MOST_TILES})
    shapes = {name: tuple(int(n) for n in text.split("x")) for name, text in told.items() if not text.startswith("=")}
    values = {name: float(text[1:]) for name, text in told.items() if text.startswith("=")}
    work = BareWorkload.of(path, Given(shapes=shapes, values=values))
    network = work.load()
    inputs = random_images(network, images, SEED)
    kinds = Counter(layer.op for layer in network.layers)
    row: dict[str, Any] = {
        "arithmetic": "integer" if network.is_quantized else "float",
        "kinds of layers": len(kinds),
        "layers": len(network.layers),
    }
    made = quantized_network(work, chip)
    ran = run(chip, made, inputs)
    row |= {"cycles": ran.cycles, "layers on macros": sum(layer.on_macros for layer in made.layers)}
    found = check_network(made, chip.macro, inputs)
    row |= {
        "compared with": found.against,
        "integers compared": found.integers.elements + found.codes.elements,
        "integers that differ": found.integers.differing + found.codes.differing,
        "of these, explained": found.codes.explained,
        "floats compared": found.floats.elements,
        "floats that differ": found.floats.differing,
    }
    good, said = not found.failed, ""
    if not network.is_quantized and path.suffix.lower() == ".tflite":
        said, straight = _as_it_is(network, path, inputs)
        row |= straight
        good = good and not straight.get("as it is: floats that differ")
    row["verdict"] = AGREES if good else DIFFERS
    row["what was said"] = said if good else f"first layer that differs: {found.first_layer or said}"
    return row


def _as_it_is(network: Network, path: Path, inputs: Any) -> tuple[str, dict[str, int]]:
    """(what was said, the counts) of a float file before it is quantised; LiteRT may not have an operator of another's."""
    try:
        found = check_float(network, path, inputs)
    except CimemuError as error:
        return str(error), {}
    counts = {"compared": found.floats.elements, "that differ": found.floats.differing}
    return found.first_layer or "", {f"as it is: floats {key}": value for key, value in counts.items()}


def _apart(path: Path, told: Mapping[str, str], given: argparse.Namespace) -> dict[str, Any]:
    """The row of one file, from a process of its own."""
    spelled = [f"{text} {name}" for name, text in told.items()]
    command = [sys.executable, "-m", "cimemu.many", "--one", str(path), "--images", str(given.images)]
    command += ["--arch", given.arch, *(part for text in spelled for part in ("--shape", text))]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=given.seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"verdict": TRACEBACK, "what was said": f"was not done in {given.seconds} seconds"}
    lines = ended.stdout.strip().splitlines()
    if ended.returncode or not lines:
        said = (ended.stderr.strip().splitlines() or [f"ended with {ended.returncode}"])[-1]
        return {"verdict": TRACEBACK, "what was said": said[:300]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _shapes(path: str | None) -> dict[str, dict[str, str]]:
    """File -> input -> whole shape or number, as it is written."""
    found: dict[str, dict[str, str]] = {}
    if path is not None:
        with Path(path).open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                try:
                    text = row["shape"]
                    _ = float(text[1:]) if text.startswith("=") else [int(size) for size in text.split("x")]
                    found.setdefault(row["file"], {})[row["input"]] = text
                except (KeyError, ValueError, AttributeError):
                    raise CimemuError(
                        f"{path}: a row is {','.join(map(str, row.values()))}, must be file,input,shape as a.onnx,x,1x3x8x8, "
                        "or a.onnx,x,=5 of a number"
                    ) from None
    return found


def _check(given: argparse.Namespace) -> None:
    """CimemuError where an option or a path cannot be used."""
    for option, value in (("--images", given.images), ("--jobs", given.jobs), ("--seconds", given.seconds)):
        if not value > 0:
            raise CimemuError(f"{option} = {value}, must be above 0")
    if not Path(given.folder).is_dir():
        raise CimemuError(f"{given.folder}: no such folder, name one with network files")
    if not Path(given.results).parent.is_dir() or Path(given.results).is_dir():
        raise CimemuError(f"{given.results}: cannot be written, name a CSV file in a folder that there is")
    if given.shapes is not None and not Path(given.shapes).is_file():
        raise CimemuError(f"{given.shapes}: no such file, name a CSV file with the columns file, input, shape")
    load_arch(given.arch)


def _kept(path: str, chosen: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Rows of an earlier table that are not measured now: of files not chosen, and of the same file where it agrees."""
    if not Path(path).is_file():
        return {}
    with Path(path).open(encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    return {
        name: row
        for name, row in rows.items()
        if name not in chosen or (row["verdict"], row["sha256"]) == (AGREES, chosen[name])
    }


def _told(path: Path, given: argparse.Namespace) -> int:
    """Print the row of one file as JSON: what a process of its own does."""
    told = {name: text for text, _, name in (spelled.partition(" ") for spelled in given.shape)}
    try:
        row = one(path, told, given.images, given.arch)
    except CimemuError as error:
        row = {"verdict": REFUSED, "what was said": str(error).replace(f"{path}: ", "")}
    print(json.dumps(row))
    return 0


def _write(path: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """The table so far, by file name."""
    with LOCK, Path(path).open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))


def main(arguments: Sequence[str]) -> int:
    """Writes the table, row by row; 1 where a file differs or ends in a traceback, 2 where it cannot begin."""
    parser = argparse.ArgumentParser(prog="python -m cimemu.many")
    parser.add_argument("folder", nargs="?")
    parser.add_argument("results", nargs="?")
    parser.add_argument("--one", type=Path)
    parser.add_argument("--shape", action="append", default=[])
    parser.add_argument("--shapes")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--arch", default="rram_128")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--seconds", type=float, default=1800.0)
    given = parser.parse_args(arguments)
    if given.one is not None:
        return _told(given.one, given)
    if given.folder is None or given.results is None:
        parser.error("a folder of network files and the CSV file to write are needed")
    try:
        _check(given)
        return _measured(given, _shapes(given.shapes))
    except CimemuError as error:
        print(f"cimemu: {error}", file=sys.stderr)
        return 2


def _measured(given: argparse.Namespace, shapes: Mapping[str, Mapping[str, str]]) -> int:
    """Measure the folder's files; 1 where one differs or ends in a traceback. CimemuError where there are none."""
    suffixes = set(FORMATS) - set(WEIGHTS)
    files = [path for path in sorted(Path(given.folder).iterdir()) if path.suffix.lower() in suffixes]
    if not any(given.only in path.name for path in files):
        raise CimemuError(
            f"{given.folder}: holds no file {'*'.join(('', given.only, ''))} of {', '.join(sorted(suffixes))}"
        )
    chosen = [path for path in files if given.only in path.name]
    names = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in chosen}
    rows = _kept(given.results, names) if given.keep else {}  # a run that is stopped loses none

    def measure(path: Path) -> None:
        """The row of one file; the table is written anew with it."""
        if path.name not in rows:
            measured = _apart(path, shapes.get(path.name, {}), given)
            rows[path.name] = measured | {"file": path.name, "sha256": names[path.name]}
        row = rows[path.name]
        _write(given.results, rows)
        print(f"{path.name}: {row['verdict']} {row.get('what was said', '')}"[:400], flush=True)

    smallest_first = sorted(chosen, key=lambda path: path.stat().st_size)
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(measure, smallest_first))
    verdicts = Counter(row["verdict"] for row in rows.values())
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())))
    return int(verdicts[DIFFERS] + verdicts[TRACEBACK] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
