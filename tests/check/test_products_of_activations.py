"""Products of two activations on macros against ONNX Runtime: its integers, or its floats within the bound."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.check.network import check_network

pytest.importorskip("onnxruntime")
TYPES = {name: getattr(TensorProto, name.upper()) for name in ("uint8", "int8", "uint16", "int16")}


def model(a_type, b_type, *, quantised, moved):
    """A product of a [2, 5, 8] and b, with a QuantizeLinear behind it or none, and a product with a weight beside it."""
    constants = {
        "sa": np.float32(0.013),
        "sb": np.float32(0.021),
        "za": np.array(3, a_type),
        "zb": np.array(5, b_type),
        "sy": np.float32(0.1),
        "zy": np.array(1, a_type),
        "w": np.arange(32, dtype=np.int8).reshape(8, 4) - 10,
        "sw": np.float32(0.3),
        "zw": np.array(0, np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "sa", "za"], ["ra"]),
        helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["rb"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["rw"]),
        helper.make_node("MatMul", ["ra", "rw"], ["z"], name="weighted"),
        helper.make_node("MatMul", ["ra", "turned" if moved else "rb"], ["ry" if quantised else "y"], name="product"),
    ]
    if moved:
        nodes.insert(4, helper.make_node("Transpose", ["rb"], ["turned"], perm=[0, 1, 3, 2]))
    if quantised:
        nodes.append(helper.make_node("QuantizeLinear", ["ry", "sy", "zy"], ["y"]))
    b_shape = [2, 6, 8] if moved else [2, 8, 6]
    graph = helper.make_graph(
        nodes,
        "product",
        [
            helper.make_tensor_value_info("a", TYPES[a_type], ["N", 2, 5, 8]),
            helper.make_tensor_value_info("b", TYPES[b_type], ["N", *b_shape]),
        ],
        [
            helper.make_tensor_value_info("y", TYPES[a_type] if quantised else TensorProto.FLOAT, ["N", 2, 5, 6]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 2, 5, 4]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    made.ir_version = 10
    onnx.checker.check_model(made)
    return made


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize(
    "types",
    [
        ("uint8", "uint8"),
        ("uint8", "int8"),
        ("int8", "int8"),
        ("int8", "uint8"),
        ("uint16", "int16"),
        ("int16", "int8"),
    ],
)
def test_a_product_of_two_activations_is_what_onnx_runtime_gives(types, quantised, moved, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model(*types, quantised=quantised, moved=moved).SerializeToString())
    arch = cimemu.load_arch("sram_128", {"macro.adc": {"model": "ideal"}, "mapping.activations": "macros"})
    network = cimemu.quantize(cimemu.load_network(path), arch)
    assert [layer.op for layer in network.layers if layer.name == "product"] == ["WrittenProduct"]
    rng = np.random.default_rng(0)
    ends = [(np.iinfo(kind).min, np.iinfo(kind).max) for kind in types]
    if types == ("uint8", "int8"):
        ends[1] = (-64, 64)  # kernels without VNNI add such pairs of products in 16 bits: 2 * 255 * 64 < 2^15
    inputs = {
        name: rng.integers(low, high + 1, (3, *network.types[name].shape)).astype(kind)
        for name, kind, (low, high) in zip("ab", types, ends)
    }
    report = check_network(network, arch.macro, inputs)
    (y,) = [row for row in report.tensors if row.name == "y"]
    assert y.differing == 0, y
    if y.kind == "integer":
        assert y.differing == 0
    assert report.shortcut_layers == 0
    assert cimemu.run(arch, network, inputs).cycles > 0


@pytest.mark.parametrize("activations", ["digital", "macros"])
@pytest.mark.parametrize(
    "zeros", [("", ""), ("constant", "constant"), ("", "constant"), ("computed", "constant"), ("constant", "")]
)
def test_matmul_integer_of_two_activations_with_any_zero_points(zeros, activations, tmp_path):
    types = {"a": "uint8", "b": "uint8"}
    constants = {"w": np.arange(32, dtype=np.int8).reshape(8, 4) - 10}
    nodes, names = [helper.make_node("DynamicQuantizeLinear", ["x"], ["a", "s", "computed"], name="codes")], []
    for place, name in enumerate("ab"):
        names.append({"": "", "constant": f"{name}z", "computed": "computed"}[zeros[place]])
        constants[f"{name}z"] = np.array(7 + place, types[name])
    nodes += [
        helper.make_node("MatMulInteger", ["a", "b", *names], ["y"], name="product"),
        helper.make_node("MatMulInteger", ["a", "w", "computed"], ["z"], name="weighted"),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 5, 8]),
            helper.make_tensor_value_info("b", TensorProto.UINT8, [1, 8, 6]),
        ],
        [helper.make_tensor_value_info(n, TensorProto.INT32, [1, 5, c]) for n, c in (("y", 6), ("z", 4))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    path = tmp_path / "net.onnx"
    path.write_bytes(made.SerializeToString())
    keys = {"macro.adc": {"model": "ideal"}, "mapping.activations": activations}
    arch = cimemu.load_arch("sram_128", keys)
    network = cimemu.quantize(cimemu.load_network(path), arch)
    kind = {"digital": "IntegerMatMul", "macros": "WrittenProduct"}[activations]
    assert [layer.op for layer in network.layers if layer.name == "product"] == [kind]
    rng = np.random.default_rng(0)
    inputs = {
        "x": rng.normal(size=(3, 5, 8)).astype(np.float32),
        "b": rng.integers(0, 256, (3, 8, 6)).astype(np.uint8),
    }
    report = check_network(network, arch.macro, inputs)
    assert {row.name for row in report.tensors} >= {"y", "z"}
    assert all(row.differing == 0 for row in report.tensors)
    assert cimemu.run(arch, network, inputs).cycles > 0


def test_a_zero_point_a_column_of_an_activation_is_refused(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b", "", "zeros"], ["y"], name="product")],
        "product",
        [
            helper.make_tensor_value_info(n, TensorProto.UINT8, ["N", *shape])
            for n, shape in (("a", (5, 8)), ("b", (8, 6)))
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["N", 5, 6])],
        [numpy_helper.from_array(np.arange(6, dtype=np.uint8), "zeros")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path = tmp_path / "net.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(cimemu.WorkloadError, match="6 zero points of B, which is computed, must be 1"):
        cimemu.load_network(path)
