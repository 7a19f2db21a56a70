"""Weights quantised in blocks (MatMulNBits, DequantizeLinear with block_size) against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.check.ort_session import make_session
from cimemu.layer.execute import run_float

pytest.importorskip("onnxruntime")
DEPTH, OUTPUTS, BLOCK, BLOCKS = 40, 6, 16, 3


def saved(path, nodes, constants, opset=21):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    x = np.random.default_rng(5).normal(size=(4, 3, DEPTH)).astype(np.float32)
    return x, make_session(path.read_bytes()).run(["y"], {"x": x})[0]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_matmul_nbits(tmp_path, bits, zeros, bias):
    rng = np.random.default_rng(bits)
    constants = {
        "w": rng.integers(0, 256, (OUTPUTS, BLOCKS, BLOCK * bits // 8)).astype(np.uint8),
        "s": rng.uniform(0.01, 0.02, OUTPUTS * BLOCKS).astype(np.float32),
    }
    inputs = ["x", "w", "s"]
    if zeros:
        constants["z"] = rng.integers(0, 256, OUTPUTS * -(-BLOCKS * bits // 8)).astype(np.uint8)
        inputs.append("z")
    if bias:
        constants["b"] = rng.normal(size=OUTPUTS).astype(np.float32)
        inputs += [""] * (5 - len(inputs)) + ["b"]
    node = helper.make_node(
        "MatMulNBits",
        inputs,
        ["y"],
        domain="com.microsoft",
        K=DEPTH,
        N=OUTPUTS,
        bits=bits,
        block_size=BLOCK,
        accuracy_level=1,
    )
    x, right = saved(tmp_path / "n.onnx", [node], constants)
    assert np.allclose(run_float(cimemu.load_network(tmp_path / "n.onnx"), x)["y"], right, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_dequantised_in_blocks(tmp_path, axis):
    rng = np.random.default_rng(axis)
    blocks = (DEPTH // 8, OUTPUTS) if axis == 0 else (DEPTH, OUTPUTS // 3)
    codes = rng.integers(-8, 8, (DEPTH, OUTPUTS))
    constants = {
        "w": helper.make_tensor("w", TensorProto.INT4, codes.shape, codes.reshape(-1).tolist()),
        "s": rng.uniform(0.01, 0.02, blocks).astype(np.float32),
        "z": helper.make_tensor("z", TensorProto.INT4, blocks, rng.integers(-8, 8, blocks).reshape(-1).tolist()),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wd"], axis=axis, block_size=8 if axis == 0 else 3),
        helper.make_node("MatMul", ["x", "wd"], ["y"]),
    ]
    x, right = saved(tmp_path / "n.onnx", nodes, constants)
    network = cimemu.load_network(tmp_path / "n.onnx")
    assert np.allclose(run_float(network, x)["y"], right, atol=1e-4)
    made = cimemu.quantize(network, cimemu.load_arch("rram_128"), x)
    assert sum(layer.on_macros for layer in made.layers) == 1


def test_blocks_of_an_activation_are_refused_in_one_line(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s0"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"], axis=2, block_size=8),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    constants = {"s0": np.float32(0.1), "s": np.ones((1, 3, DEPTH // 8), np.float32)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, DEPTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "n.onnx")
    with pytest.raises(cimemu.CimemuError, match="block_size"):
        cimemu.load_network(tmp_path / "n.onnx")
