"""Behind a float operator `check` feeds the emulator what the reference fed it: a difference is judged where it arises."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.check.network import check_network
from cimemu.check.report import CODE_SHARE
from cimemu.compute.forward import Emulator

ARCH = cimemu.load_arch("rram_128")
COUNT = 300


def two_products(path):
    """Product, Sigmoid, product: the codes of the second product's operand are made of floats."""
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal((16, 16)).astype(np.float32) for name in ("w1", "w2")}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["a"]),
            helper.make_node("LayerNormalization", ["a", "g"], ["n"], axis=-1),
            helper.make_node("MatMul", ["n", "w2"], ["y"]),
        ],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 16])],
        [numpy_helper.from_array(v, k) for k, v in {**weights, "g": np.ones(16, np.float32)}.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    x = rng.standard_normal((COUNT, 16)).astype(np.float32)
    return cimemu.quantize(cimemu.load_network(path), ARCH, x), x


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return two_products(tmp_path_factory.mktemp("n") / "n.onnx")


@pytest.mark.slow
def test_onnx_runtime_s_codes_are_counted_apart_from_integers_of_integer_operators(network):
    pytest.importorskip("onnxruntime")
    found = check_network(*network[:1], ARCH.macro, network[1])
    assert found.status == "agrees"
    assert (found.integers.elements, found.integers.differing) == (16 * COUNT, 0)  # the codes of x
    assert found.codes.elements == 16 * COUNT
    assert found.codes.largest <= 1
    assert found.elements == found.integers.elements + found.codes.elements + found.floats.elements
    assert found.as_dict()["codes"]["elements"] == 16 * COUNT


@pytest.mark.slow
def test_layers_behind_a_code_are_fed_the_reference_s(network, tmp_path):
    qnet, x = network
    code = "n_QuantizeLinear_Output"
    emulator = Emulator(qnet, ARCH.macro, adcs={})
    straight = emulator.run([x], keep=frozenset([code])).tensors
    moved = straight[code].copy()
    moved[0, 0] = moved[0, 0] - 1 if moved[0, 0] > 127 else moved[0, 0] + 1
    fed = emulator.run([x], keep=frozenset([code]), feed={code: moved}).tensors
    assert np.array_equal(fed[code], straight[code])  # what was computed is returned
    assert not np.array_equal(fed["y"][0], straight["y"][0])
    assert np.array_equal(fed["y"][1:], straight["y"][1:])
    np.savez(tmp_path / "t.npz", **{code: moved, "y": fed["y"]})
    found = check_network(qnet, ARCH.macro, x, against=str(tmp_path / "t.npz"))
    assert (found.codes.differing, found.codes.largest, found.floats.differing) == (1, 1, 0)
    assert found.codes.differing <= CODE_SHARE * found.codes.elements
    assert found.failed == (not found.codes.explained)  # only float rounding excuses it


@pytest.mark.slow
def test_a_code_two_steps_apart_and_too_many_codes_fail(network, tmp_path):
    qnet, x = network
    code = "n_QuantizeLinear_Output"
    straight = Emulator(qnet, ARCH.macro, adcs={}).run([x], keep=frozenset([code])).tensors[code]
    for change in (lambda a: a.__setitem__((0, 0), (int(a[0, 0]) + 2) % 256), lambda a: a.__setitem__(0, a[0] ^ 1)):
        wrong = straight.copy()
        change(wrong)
        np.savez(tmp_path / "t.npz", **{code: wrong})
        found = check_network(qnet, ARCH.macro, x, against=str(tmp_path / "t.npz"))
        assert (found.status, found.first_layer) == ("differs", "n_QuantizeLinear")


def test_a_weight_that_is_read_twice_is_given_to_onnx_runtime_twice(tmp_path):
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(1)
    w = rng.standard_normal((4, 4, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
            helper.make_node("Conv", ["a", "w"], ["y"], pads=[1, 1, 1, 1]),
        ],
        "shared",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 6, 6])],
        [numpy_helper.from_array(w, "w")],
    )
    path = tmp_path / "s.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    x = rng.standard_normal((3, 4, 6, 6)).astype(np.float32)
    qnet = cimemu.quantize(cimemu.load_network(path), ARCH, x)
    assert check_network(qnet, ARCH.macro, x).status == "agrees"


def test_a_constant_that_joins_every_image_is_written_for_every_image(tmp_path):
    """The class token of a vision transformer, exported for one image."""
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(2)
    graph = helper.make_graph(
        [helper.make_node("Concat", ["t", "x"], ["j"], axis=1), helper.make_node("MatMul", ["j", "w"], ["y"])],
        "token",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 4])],
        [
            numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
            for name, shape in (("t", (1, 1, 4)), ("w", (4, 4)))
        ],
    )
    path = tmp_path / "t.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    x = rng.standard_normal((5, 3, 4)).astype(np.float32)
    qnet = cimemu.quantize(cimemu.load_network(path), ARCH, x)
    assert check_network(qnet, ARCH.macro, x).status == "agrees"
    again = cimemu.quantize(cimemu.load_network(cimemu.save_onnx(qnet, tmp_path / "q.onnx")), ARCH)
    outputs = [cimemu.run(ARCH, n, x, detail=None).outputs for n in (qnet, again)]
    assert np.array_equal(*outputs)
