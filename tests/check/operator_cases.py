"""Every integer operator of ONNX and com.microsoft that cimemu has, as small networks over full grids of their operands.

`CASES` has a function an operator and form. It takes a `Draw` (one set of scales, zero points and other parameters) and
gives the nodes, what is fed and the constants. `QLinear` cases are the integer operators themselves, `QDQ` cases the
DequantizeLinear - operator - QuantizeLinear groups that ONNX Runtime fuses to them, or computes in float.
"""

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cimemu.check.ort_session import make_session, saturable, saturates
from cimemu.compute.forward import Emulator
from cimemu.importer import load_network
from cimemu.layer.execute import run_float
from cimemu.layer.sum_order import depends_on_batch
from cimemu.lower import lower

MICROSOFT = "com.microsoft"
SATURATES = "this processor's kernel adds pairs of uint8 x int8 products in saturating 16 bits"


@dataclass
class Net:
    """Nodes, arrays that are fed, constants; the output is `y`."""

    dtype: str
    opset: int = 17
    nodes: list = field(default_factory=list)
    feeds: dict = field(default_factory=dict)
    constants: dict = field(default_factory=dict)
    outputs: dict | None = None  # name -> type; y of `dtype` where it is None

    def constant(self, name, value):
        self.constants[name] = np.asarray(value)
        return name

    def node(self, op, inputs, output="y", **attributes):
        self.nodes.append(helper.make_node(op, list(inputs), output.split(), **attributes))
        return output

    def feed(self, name, array):
        self.feeds[name] = array
        return name

    def scale(self, name, scale, zero):
        """The names of a scale and a zero point."""
        return self.constant(f"{name}.s", np.float32(scale)), self.constant(f"{name}.z", np.array(zero, self.dtype))

    def quantize(self, source, scale, output="y"):
        return self.node("QuantizeLinear", [source, *scale], output)

    def dequantize(self, source, scale):
        return self.node("DequantizeLinear", [source, *scale], f"{source}.real")

    @property
    def made(self):
        return self.outputs or {"y": self.dtype}

    def model(self):
        def value(name, dtype, shape):
            return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

        graph = helper.make_graph(
            self.nodes, "sweep",
            [value(name, array.dtype, ["N", *array.shape[1:]]) for name, array in self.feeds.items()],
            [value(name, dtype, None) for name, dtype in self.made.items()],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


class Draw:
    """One set of parameters: scales, zero points, and numbers of its own generator."""

    KINDS = ("random", "powers", "ties", "equal", "decimal", "wide", "extreme", "denormal")

    def __init__(self, seed, dtype):
        self.rng = np.random.default_rng(seed)
        self.dtype, self.kind = dtype, self.KINDS[seed % len(self.KINDS)]
        self.limits = np.iinfo(dtype)
        self.scales, self.zeros = self._scales(), self._zeros(seed)

    def _scales(self):
        """Four: of three operands and of the result."""
        rng, kind = self.rng, self.kind
        y = np.float32(rng.uniform(0.01, 0.05))
        made = {
            "random": lambda: rng.uniform(0.002, 0.07, 4),
            "powers": lambda: 2.0 ** rng.integers(-8, 0, 4),
            "ties": lambda: [*(y * rng.choice([0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5], 3)), y],
            "equal": lambda: [y] * 4,
            "decimal": lambda: np.round(rng.uniform(0.001, 0.1, 4), 3),
            "wide": lambda: 10.0 ** rng.uniform(-4, 2, 4),
            "extreme": lambda: 10.0 ** rng.uniform(-37, 37, 4),
            "denormal": lambda: 10.0 ** rng.uniform(-44, -36, 4),
        }[kind]()
        return [np.float32(max(s, 2e-45)) for s in made]

    def _zeros(self, seed):
        ends = [self.limits.min, self.limits.max, 0, self.limits.min + 1]
        drawn = self.rng.integers(self.limits.min, self.limits.max + 1, 4)
        return [int(z) for z in (self.rng.choice(ends, 4) if seed % 3 == 0 else drawn)]

    def net(self, **options):
        return Net(self.dtype, **options)

    def scale(self, net, place):
        """Scale and zero point of operand `place` (3: the result)."""
        return net.scale("abcy"[place], self.scales[place], self.zeros[place])

    def codes(self):
        """All 256 codes."""
        return np.arange(self.limits.min, self.limits.max + 1).astype(self.dtype)

    def random(self, *shape):
        """Random codes, every third draw near the zero point, where ties are."""
        if self.rng.random() < 0.3:
            near = self.zeros[0] + self.rng.integers(-6, 7, shape)
            return np.clip(near, self.limits.min, self.limits.max).astype(self.dtype)
        return self.rng.integers(self.limits.min, self.limits.max + 1, shape).astype(self.dtype)


def pairs(draw, net):
    """All pairs of codes as inputs a and b, 256 images of 256 elements; every fourth draw broadcasts one of them."""
    a, b = np.meshgrid(draw.codes(), draw.codes(), indexing="ij")
    form = draw.rng.integers(0, 6)
    if form == 0:  # a is one value beside a span of b
        return net.feed("a", draw.codes().reshape(256, 1)), net.feed("b", np.ascontiguousarray(b))
    if form == 1:
        return net.feed("a", np.ascontiguousarray(a.T)), net.feed("b", draw.codes().reshape(256, 1))
    if form == 2:  # a constant
        return net.feed("a", np.ascontiguousarray(a)), net.constant("b", draw.codes().reshape(1, 256))
    return net.feed("a", np.ascontiguousarray(a)), net.feed("b", np.ascontiguousarray(b))


def binary(op):
    def qlinear(draw):
        net = draw.net()
        a, b = pairs(draw, net)
        inputs = [a, *draw.scale(net, 0), b, *draw.scale(net, 1), *draw.scale(net, 3)]
        net.node(f"QLinear{op}", inputs, domain=MICROSOFT)
        return net

    return qlinear, binary_qdq(op)


def binary_qdq(op):
    def qdq(draw):
        net = draw.net()
        a, b = pairs(draw, net)
        real = [net.dequantize(a, draw.scale(net, 0)), net.dequantize(b, draw.scale(net, 1))]
        net.quantize(net.node(op, real, "r"), draw.scale(net, 3))
        return net

    return qdq


def limited_qdq(op):
    """A Relu or Clip behind the operator: without effect in front of the QuantizeLinear in half of the draws."""

    def qdq(draw):
        net = draw.net()
        a, b = pairs(draw, net)
        real = [net.dequantize(a, draw.scale(net, 0)), net.dequantize(b, draw.scale(net, 1))]
        if draw.rng.random() < 0.5:
            draw.zeros[3] = draw.limits.min
        source = net.node(op, real, "r")
        if draw.rng.random() < 0.7:
            source = net.node("Relu", [source], "limited")
        if draw.rng.random() < 0.5:
            top = np.float32(min(np.float64(draw.scales[3]) * draw.rng.choice([100, 255, 300]), 3e38))
            ends = [net.constant("low", np.float32(0)), net.constant("high", top)]
            source = net.node("Clip", [source, *ends], "clipped")
        net.quantize(source, draw.scale(net, 3))
        return net

    return qdq


def add_two_types(draw):
    """uint8 and int8 operands: ONNX Runtime has no integer operator for them and adds in float."""
    net = draw.net()
    a, b = pairs(draw, net)
    other = "int8" if draw.dtype == "uint8" else "uint8"
    store = net.feeds if b in net.feeds else net.constants
    store[b] = np.ascontiguousarray(store[b]).view(other)
    net.constant("b.s", draw.scales[1])
    net.constant("b.z", np.array(draw.zeros[1], draw.dtype).view(other))
    real = [net.dequantize(a, draw.scale(net, 0)), net.dequantize(b, ("b.s", "b.z"))]
    net.quantize(net.node("Add", real, "r"), draw.scale(net, 3))
    return net


def unary(op, arrays, opset=17, drawn=None, extra=None):
    """(QLinear, QDQ) of an operator of one input; `drawn` gives attributes, `extra` those of the QLinear form alone."""

    def attributes(draw):
        return {} if drawn is None else drawn(draw)

    def qlinear(draw):
        net, kept = draw.net(opset=opset), attributes(draw)
        x = net.feed("x", arrays(draw))
        net.node(
            f"QLinear{op}", [x, *draw.scale(net, 0), *draw.scale(net, 3)], domain=MICROSOFT, **kept, **(extra or {})
        )
        return net

    def qdq(draw):
        net, kept = draw.net(opset=opset), attributes(draw)
        x = net.feed("x", arrays(draw))
        net.quantize(net.node(op, [net.dequantize(x, draw.scale(net, 0))], "r", **kept), draw.scale(net, 3))
        return net

    return qlinear, qdq


def every_code(draw):
    return draw.codes().reshape(2, 128)


def images(draw):
    size = int(draw.rng.choice([2, 3, 4, 7]))
    return draw.random(64, 20, size, size)


def windows(draw):
    kernel, stride, pad = [(2, 2, 0), (3, 2, 1), (3, 1, 1), (4, 3, 3), (7, 4, 3), (9, 1, 0)][draw.rng.integers(0, 6)]
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4,
            "ceil_mode": int(draw.rng.integers(0, 2)), "count_include_pad": int(draw.rng.integers(0, 2))}  # fmt: skip


def reduce_qdq(op):
    def qdq(draw):
        net = draw.net(opset=13)
        axes = [[1], [2], [3], [2, 3], [1, 2], [1, 3], [1, 2, 3]][draw.rng.integers(0, 7)]
        shape = tuple(int(v) for v in draw.rng.choice([2, 3, 4, 6, 8, 10, 25], 3))
        alone = depends_on_batch(shape, tuple(axes))  # ONNX Runtime's order of sums
        x = net.feed("x", draw.random(1 if alone else 40, *shape))
        real = net.dequantize(x, draw.scale(net, 0))
        if op == "ReduceSum":
            real = net.node(op, [real, net.constant("axes", np.array(axes))], "r")
        else:
            real = net.node(op, [real], "r", axes=axes)
        net.quantize(real, draw.scale(net, 3))
        return net

    return qdq


def concat_qlinear(draw):
    net = draw.net()
    inputs = list(draw.scale(net, 3))
    for place in range(3):
        inputs += [net.feed("abc"[place], every_code(draw)), *draw.scale(net, place)]
    net.node("QLinearConcat", inputs, domain=MICROSOFT, axis=1)
    return net


def concat_qdq(draw):
    net = draw.net()
    real = [net.dequantize(net.feed("abc"[p], every_code(draw)), draw.scale(net, p)) for p in range(3)]
    net.quantize(net.node("Concat", real, "r", axis=1), draw.scale(net, 3))
    return net


def _choices(draw, net):
    return net.feed("which", draw.rng.random((2, 128)) < 0.5), *(net.feed(n, every_code(draw)) for n in "ab")


def where_qlinear(draw):
    net = draw.net()
    which, a, b = _choices(draw, net)
    inputs = [which, a, *draw.scale(net, 0), b, *draw.scale(net, 1), *draw.scale(net, 3)]
    net.node("QLinearWhere", inputs, domain=MICROSOFT)
    return net


def where_qdq(draw):
    net = draw.net()
    which, a, b = _choices(draw, net)
    real = [net.dequantize(a, draw.scale(net, 0)), net.dequantize(b, draw.scale(net, 1))]
    net.quantize(net.node("Where", [which, *real], "r"), draw.scale(net, 3))
    return net


def requantize(draw):
    net = draw.net()
    net.quantize(net.dequantize(net.feed("x", every_code(draw)), draw.scale(net, 0)), draw.scale(net, 3))
    return net


def quantize(draw):
    """Reals on the ties between codes, one step of float32 to either side, and far beyond."""
    net = draw.net()
    with np.errstate(all="ignore"):
        tie = ((np.arange(-300, 300) + 0.5) * np.float64(draw.scales[3])).astype(np.float32)
        far = np.array([np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-45, 0, -0.0], np.float32)
        x = np.concatenate([tie, np.nextafter(tie, np.float32(9)), np.nextafter(tie, np.float32(-9)), far])
    net.quantize(net.feed("x", x[None]), draw.scale(net, 3))
    return net


def dequantize(draw):
    net = draw.net(outputs={"y": "float32"})
    net.node("DequantizeLinear", [net.feed("x", every_code(draw)), *draw.scale(net, 0)])
    return net


def dynamic(draw):
    net = draw.net(outputs={"y": "uint8", "s": "float32", "z": "uint8"}, opset=13)
    x = (draw.rng.normal(size=(1, 300)) * np.float64(draw.scales[0]) * 10.0 ** draw.rng.integers(-3, 3)).astype(
        np.float32
    )
    x = [x, np.abs(x), -np.abs(x), np.round(x / draw.scales[0]) * draw.scales[0]][draw.rng.integers(0, 4)]
    net.node("DynamicQuantizeLinear", [net.feed("x", x.astype(np.float32))], "y s z")
    return net


def _weights(draw, outputs, inputs):
    """Weight codes, scales per channel every other time, an int32 bias. uint8 inputs have weights of either type."""
    dtype = draw.rng.choice(["int8", "uint8"]) if draw.dtype == "uint8" else "int8"
    low = np.iinfo(dtype).min
    weight = draw.rng.integers(low, low + 256, (outputs, inputs)).astype(dtype)
    weight[:, 0] = np.arange(low, low + 256)[:outputs]
    scales = (
        np.full(outputs, draw.scales[1])
        if draw.rng.random() < 0.5
        else draw.scales[1] * draw.rng.uniform(0.5, 1, outputs)
    )
    return (
        weight,
        np.maximum(scales, 2e-45).astype(np.float32),
        draw.rng.integers(-3000, 3000, outputs).astype(np.int32),
    )


def product_inputs(draw, net, layout):
    """(x, x's scale, w, w's scale) of 256 images of one code each and three that are random: all pairs of codes."""
    weight, scales, bias = _weights(draw, 256, 4)
    x = np.concatenate([draw.codes()[:, None], draw.random(256, 3)], axis=1)
    shape = {"rows": (256, 4), "image": (256, 4, 1, 1)}[layout]
    w = {"conv": weight[:, :, None, None], "matmul": weight.T, "gemm": weight}[
        {"image": "conv", "rows": "matmul"}[layout]
    ]
    zero = draw.zeros[1] if w.dtype == np.uint8 else 0
    names = (net.constant("w.s", scales), net.constant("w.z", np.full(256, zero, w.dtype)))
    return net.feed("x", x.reshape(shape)), draw.scale(net, 0), net.constant("w", np.ascontiguousarray(w)), names, bias


def conv_qlinear(draw):
    net = draw.net()
    x, x_scale, w, w_scale, bias = product_inputs(draw, net, "image")
    net.node("QLinearConv", [x, *x_scale, w, *w_scale, *draw.scale(net, 3), net.constant("bias", bias)])
    return net


def matmul_qlinear(draw):
    net = draw.net()
    x, x_scale, w, w_scale, _ = product_inputs(draw, net, "rows")
    net.node("QLinearMatMul", [x, *x_scale, w, *w_scale, *draw.scale(net, 3)])
    return net


def gemm_qlinear(draw):
    net = draw.net()
    x, x_scale, w, w_scale, bias = product_inputs(draw, net, "rows")
    net.node("QGemm", [x, *x_scale, w, *w_scale, net.constant("bias", bias), *draw.scale(net, 3)], domain=MICROSOFT)
    return net


def conv_qdq(draw):
    net = draw.net()
    x, x_scale, w, w_scale, bias = product_inputs(draw, net, "image")
    net.node("DequantizeLinear", [w, *w_scale], "w.real", axis=0)
    with np.errstate(over="ignore"):
        net.constant("bias.s", net.constants["a.s"] * net.constants["w.s"])
    net.node("DequantizeLinear", [net.constant("bias", bias), "bias.s"], "bias.real", axis=0)
    net.quantize(net.node("Conv", [net.dequantize(x, x_scale), "w.real", "bias.real"], "r"), draw.scale(net, 3))
    return net


def matmul_qdq(draw):
    net = draw.net()
    x, x_scale, w, w_scale, _ = product_inputs(draw, net, "rows")
    net.node("DequantizeLinear", [w, *w_scale], "w.real", axis=1)
    net.quantize(net.node("MatMul", [net.dequantize(x, x_scale), "w.real"], "r"), draw.scale(net, 3))
    return net


def gemm_qdq(draw):
    """With the weight either way round, with and without a bias and the QuantizeLinear behind it."""
    turned, biased, real = (draw.rng.random() < share for share in (0.5, 0.75, 0.2))
    net = draw.net(outputs={"y": "float32"} if real else None)
    x, x_scale, w, w_scale, bias = product_inputs(draw, net, "rows")
    if turned:
        net.constants["w"] = np.ascontiguousarray(net.constants["w"].T)
    net.node("DequantizeLinear", [w, *w_scale], "w.real", axis=0 if turned else 1)
    operands = [net.dequantize(x, x_scale), "w.real"]
    if biased:
        with np.errstate(over="ignore"):
            net.constant("bias.s", net.constants["a.s"] * net.constants["w.s"])
        net.node("DequantizeLinear", [net.constant("bias", bias), "bias.s"], "bias.real", axis=0)
        operands.append("bias.real")
    made = net.node("Gemm", operands, "y" if real else "r", transB=int(turned))
    if not real:
        net.quantize(made, draw.scale(net, 3))
    return net


def layer_norm_qdq(draw):
    """Rows of 1 to 100 codes, or of images, with a float scale and with or without a bias."""
    net, rank = draw.net(), int(draw.rng.integers(1, 3))
    shape = tuple(int(v) for v in draw.rng.choice([1, 2, 3, 8, 33, 100], rank))
    draw.scales[0] = min(draw.scales[0], np.float32(1e13))  # sums of squares beyond overflow ONNX Runtime's float32
    x = net.feed("x", draw.random(200, 3, *shape))
    scale = net.constant("scale", draw.rng.normal(1, 0.5, shape).astype(np.float32))
    operands = [net.dequantize(x, draw.scale(net, 0)), scale]
    if draw.rng.random() < 0.5:
        operands.append(net.constant("bias", draw.rng.normal(size=shape).astype(np.float32)))
    epsilon = float(draw.rng.choice([1e-5, 1e-12, 0.1]))
    draw.scales[3] = np.float32(draw.rng.choice([0.02, 0.03125, 0.017]))  # what a normal value is quantised to
    net.quantize(net.node("LayerNormalization", operands, "r", axis=-rank, epsilon=epsilon), draw.scale(net, 3))
    return net


def gemm_to_real(draw):
    """A QGemm without a scale of its result: float32."""
    net = draw.net(outputs={"y": "float32"})
    x, x_scale, w, w_scale, bias = product_inputs(draw, net, "rows")
    inputs = [x, *x_scale, w, *w_scale, net.constant("bias", bias)]
    net.node("QGemm", inputs, domain=MICROSOFT)
    return net


def moves_qdq(op):
    """A move between codes of one scale: ONNX Runtime drops the DequantizeLinear and the QuantizeLinear around it."""

    def qdq(draw):
        net = draw.net()
        scale = draw.scale(net, 0)
        image = draw.random(8, 3, 6, 5)
        image[:, :, :, 0].flat = np.resize(draw.codes(), image[:, :, :, 0].size)
        x = net.dequantize(net.feed("x", image), scale)
        numbers = {"shape": [-1, 6, 15], "starts": [1, 0], "ends": [9, 4], "axes": [2, 3], "steps": [2, 1]}
        numbers["pads"] = [0, 0, 1, 2, 0, 0, 0, 1]
        given, attributes = {
            "Reshape": (["shape"], {}),
            "Transpose": ([], {"perm": [0, 2, 3, 1]}),
            "Slice": (["starts", "ends", "axes", "steps"], {}),
            "MaxPool": ([], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
            "Pad": (["pads"], {"mode": "constant"}),
        }[op]
        names = [net.constant(name, np.array(numbers[name], np.int64)) for name in given]
        net.quantize(net.node(op, [x, *names], "r", **attributes), scale)
        return net

    return qdq


def clip_qdq(draw):
    """A Clip between codes of two scales, bounds on codes and between them."""
    net = draw.net()
    real = net.dequantize(net.feed("x", every_code(draw)), draw.scale(net, 0))
    low, high = (np.float32(n * np.float64(draw.scales[0])) for n in sorted(draw.rng.integers(-400, 400, 2) / 2))
    ends = [net.constant("low", low), net.constant("high", high)]
    net.quantize(net.node("Clip", [real, *ends], "r"), draw.scale(net, 3))
    return net


def matmul_integer(draw):
    net = draw.net(outputs={"y": "int32"})
    x, x_scale, w, _, _ = product_inputs(draw, net, "rows")
    zero = net.constant("w.zero", net.constants["w.z"][:1].reshape(()))
    net.node("MatMulInteger", [x, w, x_scale[1], zero])
    return net


def conv_integer(draw):
    net = draw.net(outputs={"y": "int32"})
    x, x_scale, w, _, _ = product_inputs(draw, net, "image")
    zero = net.constant("w.zero", net.constants["w.z"][:1].reshape(()))
    net.node("ConvInteger", [x, w, x_scale[1], zero])
    return net


def _block(draw):
    return draw.random(20, 3, 4)


def _softmax_rows(draw):
    return draw.random(64, int(draw.rng.choice([1, 2, 10, 33, 100])))


def _functions(*names):
    opset = 20
    return {f"{name}, QDQ": unary(name, every_code, opset)[1] for name in names}


def _both(name, forms, qdq=None):
    return {f"QLinear{name}": forms[0], f"{qdq or name}, QDQ": forms[1]}


CASES = {
    **_both("Add", binary("Add")),
    **_both("Mul", binary("Mul")),
    "Add of two types, QDQ": add_two_types,
    "Add and limits, QDQ": limited_qdq("Add"),
    "Mul and limits, QDQ": limited_qdq("Mul"),
    "Sub, QDQ": binary_qdq("Sub"),
    "Min, QDQ": binary_qdq("Min"),
    "Max, QDQ": binary_qdq("Max"),
    **_both("AveragePool", unary("AveragePool", lambda draw: draw.random(16, 4, 9, 9), drawn=windows)),
    **_both("GlobalAveragePool", unary("GlobalAveragePool", images, extra={"channels_last": 0})),
    **_both("LeakyRelu", unary("LeakyRelu", every_code, drawn=lambda d: {"alpha": float(d.rng.uniform(0, 1.5))})),
    **_both("Sigmoid", unary("Sigmoid", every_code)),
    **_both("Softmax", unary("Softmax", _softmax_rows, drawn=lambda d: {"axis": -1}, extra={"opset": 13})),
    "QLinearSoftmax before 13": unary("Softmax", _block, drawn=lambda d: {"axis": 1}, extra={"opset": 11})[0],
    "Softmax of an axis, QDQ": unary("Softmax", _block, drawn=lambda d: {"axis": 1})[1],
    "Softmax before 13, QDQ": unary("Softmax", _block, 11, lambda d: {"axis": 1})[1],
    "QLinearConcat": concat_qlinear,
    "Concat, QDQ": concat_qdq,
    "QLinearWhere": where_qlinear,
    "Where, QDQ": where_qdq,
    "ReduceMean, QDQ": reduce_qdq("ReduceMean"),
    "ReduceSum, QDQ": reduce_qdq("ReduceSum"),
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "DequantizeLinear, QuantizeLinear": requantize,
    "DynamicQuantizeLinear": dynamic,
    "QLinearConv": conv_qlinear,
    "Conv, QDQ": conv_qdq,
    "QLinearMatMul": matmul_qlinear,
    "MatMul, QDQ": matmul_qdq,
    "QGemm": gemm_qlinear,
    "QGemm to float32": gemm_to_real,
    "Gemm, QDQ": gemm_qdq,
    "MatMulInteger": matmul_integer,
    "ConvInteger": conv_integer,
    **_functions("Relu", "Tanh", "HardSigmoid", "HardSwish"),
    "Clip, QDQ": clip_qdq,
    **{f"{op}, QDQ": moves_qdq(op) for op in ("Reshape", "Transpose", "Slice", "MaxPool", "Pad")},
}
# Functions that each runtime approximates in float its own way: a code on a tie may differ by one step.
FLOAT_FUNCTIONS = {
    **_functions("Erf", "Gelu", "Elu", "Exp", "Softplus"),
    **_functions("Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"),
    **_functions("Selu", "Celu", "Mish", "Softsign", "ThresholdedRelu", "Shrink"),
    "Swish, QDQ": unary("Swish", every_code, 24)[1],
    "LayerNormalization, QDQ": layer_norm_qdq,
}


def compare(net, folder, macro):
    """(elements, elements that differ, largest difference) of all outputs; a text where ONNX Runtime is no reference."""
    made, ran = net.model(), folder / "ran.onnx"
    try:
        session = make_session(made.SerializeToString(), optimized=ran, threads=1)
        theirs = session.run(list(net.made), net.feeds)
    except Exception as error:  # the runtime's own exceptions have no common base
        return str(error)
    if saturates() and saturable(onnx.load(ran)):
        return SATURATES
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    network = lower(load_network(path))
    arrays = [net.feeds[name] for name in network.inputs]
    if any(layer.on_macros for layer in network.layers):
        ours = Emulator(network, macro, adcs={}).run(arrays).tensors
    else:
        ours = run_float(network, arrays)
    elements = differing = 0
    largest = 0.0
    for name, right in zip(net.made, theirs):
        got, right = np.asarray(ours[name]), np.asarray(right)
        got = got.reshape(right.shape)
        assert got.dtype == right.dtype, (name, got.dtype, right.dtype)
        same = (got == right) | ((got != got) & (right != right))
        elements, differing = elements + same.size, differing + int((~same).sum())
        if not same.all():
            largest = max(largest, float(np.abs(got.astype(np.float64) - right.astype(np.float64))[~same].max()))
    return elements, differing, largest
