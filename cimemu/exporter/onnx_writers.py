"""ONNX writers of operators by their attributes, and of those whose parameters are inputs: read by `to_onnx`."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from onnx import helper

from cimemu.layer.attention import ROLES
from cimemu.layer.base import Array, Layer
from cimemu.workload.network import Network

PLAIN = frozenset(
    [
        "MatMul",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Min",
        "Max",
        "Sum",
        "Neg",
        "Abs",
        "Sqrt",
        "Reciprocal",
        "Floor",
        "Ceil",
        "Round",
        "Equal",
        "Less",
        "Greater",
        "Not",
        "And",
        "Or",
        "Where",
        "Relu",
        "PRelu",
        "Sigmoid",
        "Tanh",
        "Exp",
        "Erf",
        "Softplus",
        "HardSwish",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "Log",
        "Sin",
        "Cos",
        "Tan",
        "Asin",
        "Acos",
        "Atan",
        "Sinh",
        "Cosh",
        "Asinh",
        "Acosh",
        "Atanh",
        "Mish",
        "Softsign",
        "GreaterOrEqual",
        "LessOrEqual",
        "Xor",
        "IsNaN",
        "Sign",
        "Mean",
        "BitwiseAnd",
        "BitwiseOr",
        "BitwiseXor",
        "BitwiseNot",
        "Det",
    ]
)
# The field of a layer -> the attribute of its node.
ATTRIBUTES: dict[str, dict[str, str]] = {
    **{op: {"alpha": "alpha"} for op in ("Celu", "ThresholdedRelu")},
    **{op: {"axis": "axis"} for op in ("GatherElements", "LogSoftmax", "Hardmax")},
    **{op: {"axis": "axis", "keepdims": "keepdims", "last": "select_last_index"} for op in ("ArgMax", "ArgMin")},
    "Selu": {"alpha": "alpha", "gamma": "gamma"},
    "Shrink": {"bias": "bias", "lambd": "lambd"},
    "Gelu": {"approximate": "approximate"},
    "IsInf": {"negative": "detect_negative", "positive": "detect_positive"},
    "Mod": {"fmod": "fmod"},
    "DepthToSpace": {"block": "blocksize", "mode": "mode"},
    "SwiGLU": {"alpha": "alpha"},
    "ScatterElements": {"axis": "axis", "reduction": "reduction"},
    "GatherND": {"batch_dims": "batch_dims"},
    "InstanceNormalization": {"epsilon": "epsilon"},
    "MeanVarianceNormalization": {"axes": "axes"},
    "LRN": {"size": "size", "alpha": "alpha", "beta": "beta", "bias": "bias"},
    "LpNormalization": {"axis": "axis", "p": "p"},
    "GlobalLpPool": {"p": "p"},
    "GridSample": {"mode": "mode", "padding": "padding_mode", "align_corners": "align_corners"},
    "Einsum": {"equation": "equation"},
    "RotaryEmbedding": {"heads": "num_heads", "width": "rotary_embedding_dim", "interleaved": "interleaved"},
}


class Writes(Protocol):
    """What a writer is given: constants and nodes in the place of a layer."""

    nodes: list[Any]
    network: Network
    opset: int

    def constant(self, name: str, value: Array) -> str:
        """The name of a new constant."""

    def node(self, layer: Layer, inputs: Any = None, op: str | None = None, **attributes: Any) -> None:
        """A node in the place of `layer`."""


def attributes_of(layer: Layer) -> dict[str, Any]:
    """The attributes of ATTRIBUTES, truth values as numbers; a LogSoftmax or Hardmax that flattens has no new form."""
    if getattr(layer, "flatten", False):
        raise layer.error(
            "runs over all axes from its own on, as before operator set 13: flatten its input in the network"
        )
    values = {name: getattr(layer, own) for own, name in ATTRIBUTES[layer.op].items()}
    return {name: int(value) if isinstance(value, bool) else value for name, value in values.items()}


def _bit_shift(writer: Writes, layer: Any) -> None:
    writer.node(layer, direction="RIGHT" if layer.right else "LEFT")


def _running(writer: Writes, layer: Any) -> None:
    axis = writer.constant(f"{layer.name}_axis", np.array(layer.axis, np.int64))
    writer.node(layer, [layer.inputs[0], axis], exclusive=int(layer.exclusive), reverse=int(layer.reverse))


def _top_k(writer: Writes, layer: Any) -> None:
    count = writer.constant(f"{layer.name}_k", np.array([layer.k], np.int64))
    writer.node(layer, [layer.inputs[0], count], axis=layer.axis, largest=int(layer.largest))


def _tile(writer: Writes, layer: Any) -> None:
    repeats = writer.constant(f"{layer.name}_repeats", np.array([1, *layer.repeats], np.int64))
    writer.node(layer, [layer.inputs[0], repeats])


def _trilu(writer: Writes, layer: Any) -> None:
    k = writer.constant(f"{layer.name}_k", np.array(layer.k, np.int64))
    writer.node(layer, [layer.inputs[0], k], upper=int(layer.upper))


def _reverse(writer: Writes, layer: Any) -> None:
    writer.node(layer, batch_axis=0, time_axis=1)


def _one_hot(writer: Writes, layer: Any) -> None:
    depth = writer.constant(f"{layer.name}_depth", np.array(layer.depth, np.int64))
    writer.node(layer, [layer.inputs[0], depth, layer.inputs[1]], axis=layer.axis)


def _pool(writer: Writes, layer: Any) -> None:
    attributes: dict[str, Any] = {
        "kernel_shape": list(layer.kernel_shape),
        "strides": list(layer.strides),
        "pads": [*(before for before, _ in layer.pads), *(after for _, after in layer.pads)],
        **({"dilations": list(layer.dilations)} if set(layer.dilations) != {1} else {}),
        "ceil_mode": int(layer.ceil_mode),
    }
    if layer.op == "AveragePool3d":
        attributes["count_include_pad"] = int(layer.count_include_pad)
    elif layer.op == "LpPool":
        attributes["p"] = layer.p
    writer.node(layer, op=layer.op.removesuffix("3d"), **attributes)


def _space_to_depth(writer: Writes, layer: Any) -> None:
    """The order CRD came with operator set 28; the older one is written without naming it."""
    writer.node(layer, blocksize=layer.block, **({} if layer.mode == "DCR" else {"mode": layer.mode}))


def _tensor_scatter(writer: Writes, layer: Any) -> None:
    writer.node(layer, axis=layer.axis, mode="circular" if layer.circular else "linear")


def _dft(writer: Writes, layer: Any) -> None:
    length = writer.constant(f"{layer.name}_length", np.array(layer.length, np.int64))
    axis = writer.constant(f"{layer.name}_axis", np.array(layer.axis, np.int64))
    writer.node(layer, [layer.inputs[0], length, axis], inverse=int(layer.inverse), onesided=int(layer.onesided))


def _resize(writer: Writes, layer: Any) -> None:
    rule = layer.rule
    roi = [list(edges) for edges in zip(*layer.roi)] or [[], []]
    spans = np.array([0.0, *roi[0], 1.0, *roi[1]] if layer.roi else [], np.float32)
    names = [layer.inputs[0], writer.constant(f"{layer.name}_roi", spans)]
    axes = list(range(1, len(layer.sizes) + 1))
    if layer.by_sizes:
        names += ["", writer.constant(f"{layer.name}_sizes", np.array(layer.sizes, np.int64))]
        roi_of_axes = np.array([*roi[0], *roi[1]], np.float32)
        names[1] = writer.constant(f"{layer.name}_roi", roi_of_axes)
    else:
        names.append(writer.constant(f"{layer.name}_scales", np.array([1.0, *layer.scales], np.float32)))
    attributes: dict[str, Any] = {"axes": axes} if layer.by_sizes else {}
    writer.node(
        layer, names, **attributes, mode=rule.mode, coordinate_transformation_mode=rule.coordinates,
        nearest_mode=rule.nearest, cubic_coeff_a=rule.cubic_a, exclude_outside=int(rule.exclude_outside),
        antialias=int(rule.antialias), extrapolation_value=rule.extrapolation,
    )  # fmt: skip


def _one_hot_kernels(writer: Writes, layer: Any, channels: int) -> str:
    """A weight that gives every element of a window a channel of its own, `channels` times."""
    kernel = layer.windows.kernel
    area = int(np.prod(kernel))
    weight = np.tile(np.eye(area, dtype=np.float32), (channels, 1)).reshape(channels * area, 1, *kernel)
    return writer.constant(f"{layer.name}_kernels", weight)


def _window(layer: Any, channels: int) -> dict[str, Any]:
    view = layer.windows
    pads = [*(before for before, _ in view.pads), *(after for _, after in view.pads)]
    return {"strides": list(view.strides), "dilations": list(view.dilations), "pads": pads, "group": channels}


def _step(writer: Writes, layer: Any, op: str, inputs: list[str], what: str, **attributes: Any) -> str:
    """A node on the way to a layer's own output."""
    name = f"{layer.name}_{what}"
    writer.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
    return name


def _unfold(writer: Writes, layer: Any) -> None:
    """As a convolution that picks every element of a window."""
    channels, *image = writer.network.types[layer.inputs[0]].shape
    kernels = _one_hot_kernels(writer, layer, channels)
    picked = _step(writer, layer, "Conv", [layer.inputs[0], kernels], "picked", **_window(layer, channels))
    rows = [-1, channels * int(np.prod(layer.windows.kernel)), int(np.prod(layer.windows.counts(image)))]
    shape = writer.constant(f"{layer.name}_shape", np.array(rows, np.int64))
    flat = _step(writer, layer, "Reshape", [picked, shape], "flat")
    writer.node(layer, [flat], op="Transpose", perm=[0, 2, 1])


def _fold(writer: Writes, layer: Any) -> None:
    """As a transposed convolution that puts every element of a window at its place."""
    width = writer.network.types[layer.inputs[0]].shape[1]
    channels = width // int(np.prod(layer.windows.kernel))
    turned = _step(writer, layer, "Transpose", [layer.inputs[0]], "turned", perm=[0, 2, 1])
    shape = writer.constant(f"{layer.name}_shape", np.array([-1, width, *layer.image], np.int64))
    image = _step(writer, layer, "Reshape", [turned, shape], "image")
    view = layer.windows
    extra = [
        size + before + after - (n - 1) * stride - (k - 1) * dilation - 1
        for size, (before, after), n, stride, k, dilation in zip(
            layer.size, view.pads, layer.image, view.strides, view.kernel, view.dilations
        )
    ]
    kernels = _one_hot_kernels(writer, layer, channels)
    writer.node(layer, [image, kernels], op="ConvTranspose", output_padding=extra, **_window(layer, channels))


def _attention(writer: Writes, layer: Any) -> None:
    given = dict(zip(layer.roles, layer.inputs))
    last = max(place for place, role in enumerate(ROLES) if role in given)
    attributes: dict[str, Any] = {
        "is_causal": int(layer.visible.causal),
        "softcap": layer.softcap,
        "qk_matmul_output_mode": layer.scores,
    }
    if (layer.visible.left, layer.visible.right) != (-1, -1):
        attributes |= {"left_window_size": layer.visible.left, "right_window_size": layer.visible.right}
    if layer.scale is not None:
        attributes["scale"] = layer.scale
    if layer.heads.query:
        attributes |= {"q_num_heads": layer.heads.query, "kv_num_heads": layer.heads.key}
    if layer.precision:
        attributes["softmax_precision"] = helper.np_dtype_to_tensor_dtype(np.dtype(layer.precision))
    writer.node(layer, [given.get(role, "") for role in ROLES[: last + 1]], **attributes)


def _swish(writer: Writes, layer: Any) -> None:
    """Of older operators, which every runtime has, and fuses."""
    dtype = writer.network.types[layer.inputs[0]].dtype
    alpha = writer.constant(f"{layer.name}_alpha", np.array(layer.alpha, dtype))
    scaled = layer.inputs[0] if layer.alpha == 1.0 else _step(writer, layer, "Mul", [layer.inputs[0], alpha], "scaled")
    gate = _step(writer, layer, "Sigmoid", [scaled], "gate")
    writer.node(layer, [layer.inputs[0], gate], op="Mul")


def _group_norm(writer: Writes, layer: Any) -> None:
    """Groups as channels of an instance normalisation, then scale and bias."""
    kind = writer.network.types[layer.inputs[0]]
    channels, groups = kind.shape[0], layer.groups
    rows = writer.constant(f"{layer.name}_rows", np.array([-1, groups, kind.elements // groups], np.int64))
    image = writer.constant(f"{layer.name}_image", np.array([-1, *kind.shape], np.int64))
    one, none = (writer.constant(f"{layer.name}_{v}", np.full(groups, v, kind.dtype)) for v in (1, 0))
    grouped = _step(writer, layer, "Reshape", [layer.inputs[0], rows], "groups")
    flat = _step(writer, layer, "InstanceNormalization", [grouped, one, none], "flat", epsilon=layer.epsilon)
    made = _step(writer, layer, "Reshape", [flat, image], "normal")
    shape = (1, channels, *(1,) * (len(kind.shape) - 1))
    parameters = []
    for what, name in zip(("scale", "bias"), layer.inputs[1:]):
        values = writer.network.constants[name]
        wide = np.repeat(values, channels // values.size).reshape(shape)
        parameters.append(writer.constant(f"{layer.name}_{what}", wide))
    scaled = _step(writer, layer, "Mul", [made, parameters[0]], "scaled")
    writer.node(layer, [scaled, parameters[1]], op="Add")


def _rms_norm(writer: Writes, layer: Any) -> None:
    """An element over the root of a mean of squares, times the scale."""
    kind = writer.network.types[layer.inputs[0]]
    rank = len(kind.shape) + 1
    epsilon = writer.constant(f"{layer.name}_epsilon", np.array(layer.epsilon, kind.dtype))
    square = _step(writer, layer, "Mul", [layer.inputs[0]] * 2, "square")
    axes = list(range(layer.axis % rank, rank))
    if writer.opset < 18:
        mean = _step(writer, layer, "ReduceMean", [square], "mean", axes=axes)
    else:
        given = writer.constant(f"{layer.name}_axes", np.array(axes, np.int64))
        mean = _step(writer, layer, "ReduceMean", [square, given], "mean")
    root = _step(writer, layer, "Sqrt", [_step(writer, layer, "Add", [mean, epsilon], "sum")], "root")
    normal = _step(writer, layer, "Div", [layer.inputs[0], root], "normal")
    writer.node(layer, [normal, layer.inputs[1]], op="Mul")


def _integer_codes(writer: Writes, layer: Any) -> None:
    """QONNX's codes step by step; magnitudes are rounded and get their sign back."""
    x = layer.inputs[0]
    scale, zero = (str(writer.constant(name, writer.network.constants[name])) for name in layer.inputs[1:])
    made = _step(writer, layer, "Add", [_step(writer, layer, "Div", [x, scale], "steps"), zero], "codes")

    def value(what: str, number: float) -> str:
        return str(writer.constant(f"{layer.name}_{what}", np.array(number, np.float32)))

    if layer.divide != 1.0:
        made = _step(
            writer,
            layer,
            "Div",
            [_step(writer, layer, "Round", [made], "whole"), value("divide", layer.divide)],
            "less",
        )
    if layer.rounding == "SIGN":
        above = _step(writer, layer, "GreaterOrEqual", [made, value("none", 0.0)], "above")
        made = _step(writer, layer, "Where", [above, value("one", 1.0), value("less_one", -1.0)], "sign")
    elif layer.rounding in PLAIN_ROUNDINGS:
        made = _step(writer, layer, PLAIN_ROUNDINGS[layer.rounding], [made], "rounded")
    else:
        size = _step(writer, layer, "Abs", [made], "size")
        if layer.rounding in ("HALF_UP", "HALF_DOWN"):
            half = value("half", 0.5)
            size = _step(writer, layer, "Add" if layer.rounding == "HALF_UP" else "Sub", [size, half], "moved")
        up = layer.rounding in ("UP", "HALF_DOWN")
        size = _step(writer, layer, "Ceil" if up else "Floor", [size], "steps_of_size")
        made = _step(writer, layer, "Mul", [_step(writer, layer, "Sign", [made], "sign"), size], "rounded")
    made = _step(writer, layer, "Clip", [made, value("low", layer.low), value("high", layer.high)], "limited")
    writer.node(layer, [made], op="Cast", to=helper.np_dtype_to_tensor_dtype(np.dtype(layer.dtype)))


PLAIN_ROUNDINGS = {"ROUND": "Round", "HALF_EVEN": "Round", "FLOOR": "Floor", "CEIL": "Ceil"}


def _affine_grid(writer: Writes, layer: Any) -> None:
    raise layer.error(
        "the number of images is one of its constants, so that it cannot be written for any number of them"
    )


WRITERS: dict[str, Callable[[Any, Any], None]] = {
    "AffineGrid": _affine_grid,
    "Attention": _attention,
    "AveragePool3d": _pool,
    "BitShift": _bit_shift,
    "CumProd": _running,
    "DFT": _dft,
    "CumSum": _running,
    "Fold": _fold,
    "GroupNormalization": _group_norm,
    "IntegerCodes": _integer_codes,
    "LpPool": _pool,
    "MaxPool3d": _pool,
    "OneHot": _one_hot,
    "RMSNormalization": _rms_norm,
    "Resize": _resize,
    "ReverseSequence": _reverse,
    "SpaceToDepth": _space_to_depth,
    "Swish": _swish,
    "TensorScatter": _tensor_scatter,
    "Tile": _tile,
    "TopK": _top_k,
    "Trilu": _trilu,
    "Unfold": _unfold,
}
