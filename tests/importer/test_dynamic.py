"""ConvInteger, MatMulInteger and DynamicQuantizeLinear against ONNX Runtime."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.check.network import check_network

ARCH = cimemu.load_arch("rram_128")


def saved(path, nodes, constants, shape, outputs, dtype=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", dtype, ["N", *shape])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return cimemu.quantize(cimemu.load_network(path), ARCH)


def nothing_differs(network, images, batch=64):
    pytest.importorskip("onnxruntime")
    found = check_network(network, ARCH.macro, images, batch=batch)
    assert found.inexact == ()
    assert found.differing == 0, [d for d in found.tensors if d.differing]
    assert found.bit_serial_layers == sum(layer.on_macros for layer in network.layers) > 0
    return found


@pytest.mark.parametrize("weight", ["int8", "uint8"])
@pytest.mark.parametrize("zeros", [True, False])
def test_convinteger_with_fixed_zero_points(tmp_path, weight, zeros):
    rng = np.random.default_rng(0)
    limits = np.iinfo(weight)
    constants = {
        "w": rng.integers(limits.min, limits.max + 1, (6, 2, 3, 2)).astype(weight),
        "xz": np.uint8(77),
        "wz": np.array(9, weight),
    }
    inputs = ["x", "w", "xz", "wz"] if zeros else ["x", "w"]
    node = helper.make_node("ConvInteger", inputs, ["y"], name="c", pads=[1, 0, 2, 1], strides=[2, 1], group=2)
    network = saved(tmp_path / "x.onnx", [node], constants, (4, 7, 6), [("y", TensorProto.INT32)], TensorProto.UINT8)
    nothing_differs(network, rng.integers(0, 256, (5, 4, 7, 6)).astype(np.uint8))


def test_matmulinteger_with_rows_of_positions(tmp_path):
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(-128, 128, (10, 7)).astype(np.int8), "xz": np.int8(-3), "wz": np.zeros(7, np.int8)}
    node = helper.make_node("MatMulInteger", ["x", "w", "xz", "wz"], ["y"], name="m")
    network = saved(tmp_path / "x.onnx", [node], constants, (4, 10), [("y", TensorProto.INT32)], TensorProto.INT8)
    nothing_differs(network, rng.integers(-128, 128, (5, 4, 10)).astype(np.int8))


def dynamic_conv(pads):
    rng = np.random.default_rng(2)
    constants = {
        "w": rng.integers(-127, 128, (5, 3, 3, 3)).astype(np.int8),
        "wz": np.int8(0),
        "ws": np.float32(0.013),
        "b": rng.normal(size=(1, 5, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="q"),
        helper.make_node("ConvInteger", ["q", "w", "z", "wz"], ["acc"], name="c", pads=pads),
        helper.make_node("Cast", ["acc"], ["real"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Mul", ["s", "ws"], ["scale"], name="scales"),
        helper.make_node("Mul", ["real", "scale"], ["scaled"], name="mul"),
        helper.make_node("Add", ["scaled", "b"], ["y"], name="add"),
    ]
    return nodes, constants


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_dynamic_quantisation_gives_onnx_runtimes_codes_and_sums(tmp_path, pads):
    nodes, constants = dynamic_conv(pads)
    outputs = [("y", TensorProto.FLOAT), ("q", TensorProto.UINT8), ("acc", TensorProto.INT32)]
    network = saved(tmp_path / "x.onnx", nodes, constants, (3, 6, 5), outputs)
    rng = np.random.default_rng(0)
    images = (rng.normal(size=(6, 3, 6, 5)) * rng.uniform(0.1, 9, (6, 1, 1, 1)) + rng.normal(size=(6, 1, 1, 1))).astype(
        np.float32
    )
    images[3] = 0
    # ONNX finds one scale for a whole batch; here an image is a tensor of its own: one at a time.
    found = nothing_differs(network, images, batch=1)
    assert {d.name for d in found.tensors} >= {"q", "acc"}
    together = cimemu.run(ARCH, network, images)
    alone = [cimemu.run(ARCH, network, images[i : i + 1]) for i in range(6)]
    for name in together.outputs:
        assert np.array_equal(together.outputs[name], np.concatenate([r.outputs[name] for r in alone]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif("CIMEMU_DATA" not in os.environ, reason="CIMEMU_DATA names no folder of networks")
def test_resnet20_of_onnx_runtimes_dynamic_quantiser(tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    source = Path(os.environ["CIMEMU_DATA"]) / "networks/resnet20_cifar10.onnx"
    quantization.quantize_dynamic(str(source), str(tmp_path / "d.onnx"), weight_type=quantization.QuantType.QUInt8)
    network = cimemu.quantize(cimemu.load_network(tmp_path / "d.onnx"), ARCH)
    images = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    found = check_network(network, ARCH.macro, images, batch=1)
    # Codes of the first layer are exact; float sums between the layers are rounded in another order by then.
    first = next(d for d in found.tensors if d.name.startswith("input"))
    assert first.differing == 0
    assert found.differing <= 0.002 * found.elements
    assert sum(layer.on_macros for layer in network.layers) >= 19


def per_channel(rng, shape):
    """The nodes behind a dynamic product of weights with a scale a channel, as ONNX Runtime's quantiser writes them."""
    node = helper.make_node
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("Mul", ["s", "ws"], ["scales"]),
        node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["f", "scales"], ["y"]),
    ]
    return nodes, {"ws": rng.uniform(0.01, 0.02, shape).astype(np.float32)}


@pytest.mark.parametrize("positions", [(), (4,), (2, 3)])
def test_a_dynamic_matrix_product_with_a_scale_a_channel(tmp_path, positions):
    rng = np.random.default_rng(0)
    nodes, constants = per_channel(rng, 7)
    constants |= {"w": rng.integers(-128, 128, (10, 7)).astype(np.int8), "wz": np.zeros(7, np.int8)}
    nodes.insert(1, helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["i"], name="m"))
    network = saved(
        tmp_path / "x.onnx", nodes, constants, (*positions, 10), [("y", TensorProto.FLOAT), ("q", TensorProto.UINT8)]
    )
    if not positions:
        x = rng.normal(size=(5, 10)).astype(np.float32)
    else:
        x = rng.normal(size=(5, *positions, 10)).astype(np.float32)
    found = check_network(network, ARCH.macro, x)
    assert not found.failed
    assert found.integers.differing == 0


@pytest.mark.parametrize("axes", [1, 2])
def test_a_dynamic_convolution_with_a_scale_a_channel(tmp_path, axes):
    rng = np.random.default_rng(0)
    nodes, constants = per_channel(rng, (1, 6, *(1,) * axes))
    constants |= {"w": rng.integers(-128, 128, (6, 2, *(3,) * axes)).astype(np.int8)}
    attributes = {"pads": [1, 2] if axes == 1 else [1, 0, 2, 1], "strides": [2] * axes, "group": 2}
    nodes.insert(1, helper.make_node("ConvInteger", ["q", "w", "z"], ["i"], name="c", **attributes))
    network = saved(
        tmp_path / "x.onnx", nodes, constants, (4, *(7,) * axes), [("y", TensorProto.FLOAT), ("i", TensorProto.INT32)]
    )
    found = check_network(network, ARCH.macro, rng.normal(size=(5, 4, *(7,) * axes)).astype(np.float32))
    assert not found.failed
    assert found.integers.differing == 0


@pytest.mark.parametrize("zeros", [True, False])
def test_convinteger_of_a_line(tmp_path, zeros):
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(0, 256, (6, 2, 5)).astype(np.uint8), "xz": np.uint8(77), "wz": np.uint8(9)}
    inputs = ["x", "w", "xz", "wz"] if zeros else ["x", "w"]
    node = helper.make_node("ConvInteger", inputs, ["y"], name="c", pads=[1, 3], strides=[2], dilations=[2], group=2)
    network = saved(tmp_path / "x.onnx", [node], constants, (4, 13), [("y", TensorProto.INT32)], TensorProto.UINT8)
    nothing_differs(network, rng.integers(0, 256, (5, 4, 13)).astype(np.uint8))


def test_a_dynamic_product_of_two_activations(tmp_path):
    node, rng = helper.make_node, np.random.default_rng(0)
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("Transpose", ["q"], ["t"], perm=[0, 2, 1]),
        node("MatMulInteger", ["q", "t", "z", "z"], ["i"], name="both"),
        node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        node("MatMulInteger", ["q", "w", "z"], ["y"], name="m"),
    ]
    constants = {"w": rng.integers(-128, 128, (10, 7)).astype(np.int8)}
    network = saved(
        tmp_path / "x.onnx", nodes, constants, (4, 10), [("f", TensorProto.FLOAT), ("y", TensorProto.INT32)]
    )
    assert [layer.name for layer in network.layers if layer.on_macros] == ["m"]
    found = check_network(network, ARCH.macro, rng.normal(size=(5, 4, 10)).astype(np.float32))
    assert not found.failed
    assert {diff.name for diff in found.tensors} >= {"i", "y"}
