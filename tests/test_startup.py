"""Start-up costs no heavy import and no compilation: what is held here is what makes it fast, not its time."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cimemu.lanes.jit import JIT_DISABLED, PACKAGE

ROOT = PACKAGE.parent  # of the package that is tested: this checkout's or the installed one
HEAVY = ("numpy", "numba", "h5py", "onnx", "scipy", "simpy", "pandas", "matplotlib", "torch")
needs_jit = pytest.mark.skipif(JIT_DISABLED, reason="NUMBA_DISABLE_JIT is set: nothing is compiled at all")
COMPILED = """
import json, sys
from numba.core import event
with event.install_recorder("numba:compile") as compiled:
    exec(sys.argv[1])
print(json.dumps(sorted({str(e.data["dispatcher"].py_func.__name__) for _, e in compiled.buffer})))
"""
SMALL = """
import numpy as np
from cimemu.kernels.cells import add_by_lanes, scale_by_lanes, stick
from cimemu.mapping.step_kernels import step_cycles
cycles, levels = np.zeros(1, np.int64), np.full((1, 2), 4.0)
step_cycles(np.array([[True, False]]), 2, 3, 1, True, 1, cycles)
assert cycles.tolist() == [6]
scale_by_lanes(levels, np.array([[0, 1]]), np.array([0.5, 2.0]))
add_by_lanes(levels, np.array([[0, 1]]), np.array([[0, 0]]), np.array([1.0, 2.0]), np.array([1 << 24]))
assert levels.tolist() == [[3.0, 10.0]]
stick(levels, np.array([[7, 3]], np.uint64), np.uint64(4), np.uint64(5), 0.0, 9.0)
assert levels.tolist() == [[3.0, 0.0]]
"""  # kernels that are compiled in a moment


def python(*arguments, folder=ROOT, **environment):
    """Run Python on the package in `folder`: (what it printed, what it complained about). None unsets a variable."""
    given = {**os.environ, "PYTHONPATH": str(folder), **environment}
    kept = {name: value for name, value in given.items() if value is not None}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=kept, timeout=600, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def compiled_by(code, **options):
    """Names of the kernels that a process compiles that runs `code`, and its complaints."""
    out, complaints = python("-c", COMPILED, code, **options)
    return json.loads(out.splitlines()[-1]), complaints


@pytest.mark.parametrize(
    "code",
    [
        "import cimemu",
        "import cimemu.cli as c; c.main(['--help'])",
        "import cimemu.cli as c; c.main(['run', '--help'])",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    out, _ = python("-c", f"import sys; {code}; print([m for m in {HEAVY} if m in sys.modules])")
    assert out.splitlines()[-1] == "[]"


@pytest.mark.slow
@needs_jit
def test_a_warm_run_compiles_nothing(tmp_path):
    def run(name):
        arguments = ["run", "--images", "2", "--json", "--out"]
        lines = [[*arguments, str(tmp_path / f"{detail}{name}"), "--detail", detail] for detail in ("ops", "cycles")]
        return compiled_by(f"from cimemu.cli import main\nfor line in {lines!r}: assert main(line) == 0")[0]

    run("first.h5")  # compiles what nobody has compiled yet
    assert run("second.h5") == []


def copied(tmp_path):
    """The package where the folder of compiled kernels can be neither made nor written, as in a read-only install."""
    shutil.copytree(ROOT / "cimemu", tmp_path / "copy/cimemu", ignore=shutil.ignore_patterns("__pycache__", "_presets"))
    for path in [tmp_path / "copy/cimemu", *(tmp_path / "copy/cimemu").rglob("*/")]:
        if path.is_dir():
            (path / "__pycache__").write_text("a file in the place of the folder: not even root gets past it")
    return tmp_path / "copy"


@pytest.mark.slow
@needs_jit
def test_a_read_only_install_keeps_its_compiled_kernels_in_the_users_cache(tmp_path):
    folder, cache = copied(tmp_path), tmp_path / "cache"
    for expected in (True, False):
        names, complaints = compiled_by(SMALL, folder=folder, NUMBA_CACHE_DIR=None, XDG_CACHE_HOME=str(cache))
        assert bool(names) == expected, names
        assert "Warning" not in complaints
    assert list(cache.rglob("*.nbi"))
    assert not list(folder.rglob("*.nbi"))


@pytest.mark.slow
@needs_jit
def test_an_install_that_can_keep_nothing_works_and_says_so(tmp_path):
    folder, nowhere = copied(tmp_path), tmp_path / "file"
    nowhere.write_text("no folder")
    names, complaints = compiled_by(
        SMALL, folder=folder, NUMBA_CACHE_DIR=None, XDG_CACHE_HOME=str(nowhere), HOME=str(nowhere)
    )
    assert names
    assert "set NUMBA_CACHE_DIR" in complaints


DRAWN = """
import numpy as np
from cimemu.kernels.cells import write_and_verify
from cimemu.kernels.noise import normal_quantiles
levels, pulses = np.full((4, 8), 2.0), np.zeros((4, 8), np.int64)
write_and_verify(levels, np.array([0, 0, 0, 3]), np.uint64(5), 0.3, 0.2, normal_quantiles(), pulses)
print(levels.tolist(), pulses.tolist())
"""


@pytest.mark.slow
@needs_jit
def test_compiled_kernels_are_fresh_where_a_helper_of_another_file_has_changed(tmp_path):
    folder, caches = tmp_path / "copy", [str(tmp_path / name) for name in ("one", "two")]
    shutil.copytree(ROOT / "cimemu", folder / "cimemu", ignore=shutil.ignore_patterns("__pycache__", "_presets"))

    def drawn(cache):
        return python("-c", DRAWN, folder=folder, NUMBA_CACHE_DIR=cache)[0]

    before = drawn(caches[0])
    helper = folder / "cimemu/kernels/noise.py"  # the cells' kernel, in another file, inlines its rounds
    helper.write_text(helper.read_text().replace("range(10)", "range(7)"))
    warm, anew = drawn(caches[0]), drawn(caches[1])
    assert warm == anew != before
    names = [{path.name for path in Path(cache).rglob("*.nb?")} for cache in caches]
    assert names[0] == names[1], "files of the old sources are left"


@pytest.mark.slow
@needs_jit
def test_damaged_compiled_kernels_are_compiled_again(tmp_path):
    cache = str(tmp_path)
    assert compiled_by(SMALL, NUMBA_CACHE_DIR=cache)[0]
    kept = sorted(tmp_path.rglob("*.nb?"))
    for number, path in enumerate(kept):
        path.write_bytes(path.read_bytes()[: number * 7 % 200])
    assert compiled_by(SMALL, NUMBA_CACHE_DIR=cache)[0]
    assert compiled_by(SMALL, NUMBA_CACHE_DIR=cache)[0] == []
