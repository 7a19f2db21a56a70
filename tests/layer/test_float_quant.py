"""QuantizeLinear and DequantizeLinear give ONNX Runtime's bits, ties and saturation included."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "importer"))

from onnx_build import model, node, reference, save

from cimemu.importer import load_network
from cimemu.layer.execute import run_float
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear


def test_ties_go_to_even_and_the_ends_saturate():
    x = np.array([[-2.5, -0.5, 0.5, 1.5, 2.5, 127.0, 127.5, 1e30, -1e30]], np.float32)
    layer = QuantizeLinear("q", ("x", "s", "z"), ("y",), dtype="int8")
    (y,) = layer.forward([x, np.float32(1).reshape(()), np.array(0, np.int8)])
    assert y.tolist() == [[-2, 0, 0, 2, 2, 127, 127, 127, -128]]
    assert y.dtype == np.int8


def test_the_zero_point_is_added_after_the_rounding():
    # 2.5 / 1 rounds to 2, plus 3 is 5; rounding 5.5 would give 6.
    layer = QuantizeLinear("q", ("x", "s", "z"), ("y",), dtype="uint8")
    (y,) = layer.forward([np.array([[2.5]], np.float32), np.array(1, np.float32), np.array(3, np.uint8)])
    assert y.tolist() == [[5]]


def test_four_bits_saturate_at_their_own_ends():
    layer = QuantizeLinear("q", ("x", "s"), ("y",), dtype="int4")
    (y,) = layer.forward([np.array([[100.0, -100.0]], np.float32), np.array(1, np.float32)])
    assert y.tolist() == [[7, -8]]
    assert layer.storage == "int8"


def test_dequantize_takes_the_zero_point_off_first():
    layer = DequantizeLinear("d", ("x", "s", "z"), ("y",))
    x = np.array([[0, 255]], np.uint8)
    (y,) = layer.forward([x, np.array(0.5, np.float32), np.array(128, np.uint8)])
    assert y.tolist() == [[-64.0, 63.5]]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(["int8", "uint8", "int16", "uint16"]),
    per_axis=st.booleans(),
    power_of_two=st.booleans(),
)
def test_quantise_and_dequantise_equal_onnx_runtime(tmp_path_factory, seed, dtype, per_axis, power_of_two):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is the reference")
    rng = np.random.default_rng(seed)
    count = 5 if per_axis else 1
    scale = rng.uniform(0.001, 0.3, count).astype(np.float32)
    if power_of_two:
        scale = (2.0 ** rng.integers(-8, 0, count)).astype(np.float32)
    limits = np.iinfo(dtype)
    zero = rng.integers(limits.min, limits.max + 1, count).astype(dtype)
    shape = () if not per_axis else (count,)
    constants = {"s": scale.reshape(shape), "z": zero.reshape(shape)}
    nodes = [node("QuantizeLinear", "x s z", "q", axis=2), node("DequantizeLinear", "q s z", "y", axis=-2)]
    path = save(tmp_path_factory.mktemp("q"), model(nodes, {"x": (3, 5, 40)}, ["q", "y"], constants, opset=21))
    network = load_network(path)
    steps = rng.integers(-300, 300, (3, 3, 5, 40)) / 2  # halves: with scales of powers of two these are ties
    x = (steps * scale.reshape(-1, 1)).astype(np.float32)
    ours = run_float(network, x)
    for name, expected in zip(("q", "y"), reference(path, {"x": x}, ("q", "y"))):
        np.testing.assert_array_equal(ours[name], expected)
        assert ours[name].dtype == expected.dtype
