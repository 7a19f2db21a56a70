"""BATCH_MATMUL of two activations on macros against LiteRT's reference kernels, under many scales."""

import warnings

import numpy as np
import pytest
import test_tflite_wide as wide
from test_tflite_sweeps import Draw
from tflite_build import litert
from tflite_grids import batch_matmul

import cimemu
from cimemu.compute.forward import Emulator

KEYS = {"macro.adc": {"model": "ideal"}, "mapping.activations": "macros"}


@pytest.mark.parametrize("encoding", ["offset", "differential"])
@pytest.mark.parametrize(("dtype", "draw", "build"), [("int8", Draw, batch_matmul), ("int16", wide.Wide, wide.matmul)])
def test_a_product_on_macros_equals_litert(dtype, draw, build, encoding, tmp_path):
    arch = cimemu.load_arch("sram_128", {**KEYS, "macro.weight.encoding": encoding})
    path, seed, compared = tmp_path / "n.tflite", 0, 0
    while compared < 4:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            images = build(draw(seed, dtype), path)
        seed += 1
        try:
            network = cimemu.quantize(cimemu.load_network(path), arch)
        except cimemu.WorkloadError:
            assert seed < 30, "nearly all sets are refused"
            continue
        assert {layer.op for layer in network.layers} == {"WrittenProduct"}
        tensors = Emulator(network, arch.macro).run(list(images)).tensors
        for name, theirs in zip(network.outputs, litert(path.read_bytes(), *images)):
            assert tensors[name].dtype == theirs.dtype
            assert np.array_equal(tensors[name].reshape(theirs.shape), theirs)
        compared += 1
