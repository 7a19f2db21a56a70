"""After `cimemu warm` the common commands compile nothing."""

import os
import subprocess
import sys

import pytest

from cimemu.cli import main
from cimemu.cli.warm import tasks
from cimemu.lanes.jit import JIT_DISABLED

COUNT = """
import sys
from numba.core import event
class Count(event.Listener):
    found = 0
    def on_start(self, e): self.found += 1
    def on_end(self, e): pass
count = Count()
event.register("numba:compile", count)
from cimemu.cli import main
from cimemu.lanes.small import SPENT
SPENT.at_once = True  # commands as small as these would be done by NumPy
for line in sys.argv[1:]:
    assert main(line.split()) == 0, line
print("compiled", count.found)
"""
COMMANDS = [
    "run rram_128 digits --images 3 --out a.h5",
    "run rram_128 digits --images 3 --set macro.adc.bits=5 --out b.h5",
    "check rram_128 digits --images 2",
    "report a.h5 --html a.html",
    "golden rram_128 digits --layer conv1 --ops 2 --out v",
    "fit rram_128 digits --no-propose",
    "sweep rram_128 digits --images 3 --vary macro.adc.bits=5,6,7,8 --out s.h5",
    "stress rram_128 digits --images 3 --trials 2 --vary lognormal:sigma=0.1 --out t.h5",
    "stress rram_128 digits --images 3 --trials 2 --vary thermal:amplifier=0.5 --out u.h5",
]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_after_warming_the_common_commands_compile_nothing(tmp_path):
    pytest.importorskip("onnxruntime")
    given = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    warm = [sys.executable, "-m", "cimemu", "warm", "--quiet"]
    ran = subprocess.run(warm, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    words = [sys.executable, "-c", COUNT, *COMMANDS]
    ran = subprocess.run(words, env=given, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert ran.stdout.splitlines()[-1] == "compiled 0", ran.stderr


def test_a_task_that_fails_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("cimemu.cli.warm.tasks", lambda: iter([("nothing", ["run", "no_such_chip", "digits"])]))
    assert main(["warm"]) == 2
    assert (
        "warm: cimemu run no_such_chip digits: architecture 'no_such_chip': no such preset" in capsys.readouterr().err
    )


def test_tasks_cover_every_preset_and_the_commands_that_run_networks():
    said = [words for _, words in tasks()]
    assert {words[0] for words in said} >= {"run", "report", "check", "golden", "stress", "sweep", "fit", "compare"}
