"""Whole networks, one thread: a photograph through values, timing and trace; images of the small networks; growth."""

import os
import time
import timeit
from dataclasses import replace

import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.engines.programmed import program
from cimemu.prepare import quantized_network

pytestmark = pytest.mark.bench
needs_data = pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")
TINY = {"tiny_kws": 250, "tiny_resnet8": 200, "tiny_ad": 2500}  # images a second as goal


@needs_data
@pytest.mark.parametrize("bits", [7, 6])
@pytest.mark.parametrize("name", ["imagenet_efficientnet_lite0", "imagenet_mobilenet_v2"])
def test_a_photograph_with_values_timing_and_trace(benchmark, rate, name, bits, tmp_path):
    """All that `cimemu run` does once the network is integers: cells written, values, timing of operations, trace."""
    pytest.importorskip("PIL.Image")
    work = cimemu.load_workload(name)
    arch = cimemu.load_arch("rram_128", {"chip.tiles": 1024, "macro.adc.bits": bits})
    network, (images, labels) = quantized_network(work, arch), work.inputs(1)

    def once():
        return cimemu.run(arch, replace(network), images, labels, trace=tmp_path / "t.h5", overwrite=True, threads=1)

    assert once().cycles > 0
    benchmark.pedantic(once, rounds=3)
    rate(f"{name}, {bits}-bit converter, one image: values, timing, trace", 1, "1/s", 5, seconds=True)


@needs_data
def test_calibration_of_efficientnet_lite0(benchmark, rate):
    pytest.importorskip("PIL.Image")
    work, arch = cimemu.load_workload("imagenet_efficientnet_lite0"), cimemu.load_arch("rram_128")
    benchmark.pedantic(lambda: quantized_network(work, arch), rounds=2, warmup_rounds=1)
    rate("imagenet_efficientnet_lite0 read and calibrated on 8 images", 1, "1/s", 5, seconds=True)


@needs_data
@pytest.mark.parametrize("name", TINY)
def test_small_networks_with_a_clipping_converter(benchmark, rate, name):
    work, arch = cimemu.load_workload(name), cimemu.load_arch("rram_128", {"macro.adc.bits": 6})
    network, images = quantized_network(work, arch), work.inputs(64)[0]
    emulator = Emulator(network, arch.macro, path="serial")
    emulator.run([images])
    benchmark.pedantic(lambda: emulator.run([images]), rounds=5)
    rate(f"{name}, bit-serial, clipping 6-bit converter, batch 64", len(images), "images/s", TINY[name])


GROWTH = {
    "images": (1, 2, 4, 8, 16, 32, 64),
    "rows": (64, 128, 256, 512),
    "weight bits": (2, 4, 6, 8),
    "input bits": (2, 4, 6, 8),
    "channels": (16, 32, 64, 128, 256),
    "threads": (1, 2),
}


@needs_data
@pytest.mark.parametrize("step", [1.0, 2.5])
@pytest.mark.parametrize("what", GROWTH)
def test_cost_grows_linearly(growth, what, step):
    """Processor time by one number, behind 6-bit converters; the table has log-log slopes: of all, and of the last two."""
    seconds = {}
    for value in GROWTH[what]:
        run = resnet20(value, step) if what == "images" else product(step, **{what.replace(" ", "_"): value})
        run()
        number = max(1, int(0.05 / min(spent(run, 1, 3))))
        seconds[value] = min(spent(run, number, 9)) / number
    sizes, times = (np.log(list(numbers)) for numbers in (seconds, seconds.values()))
    slope = np.polyfit(sizes, times, 1)[0]
    last = (times[-1] - times[-2]) / (sizes[-1] - sizes[-2])
    shown = ", ".join(f"{value}: {1e3 * time:.3g}" for value, time in seconds.items())
    growth(f"{what}, step {step:g}", f"{shown} ms", f"{slope:.2f}", f"{last:.2f}")


def spent(run, number, repeat):
    return timeit.repeat(run, timer=time.process_time, number=number, repeat=repeat)


def resnet20(images, step):
    """A call that runs so many images through ResNet-20."""
    work = cimemu.load_workload("cifar10_resnet20")
    arch = cimemu.load_arch("rram_128", {"macro.adc.bits": 6, "macro.adc.lsb": step})
    emulator, inputs = Emulator(quantized_network(work, arch), arch.macro, path="serial"), work.inputs(images)[0]
    emulator.run([work.inputs(16)[0]])
    return lambda: emulator.run([inputs])


def product(step, rows=128, weight_bits=8, input_bits=8, channels=64, threads=1):
    """A call that multiplies 4096 input vectors by [rows, channels] weights, all rows raised at once."""
    macro = cimemu.load_arch(
        "rram_128",
        {
            "macro.rows": rows,
            "macro.active_rows": rows,
            "macro.adc.bits": 6,
            "macro.adc.lsb": step,
            "macro.weight.bits": weight_bits,
            "macro.input.bits": input_bits,
        },
    ).macro
    rng = np.random.default_rng(0)
    half = 2 ** (weight_bits - 1)
    programmed = program(rng.integers(-half, half, (rows, channels)), macro)
    x = rng.integers(0, 2**input_bits, (4096, rows)).astype(np.uint8)
    return lambda: programmed.run(x, path="serial", threads=threads, counted=False)
