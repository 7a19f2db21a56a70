"""Whole commands on large networks, start-up to trace, one thread: processor time and the peak of memory of a process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench
ROOT = Path(__file__).parents[2]
IMAGE = ["--inputs", "{net}.npz", "--force", "-o", "t.h5"]
FEW_TRIALS = 30  # of a process, beside three times as many
# by name: (the network that `cimemu shape` makes, arguments, goal in seconds)
COMMANDS = {
    "run ResNet-18": ("resnet18", ["run", "sram_256", "{net}.onnx", *IMAGE], 3),
    "run VGG-16": ("vgg16", ["run", "sram_256", "{net}.onnx", *IMAGE], 15),
    "run EfficientNet-Lite0": (
        None,
        [
            "run",
            "sram_256",
            "imagenet_efficientnet_lite0",
            "--set",
            "chip.tiles=1024",
            "-n",
            "1",
            "--force",
            "-o",
            "t.h5",
        ],
        4,
    ),
    "fit ResNet-18": ("resnet18", ["fit", "sram_256", "{net}.onnx"], 5),
    "fit VGG-16": ("vgg16", ["fit", "sram_256", "{net}.onnx"], 10),
}


def environment(folder):
    """Of a command: Python's own bytecode is kept, as an installer writes it."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def spent(arguments, folder):
    """(processor seconds, peak of memory in GiB) of one command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cimemu", *arguments], cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_whole_command(benchmark, rate, name, folder):
    net, arguments, goal = COMMANDS[name]
    if net is None and "CIMEMU_DATA" not in os.environ:
        pytest.skip("CIMEMU_DATA names no folder of networks")
    if net is not None and not (folder / f"{net}.npz").exists():
        spent(["shape", net, "-o", f"{net}.onnx", "--images", "1", "--force"], folder)
    filled = [argument.format(net=net) for argument in arguments]
    spent(filled, folder)  # kernels are compiled, files are in the system's cache
    found = []
    benchmark.pedantic(lambda: found.append(spent(filled, folder)), rounds=3)
    seconds, peak = min(found)[0], max(peak for _, peak in found)
    rate(f"{name}: {seconds:.3g} s of processor time, {peak:.3g} GiB; by the clock", 1, "1/s", goal, seconds=True)


def test_two_workers_beside_two_processes(benchmark, rate, folder):
    """Trials a second of `stress --workers 2`, by those of two commands of one worker that run at the same time."""
    common = ["stress", "rram_128", "digits", "--vary", "lognormal:sigma=0.1", "--force"]

    def ran(*commands):
        begin = time.perf_counter()
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "cimemu", *common, *command],
                cwd=folder,
                env=environment(folder),
                stdout=subprocess.DEVNULL,
            )
            for command in commands
        ]
        assert [process.wait() for process in started] == [0] * len(commands)
        return time.perf_counter() - begin

    ran(["-t", "1", "-o", "a.h5"])
    ratios, whole = [], []

    def once():
        """Of the time that more trials take: start-up, which a process of trials has once more, is left out."""
        few, many = FEW_TRIALS, 3 * FEW_TRIALS
        apart = [ran(["-t", f"{n}", "-o", "a.h5"], ["-t", f"{n}", "-o", "b.h5"]) for n in (few, many)]
        together = [ran(["-t", f"{2 * n}", "-w", "2", "-o", "c.h5"]) for n in (few, many)]
        ratios.append((apart[1] - apart[0]) / (together[1] - together[0]))
        whole.append(apart[1] / together[1])

    benchmark.pedantic(once, rounds=3)
    found = f"{sorted(ratios)[1]:.2f} x, with start-up {sorted(whole)[1]:.2f} x"
    rate(f"stress --workers 2 beside two processes: {found}", 1, "1/s", None, seconds=True)
