"""What an emulator holds of a weight: its number, its cells once, and what the engine that runs needs."""

import tracemalloc

import nets
import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator

ROWS, OUTPUTS = 600, 500


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        # 8 cells of a byte; two bytes each: the number as it is written, as the cells have it, in the exact product
        ({}, 16),
        ({"macro.adc.bits": 5}, 14),
        pytest.param({"macro.weight.combine": "analog", "macro.adc.bits": 12}, 18, marks=pytest.mark.slow),
        ({"macro.cell.bits": 2}, 10),
    ],
)
def test_a_weight_takes_few_bytes(changes, most):
    macro = cimemu.load_arch("rram_128", changes).macro
    layer = nets.matrix_layer("fc", "x", "y", 1, ROWS, OUTPUTS, weight_limit=127)
    network = nets.network("wide", [layer], {"x": nets.TensorType((ROWS, 1, 1), "uint8")}, ["y"])
    x = np.random.default_rng(0).integers(0, 256, (2, ROWS, 1, 1)).astype(np.uint8)
    warm = Emulator(network, macro).run([x])  # kernels are compiled, tables of the process made
    tracemalloc.start()
    emulator = Emulator(network, macro)
    held = tracemalloc.get_traced_memory()[0] / (ROWS * OUTPUTS)
    tracemalloc.stop()
    assert emulator.run([x]).tensors["y"].tobytes() == warm.tensors["y"].tobytes()
    print(f"{changes}: {held:.1f} bytes a weight")
    assert held <= most
