"""bfloat16 weights of ONNX files are read as float32; what is computed in bfloat16 is refused."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.check.network import check_network
from cimemu.layer.execute import run_float

ARCH = cimemu.load_arch("rram_128", {"macro.adc": "ideal"})
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((5, 4)).astype(ml_dtypes.bfloat16)


def saved(path, nodes, kind, constants, output=None):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["N", 5])],
        [helper.make_tensor_value_info("y", output or kind, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    return cimemu.load_network(path)


def weights_alone(path):
    nodes = [
        helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    return saved(path, nodes, TensorProto.FLOAT, {"w": WEIGHT})


def a_constant_node(path):
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(WEIGHT)),
        helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    return saved(path, nodes, TensorProto.FLOAT, {})


def float_ends(path):
    nodes = [
        helper.make_node("Cast", ["x"], ["n"], to=TensorProto.BFLOAT16),
        helper.make_node("MatMul", ["n", "w"], ["p"]),
        helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT),
    ]
    return saved(path, nodes, TensorProto.FLOAT, {"w": WEIGHT})


@pytest.mark.parametrize("build", [weights_alone, a_constant_node])
def test_bfloat16_weights_are_exact_in_float32(tmp_path, build):
    network = build(tmp_path / "net.onnx")
    x = RNG.standard_normal((8, 5)).astype(np.float32)
    assert network.types["x"].dtype == network.types[network.outputs[0]].dtype == "float32"
    np.testing.assert_allclose(
        run_float(network, x)[network.outputs[0]], x @ WEIGHT.astype(np.float32), rtol=1e-5, atol=1e-6
    )
    integers = cimemu.quantize(network, ARCH, calibration=x)
    assert not check_network(integers, ARCH.macro, x).failed


def test_what_is_computed_in_bfloat16_is_one_line(tmp_path):
    with pytest.raises(cimemu.WorkloadError, match="bfloat16") as error:
        float_ends(tmp_path / "net.onnx")
    assert "\n" not in str(error.value)
