"""One small network file for every quantised operator of ONNX and TensorFlow Lite, with a product in each."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tflite_build import TflBuilder

MICROSOFT = "com.microsoft"
KINDS = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "int32": TensorProto.INT32}


class OnnxFile:
    """A file with a convolution of the input: `a` and `b` are its two results [images, 4, 4, 4], quantised."""

    def __init__(self, form, dtype="uint8"):
        self.form, self.dtype, self.rng = form, dtype, np.random.default_rng(3)
        self.nodes, self.constants = [], {}
        self.scale("x", 0.05)
        if form == "qdq":
            self.node("QuantizeLinear", ["x", "x_s", "x_z"], "x_q")
            self.node("DequantizeLinear", ["x_q", "x_s", "x_z"], "x_d")
        for name in "ab":
            self.conv(name)

    def constant(self, name, value):
        self.constants[name] = np.asarray(value)
        return name

    def scale(self, name, scale, zero=None):
        zero = (120 if self.dtype == "uint8" else -5) if zero is None else zero
        return [self.constant(f"{name}_s", np.float32(scale)), self.constant(f"{name}_z", np.array(zero, self.dtype))]

    def node(self, op, inputs, output, domain="", **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"node_{output}", domain=domain, **attributes))
        return output

    def conv(self, name):
        scales = self.rng.uniform(0.01, 0.03, 4).astype(np.float32)
        weight = [
            self.constant(f"{name}_w", self.rng.integers(-127, 128, (4, 3, 2, 2)).astype(np.int8)),
            self.constant(f"{name}_w_s", scales),
            self.constant(f"{name}_w_z", np.zeros(4, np.int8)),
        ]
        bias = self.constant(f"{name}_b", self.rng.integers(-900, 900, 4).astype(np.int32))
        ways = {"pads": [0, 0, 1, 1], "strides": [1, 1]}
        y = self.scale(name, 0.06)
        if self.form == "qlinear":
            self.node("QLinearConv", ["x", "x_s", "x_z", *weight, *y, bias], name, **ways)
            return
        own = [
            self.constant(f"{name}_b_s", (np.float32(0.05) * scales).astype(np.float32)),
            self.constant(f"{name}_b_z", np.zeros(4, np.int32)),
        ]
        self.node("DequantizeLinear", weight, f"{name}_w_d", axis=0)
        self.node("DequantizeLinear", [bias, *own], f"{name}_b_d", axis=0)
        self.quantized(self.node("Conv", ["x_d", f"{name}_w_d", f"{name}_b_d"], f"{name}_r", **ways), name)

    def quantized(self, real, name):
        self.node("QuantizeLinear", [real, f"{name}_s", f"{name}_z"], name)
        self.node("DequantizeLinear", [name, f"{name}_s", f"{name}_z"], f"{name}_d")

    def model(self, output, outputs=("y",)):
        kind = "float32" if self.form == "qdq" else self.dtype
        graph = helper.make_graph(
            self.nodes, "small", [helper.make_tensor_value_info("x", KINDS[kind], ["N", 3, 4, 4])],
            [helper.make_tensor_value_info(output, KINDS[self.dtype], None)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


# operator -> (operands, attributes) of QDQ graphs
QDQ = {
    "Conv": None, "Add": (2, {}), "Mul": (2, {}), "Concat": (2, {"axis": 1}),
    "AveragePool": (1, {"kernel_shape": [2, 2], "strides": [2, 1]}), "GlobalAveragePool": (1, {}),
    "MaxPool": (1, {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1]}), "LeakyRelu": (1, {"alpha": 0.1}),
    "Sigmoid": (1, {}), "Relu": (1, {}), "HardSigmoid": (1, {"alpha": 0.25}), "Softmax": (1, {"axis": -1}),
    "ReduceMean": (1, {"axes": [2, 3], "keepdims": 0}), "Transpose": (1, {"perm": [0, 2, 3, 1]}),
}  # fmt: skip
QLINEAR = {
    "QLinearConv": None, "QLinearAdd": (2, {}), "QLinearMul": (2, {}), "QLinearConcat": (2, {"axis": 1}),
    "QLinearAveragePool": (1, {"kernel_shape": [2, 2], "strides": [2, 1]}), "QLinearGlobalAveragePool": (1, {}),
    "QLinearLeakyRelu": (1, {"alpha": 0.1}), "QLinearSigmoid": (1, {}), "QLinearSoftmax": (1, {"axis": -1, "opset": 13}),
    "QLinearReduceMean": (1, {"axes": [2, 3], "keepdims": 0}),
}  # fmt: skip


def qdq_file(op, dtype):
    file = OnnxFile("qdq", dtype)
    if QDQ[op] is None:
        return file.model("a")
    operands, attributes = QDQ[op]
    real = file.node(op, ["a_d", "b_d"][:operands], "y_r", **attributes)
    file.node("QuantizeLinear", [real, *file.scale("y", 0.06 if op != "Softmax" else 1 / 256)], "y")
    return file.model("y")


def qlinear_file(op, dtype):
    file = OnnxFile("qlinear", dtype)
    if QLINEAR[op] is None:
        return file.model("a")
    operands, attributes = QLINEAR[op]
    y = file.scale("y", 0.06 if op != "QLinearSoftmax" else 1 / 256)
    names = [part for name in "ab"[:operands] for part in (name, f"{name}_s", f"{name}_z")]
    inputs = [*y, *names] if op == "QLinearConcat" else [*names, *y]
    return file.model(file.node(op, inputs, "y", domain=MICROSOFT, **attributes))


def matrix_file(op, dtype):
    """Gemm and MatMul + Add (QDQ), QGemm and QLinearMatMul, on the flattened convolution."""
    linear = op.startswith("Q")
    file = OnnxFile("qlinear" if linear else "qdq", dtype)
    weight = file.rng.integers(-127, 128, (64, 5)).astype(np.int8)
    scales = file.rng.uniform(0.01, 0.02, 5).astype(np.float32)
    bias = file.constant("c", file.rng.integers(-300, 300, 5).astype(np.int32))
    w = [file.constant("w", weight), file.constant("w_s", scales), file.constant("w_z", np.zeros(5, np.int8))]
    y = file.scale("y", 0.4)
    flat = file.node("Flatten", ["a"], "flat", axis=1)
    if not linear:
        flat = file.node("DequantizeLinear", [flat, "a_s", "a_z"], "flat_d")
    if op == "QGemm":
        file.node("QGemm", [flat, "a_s", "a_z", *w, bias, *y], "y", domain=MICROSOFT, alpha=1.0, transB=0)
        return file.model("y")
    if op == "QLinearMatMul":
        return file.model(file.node("QLinearMatMul", [flat, "a_s", "a_z", *w, *y], "y"))
    own = [
        file.constant("c_s", (np.float32(0.06) * scales).astype(np.float32)),
        file.constant("c_z", np.zeros(5, np.int32)),
    ]
    file.node("DequantizeLinear", w, "w_d", axis=1)
    file.node("DequantizeLinear", [bias, *own], "c_d", axis=0)
    if op == "Gemm":
        real = file.node("Gemm", [flat, "w_d", "c_d"], "y_r", alpha=1.0, beta=1.0, transB=0)
    else:
        real = file.node("Add", [file.node("MatMul", [flat, "w_d"], "m"), "c_d"], "y_r")
    file.node("QuantizeLinear", [real, *y], "y")
    return file.model("y")


def integer_file(op):
    """ConvInteger and MatMulInteger, the latter behind a DynamicQuantizeLinear."""
    rng = np.random.default_rng(5)
    if op == "ConvInteger":
        constants = {"x_z": np.uint8(7), "w": rng.integers(-127, 128, (4, 3, 2, 2)).astype(np.int8), "w_z": np.int8(0)}
        nodes = [helper.make_node(op, ["x", "w", "x_z", "w_z"], ["y"], name="node_y", pads=[0, 0, 1, 1])]
        kind, shape = TensorProto.UINT8, ["N", 3, 4, 4]
    else:
        constants = {"w": rng.integers(-127, 128, (6, 4)).astype(np.int8), "w_z": np.int8(0), "s": np.float32(0.02)}
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "q_s", "q_z"], name="node_q"),
            helper.make_node("MatMulInteger", ["q", "w", "q_z", "w_z"], ["y"], name="node_y"),
        ]
        kind, shape = TensorProto.FLOAT, ["N", 6]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT32, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def onnx_files():
    """Name -> model."""
    made = {f"{op} {dtype}": qdq_file(op, dtype) for op in QDQ for dtype in ("uint8", "int8")}
    made |= {f"{op} {dtype}": qlinear_file(op, dtype) for op in QLINEAR for dtype in ("uint8", "int8")}
    made |= {
        f"{op} {dtype}": matrix_file(op, dtype)
        for op in ("Gemm", "MatMul", "QGemm", "QLinearMatMul")
        for dtype in ("uint8", "int8")
    }
    return made | {op: integer_file(op) for op in ("ConvInteger", "MatMulInteger")}


def tflite_file(op, dtype):
    """The content of a file: the operator behind (or in front of) a convolution of a 4 x 4 image with 3 channels."""
    b, rng, off = TflBuilder(), np.random.default_rng(7), 128 if dtype == "uint8" else 0
    limits = np.iinfo(dtype)
    x = b.tensor("x", [1, 4, 4, 3], dtype, 0.05, 3 + off)

    def conv(name, outputs=4):
        scales = [0.02] if dtype == "uint8" else rng.uniform(0.01, 0.03, outputs).astype(np.float32)
        weight = rng.integers(limits.min + 1, limits.max + 1, (outputs, 2, 2, 3))
        w = b.tensor(f"{name}_w", weight.shape, dtype, scales, off, weight)
        c = b.tensor(
            f"{name}_b",
            [outputs],
            "int32",
            np.float32(0.05) * np.asarray(scales, np.float32),
            0,
            rng.integers(-900, 900, outputs),
        )
        y = b.tensor(name, [1, 4, 4, outputs], dtype, 0.06, -5 + off)
        b.op(
            "CONV_2D",
            [x, w, c],
            [y],
            fusedActivationFunction=0,
            padding=0,
            strideH=1,
            strideW=1,
            dilationHFactor=1,
            dilationWFactor=1,
        )
        return y

    a = conv("a")
    if op == "CONV_2D":
        return b.content([x], [a])
    if op == "ADD":
        y = b.tensor("y", [1, 4, 4, 4], dtype, 0.1, 9 + off)
        b.op(op, [a, conv("second")], [y], fusedActivationFunction=1)
    elif op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        y = b.tensor("y", [1, 2, 2, 4], dtype, 0.06, -5 + off)
        b.op(op, [a], [y], fusedActivationFunction=0, filterHeight=2, filterWidth=2, strideH=2, strideW=2, padding=1)
    elif op == "RESHAPE":
        y = b.tensor("y", [1, 64], dtype, 0.06, -5 + off)
        b.op(op, [a], [y], newShape=[1, 64])
    elif op == "SOFTMAX":
        y = b.tensor("y", [1, 4, 4, 4], dtype, 1 / 256, limits.min)
        b.op(op, [a], [y], beta=1.0)
    elif op == "DEPTHWISE_CONV_2D":
        w = b.tensor(
            "w", [1, 2, 2, 4], dtype, [0.02], off, rng.integers(limits.min + 1, limits.max + 1, (1, 2, 2, 4)), axis=3
        )
        c = b.tensor("c", [4], "int32", np.float32(0.06) * np.float32(0.02), 0, rng.integers(-900, 900, 4))
        y = b.tensor("y", [1, 3, 3, 4], dtype, 0.04, 1 + off)
        b.op(
            op,
            [a, w, c],
            [y],
            fusedActivationFunction=3,
            padding=1,
            strideH=1,
            strideW=1,
            depthMultiplier=1,
            dilationHFactor=1,
            dilationWFactor=1,
        )
    else:
        flat = b.tensor("flat", [1, 64], dtype, 0.06, -5 + off)
        b.op("RESHAPE", [a], [flat], newShape=[1, 64])
        w = b.tensor("w", [5, 64], dtype, 0.02, off, rng.integers(limits.min + 1, limits.max + 1, (5, 64)))
        c = b.tensor("c", [5], "int32", np.float32(0.06) * np.float32(0.02), 0, rng.integers(-900, 900, 5))
        y = b.tensor("y", [1, 5], dtype, 0.4, 1 + off)
        b.op("FULLY_CONNECTED", [flat, w, c], [y], fusedActivationFunction=0, weightsFormat=0)
    return b.content([x], [y])


TFLITE = (
    "CONV_2D",
    "ADD",
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "RESHAPE",
    "SOFTMAX",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
)


def tflite_files():
    """Name -> content."""
    return {f"{op} {dtype}": tflite_file(op, dtype) for op in TFLITE for dtype in ("int8", "uint8")}
