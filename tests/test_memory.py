"""The memory budget on a real network of 224 x 224 images: never more for tensors and windows, and the same bytes."""

import os
import tracemalloc

import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.windows.strips import Room

pytestmark = pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")
BUDGET, IMAGES = 64 << 20, 24  # 36 MB of tensors of the largest layers


@pytest.mark.slow
@pytest.mark.parametrize("bits", [pytest.param(7, marks=pytest.mark.long), 6])
def test_a_batch_of_photographs_stays_in_64_mib(monkeypatch, bits):
    """7 bits: mostly exact convolutions; 6 bits: converters clip, so windows of every layer are made."""
    pytest.importorskip("PIL.Image")
    work = cimemu.load_workload("imagenet_mobilenet_v2")
    arch, network = cimemu.load_arch("rram_128", {"macro.adc.bits": bits}), cimemu.load_network(work.network)
    emulator = Emulator(network, arch.macro, budget_bytes=BUDGET)
    images = np.tile(work.inputs(3)[0], (IMAGES // 3, 1, 1, 1))
    many = Emulator(network, arch.macro).run([images])
    emulator.run([images])  # cells as planes and tables, which are kept, are made here
    held, made = [], Room.array

    def noted(room, *given):
        array = made(room, *given)
        held.append(sum(flat.nbytes for flat in room._flat.values()))
        return array

    monkeypatch.setattr(Room, "array", noted)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    few = emulator.run([images])
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert 0 < max(held) < BUDGET / 2  # windows, strips and accumulators: tensors have the other half
    assert peak < BUDGET
    assert few.tensors.keys() == many.tensors.keys()
    for name, tensor in few.tensors.items():
        assert tensor.tobytes() == many.tensors[name].tobytes()
    assert np.array_equal(few.counts, many.counts)
