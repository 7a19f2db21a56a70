"""Rates of the timing engines, of the trace and of start-up. Nothing here fails on time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cimemu
from cimemu.timing.simulate import Simulation
from cimemu.trace.write import TraceWriter

pytestmark = pytest.mark.bench
needs_data = pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")


@pytest.fixture(scope="module")
def simulation():
    """ResNet-20, pipelined, with contention."""
    work = cimemu.load_workload("cifar10_resnet20")
    arch = cimemu.load_arch("rram_128", {"schedule": "pipelined"})
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration()[:4])
    found = Simulation(cimemu.make_plan(network, arch))
    found.run(2)
    return found


def operations(simulation):
    return sum(int((template.unit >= 0).sum()) for template in simulation.phases)


@needs_data
def test_a_hundred_images(benchmark, rate, simulation):
    benchmark.pedantic(lambda: simulation.run(100), rounds=5)
    rate("timing of 100 ResNet-20 images, pipelined, detail ops", 100, "images/s", 3, seconds=True)


@needs_data
def test_ten_thousand_images(benchmark, rate, simulation):
    benchmark.pedantic(lambda: simulation.run(10_000), rounds=5)
    rate("timing of 10,000 ResNet-20 images, pipelined, detail ops", 10_000, "images/s", 2, seconds=True)


@needs_data
@pytest.mark.parametrize(
    ("images", "options", "goal"),
    [(10, {"repeat": False}, 1e6), (1, {"engine": "simpy"}, 1e5), (1, {"detail": "cycles"}, 1e5)],
    ids=["compiled", "simpy", "cycles"],
)
def test_events(benchmark, rate, simulation, images, options, goal, request):
    events = []
    simulation.run(images, sink=lambda e: events.append(len(e["op"])), **options)
    benchmark.pedantic(lambda: simulation.run(images, **options), rounds=1 if images == 1 else 5)
    name = {"repeat": "ops, every image simulated", "engine": "ops, SimPy", "detail": "cycles, SimPy"}[
        next(iter(options))
    ]
    rate(f"events, detail {name}", sum(events), "events/s", goal)


@needs_data
def test_trace_rows(benchmark, rate, simulation, tmp_path):
    """The writer alone: a hundred images' events, some six million rows, into a file that is whole."""
    events = []
    simulation.run(100, sink=events.append)

    def write():
        with TraceWriter(tmp_path / "x.h5", overwrite=True) as writer:
            for piece in events:
                writer.events(piece)
            writer._flush(writer.pending_rows)

    benchmark.pedantic(write, rounds=3)
    rate("trace rows written", sum(len(e["op"]) for e in events), "rows/s", 3e6)


COMMANDS = {
    "import cimemu": (["-c", "import cimemu"], 0.5),
    "cimemu --help": (["-m", "cimemu", "--help"], 0.3),
    "cimemu run, 360 images, warm": (["-m", "cimemu", "run", "--out", "x.h5", "--force"], 3),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_start_up(benchmark, rate, name, tmp_path):
    arguments, goal = COMMANDS[name]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}

    def start():
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=tmp_path, env=environment)

    start()
    benchmark.pedantic(start, rounds=5)
    rate(name, 1, "1/s", goal, seconds=True)
