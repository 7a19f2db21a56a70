"""QLinear operators, each in a small network, against ONNX Runtime on the very file."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cimemu
from cimemu.check.network import check_network
from cimemu.exporter import onnx_model

MICROSOFT = "com.microsoft"
KINDS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


class Model:
    """A QLinearConv on the input, the operator under test, and a QLinearConv behind it."""

    def __init__(self, seed, dtype="uint8", weight_dtype="int8", per_channel=True, zeros=True):
        self.rng = np.random.default_rng(seed)
        self.dtype, self.weight_dtype, self.per_channel, self.zeros = dtype, weight_dtype, per_channel, zeros
        self.nodes, self.initializers = [], []

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def scale(self, name, low=0.02, high=0.08):
        limits = np.iinfo(self.dtype)
        zero = self.rng.integers(limits.min + 40, limits.max - 40) if self.zeros else 0
        return [
            self.constant(f"{name}.s", np.float32(self.rng.uniform(low, high))),
            self.constant(f"{name}.z", np.array(zero, self.dtype)),
        ]

    def conv(self, x, x_scale, channels_in, channels_out, name, **attributes):
        limits = np.iinfo(self.weight_dtype)
        weight = self.rng.integers(limits.min, limits.max + 1, (channels_out, channels_in, 3, 3)).astype(
            self.weight_dtype
        )
        scales = self.rng.uniform(0.001, 0.01, channels_out if self.per_channel else ()).astype(np.float32)
        zero = np.zeros(scales.shape, self.weight_dtype)
        if self.weight_dtype == "uint8":
            zero = np.full(scales.shape, 121, np.uint8)
        y_scale = self.scale(name)
        inputs = [
            x, *x_scale, self.constant(f"{name}.w", weight), self.constant(f"{name}.ws", scales),
            self.constant(f"{name}.wz", zero), *y_scale,
            self.constant(f"{name}.b", self.rng.integers(-900, 900, channels_out).astype(np.int32)),
        ]  # fmt: skip
        self.nodes.append(helper.make_node("QLinearConv", inputs, [name], name=f"node_{name}", **attributes))
        return name, y_scale

    def node(self, op, inputs, output, domain=MICROSOFT, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"node_{output}", domain=domain, **attributes))
        return output

    def save(self, path, output, shape=("N", 3, 8, 8)):
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("x", KINDS[self.dtype], shape)],
            [helper.make_tensor_value_info(output, KINDS[self.dtype], None)], self.initializers,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(MICROSOFT, 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)

    def inputs(self, count=5, shape=(3, 8, 8)):
        limits = np.iinfo(self.dtype)
        return self.rng.integers(limits.min, limits.max + 1, (count, *shape)).astype(self.dtype)


def nothing_differs(path, images, least=1):
    pytest.importorskip("onnxruntime")
    network = cimemu.quantize(cimemu.load_network(path), cimemu.load_arch("rram_128"))
    found = check_network(network, cimemu.load_arch("rram_128").macro, images)
    assert found.inexact == ()
    assert found.differing == 0, [d for d in found.tensors if d.differing]
    assert found.bit_serial_layers >= least
    assert found.unfused == 0
    return network, found


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("weight_dtype", ["int8", "uint8"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_qlinearconv_of_any_types_zero_points_and_granularity(tmp_path, dtype, weight_dtype, per_channel):
    if (dtype, weight_dtype) == ("int8", "uint8"):
        pytest.skip("ONNX Runtime has no kernel for int8 inputs with uint8 weights")
    model = Model(1, dtype, weight_dtype, per_channel)
    a, scale = model.conv("x", model.scale("x"), 3, 6, "a", pads=[1, 1, 1, 1])
    b, _ = model.conv(a, scale, 3, 4, "b", pads=[0, 1, 2, 1], strides=[2, 1], group=2)
    model.save(tmp_path / "x.onnx", b)
    nothing_differs(tmp_path / "x.onnx", model.inputs(), 2)


OPERATORS = {
    "QLinearAdd": lambda m, a, s, b, t, y: m.node("QLinearAdd", [a, *s, b, *t, *y], "y"),
    "QLinearMul": lambda m, a, s, b, t, y: m.node("QLinearMul", [a, *s, b, *t, *y], "y"),
    "QLinearConcat": lambda m, a, s, b, t, y: m.node("QLinearConcat", [*y, a, *s, b, *t], "y", axis=1),
    "QLinearSigmoid": lambda m, a, s, b, t, y: m.node("QLinearSigmoid", [a, *s, *y], "y"),
    "QLinearLeakyRelu": lambda m, a, s, b, t, y: m.node("QLinearLeakyRelu", [a, *s, *y], "y", alpha=0.1),
    "QLinearAveragePool": lambda m, a, s, b, t, y: m.node(
        "QLinearAveragePool", [a, *s, *y], "y", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 0, 1]
    ),
    "QLinearGlobalAveragePool": lambda m, a, s, b, t, y: m.node("QLinearGlobalAveragePool", [a, *s, *y], "y"),
}


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_operator_of_onnx_runtimes_quantiser(tmp_path, op, dtype, seed):
    model = Model(seed, dtype)
    a, s = model.conv("x", model.scale("x"), 3, 6, "a", pads=[1, 1, 1, 1])
    b, t = model.conv(a, s, 6, 6, "b", pads=[1, 1, 1, 1])
    y = OPERATORS[op](model, a, s, b, t, model.scale("y", 0.01, 0.1))
    model.save(tmp_path / "x.onnx", y)
    nothing_differs(tmp_path / "x.onnx", model.inputs())


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_products_of_matrices(tmp_path, dtype):
    model = Model(5, dtype)
    weight = model.rng.integers(-128, 128, (20, 7)).astype(np.int8)
    x, y, z = (model.scale(name) for name in "xyz")
    w = [
        model.constant("w", weight),
        model.constant("w.s", np.float32(0.004)),
        model.constant("w.z", np.int8(0)),
    ]
    model.node("QLinearMatMul", ["x", *x, *w, *y], "y", domain="")
    w2 = [
        model.constant("v", model.rng.integers(-128, 128, (7, 5)).astype(np.int8)),
        model.constant("v.s", model.rng.uniform(0.001, 0.01, 5).astype(np.float32)),
        model.constant("v.z", np.zeros(5, np.int8)),
    ]
    bias = model.constant("c", model.rng.integers(-500, 500, 5).astype(np.int32))
    model.node("QGemm", ["y", *y, *w2, bias, *z], "z")
    model.save(tmp_path / "x.onnx", "z", ("N", 20))
    network, _ = nothing_differs(tmp_path / "x.onnx", model.inputs(9, (20,)), 2)
    assert [layer.layout for layer in network.layers if layer.on_macros] == ["rows", "rows"]


def test_a_computed_scale_is_refused_by_name(tmp_path):
    model = Model(1)
    a, s = model.conv("x", model.scale("x"), 3, 6, "a")
    model.nodes[0].input[1] = "nothing"
    model.save(tmp_path / "x.onnx", a)
    with pytest.raises(cimemu.WorkloadError, match="nothing"):
        cimemu.load_network(tmp_path / "x.onnx")
    assert s


def test_the_opset_of_a_quantized_softmax_says_what_its_axis_means(tmp_path):
    model = Model(7)
    x_scale, y_scale = model.scale("x"), model.scale("y")
    model.node("QLinearSoftmax", ["x", *x_scale, *y_scale], "y", axis=1, opset=11)
    model.save(tmp_path / "net.onnx", "y")
    network = cimemu.load_network(tmp_path / "net.onnx")
    assert [layer.flatten for layer in network.layers if layer.op == "Softmax"] == [True]
    with pytest.raises(cimemu.WorkloadError, match="flatten its input"):
        onnx_model(network)
    del model.nodes[0].attribute[:]
    model.save(tmp_path / "net.onnx", "y")
    with pytest.raises(cimemu.WorkloadError, match="attribute opset is missing"):
        cimemu.load_network(tmp_path / "net.onnx")


def test_a_quantized_where_lacks_inputs(tmp_path):
    model = Model(8)
    model.node("QLinearWhere", ["x", "x", *model.scale("x"), "x"], "y")
    model.save(tmp_path / "net.onnx", "y")
    with pytest.raises(cimemu.WorkloadError, match="5 inputs, a tensor, scale or zero point is left out"):
        cimemu.load_network(tmp_path / "net.onnx")


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("op", ["QLinearAveragePool", "QLinearAdd"])  # ONNX Runtime itself crashes on QLinearSigmoid
def test_an_output_zero_point_that_is_left_out_is_0_of_the_inputs_type(tmp_path, op, dtype):
    model = Model(3, dtype)
    a, s = model.conv("x", model.scale("x"), 3, 6, "a", pads=[1, 1, 1, 1])
    b, t = model.conv(a, s, 6, 6, "b", pads=[1, 1, 1, 1])
    y = OPERATORS[op](model, a, s, b, t, model.scale("y", 0.01, 0.1))
    del model.nodes[-1].input[-1]
    model.save(tmp_path / "x.onnx", y)
    nothing_differs(tmp_path / "x.onnx", model.inputs())
