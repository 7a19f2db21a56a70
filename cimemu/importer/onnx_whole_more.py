"""Rules of `onnx_whole` for operators that pick and lay out elements, and those of several named axes; all rules by name."""

import numpy as np
import onnx

from cimemu.importer.onnx_node import WHOLE_FORM
from cimemu.importer.onnx_whole import RULES, Rule, WholeNode, along_axis, as_it_is


def _with_images(node: WholeNode) -> list[str]:
    """The inputs, constants with an axis of one image in front."""
    return [
        node.keep(f"{node.proto.output[0]}:{i}", node.constants[name][None]) if name in node.constants else name
        for i, name in enumerate(node.inputs)
    ]


def places(default: int) -> Rule:
    """Data, places and updates of one image, along an attribute `axis`."""

    def rule(node: WholeNode) -> list[onnx.NodeProto]:
        axis = int(node.attribute("axis", default))
        return [node.changed(_with_images(node), axis=axis if axis < 0 else axis + 1)]

    return rule


def running(node: WholeNode) -> list[onnx.NodeProto]:
    """The axis is an input."""
    axes = node.numbers(1, "axis") or [0]
    name = node.keep(f"{node.proto.output[0]}:axis", np.array([a if a < 0 else a + 1 for a in axes[:1]], np.int64))
    return [node.changed((node.inputs[0], name))]


def gather_nd(node: WholeNode) -> list[onnx.NodeProto]:
    """Coordinates in one image's tensor."""
    return [node.changed(_with_images(node), batch_dims=int(node.attribute("batch_dims", 0)) + 1)]


def scatter_nd(node: WholeNode) -> list[onnx.NodeProto]:
    """Constant coordinates, which begin with that of the one image."""
    if node.runtime(1):
        raise node.error("the indices are computed at run time, must be a constant: freeze them")
    where = node.constants[node.inputs[1]]
    whole = np.concatenate([np.zeros((*where.shape[:-1], 1), where.dtype), where], axis=-1)[None]
    inputs = _with_images(node)
    return [node.changed((inputs[0], node.keep(f"{node.proto.output[0]}:places", whole), inputs[2]))]


def compress(node: WholeNode) -> list[onnx.NodeProto]:
    """Elements of an axis, or of all of the tensor in one."""
    if node.attribute("axis") is not None:
        return along_axis(0)(node)
    flat = f"{node.proto.output[0]}:flat"
    made = node.reshaped(node.inputs[0], (int(np.prod(node.shapes[0])),), flat)
    return [made, node.changed((flat, *node.inputs[1:]), axis=1)]


def named_axes(default: tuple[int, ...] | None) -> Rule:
    """An attribute `axes` counts the images too; all axes where there is no default."""

    def rule(node: WholeNode) -> list[onnx.NodeProto]:
        given = node.attribute("axes", range(len(node.shapes[0])) if default is None else default)
        return [node.changed(axes=[int(a) if a < 0 else int(a) + 1 for a in given])]

    return rule


def einsum(node: WholeNode) -> list[onnx.NodeProto]:
    """A letter more in front of what has images, and of the result."""
    equation = str((node.attribute("equation") or b"").decode(errors="replace")).replace(" ", "")
    left, arrow, result = equation.partition("->")
    spare = next((letter for letter in "zyxwvutsrqponmlkjihgfedcba" if letter not in equation), "")
    terms = left.split(",")
    if not spare or len(terms) != len(node.inputs):
        raise node.error(f"equation = {equation} for {len(node.inputs)} operands, must have a term each")
    if not arrow:
        every = left.replace(",", "").replace(".", "")
        result = ("..." if "..." in left else "") + "".join(sorted(c for c in set(every) if every.count(c) == 1))
    whole = ",".join(spare * node.runtime(i) + term for i, term in enumerate(terms))
    return [node.changed(equation=f"{whole}->{spare}{result}")]


def recurrent(node: WholeNode) -> list[onnx.NodeProto]:
    """Steps, batch and directions stay where the file has them."""
    return [node.changed(node.inputs, **{WHOLE_FORM: 1})]


MORE: dict[str, Rule] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN", "com.microsoft:DynamicQuantizeLSTM"), recurrent),
    **dict.fromkeys(("BitCast", "CastLike", "Det", "SwiGLU", "Trilu"), as_it_is),
    **dict.fromkeys(("CumSum", "CumProd"), running),
    **dict.fromkeys(("GatherElements", "ScatterElements", "Scatter"), places(0)),
    "CenterCropPad": named_axes(None),
    "Compress": compress,
    "Einsum": einsum,
    "GatherND": gather_nd,
    "MeanVarianceNormalization": named_axes((0, 2, 3)),
    "OneHot": along_axis(-1),
    "ScatterND": scatter_nd,
}
ALL_RULES: dict[str, Rule] = {**RULES, **MORE}


def many_images(node: WholeNode) -> list[onnx.NodeProto]:
    """The node for many images. WorkloadError for an operator that has no such form."""
    if node.op not in ALL_RULES:
        shape = list(node.shapes[0]) if node.shapes else []
        raise node.error(
            f"takes a tensor of shape {shape} whose axis 0 is no axis of images: not supported for this operator"
        )
    return ALL_RULES[node.op](node)
