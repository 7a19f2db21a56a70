"""Mutants of the package that its tests must notice: a seeded sample an area, drawn and applied by cosmic-ray.

`python tests/mutation/run.py --seed 1 --per-area 36` draws, runs and prints; it goes on where it was stopped, as every
verdict is appended to results.csv at once. The checkout is never touched: each worker mutates a copy of its own.
README.md beside this file says how to read the table. Needs `pip install ".[test,mutation]"`.
"""

import argparse
import csv
import difflib
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from queue import SimpleQueue

import cosmic_ray.plugins as plugins
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code

from cimemu.lanes.jit import PACKAGE, holds_kernels, kernel_files

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS = HERE / "results.csv"
JIT = Path("cimemu/lanes/jit.py")
COPIED = ("cimemu", "arch", "workloads", "traces", "tests", "pyproject.toml", "README.md")

# Which tests must notice a mutant of an area: folders and files, those that name the mutant's module are run first.
NOTICE = {
    "kernels": ["kernels"],
    "compute": ["compute", "engines", "encoding", "variation", "golden", "test_emulate.py", "test_memory.py"],
    "timing": ["timing", "test_conservation.py", "test_tally.py", "test_emulate.py"],
    "mapping": ["mapping", "timing", "compute/test_laws.py", "test_conservation.py", "test_emulate.py", "fitting"],
    "tally": ["test_tally.py", "test_conservation.py", "cost", "test_emulate.py", "test_validate.py", "trace"],
    "ptq": ["ptq", "compare", "importer/test_from_onnx.py", "test_emulate.py"],
}
# Kernels that survive their twins uncompiled are tried once more, compiled, by the tests of what is built on them.
COMPILED = ["kernels", "compute", "variation", "timing/test_engines.py", "golden", "adapt/test_exact.py"]
# Folders of an area that is not one folder or file of the package; kernel files are an area of their own.
FOLDERS = {"compute": ["compute", "macro", "engines", "windows"]}

# Added to a copy's `cimemu/lanes/jit.py`: machine code is kept by what a kernel's file imports, not by all kernel files, so
# that a mutant has its own kernels compiled and no others, and nothing is compiled again afterwards.
BY_IMPORTS = """


def _imported(path: Path, seen: dict[Path, bytes]) -> dict[Path, bytes]:
    import ast

    if path in seen:
        return seen
    seen[path] = path.read_bytes()
    for node in ast.walk(ast.parse(seen[path])):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module and node.level == 0 else []
        names += [f"{n}.{a.name}" for n in names for a in node.names]
        names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            file = PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")
            if name.split(".")[0] == "cimemu" and file.is_file() and file != Path(__file__):
                _imported(file, seen)
    return seen


@cache
def _stamp_of(path: Path) -> str:
    return hashlib.sha256(repr(sorted(_imported(path, {}).items())).encode()).hexdigest()


class PackageCache(PackageCache):
    def __init__(self, function: Callable) -> None:
        global sources_stamp
        stamp = _stamp_of(Path(function.__code__.co_filename))
        sources_stamp = lambda: stamp
        super().__init__(function)

    save_overload = FunctionCache.save_overload
"""


@dataclass(frozen=True)
class Mutant:
    """One change of one place; `occurrence` numbers the places of an operator in a module."""

    area: str
    module: str
    definition: str
    line: int
    operator: str
    occurrence: int


@dataclass(frozen=True)
class Verdict(Mutant):
    """What the tests said of a mutant: killed by the test named, by the time limit, or survived."""

    outcome: str
    by: str
    seconds: int


def modules_of(area: str) -> list[Path]:
    """The files of an area, relative to the root."""
    folder = ROOT / "cimemu" / area
    if area == "kernels":
        found = [ROOT / "cimemu" / path.relative_to(PACKAGE) for path in kernel_files()]
    elif folder.is_dir():
        folders = [ROOT / "cimemu" / name for name in FOLDERS.get(area, [area])]
        found = sorted(path for each in folders for path in each.rglob("*.py") if not holds_kernels(path))
    else:
        found = [folder.with_suffix(".py")]
    return [path.relative_to(ROOT) for path in found]


def in_annotation(node: object) -> bool:
    """Whether a place is part of a type: `int | None` can be mutated, but fails at import, which proves nothing."""
    while (parent := getattr(node, "parent", None)) is not None:
        if parent.type in ("tfpdef", "annassign") and node is not parent.children[0]:
            return parent.type == "tfpdef" or "=" not in parent.children or node is parent.children[1]
        if parent.type == "funcdef":
            return node in parent.children[parent.children.index("->") :][:2] if "->" in parent.children else False
        node = parent
    return False


def places_of(area: str) -> Iterator[tuple[Path, str, int, object, int]]:
    """(module, operator, occurrence, node, line) of every place that an operator without arguments can change."""
    names = [n for n in plugins.operator_names() if not plugins.get_operator(n).arguments() and n != "core/NoOp"]
    for module in modules_of(area):
        nodes = list(ast_nodes(get_ast_from_path(ROOT / module)))
        for name in names:
            operator = plugins.get_operator(name)()
            found = ((node, start) for node in nodes for start, _ in operator.mutation_positions(node))
            for occurrence, (node, start) in enumerate(found):
                yield module, name.removeprefix("core/"), occurrence, node, start[0]


def sample_of(area: str, seed: int, count: int) -> list[Mutant]:
    """`count` mutants of an area, drawn from all but those inside types."""
    places = list(places_of(area))
    chosen: list[Mutant] = []
    for module, operator, occurrence, node, line in random.Random(f"{seed} {area}").sample(places, len(places)):
        if len(chosen) == count:
            break
        if not in_annotation(node):
            where = ASTQuery(node).get_definition_name() or ""
            chosen.append(Mutant(area, str(module), where, line, operator, occurrence))
    print(f"{area}: {len(places)} mutants, {len(chosen)} drawn", flush=True)
    return chosen


def mutated(mutant: Mutant) -> tuple[str, str]:
    """The module's text before and after."""
    text = (ROOT / mutant.module).read_text()
    operator = plugins.get_operator(f"core/{mutant.operator}")()
    changed = mutate_code(text, operator, mutant.occurrence)
    if changed is None:
        raise SystemExit(f"{mutant}: there is no such place any more; begin anew with --fresh")
    return text, changed


def tests_for(mutant: Mutant, names: list[str]) -> list[str]:
    """Test files of the area, those first that name the mutant's function, then those that name its module."""
    files = [f for n in names for f in (sorted((ROOT / "tests" / n).glob("test_*.py")) or [ROOT / "tests" / n])]
    files = [f for f in files if f.is_file()]
    stem = Path(mutant.module).stem

    def far(path: Path) -> int:
        text = path.read_text()
        return 0 if mutant.definition and mutant.definition in text else 1 if stem in text else 2

    return [str(f.relative_to(ROOT)) for f in sorted(files, key=far)]


def pytest(copy: Path, tests: list[str], limit: int, **more: str) -> tuple[str, str]:
    """(outcome, first test that failed) of the tests in a copy."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "NUMBA_CACHE_DIR": str(copy.parent / f"{copy.name}_code"),
        **more,
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    if all(name.startswith("tests/kernels/") for name in tests):
        command += ["-m", "not long and not bench"]  # twins whose kernels take long to compile are slow tests
    with subprocess.Popen(
        command,
        cwd=copy,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (limit, limit))  # not of the clock: the machine may be busy
        try:
            out, _ = process.communicate(timeout=20 * limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return "killed", f"no end after {20 * limit} s of the clock"
    if process.returncode in (-signal.SIGKILL, -signal.SIGXCPU):
        return "killed", f"time limit of {limit} s of processor time"
    if process.returncode == 0:
        return "survived", ""
    named = [line for line in out.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "killed", (named[-1].split(" - ")[0] if named else out.strip().splitlines()[-1])[:160]


def judge(mutant: Mutant, copy: Path, limit: int) -> Verdict:
    """Run a mutant's tests in a copy of the tree; the copy is as before afterwards."""
    before, after = mutated(mutant)
    start = time.time()
    kept = (copy / mutant.module).stat()
    if Path(mutant.module) != JIT:
        (copy / JIT).write_text((ROOT / JIT).read_text() + BY_IMPORTS)
    (copy / mutant.module).write_text(after)
    try:
        kernel = mutant.area == "kernels"
        more = {"NUMBA_DISABLE_JIT": "1"} if kernel else {}
        outcome, by = pytest(copy, tests_for(mutant, NOTICE[mutant.area]), limit, **more)
        if kernel and outcome == "survived":
            outcome, by = pytest(copy, tests_for(mutant, COMPILED), 3 * limit)
    finally:
        (copy / mutant.module).write_text(before)
        os.utime(copy / mutant.module, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # machine code is kept by time, too
        (copy / JIT).write_text((ROOT / JIT).read_text())
    return Verdict(**asdict(mutant), outcome=outcome, by=by, seconds=round(time.time() - start))


def stamp() -> str:
    """Hash of the sources that mutants are drawn from: a sample belongs to one state of them."""
    digest = hashlib.sha256()
    for area in NOTICE:
        for module in modules_of(area):
            digest.update((ROOT / module).read_bytes())
    return digest.hexdigest()[:16]


def read_results(drawn: str) -> dict[Mutant, Verdict]:
    """Verdicts so far, where they are of this very sample."""
    if not RESULTS.exists():
        return {}
    with RESULTS.open(newline="") as file:
        head = file.readline().strip()
        if head != f"# {drawn}":
            raise SystemExit(f"{RESULTS.name} holds {head!r}, this sample is {drawn!r}: begin anew with --fresh")
        rows = [Verdict(**{**row, "line": int(row["line"]), "occurrence": int(row["occurrence"]), "seconds": int(row["seconds"])})
                for row in csv.DictReader(file)]  # fmt: skip
    return {Mutant(**{f.name: getattr(v, f.name) for f in fields(Mutant)}): v for v in rows}


def report(verdicts: list[Verdict]) -> None:
    """The score by area, and every survivor as a diff."""
    print(f"{'area':10} {'mutants':>8} {'killed':>7} {'score':>7}")
    for area in (*NOTICE, "all"):
        mine = [v for v in verdicts if area in (v.area, "all")]
        killed = sum(v.outcome == "killed" for v in mine)
        print(f"{area:10} {len(mine):8} {killed:7} {killed / max(len(mine), 1):7.1%}")
    for verdict in verdicts:
        if verdict.outcome == "survived":
            before, after = mutated(verdict)
            lines = difflib.unified_diff(
                before.splitlines(), after.splitlines(), verdict.module, verdict.operator, n=1, lineterm=""
            )
            print(f"\n{verdict.definition}, occurrence {verdict.occurrence}", *lines, sep="\n")


def main() -> None:
    """Draw, run what has no verdict yet, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-area", type=int, default=36)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--area", choices=NOTICE, action="append", help="these areas alone (the report says so)")
    parser.add_argument(
        "--limit", type=int, default=240, help="processor seconds for the tests of a mutant; more counts as killed"
    )
    parser.add_argument("--fresh", action="store_true", help="forget earlier verdicts")
    parser.add_argument("--survivors", action="store_true", help="run the survivors of results.csv again")
    parser.add_argument(
        "--copies",
        type=Path,
        help="keep copies and machine code here, for a run that goes on; default: nothing is kept",
    )
    arguments = parser.parse_args()
    if arguments.fresh:
        RESULTS.unlink(missing_ok=True)
    drawn = f"seed {arguments.seed}, {arguments.per_area} mutants an area, sources {stamp()}"
    sample: list[Mutant] = []
    for area in NOTICE:
        sample += sample_of(area, arguments.seed, arguments.per_area)
    done = read_results(drawn)
    if arguments.survivors:
        done = {mutant: verdict for mutant, verdict in done.items() if verdict.outcome != "survived"}
        write_all(drawn, list(done.values()))
    elif not RESULTS.exists():
        write_all(drawn, [])
    left = [m for m in sample if m not in done and (not arguments.area or m.area in arguments.area)]
    with tempfile.TemporaryDirectory() if arguments.copies is None else nullcontext(arguments.copies) as folder:
        run_all(left, done, Path(folder), arguments.workers, arguments.limit)
    print(drawn)
    report([done[m] for m in sample if m in done])


def write_all(drawn: str, verdicts: list[Verdict]) -> None:
    """The file anew."""
    with RESULTS.open("w", newline="") as file:
        file.write(f"# {drawn}\n")
        rows = csv.DictWriter(file, [f.name for f in fields(Verdict)], lineterminator="\n")
        rows.writeheader()
        rows.writerows(asdict(v) for v in verdicts)


def _as_before(source: Path, copy: Path) -> None:
    """Files of a copy that was left in the middle of a mutant: those of the source, with their times."""
    for path in source.rglob("*"):
        kept = copy / path.relative_to(source)
        if not path.is_file() or "__pycache__" in path.parts or path.suffix == ".partial":
            continue
        if not kept.is_file() or kept.read_bytes() != path.read_bytes():
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, kept)


def run_all(left: list[Mutant], done: dict[Mutant, Verdict], folder: Path, workers: int, limit: int) -> None:
    """Judge mutants, as many at once as there are workers; every verdict is written as it comes."""
    copies: SimpleQueue[Path] = SimpleQueue()
    for number in range(workers):
        copy = folder / f"copy{number}"
        for name in COPIED:
            source = ROOT / name
            if source.is_dir() and (copy / name).is_dir():
                _as_before(source, copy / name)
            elif source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.partial"))
            else:
                shutil.copy(source, copy / name)
        copies.put(copy)
    lock = threading.Lock()

    def work(mutant: Mutant) -> None:
        copy = copies.get()
        try:
            verdict = judge(mutant, copy, limit)
        finally:
            copies.put(copy)
        with lock, RESULTS.open("a", newline="") as file:
            csv.DictWriter(file, [f.name for f in fields(Verdict)], lineterminator="\n").writerow(asdict(verdict))
            done[mutant] = verdict
            place = f"{verdict.module}:{verdict.line} {verdict.operator}"
            print(f"{len(done)}: {verdict.outcome} {place} {verdict.seconds} s {verdict.by}", flush=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, left))


if __name__ == "__main__":
    main()
