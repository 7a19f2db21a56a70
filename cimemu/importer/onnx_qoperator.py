"""QLinear operators as the DequantizeLinear - operator - QuantizeLinear groups that they stand for.

The integer arithmetic of such an operator is that of the group, which ONNX Runtime fuses back into it; the groups are what
the lowering understands. Tensors keep their names.
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cimemu.errors import WorkloadError
from cimemu.importer.onnx_constants import to_array
from cimemu.importer.onnx_ops import FLATTEN

MICROSOFT = "com.microsoft"


class _Expander:
    """Nodes and initializers of the model that is made."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.made: list[onnx.TensorProto] = []
        self.dequantized: dict[tuple[str, str, str, int], str] = {}

    def constant(self, node: onnx.NodeProto, name: str) -> np.ndarray:
        """The value of an initializer."""
        if name not in self.initializers:
            raise _error(node, f"'{name}' is computed or left out, must be a constant")
        return to_array(self.initializers[name])

    def scalar(self, name: str) -> str:
        """A stored scale or zero point of shape [1] as one without axes: QLinear operators take either for the same."""
        if name not in self.initializers or list(self.initializers[name].dims) != [1]:
            return name
        made = f"{name}:scalar"
        if made not in self.initializers:
            self.keep(numpy_helper.from_array(to_array(self.initializers[name]).reshape(()), made))
        return made

    def keep(self, tensor: onnx.TensorProto) -> None:
        """A new initializer."""
        self.initializers[tensor.name] = tensor
        self.made.append(tensor)

    def dequantize(self, node: onnx.NodeProto, x: str, scale: str, zero: str, axis: int = 0) -> str:
        """A DequantizeLinear of `x`, shared by all who read it alike."""
        _given(node, x, scale)
        scale, zero = self.scalar(scale), self.scalar(zero)
        key = (x, scale, zero, axis)
        if key not in self.dequantized:
            name = f"{x}:real" if all(k[0] != x for k in self.dequantized) else f"{x}:real:{len(self.dequantized)}"
            inputs = [x, scale, zero] if zero else [x, scale]
            self.nodes.append(helper.make_node("DequantizeLinear", inputs, [name], name=name, axis=axis))
            self.dequantized[key] = name
        return self.dequantized[key]

    def group(self, node: onnx.NodeProto, names: Sequence[str], first: int, axis: int = 0) -> str:
        """A DequantizeLinear of the (tensor, scale, zero point) from `names[first]` on."""
        return self.dequantize(node, names[first], names[first + 1], names[first + 2], axis)

    def quantize(self, node: onnx.NodeProto, real: str, scale: str, zero: str) -> None:
        """The QuantizeLinear that makes the node's output."""
        _given(node, scale)
        if not zero:  # 0 of the input's type; QuantizeLinear's own default is uint8
            zero = f"{node.output[0]}:zero"
            self.keep(numpy_helper.from_array(np.zeros((), self.constant(node, node.input[2]).dtype), zero))
        inputs = [real, self.scalar(scale), self.scalar(zero)]
        self.nodes.append(
            helper.make_node("QuantizeLinear", inputs, [node.output[0]], name=f"{node.output[0]}:quantize", axis=0)
        )

    def bias(self, node: onnx.NodeProto, name: str, x_scale: str, w_scale: str) -> str:
        """An int32 bias of scale s_x * s_w, dequantised."""
        value, own = self.constant(node, name), self.constant(node, x_scale)
        if value.dtype != np.int32 or own.size != 1:
            raise _error(node, f"bias {value.dtype} beside {own.size} input scales, must be int32 and one scale")
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            scale = (own.reshape(-1)[0] * self.constant(node, w_scale)).astype(np.float32)
        scale = scale.reshape(()) if scale.size == 1 else scale.reshape(-1)
        scale_name, zero_name = f"{node.output[0]}:bias_scale", f"{node.output[0]}:bias_zero"
        for key, array in ((scale_name, scale), (zero_name, np.zeros(scale.shape, value.dtype))):
            self.keep(numpy_helper.from_array(array, key))
        return self.dequantize(node, name, scale_name, zero_name)


Expansion = Callable[[_Expander, onnx.NodeProto, Sequence[str]], None]


def _core(e: _Expander, node: onnx.NodeProto, op: str, inputs: Sequence[str], keep: Sequence[str] = ()) -> str:
    """The float operator in the middle; `keep` are the attributes that it takes over, the only ones but READ."""
    for attribute in node.attribute:
        if attribute.name not in (*keep, *READ.get(node.op_type, ())):
            raise _error(node, f"attribute '{attribute.name}' is not supported, export the network without it")
    real = f"{node.output[0]}:real_output"
    made = helper.make_node(op, list(inputs), [real], name=node.name or node.output[0])
    made.attribute.extend(a for a in node.attribute if a.name in keep)
    e.nodes.append(made)
    return real


# Attributes that an expansion reads itself.
READ = {
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool"), ("channels_last",)),
    "QLinearSoftmax": ("axis", "opset"),
}
CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def _conv(e: _Expander, node: onnx.NodeProto, i: Sequence[str]) -> None:
    inputs = [e.group(node, i, 0), e.group(node, i, 3)]
    if len(i) > 8 and i[8]:
        inputs.append(e.bias(node, i[8], i[1], i[4]))
    e.quantize(node, _core(e, node, "Conv", inputs, CONV), i[6], i[7])


def _matmul(e: _Expander, node: onnx.NodeProto, i: Sequence[str]) -> None:
    axis = e.constant(node, i[3]).ndim - 1 if i[3] in e.initializers else 0
    inputs = [e.group(node, i, 0), e.group(node, i, 3, axis=axis)]
    e.quantize(node, _core(e, node, "MatMul", inputs), i[6], i[7])


def _gemm(e: _Expander, node: onnx.NodeProto, i: Sequence[str]) -> None:
    attributes = {a.name: a for a in node.attribute}
    axis = 0 if "transB" in attributes and attributes["transB"].i else 1
    inputs = [e.group(node, i, 0), e.group(node, i, 3, axis=axis)]
    if len(i) > 6 and i[6]:
        inputs.append(e.bias(node, i[6], i[1], i[4]))
    real = _core(e, node, "Gemm", inputs, ("alpha", "transA", "transB"))
    if len(i) > 7 and i[7]:
        e.quantize(node, real, i[7], i[8] if len(i) > 8 else "")
    else:
        e.nodes[-1].output[0] = node.output[0]


def _two(op: str) -> Expansion:
    def expand(e: _Expander, node: onnx.NodeProto, i: Sequence[str]) -> None:
        inputs = [e.group(node, i, 0), e.group(node, i, 3)]
        e.quantize(node, _core(e, node, op, inputs), i[6], i[7] if len(i) > 7 else "")

    return expand


def _one(op: str, keep: Sequence[str] = ()) -> Expansion:
    def expand(e: _Expander, node: onnx.NodeProto, i: Sequence[str]) -> None:
        if any(a.name == "channels_last" and a.i for a in node.attribute):
            raise _error(node, "channels_last = 1 is not supported, must be 0")
        real = _core(e, node, op, [e.group(node, i, 0)], keep)
        e.quantize(node, real, i[3], i[4] if len(i) > 4 else "")

    return expand


def _softmax(e: _Expander, node: onnx.NodeProto, i: Sequence[str]) -> None:
    given = {a.name: a.i for a in node.attribute}
    if "opset" not in given:
        raise _error(node, "attribute opset is missing, must be given")
    old = given["opset"] < 13
    real = _core(e, node, "Softmax", [e.group(node, i, 0)])
    axis = given.get("axis", 1 if old else -1)
    e.nodes[-1].attribute.extend([helper.make_attribute("axis", axis), helper.make_attribute(FLATTEN, int(old))])
    e.quantize(node, real, i[3], i[4] if len(i) > 4 else "")


def _concat(e: _Expander, node: onnx.NodeProto, i: Sequence[str]) -> None:
    _given(node, *i)
    inputs = [e.group(node, i, k) for k in range(2, len(i), 3)]
    e.quantize(node, _core(e, node, "Concat", inputs, ("axis",)), i[0], i[1])


def _where(e: _Expander, node: onnx.NodeProto, i: Sequence[str]) -> None:
    e.quantize(node, _core(e, node, "Where", [i[0], e.group(node, i, 1), e.group(node, i, 4)]), i[7], i[8])


EXPANSIONS: dict[tuple[str, str], Expansion] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    (MICROSOFT, "QGemm"): _gemm,
    (MICROSOFT, "QLinearAdd"): _two("Add"),
    (MICROSOFT, "QLinearMul"): _two("Mul"),
    (MICROSOFT, "QLinearAveragePool"): _one("AveragePool", POOL),
    (MICROSOFT, "QLinearGlobalAveragePool"): _one("GlobalAveragePool"),
    (MICROSOFT, "QLinearLeakyRelu"): _one("LeakyRelu", ("alpha",)),
    (MICROSOFT, "QLinearReduceMean"): _one("ReduceMean", ("axes", "keepdims")),
    (MICROSOFT, "QLinearSigmoid"): _one("Sigmoid"),
    (MICROSOFT, "QLinearSoftmax"): _softmax,
    (MICROSOFT, "QLinearConcat"): _concat,
    (MICROSOFT, "QLinearWhere"): _where,
}


def expand_quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with its QLinear operators expanded; the same object where there are none.

    The com.microsoft QuantizeLinear and DequantizeLinear become the standard ones. Raises WorkloadError.
    """
    keys = [(_domain(node), node.op_type) for node in model.graph.node]
    if not any(key in EXPANSIONS or (key[0] == MICROSOFT and key[1] in _STANDARD) for key in keys):
        return model
    expander = _Expander(model)
    for key, node in zip(keys, model.graph.node):
        if key in EXPANSIONS:
            if len(node.output) != 1:
                raise _error(node, f"{len(node.output)} outputs, must have one")
            if node.op_type == "QLinearConcat" and (len(node.input) < 5 or len(node.input) % 3 != 2):
                raise _error(node, f"{len(node.input)} inputs, must be a scale, a zero point and three a tensor")
            expected = (
                [*node.input, *[""] * max(0, 9 - len(node.input))] if node.op_type != "QLinearConcat" else [*node.input]
            )
            EXPANSIONS[key](expander, node, expected)
            continue
        if key[0] == MICROSOFT and key[1] in _STANDARD:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.domain = ""
            expander.nodes.append(copy)
            continue
        expander.nodes.append(node)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    made.graph.node.extend(expander.nodes)
    made.graph.initializer.extend(expander.made)
    return made


_STANDARD = ("QuantizeLinear", "DequantizeLinear")


def _given(node: onnx.NodeProto, *names: str) -> None:
    """WorkloadError where a tensor or parameter is left out that must be given."""
    if not all(names):
        raise _error(
            node, f"{len(node.input)} inputs, a tensor, scale or zero point is left out: export the network again"
        )


def _error(node: onnx.NodeProto, message: str) -> WorkloadError:
    return WorkloadError(f"node '{node.name}' ({node.op_type}): {message}")


def _domain(node: onnx.NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else str(node.domain)
