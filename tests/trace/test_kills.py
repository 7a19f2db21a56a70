"""A run killed at any moment leaves no file under the trace's name that cannot be opened, and says what is unfinished."""

import os
import random
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from cimemu.errors import TraceError
from cimemu.trace.read import open_trace

# Writes traces over and over, in a fork for every line it reads, so that a kill costs no start-up.
WRITER = """
import os, sys, time
sys.path[:0] = sys.argv[2:]
import cimemu, nets, numpy as np
arch = cimemu.load_arch("rram_128", {"schedule": "pipelined"})
images = np.random.default_rng(0).integers(0, 256, (30, 3, 9, 8)).astype(np.uint8)
network = nets.residual_network(9, 8)
run = lambda path: cimemu.run(arch, network, images, trace=path, overwrite=True)
run(sys.argv[1] + ".warm")
begin = time.monotonic()  # a run of a child, which copies pages that it writes: longer than the next one here
if os.fork() == 0:
    run(sys.argv[1] + ".warm")
    os._exit(0)
os.wait()
print(time.monotonic() - begin, flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        while True:
            run(sys.argv[1])
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def kill_at_random(folder, kills, seed):
    """(how often the name held a trace, how often a partial file was left)."""
    path = folder / "run.h5"
    searched = [*filter(None, [os.environ.get("PYTHONPATH")]), os.path.dirname(os.path.dirname(__file__))]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), *searched], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    moments, whole, unfinished = random.Random(seed), 0, 0
    with writer:
        one_run = float(writer.stdout.readline())
        for _ in range(kills):
            writer.stdin.write("go\n")
            writer.stdin.flush()
            child = int(writer.stdout.readline())
            time.sleep(moments.uniform(0, 2.5 * one_run))
            os.kill(child, signal.SIGKILL)
            assert writer.stdout.readline() == "dead\n"
            if path.exists():
                whole += 1
                with h5py.File(path) as file:
                    assert len(file["events/op"][:]) == len(file["events/end"][:]) > 0
                assert open_trace(path).table("check")["holds"].all()
            for partial in folder.glob("run.h5.*.partial"):
                unfinished += 1
                with pytest.raises(TraceError, match="is unfinished"):
                    open_trace(partial)
                partial.unlink()
            if moments.random() < 0.5:
                path.unlink(missing_ok=True)
        writer.stdin.close()
    return whole, unfinished


@pytest.mark.slow
def test_killed_at_any_moment_a_run_leaves_no_broken_trace(tmp_path):
    whole, unfinished = kill_at_random(tmp_path, 15, seed=1)
    assert whole
    assert unfinished


@pytest.mark.long
@pytest.mark.slow
def test_killed_forty_times(tmp_path):
    whole, unfinished = kill_at_random(tmp_path, 40, seed=2)
    assert whole > 5
    assert unfinished > 15


def test_a_partial_file_says_in_itself_that_it_is_unfinished(tmp_path):
    import nets

    import cimemu

    seen = []

    def look(stage, done, total):
        (partial,) = tmp_path.glob("x.h5.*.partial")
        with h5py.File(partial) as file:
            seen.append(str(file.attrs["unfinished"]))

    images = np.zeros((2, 3, 5, 4), np.uint8)
    chip = cimemu.load_arch("rram_128")
    cimemu.run(
        chip,
        nets.residual_network(),
        images,
        trace=tmp_path / "x.h5",
        progress=lambda stage, *n: look(stage, *n) if stage == "timing" else None,
    )
    assert seen[0] == "the run that writes x.h5 is not over, or was killed: run it again"
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]
