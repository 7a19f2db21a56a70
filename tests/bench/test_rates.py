"""Rates with goals, one thread: `pytest tests/bench -m bench --benchmark-enable`. Nothing here fails on time."""

import os
import timeit

import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.engines.programmed import Programmed, program
from cimemu.macro.read_noise import ReadNoise, quantised_sigma
from cimemu.macro.sites import own_macros
from cimemu.macro.vary import vary_matrix
from cimemu.variation.compose import compose

pytestmark = pytest.mark.bench
needs_data = pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")


def report(benchmark, what, amount, goal):
    """Print a rate beside its goal; both go into the benchmark's record."""
    if benchmark.stats is None:  # --benchmark-disable: the body ran once
        return
    rate = amount / benchmark.stats.stats.median
    benchmark.extra_info.update({"rate": rate, "goal": goal, "unit": what})
    print(f"\n{benchmark.name}: {rate:,.4g} {what} (goal {goal:,.4g})")


def table(bits, real, columns=None):
    """A nonlinear converter: thresholds anywhere among the psums, integer or real levels; `columns` tables or one."""
    rng = np.random.default_rng(1)

    def one():
        levels = np.sort(rng.uniform(0, 80, 2**bits))
        return np.sort(rng.choice(100, 2**bits - 1, replace=False)).tolist(), (
            levels if real else levels.round()
        ).tolist()

    tables = [one() for _ in range(columns or 1)]
    parts = ([[t for t, _ in tables]], [[v for _, v in tables]]) if columns else tables[0]
    return {"macro.adc": {"model": "nonlinear", "bits": bits, "thresholds": parts[0], "levels": parts[1]}}


MACROS = {
    "clipping, lsb 1": ({}, 4e9),
    "step 2.5": ({"macro.adc.lsb": 2.5}, 1.5e9),
    "steps of every column": (
        {"macro.adc": {"model": "linear", "bits": 6, "lsb": [[1 + 0.004 * c for c in range(512)]]}},
        1.5e9,
    ),
    "threshold table, 6 bits, integer levels": (table(6, False), 1.5e9),
    "threshold table of every column, 4 bits, integer levels": (table(4, False, 512), 1.5e9),
    "threshold table, 4 bits, real levels": (table(4, True), 1.5e9),
    "threshold table, 6 bits, real levels": (table(6, True), 1.5e9),
    "2-bit cells": ({"macro.cell.bits": 2, "macro.adc.bits": 8}, 1e9),
    "2-bit DAC": ({"macro.input.dac_bits": 2, "macro.adc.bits": 8}, 1e9),
}


@pytest.mark.parametrize("name", MACROS)
def test_conversions(benchmark, name):
    overrides, goal = MACROS[name]
    macro = cimemu.load_arch("rram_128", {"macro.adc.bits": 6, **overrides}).macro
    rng = np.random.default_rng(0)
    programmed = program(rng.integers(-128, 128, (128, 64)), macro)
    x = rng.integers(0, 256, (4096, 128)).astype(np.uint8)
    made = programmed.run(x, path="serial").conversions
    benchmark(lambda: programmed.run(x, path="serial"))
    report(benchmark, "conversions/s", made, goal)


@pytest.mark.parametrize("name", ["clipping, lsb 1", "step 2.5"])
def test_two_threads(benchmark, name):
    """Conversions of two threads; the best of them beside the best of one thread, taken in turn, is asked to be 1.8 x."""
    macro = cimemu.load_arch("rram_128", {"macro.adc.bits": 6, **MACROS[name][0]}).macro
    rng = np.random.default_rng(0)
    programmed = program(rng.integers(-128, 128, (128, 64)), macro)
    x = rng.integers(0, 256, (16384, 128)).astype(np.uint8)
    made = programmed.run(x, path="serial", threads=1, counted=False)
    both = benchmark(lambda: programmed.run(x, path="serial", threads=2, counted=False))
    assert both.y.tobytes() == made.y.tobytes()
    if benchmark.stats is None:
        return

    def seconds(threads):
        return timeit.timeit(lambda: programmed.run(x, path="serial", threads=threads, counted=False), number=1)

    alone, together = np.array([[seconds(1), seconds(2)] for _ in range(300)]).min(axis=0)
    print(f"\n{benchmark.name}: {alone / together:.2f} x one thread, best of 300 in turn (goal 1.8)")
    report(benchmark, "conversions/s", 4096 * len(x), 1.8 * 4096 * len(x) / alone)


@pytest.mark.parametrize(("sigma", "goal"), [(0.0, 6e8), (0.5, 3e8)])
def test_conversions_of_cells_that_vary(benchmark, sigma, goal):
    macro = cimemu.load_arch("rram_128", {"macro.adc.bits": 6}).macro
    rng = np.random.default_rng(0)
    w = rng.integers(-128, 128, (128, 64))
    levels = program(w, macro).matrix.levels
    noise = ReadNoise(
        keys=np.full((1, 512), 5, dtype=np.uint64),
        columns=np.arange(512) % 128,
        sigma=np.full((1, 512), quantised_sigma(sigma, macro.cell.fraction_bits)),
    )
    cells = levels * np.exp(rng.normal(0, 0.1, levels.shape))
    programmed = program(w, macro, cells=cells, noise=(noise,) if sigma else ())
    x = rng.integers(0, 256, (1024, 128)).astype(np.uint8)
    made = programmed.run(x).conversions
    benchmark(lambda: programmed.run(x))
    report(benchmark, "conversions/s", made, goal)


@pytest.mark.parametrize("share", [1.0, 0.05])
def test_conversions_with_traps(benchmark, share):
    macro = cimemu.load_arch("rram_128", {"macro.adc.bits": 6}).macro
    rng = np.random.default_rng(0)
    ideal = program(rng.integers(-128, 128, (128, 64)), macro).matrix
    traps = compose([f"telegraph:amplitude=0.2,share={share}"], 7)
    programmed = Programmed(vary_matrix(ideal, own_macros(ideal.layout), traps))
    x = rng.integers(0, 256, (256, 128)).astype(np.uint8)
    made = programmed.run(x).conversions
    benchmark(lambda: programmed.run(x))
    report(benchmark, "conversions/s", made, 2e6)


@pytest.fixture(scope="module")
def resnet20():
    work = cimemu.load_workload("cifar10_resnet20")
    arch = cimemu.load_arch("rram_128", {"macro.adc.bits": 6})
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration()[:64])
    return arch, network, work.inputs(64)[0]


@needs_data
def test_resnet20_bit_serial_with_a_clipping_converter(benchmark, resnet20):
    arch, network, images = resnet20
    emulator = Emulator(network, arch.macro, path="serial")
    emulator.run([images])
    benchmark.pedantic(lambda: emulator.run([images]), rounds=5)
    report(benchmark, "images/s", len(images), 1000 / 30)


@needs_data
def test_resnet20_without_clipping(benchmark, resnet20):
    _, network, images = resnet20
    emulator = Emulator(network, cimemu.load_arch("rram_128", {"macro.adc": "ideal"}).macro)
    emulator.run([images])
    benchmark.pedantic(lambda: emulator.run([images]), rounds=5)
    report(benchmark, "images/s", len(images), 400)


VARIED = {
    "lognormal cells": (["lognormal:sigma=0.1"], 60),
    "lognormal cells, read noise": (["lognormal:sigma=0.1", "thermal:amplifier=0.5"], 100),
    "lognormal cells, weak read noise": (["lognormal:sigma=0.1", "thermal"], 100),
}


@needs_data
@pytest.mark.parametrize("name", VARIED)
def test_resnet20_that_varies(benchmark, resnet20, name):
    arch, network, images = resnet20
    models, goal_ms = VARIED[name]
    emulator = Emulator(network, arch.macro)
    emulator.program(cimemu.make_plan(network, arch), models, seed=7)
    emulator.run([images])
    benchmark.pedantic(lambda: emulator.run([images]), rounds=5)
    report(benchmark, "images/s", len(images), 1000 / goal_ms)


@needs_data
@pytest.mark.parametrize(
    "model",
    [
        "lognormal:sigma=0.1",
        "stuck_at:sa0=0.01,sa1=0.001",
        "ir_drop:segment_ohm=2.5,solver=fast",
        "ir_drop:segment_ohm=2.5",
    ],
)
def test_cells_of_resnet20_drawn_and_written(benchmark, resnet20, model):
    arch, network, _ = resnet20
    emulator, plan = Emulator(network, arch.macro), cimemu.make_plan(network, arch)
    cells = sum(p.matrix.levels.size for m in emulator.matrices.values() for p in m.programmed)
    benchmark.pedantic(lambda: emulator.program(plan, [model], seed=7, threads=2), rounds=5, warmup_rounds=1)
    report(benchmark, "cells/s", cells, 2.2e7)
