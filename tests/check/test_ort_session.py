"""8-bit products of ONNX Runtime: exact, or said not to be, whatever the processor."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.check.network import check_network
from cimemu.check.ort_session import make_session, saturable, saturates

KINDS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


def one_product(op, x_type, w_type, extreme=False):
    """A model of one product whose sums are as large as they can be, or random."""
    rng = np.random.default_rng(0)
    x_range, w_range = np.iinfo(x_type), np.iinfo(w_type)
    shape, weight_shape = ((3, 8, 5, 5), (6, 8, 3, 3)) if "Conv" in op else ((3, 64), (64, 6))
    x = rng.integers(x_range.min, x_range.max + 1, shape).astype(x_type)
    w = rng.integers(w_range.min, w_range.max + 1, weight_shape).astype(w_type)
    if extreme:
        x[:], w[:], w[1::2] = x_range.max, w_range.min, w_range.max
    constants = {
        "w": w, "xz": np.array(3, x_type), "wz": np.array(0, w_type), "yz": np.array(0, x_type),
        "s": np.float32(1), "ys": np.float32(2e4),
    }  # fmt: skip
    if op.endswith("Integer"):
        inputs, kind = ["x", "w", "xz", "wz"], TensorProto.INT32
    else:
        inputs, kind = ["x", "s", "xz", "w", "s", "wz", *([""] if op == "QGemm" else []), "ys", "yz"], KINDS[x_type]
    node = helper.make_node(op, inputs, ["y"], name="n", domain="com.microsoft" if op == "QGemm" else "")
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", KINDS[x_type], ["N", *shape[1:]])],
        [helper.make_tensor_value_info("y", kind, None)], [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), x


CASES = [
    *((op, x, w) for op in ("QLinearConv", "QLinearMatMul", "QGemm") for x, w in (("uint8", "int8"), ("int8", "int8"))),
    ("QLinearConv", "uint8", "uint8"),
    ("MatMulInteger", "uint8", "int8"),
    ("MatMulInteger", "int8", "uint8"),
    ("MatMulInteger", "int8", "int8"),
    ("ConvInteger", "uint8", "int8"),
    ("ConvInteger", "uint8", "uint8"),
]


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize(("op", "x_type", "w_type"), CASES)
def test_the_products_of_the_largest_operands_are_exact(tmp_path, op, x_type, w_type, extreme):
    pytest.importorskip("onnxruntime")
    model, x = one_product(op, x_type, w_type, extreme)
    onnx.save(model, tmp_path / "x.onnx")
    network = cimemu.quantize(cimemu.load_network(tmp_path / "x.onnx"), cimemu.load_arch("rram_128"))
    found = check_network(network, cimemu.load_arch("rram_128").macro, x)
    assert found.inexact == ()
    assert found.differing == 0
    assert found.bit_serial_layers == 1


def test_a_product_that_no_option_makes_exact_is_named(tmp_path):
    pytest.importorskip("onnxruntime")
    model, x = one_product("ConvInteger", "int8", "uint8", True)
    onnx.save(model, tmp_path / "x.onnx")
    network = cimemu.quantize(cimemu.load_network(tmp_path / "x.onnx"), cimemu.load_arch("rram_128"))
    found = check_network(network, cimemu.load_arch("rram_128").macro, x)
    assert found.inexact == (("y",) if saturates() else ())
    assert found.differing == 0 or found.inexact
    assert found.as_dict()["inexact"] == list(found.inexact)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64) - 3, (3, 3), axis=(2, 3))
    weights = numpy_helper.to_array(model.graph.initializer[0]).astype(np.int64)
    ours = cimemu.run(cimemu.load_arch("rram_128"), network, x, detail=None).outputs
    assert np.array_equal(ours, np.einsum("nchwij,ocij->nohw", windows, weights))


def test_only_pairs_beyond_16_bits_are_saturable():
    assert saturable(one_product("QLinearConv", "uint8", "int8")[0]) == ["y"]
    assert saturable(one_product("ConvInteger", "int8", "uint8")[0]) == ["y"]
    for op, x_type, w_type in CASES:
        model = one_product(op, x_type, w_type)[0]
        assert bool(saturable(model)) == ((x_type, w_type) == ("uint8", "int8") and op != "ConvInteger")
    model = one_product("QLinearMatMul", "uint8", "int8")[0]
    small = numpy_helper.from_array(np.full((64, 6), -64, np.int8), "w")
    model.graph.initializer[0].CopyFrom(small)
    assert saturable(model) == []


def test_a_graph_at_fault_keeps_the_runtimes_own_reason():
    runtime = pytest.importorskip("onnxruntime")
    model, _ = one_product("QLinearConv", "int8", "uint8")
    with pytest.raises(runtime.capi.onnxruntime_pybind11_state.NotImplemented, match="QLinearConv"):
        make_session(model.SerializeToString())
