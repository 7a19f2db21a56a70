"""Widths of activations by who reads them: wordlines, the network's inputs, the digital unit."""

import float_nets
import numpy as np
import pytest

import cimemu
from cimemu.compute.forward import Emulator
from cimemu.layer.activation import Clip
from cimemu.layer.execute import run_float
from cimemu.layer.quant import QuantizeLinear
from cimemu.ptq.apply import apply_scheme
from cimemu.ptq.scheme import scheme_of

WIDE = {"activations.bits": 2, "activations.image_bits": 7, "activations.digital_bits": 8}


def made(changes, converter="arch", **chip):
    images = np.random.default_rng(0).random((8, 3, 5, 4), dtype=np.float32)
    tree = {"name": "wide", "weights": {"bits": 4}, "converter": {"kind": converter}}
    arch = cimemu.load_arch("rram_128", {"macro.adc": {"model": "ideal"}, **chip})
    return arch, apply_scheme(float_nets.residual(), arch, images, scheme_of(tree, changes)).network, images


def bits_of(qdq):
    """Bits of every quantised tensor: those of the Clip behind its QuantizeLinear, or all 8."""
    found = {}
    for layer in qdq.layers:
        if isinstance(layer, QuantizeLinear):
            clips = [c for c in qdq.layers if isinstance(c, Clip) and c.inputs[0] == layer.outputs[0]]
            found[layer.inputs[0]] = int(clips[0].high + 1).bit_length() - 1 if clips else 8
    return found


def test_a_tensor_is_as_wide_as_what_reads_it_takes():
    _, network, _ = made(WIDE)
    # x: image; a: relu1 folded, read by conv2 and by the sum; c, s (relu2 folded), y: the digital unit; p: through flat to fc
    assert bits_of(network.qdq) == {"x": 7, "a": 2, "c": 8, "s": 8, "p": 2, "f": 2, "y_float": 8}
    assert network.overrides["macro.input.bits"] == 7


def test_one_width_is_the_default():
    _, network, _ = made({"activations.bits": 3})
    assert set(bits_of(network.qdq).values()) == {3}
    assert network.overrides["macro.input.bits"] == 3


@pytest.mark.parametrize("dac_bits", [1, 7])
def test_the_chip_computes_what_a_runtime_does(dac_bits, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    arch, network, images = made(WIDE, **{"macro.input.dac_bits": dac_bits})
    cimemu.save_onnx(network, tmp_path / "wide.onnx")
    session = ort.InferenceSession(str(tmp_path / "wide.onnx"), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": images})
    emulator = Emulator(network, arch.macro)
    assert np.array_equal(emulator.run([images]).tensors[emulator.network.outputs[0]], expected)


def test_wider_sums_scores_and_images_lose_less():
    real = run_float(float_nets.residual(), {"x": made({})[2]}, ["y"])["y"]

    def error(**changes):
        arch, network, images = made({f"activations.{key}": value for key, value in changes.items()})
        emulator = Emulator(network, arch.macro)
        return float(((emulator.run([images]).tensors[emulator.network.outputs[0]] - real) ** 2).mean())

    assert error(bits=3, digital_bits=8) < error(bits=3)
    assert error(bits=3, digital_bits=8, image_bits=8) < error(bits=3, digital_bits=8)
