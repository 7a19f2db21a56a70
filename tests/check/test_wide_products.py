"""Products of 16-bit and 4-bit operands against ONNX Runtime, which multiplies them in float32.

Operands and scales (powers of two) are such that float32 holds every sum, in any order: then ONNX Runtime is exact as well and
nothing may differ, ties of the requantisation included, of which one in two to eight sums is one.
"""

from itertools import product

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.check.network import check_network
from cimemu.layer.execute import run_float

pytest.importorskip("onnxruntime")
KINDS = {
    "int4": TensorProto.INT4, "uint4": TensorProto.UINT4, "int8": TensorProto.INT8, "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16, "uint16": TensorProto.UINT16,
}  # fmt: skip
WIDTHS = [("int16", "int8"), ("uint16", "uint8"), ("int16", "int16"), ("uint16", "uint16"), ("uint8", "int16"),
          ("int8", "int4"), ("uint8", "uint4"), ("uint16", "int4"), ("int8", "uint16"), ("int16", "uint4")]  # fmt: skip
OPERATORS = ("conv", "strided", "grouped", "line", "gemm", "rows")
ARCH = cimemu.load_arch("rram_128", {"macro.adc": {"model": "ideal"}})


def limits(kind):
    bits = int(kind.removeprefix("u").removeprefix("int"))
    return (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def stored(name, values, kind):
    if kind in ("int4", "uint4"):
        return helper.make_tensor(name, KINDS[kind], values.shape, values.reshape(-1).astype(int).tolist())
    return numpy_helper.from_array(values.astype(kind), name)


class Draw:
    """Shapes, codes, scales and zero points of one product, small enough to be exact in float32."""

    def __init__(self, operator, x, w, seed):
        rng = self.rng = np.random.default_rng(seed)
        self.operator, self.x, self.w = operator, x, w
        both = "16" in x and "16" in w
        self.x_zero = int(rng.integers(limits(x)[0], limits(x)[1] + 1))
        self.w_zero = int(rng.integers(limits(w)[0], limits(w)[1] + 1)) if seed % 2 or "4" in w else 0
        self.x_reach = 2**9 if both else 7 if "16" in w else 2**17
        self.w_reach = 2**9 if both else 2**17 if "16" in w else 7
        exponents = rng.integers(-6, 1, 2)
        self.x_scale, self.w_scale = (np.float32(2.0**e) for e in exponents)
        self.y_scale = np.float32(self.x_scale * self.w_scale * 2.0 ** rng.integers(1, 4))

    def codes(self, shape, kind, zero, reach):
        low, high = limits(kind)
        return self.rng.integers(max(low, zero - reach), min(high, zero + reach) + 1, shape)

    def shapes(self):
        """(one image, weight, node)."""
        return {
            "conv": ((2, 5, 6), (3, 2, 3, 3), ("Conv", {"pads": [1, 0, 1, 2]})),
            "strided": (
                (2, 7, 6),
                (3, 2, 3, 2),
                ("Conv", {"strides": [2, 3], "pads": [2, 1, 0, 1], "dilations": [2, 1]}),
            ),
            "grouped": ((4, 5, 5), (6, 2, 3, 2), ("Conv", {"group": 2, "strides": [3, 1]})),
            "line": ((3, 9), (4, 3, 5), ("Conv", {"pads": [2, 1], "strides": [2]})),
            "gemm": ((18,), (5, 18), ("Gemm", {"transB": 1})),
            "rows": ((4, 16), (16, 7), ("MatMul", {})),
        }[self.operator]

    def save(self, path, y="int16", relu=False):
        image, weight, (op, attributes) = self.shapes()
        node, rng = helper.make_node, self.rng
        outputs = weight[1] if op == "MatMul" else weight[0]
        constants = [
            numpy_helper.from_array(np.asarray(self.x_scale), "xs"),
            stored("xz", np.array(self.x_zero), self.x),
            stored("w", self.codes(weight, self.w, self.w_zero, self.w_reach), self.w),
            numpy_helper.from_array(np.asarray(self.w_scale), "ws"),
            stored("wz", np.array(self.w_zero), self.w),
            numpy_helper.from_array(np.asarray(self.y_scale), "ys"),
            stored("yz", np.array(int(rng.integers(*limits(y)))), y),
        ]
        names = ["xd", "wd"]
        nodes = [
            node("DequantizeLinear", ["x", "xs", "xz"], ["xd"]),
            node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        ]
        if op != "MatMul":
            bias = rng.integers(-99, 100, outputs).astype(np.int32)
            scale = np.float32(self.x_scale * self.w_scale)
            constants += [numpy_helper.from_array(bias, "b"), numpy_helper.from_array(np.asarray(scale), "bs")]
            nodes.append(node("DequantizeLinear", ["b", "bs"], ["bd"]))
            names.append("bd")
        nodes.append(node(op, names, ["r"], name="product", **attributes))
        nodes += [node("Relu", ["r"], ["limited"])] if relu else []
        nodes.append(node("QuantizeLinear", ["limited" if relu else "r", "ys", "yz"], ["y"]))
        graph = helper.make_graph(
            nodes, "wide", [helper.make_tensor_value_info("x", KINDS[self.x], ["N", *image])],
            [helper.make_tensor_value_info("y", KINDS[y], None)], constants,
        )  # fmt: skip
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
        return self.codes((3, *image), self.x, self.x_zero, self.x_reach).astype(self.x)


def differing(draw, path, **options):
    images = draw.save(path, **options)
    network = cimemu.quantize(cimemu.load_network(path), ARCH)
    assert [layer.name for layer in network.layers if layer.on_macros] == ["product"]
    found = check_network(network, ARCH.macro, images)
    assert found.elements > 0
    return found.differing


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("widths", WIDTHS, ids="-".join)
def test_nothing_differs(tmp_path, operator, widths):
    for seed in range(2):
        assert differing(Draw(operator, *widths, seed), tmp_path / f"{seed}.onnx", relu=bool(seed % 2)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("widths", list(product(["int8", "uint8", "int16", "uint16"], KINDS)), ids="-".join)
def test_nothing_differs_in_the_full_sweep(tmp_path, operator, widths):
    if "16" not in widths[0] + widths[1] and "4" not in widths[1]:
        pytest.skip("8-bit products have integer operators: test_operator_sweep.py")
    for seed, y in product(range(8), ["int8", "uint16"]):
        assert differing(Draw(operator, *widths, seed), tmp_path / "n.onnx", y=y, relu=bool(seed & 2)) == 0


def test_sums_beyond_float32_are_exact_and_onnx_runtime_is_within_its_own_rounding(tmp_path):
    draw = Draw("conv", "int16", "int8", 3)
    draw.w_reach = draw.x_reach = 2**17
    images = draw.save(tmp_path / "n.onnx")
    network = cimemu.quantize(cimemu.load_network(tmp_path / "n.onnx"), ARCH)
    found = check_network(network, ARCH.macro, images)
    assert not [diff for diff in found.tensors if diff.largest > 1]
    source = network.qdq
    real = run_float(source, images, ["xd", "r"])
    wide = {layer.op: layer for layer in network.layers}["WideSum"]
    products = {layer.op: layer for layer in source.layers}["Conv"]
    weight, bias = (source.constants[name].astype(np.float64) for name in products.inputs[1:])
    # the definition, in float64: every product and sum below 2^53 steps of the scales is exact
    x = np.pad(real["xd"].astype(np.float64), ((0, 0), (0, 0), (1, 1), (0, 2)))
    out = np.zeros((3, 3, *network.types["r"].shape[1:]))
    for i, j, c in product(range(3), range(3), range(2)):
        part = x[:, c, i : i + out.shape[2], j : j + out.shape[3]]
        out += part[:, None] * weight[None, :, c, i, j, None, None]
    exact = (out + bias[None, :, None, None]).astype(np.float32)
    made = cimemu.compute.forward.Emulator(network, ARCH.macro).run([images], frozenset(wide.outputs)).tensors["r"]
    assert np.array_equal(made, exact)


def test_a_product_of_16_bits_is_two_passes_over_one_matrix(tmp_path):
    draw = Draw("rows", "uint16", "int8", 0)
    draw.save(tmp_path / "n.onnx")
    network = cimemu.quantize(cimemu.load_network(tmp_path / "n.onnx"), ARCH)
    geometry = next(layer for layer in network.layers if layer.on_macros).geometry
    assert (geometry.channels_in, geometry.channels_out, geometry.positions) == (16, 7, 8)
    plan = {layer.op: layer for layer in cimemu.make_plan(network, ARCH).layers}
    assert plan["Halves"].digital_ops == 2 * 4 * 16
    assert plan["WideSum"].digital_ops == 5 * 4 * 7


def test_a_weight_of_16_bits_is_two_outputs(tmp_path):
    draw = Draw("grouped", "int8", "int16", 0)
    draw.save(tmp_path / "n.onnx")
    network = cimemu.quantize(cimemu.load_network(tmp_path / "n.onnx"), ARCH)
    layer = next(layer for layer in network.layers if layer.on_macros)
    assert layer.weight.shape == (12, 2, 3, 2)
    assert (layer.weight.min() >= 0, layer.weight.max() <= 255) == (True, True)


def test_four_bit_weights_lie_in_four_bit_cells(tmp_path):
    arch = cimemu.load_arch("rram_128", {"macro.adc": {"model": "ideal"}, "macro.weight.bits": 4})
    for kind in ("int4", "uint4"):
        draw = Draw("conv", "uint8", kind, 1)
        images = draw.save(tmp_path / f"{kind}.onnx")
        network = cimemu.quantize(cimemu.load_network(tmp_path / f"{kind}.onnx"), arch)
        assert check_network(network, arch.macro, images).differing == 0
