"""Files of QONNX (Quant, BipolarQuant, Trunc) and of quantize - clip - dequantize, as Brevitas exports them.

Expected values come from the published definition in exact arithmetic: codes are `round(clamp(x / scale + zero point))`.
"""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.check.network import check_network
from cimemu.compute.forward import Emulator
from cimemu.layer.execute import run_float
from cimemu.lower import lower

DOMAIN = "qonnx.custom_op.general"
ARCH = cimemu.load_arch("rram_128", {"macro.adc": {"model": "ideal"}})
EXACT = {
    "ROUND": round,
    "HALF_EVEN": round,
    "CEIL": ceil,
    "FLOOR": floor,
    "UP": lambda v: ceil(v) if v > 0 else floor(v),
    "DOWN": int,
    "HALF_UP": lambda v: floor(v + Fraction(1, 2)) if v > 0 else ceil(v - Fraction(1, 2)),
    "HALF_DOWN": lambda v: ceil(v - Fraction(1, 2)) if v > 0 else floor(v + Fraction(1, 2)),
}
f32 = np.float32


def defined(x, scale, zero, bits, mode="ROUND", *, signed=True, narrow=False):
    """One element of Quant by its definition."""
    low, high = (-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1 - narrow)
    code = EXACT[mode](min(max(Fraction(float(x)) / Fraction(float(scale)) + zero, low), high))
    return float((code - zero) * Fraction(float(scale)))


def node(op, inputs, output, **attributes):
    domain = DOMAIN if op in ("Quant", "IntQuant", "BipolarQuant", "Trunc") else ""
    return helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes)


def load(path, nodes, constants, shape, output="y", opset=17):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return cimemu.load_network(path)


def numbers(scale):
    """Every quarter of a step around 0: ties, and values beyond both ends."""
    return (np.arange(-90, 91) * f32(scale) / 4).astype(f32)[None]


@pytest.mark.parametrize("mode", EXACT)
@pytest.mark.parametrize(("signed", "narrow", "zero"), [(1, 0, 0), (1, 1, 0), (0, 0, 3), (0, 1, 0), (1, 0, 5)])
def test_codes_are_those_of_the_definition_ties_included(tmp_path, mode, signed, narrow, zero):
    for bits in (2, 4):
        constants = {"s": f32(0.25), "z": f32(zero), "b": f32(bits)}
        quant = node("Quant", ["x", "s", "z", "b"], "y", signed=signed, narrow=narrow, rounding_mode=mode)
        x = numbers(0.25)
        made = run_float(load(tmp_path / "n.onnx", [quant], constants, x.shape[1:]), x)["y"]
        right = [defined(v, f32(0.25), zero, bits, mode, signed=bool(signed), narrow=bool(narrow)) for v in x[0]]
        assert made[0].tolist() == right


def test_the_sign_of_one_bit(tmp_path):
    x = numbers(0.25)
    right = np.where(x >= 0, f32(0.5), f32(-0.5))
    made = load(tmp_path / "a.onnx", [node("BipolarQuant", ["x", "s"], "y")], {"s": f32(0.5)}, x.shape[1:])
    assert np.array_equal(run_float(made, x)["y"], right)
    constants = {"s": f32(0.5), "z": f32(0), "b": f32(1)}
    made = load(tmp_path / "b.onnx", [node("Quant", ["x", "s", "z", "b"], "y", signed=1)], constants, x.shape[1:])
    assert np.array_equal(run_float(made, x)["y"], right)


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND", "CEIL"])
def test_trunc_drops_the_lowest_bits(tmp_path, mode):
    codes = np.arange(-128, 128)
    x = (codes * f32(0.125)).astype(f32)[None]
    names, constants = ["x", "s", "z", "b", "o"], {"s": f32(0.125), "z": f32(0), "b": f32(8), "o": f32(5)}
    made = load(tmp_path / "a.onnx", [node("Trunc", names, "y", rounding_mode=mode)], constants, x.shape[1:])
    right = [float(EXACT[mode](Fraction(int(code), 8)) * Fraction(1, 8)) for code in codes]
    assert run_float(made, x)["y"][0].tolist() == right
    constants |= {"r": f32(1.0)}
    names = ["x", "s", "z", "b", "r", "o"]
    made = load(tmp_path / "b.onnx", [node("Trunc", names, "y", rounding_mode=mode)], constants, x.shape[1:])
    right = [float(min(EXACT[mode](Fraction(int(code), 8)), 15)) for code in codes]
    assert run_float(made, x)["y"][0].tolist() == right


def a_network(path, zero=0, bits=4, weight_bits=4):
    """Quantised input, two products with quantised weights (one a scale a channel, one a sign), activations between them."""
    rng = np.random.default_rng(3)
    scale = (2.0 ** rng.integers(-4, -1, (5, 1, 1, 1))).astype(f32)
    constants = {
        "xs": f32(0.125), "z": f32(0), "az": f32(zero), "eight": f32(8), "bits": f32(bits), "wb": f32(weight_bits),
        "w": (rng.normal(size=(5, 2, 3, 3)) * 0.5).astype(f32), "ws": scale, "as": f32(0.25),
        "v": rng.normal(size=(45, 7)).astype(f32), "vs": f32(0.5),
    }  # fmt: skip
    nodes = [
        node("Quant", ["x", "xs", "z", "eight"], "xq", signed=1),
        node("Quant", ["w", "ws", "z", "wb"], "wq", signed=1, narrow=1),
        node("Conv", ["xq", "wq"], "c", pads=[0, 0, 0, 0], strides=[2, 2]),
        node("Relu", ["c"], "r"),
        node("Quant", ["r", "as", "az", "bits"], "a", signed=0),
        node("Flatten", ["a"], "f"),
        node("BipolarQuant", ["v", "vs"], "vq"),
        node("MatMul", ["f", "vq"], "y"),
    ]
    return load(path, nodes, constants, (2, 7, 7)), constants


@pytest.mark.parametrize("zero", [0, 2, 5])
def test_a_network_runs_on_macros_and_is_exact(tmp_path, zero):
    network, constants = a_network(tmp_path / "n.onnx", zero)
    assert network.origin is None  # no other runtime runs the file: it is written in operators of ONNX for a check
    lowered = cimemu.quantize(network, ARCH)
    assert [layer.name for layer in lowered.layers if layer.on_macros] == ["c", "y"]
    x = np.random.default_rng(1).normal(size=(4, 2, 7, 7)).astype(f32)
    made = Emulator(lowered, ARCH.macro).run([x]).tensors["y"]
    exact = np.vectorize(defined, otypes=[np.float64], excluded=["signed", "narrow"])
    xq = exact(x, f32(0.125), 0, 8)
    wq = exact(constants["w"], np.broadcast_to(constants["ws"], constants["w"].shape), 0, 4, narrow=True)
    sums = np.zeros((4, 5, 3, 3))
    for i, j in np.ndindex(3, 3):
        sums += np.einsum("nchw,oc->nohw", xq[:, :, i : i + 5 : 2, j : j + 5 : 2], wq[:, :, i, j])
    a = exact(np.maximum(sums, 0), f32(0.25), zero, 4, signed=False).reshape(4, -1)
    assert np.array_equal(made, (a @ np.where(constants["v"] >= 0, 0.5, -0.5)).astype(f32))
    pytest.importorskip("onnxruntime")
    assert not check_network(lowered, ARCH.macro, x).failed


@pytest.mark.parametrize(
    ("constants", "attributes", "said"),
    [
        ({"b": f32(2.5)}, {}, "bit width"),
        ({"z": f32(0.5)}, {}, "zero point"),
        ({"s": f32(-1)}, {}, "scale"),
        ({"s": np.ones((1, 2, 3), f32)}, {}, "along an axis"),
        ({}, {"rounding_mode": "SIDEWAYS"}, "rounding_mode = SIDEWAYS, must be one of"),
    ],
)
def test_what_it_does_not_take_is_said_in_one_line(tmp_path, constants, attributes, said):
    given = {"s": f32(1), "z": f32(0), "b": f32(4), **constants}
    with pytest.raises(cimemu.CimemuError, match=said):
        load(tmp_path / "n.onnx", [node("Quant", ["x", "s", "z", "b"], "y", **attributes)], given, (2, 3))


def test_quantize_clip_dequantize_is_exact_against_onnx_runtime(tmp_path):
    """As Brevitas exports few bits: an integer Clip between QuantizeLinear and DequantizeLinear, of weights as well."""
    rng = np.random.default_rng(0)
    constants = {
        "xs": f32(0.05), "z": np.int8(0), "lo": np.int8(-7), "hi": np.int8(7), "u": np.uint8(0), "top": np.uint8(15),
        "w": rng.integers(-128, 128, (6, 3, 3, 3)).astype(np.int8), "ws": rng.uniform(0.01, 0.02, 6).astype(f32),
        "wz": np.zeros(6, np.int8), "ys": f32(0.3), "b": rng.integers(-99, 99, 6).astype(np.int32), "none": np.zeros(6, np.int32),
        "zero": np.uint8(0),
    }  # fmt: skip
    constants["bs"] = (constants["xs"] * constants["ws"]).astype(f32)
    nodes = [
        node("QuantizeLinear", ["x", "xs", "z"], "q"),
        node("Clip", ["q", "lo", "hi"], "qc"),
        node("DequantizeLinear", ["qc", "xs", "z"], "xd"),
        node("Clip", ["w", "lo", "hi"], "wc"),
        helper.make_node("DequantizeLinear", ["wc", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "none"], ["bd"], axis=0),
        node("Conv", ["xd", "wd", "bd"], "c"),
        node("Relu", ["c"], "r"),
        node("QuantizeLinear", ["r", "ys", "u"], "yq"),
        node("Clip", ["yq", "u", "top"], "yc"),
        node("DequantizeLinear", ["yc", "ys", "u"], "y"),
    ]
    lowered = cimemu.quantize(load(tmp_path / "n.onnx", nodes, constants, (3, 6, 6)), ARCH)
    assert [layer.name for layer in lowered.layers if layer.on_macros] == ["c"]
    pytest.importorskip("onnxruntime")
    found = check_network(lowered, ARCH.macro, rng.normal(size=(4, 3, 6, 6)).astype(f32))
    assert not found.failed
    assert found.elements > 0


def biased(path, bits):
    """A convolution of quantised operands with a float bias that is no whole number of its products' steps, and a Quant."""
    rng, step = np.random.default_rng(0), f32(0.5)
    nodes = [
        node("Quant", ["x", "sx", "zero", "bits"], "q", signed=1, narrow=0, rounding_mode="ROUND"),
        node("Conv", ["q", "w", "b"], "c", kernel_shape=[1, 1]),
        node("Quant", ["c", "sy", "zero", "bits"], "y", signed=1, narrow=0, rounding_mode="ROUND"),
    ]
    weight = rng.integers(-1, 2, (4, 3, 1, 1)).astype(f32) * step
    nodes.insert(1, node("Quant", ["w0", "sw", "zero", "bits"], "w", signed=1, narrow=1, rounding_mode="ROUND"))
    values = {
        "sx": step, "sw": step, "sy": f32(0.25), "zero": f32(0), "bits": f32(bits), "w0": weight,
        "b": (rng.integers(-3, 4, 4) * 0.25 + 0.15).astype(f32),
    }  # fmt: skip
    network = load(path, nodes, values, [3, 2, 2])
    x = (rng.integers(-2, 2, (20, 3, 2, 2)) * step).astype(f32)
    sums = np.einsum("oc,ncij->noij", weight[:, :, 0, 0], x) + values["b"].reshape(1, 4, 1, 1)
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return network, x, np.clip(np.rint(sums / f32(0.25)), least, most) * f32(0.25)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_float_bias_is_added_as_it_is(tmp_path, bits):
    """ONNX Runtime would round it to steps of 0.25 (input scale x weight scale): no runtime of QONNX does."""
    network, x, expected = biased(tmp_path / "net.onnx", bits)
    lowered = lower(network)
    ours = Emulator(lowered, ARCH.macro).run([x]).tensors[lowered.outputs[0]]
    assert np.array_equal(ours, expected)
    assert not check_network(lowered, ARCH.macro, x).failed


def test_constants_among_the_inputs_are_no_images(tmp_path):
    """The first axis of such a constant is no batch: a file of DequantizeLinear and QuantizeLinear is checked with it."""
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "sx", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "z"], ["v"]),
        helper.make_node("Gemm", ["d", "v", "b"], ["y"]),
    ]
    values = {
        "sx": f32(0.1), "sw": f32(0.01), "z": np.int8(0), "w": rng.integers(-127, 128, (6, 4)).astype(np.int8),
        "b": rng.standard_normal(4).astype(f32),
    }  # fmt: skip
    path = tmp_path / "net.onnx"
    load(path, nodes, values, [6])
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [4]))
    onnx.save(model, path)
    lowered = lower(cimemu.load_network(path))
    assert not check_network(lowered, ARCH.macro, rng.standard_normal((5, 6)).astype(f32)).failed
