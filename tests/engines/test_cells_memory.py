"""What an emulator holds of a weight beside the layer's own two bytes: what the engine that runs needs, and no cells."""

import gc
import tracemalloc

import nets
import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator

ROWS, OUTPUTS = 600, 500


@pytest.mark.parametrize(
    ("changes", "engine", "images", "most"),
    [
        ({}, "exact", 2, 3),  # two bytes in the exact product
        ({"macro.adc.bits": 5}, "packed", 2, 3),  # a bit a cell
        ({"macro.adc.bits": 5}, "planes", 1200, 12),  # two bytes for every cell that is on
        ({"macro.adc.bits": 5, "macro.adc.lsb": 2.5}, "steps", 2, 3),
    ],
)
def test_a_weight_takes_few_bytes(changes, engine, images, most):
    macro = cimemu.load_arch("rram_128", changes).macro
    layer = nets.matrix_layer("fc", "x", "y", 1, ROWS, OUTPUTS, weight_limit=127)
    network = nets.network("wide", [layer], {"x": nets.TensorType((ROWS, 1, 1), "uint8")}, ["y"])
    x = np.random.default_rng(0).integers(0, 256, (images, ROWS, 1, 1)).astype(np.uint8)
    path = "steps" if engine == "steps" else "auto"
    warm = Emulator(network, macro, path=path).run([x])  # kernels are compiled, tables of the process made
    assert engine in warm.paths["fc"]
    tracemalloc.start()
    emulator = Emulator(network, macro, path=path)
    same = emulator.run([x]).tensors["y"].tobytes() == warm.tensors["y"].tobytes()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] / (ROWS * OUTPUTS)
    tracemalloc.stop()
    assert same
    print(f"{engine}, {changes}: {held:.1f} bytes a weight")
    assert held <= most


def test_writing_a_layer_takes_no_cells_at_all():
    """The exact product of a wide layer: the most that is held on the way, on top of the layer's own numbers."""
    macro = cimemu.load_arch("sram_256").macro
    layer = nets.matrix_layer("fc", "x", "y", 1, 3000, 2000, weight_limit=127)
    network = nets.network("wide", [layer], {"x": nets.TensorType((3000, 1, 1), "uint8")}, ["y"])
    x = np.zeros((1, 3000, 1, 1), np.uint8)
    Emulator(network, macro).run([x])
    tracemalloc.start()
    Emulator(network, macro).run([x])
    most = tracemalloc.get_traced_memory()[1] / (3000 * 2000)
    tracemalloc.stop()
    print(f"{most:.1f} bytes a weight")
    assert most <= 4
