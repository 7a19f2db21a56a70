"""Nodes of a network that takes one image at a time, rewritten for many: an axis of images goes before the file's own axes.

A file that is exported for one image may do anything with its axis 0 (swap it with the words of a text, cut windows into it,
drop it): what it makes is then one image's tensor, whole. A rule takes a node whose tensors are whole tensors of the file and
gives nodes in the form that the importer reads, whose axis 0 are the images and whose other axes are all of the file's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from cimemu.errors import WorkloadError
from cimemu.layer.base import Array

Shape = tuple[int, ...]


@dataclass(frozen=True)
class WholeNode:
    """A node and what is known of its inputs: names in whole form, shapes as the file has them, constants among them."""

    proto: onnx.NodeProto
    inputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    constants: Mapping[str, Array]
    varying: Mapping[str, Array]  # constants that depend on the number of images, as they are for another number
    keep: Callable[[str, Array], str]  # (what for, a new constant) -> its name

    @property
    def op(self) -> str:
        """Operator, without the default domain."""
        domain = "" if self.proto.domain in ("", "ai.onnx") else f"{self.proto.domain}:"
        return f"{domain}{self.proto.op_type}"

    def runtime(self, index: int) -> bool:
        """Whether an input is given and no constant."""
        return index < len(self.inputs) and bool(self.inputs[index]) and self.inputs[index] not in self.constants

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value."""
        found = [onnx.helper.get_attribute_value(a) for a in self.proto.attribute if a.name == name]
        return found[0] if found else default

    def numbers(self, index: int, name: str) -> list[int] | None:
        """A list of integers: an attribute, or a constant input; None where it is left out."""
        given = self.attribute(name)
        if given is not None:
            return [int(v) for v in given]
        if index >= len(self.inputs) or not self.inputs[index]:
            return None
        if self.inputs[index] not in self.constants:
            raise self.error(f"{name} is computed at run time, must be a constant: fix the input shape")
        found = np.atleast_1d(self.constants[self.inputs[index]])
        if found.ndim > 1 or not np.isfinite(found).all():
            raise self.error(f"{name} of shape {found.shape}, must be a list of whole numbers")
        return [int(v) for v in found]

    def changed(self, inputs: Sequence[str] | None = None, **attributes: Any) -> onnx.NodeProto:
        """The node with other inputs and some other attributes (None: taken away)."""
        made = onnx.NodeProto()
        made.CopyFrom(self.proto)
        kept = [a for a in self.proto.attribute if a.name not in attributes]
        del made.attribute[:], made.input[:]
        made.attribute.extend(kept)
        made.attribute.extend(onnx.helper.make_attribute(k, v) for k, v in attributes.items() if v is not None)
        made.input.extend(self.inputs if inputs is None else inputs)
        return made

    def other(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
        """Another node in its place."""
        name = f"{self.proto.name or self.op}:{output}"
        return onnx.helper.make_node(op, list(inputs), [output], name=name, **attributes)

    def reshaped(self, source: str, shape: Sequence[int], output: str) -> onnx.NodeProto:
        """A Reshape of every image's tensor."""
        target = self.keep(f"{output}:shape", np.array([0, *shape], np.int64))
        return self.other("Reshape", (source, target), output)

    def error(self, message: str) -> WorkloadError:
        """Names the node and its operator."""
        return WorkloadError(f"node '{self.proto.name}' ({self.op}): {message}")


Rule = Callable[[WholeNode], list[onnx.NodeProto]]


def as_it_is(node: WholeNode) -> list[onnx.NodeProto]:
    """Element by element."""
    return [node.changed()]


def broadcast(node: WholeNode) -> list[onnx.NodeProto]:
    """Operands of fewer axes get axes of size 1 behind the images', as ONNX would put them in front."""
    rank = max(len(shape) for name, shape in zip(node.inputs, node.shapes) if name)
    made, inputs = [], list(node.inputs)
    for i, shape in enumerate(node.shapes):
        if node.runtime(i) and len(shape) < rank:
            inputs[i] = f"{node.proto.output[0]}:operand{i}"
            made.append(node.reshaped(node.inputs[i], (1,) * (rank - len(shape)) + shape, inputs[i]))
    return [*made, node.changed(inputs)]


def along_axis(default: int) -> Rule:
    """An attribute `axis` counts the images too."""

    def rule(node: WholeNode) -> list[onnx.NodeProto]:
        axis = int(node.attribute("axis", default))
        return [node.changed(axis=axis if axis < 0 else axis + 1)]

    return rule


def softmax(node: WholeNode) -> list[onnx.NodeProto]:
    """The axis is left to the operator's own default where it is the last one."""
    return [node.changed()] if node.attribute("axis") is None else along_axis(-1)(node)


def concat(node: WholeNode) -> list[onnx.NodeProto]:
    """Constants join every image."""
    inputs = [
        node.keep(f"{node.proto.output[0]}:{i}", node.constants[name][None]) if name in node.constants else name
        for i, name in enumerate(node.inputs)
    ]
    axis = int(node.attribute("axis", 0))
    return [node.changed(inputs, axis=axis if axis < 0 else axis + 1)]


def gather(node: WholeNode) -> list[onnx.NodeProto]:
    """Elements of every image's tensor, or rows of a constant table, which has no images."""
    return along_axis(0)(node) if node.runtime(0) else [node.changed()]


def reduce(node: WholeNode) -> list[onnx.NodeProto]:
    """All of the file's axes where none are named."""
    axes = node.numbers(1, "axes")
    if not axes and node.attribute("noop_with_empty_axes", 0):
        return [node.changed()]
    axes = axes or list(range(len(node.shapes[0])))
    return [node.changed(node.inputs[:1], axes=[a if a < 0 else a + 1 for a in axes])]


def transpose(node: WholeNode) -> list[onnx.NodeProto]:
    """A permutation that only moves axes of size 1 is a reshape."""
    shape = node.shapes[0]
    perm = [int(a) for a in node.attribute("perm", range(len(shape))[::-1])]
    if sorted(perm) != list(range(len(shape))):
        raise node.error(f"perm = {perm}, must order {len(shape)} axes")
    real = [axis for axis in perm if shape[axis] != 1]
    if real == sorted(real):
        return [node.reshaped(node.inputs[0], [shape[axis] for axis in perm], node.proto.output[0])]
    return [node.changed(perm=[0, *(axis + 1 for axis in perm)])]


def reshape(node: WholeNode) -> list[onnx.NodeProto]:
    """Sizes of 0 and -1 are filled in."""
    shape, target = node.shapes[0], node.numbers(1, "shape") or []
    copies = not node.attribute("allowzero", 0)
    if copies and any(size == 0 and axis >= len(shape) for axis, size in enumerate(target)):
        raise node.error(f"target shape {target} copies a size that a tensor of shape {shape} does not have")
    sizes = [shape[axis] if size == 0 and copies else size for axis, size in enumerate(target)]
    known, whole = int(np.prod([s for s in sizes if s != -1])), int(np.prod(shape))
    if sizes.count(-1) > 1 or (-1 in sizes and (known == 0 or whole % known)):
        raise node.error(f"target shape {target} does not fit a tensor of shape {shape}")
    sizes = [whole // known if size == -1 else size for size in sizes]
    return [node.reshaped(node.inputs[0], sizes, node.proto.output[0])]


def flatten(node: WholeNode) -> list[onnx.NodeProto]:
    """Two axes, cut at `axis`."""
    shape, axis = node.shapes[0], int(node.attribute("axis", 1))
    axis += len(shape) if axis < 0 else 0
    sizes = int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))
    return [node.reshaped(node.inputs[0], sizes, node.proto.output[0])]


def squeeze(node: WholeNode) -> list[onnx.NodeProto]:
    """Axes of size 1 are dropped."""
    shape, axes = node.shapes[0], node.numbers(1, "axes")
    drop = [i for i, s in enumerate(shape) if s == 1] if axes is None else [a % len(shape) for a in axes]
    if any(shape[axis] != 1 for axis in drop):
        raise node.error(f"axes = {axes} of a tensor of shape {shape}, must have size 1")
    return [node.reshaped(node.inputs[0], [s for i, s in enumerate(shape) if i not in drop], node.proto.output[0])]


def unsqueeze(node: WholeNode) -> list[onnx.NodeProto]:
    """Axes of size 1 are inserted."""
    shape, axes = node.shapes[0], node.numbers(1, "axes") or []
    rank = len(shape) + len(axes)
    added, sizes = {axis % rank for axis in axes}, iter(shape)
    if len(added) != len(axes):
        raise node.error(f"axes = {axes}, must differ")
    return [
        node.reshaped(node.inputs[0], [1 if i in added else next(sizes) for i in range(rank)], node.proto.output[0])
    ]


def cut(node: WholeNode) -> list[onnx.NodeProto]:
    """Slice, whatever its operator set: parameters become inputs."""
    starts, ends = node.numbers(1, "starts"), node.numbers(2, "ends")
    if starts is None or ends is None:
        raise node.error("starts and ends must be given")
    axes, steps = node.numbers(3, "axes"), node.numbers(4, "steps")
    axes = list(range(len(starts))) if axes is None else axes
    given = (starts, ends, [a if a < 0 else a + 1 for a in axes], steps or [1] * len(starts))
    names = [
        node.keep(f"{node.proto.output[0]}:{what}", np.array(values, np.int64))
        for what, values in zip(("starts", "ends", "axes", "steps"), given)
    ]
    return [node.changed((node.inputs[0], *names), starts=None, ends=None, axes=None)]


def pad(node: WholeNode) -> list[onnx.NodeProto]:
    """No padding of the images' axis."""
    pads, rank = node.numbers(1, "pads") or [], len(node.shapes[0])
    axes = node.numbers(3, "axes")
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    if len(pads) != 2 * len(axes):
        raise node.error(f"pads = {pads} for {len(axes)} axes, must be two per axis")
    whole = [0] * (2 * rank + 2)
    for axis, before, after in zip(axes, pads, pads[len(axes) :]):
        whole[axis + 1], whole[rank + axis + 2] = before, after
    name = node.keep(f"{node.proto.output[0]}:pads", np.array(whole, np.int64))
    return [node.changed((node.inputs[0], name, *node.inputs[2:3]), pads=None)]


def expand(node: WholeNode) -> list[onnx.NodeProto]:
    """The whole target shape, for every image."""
    shape, target = node.shapes[0], node.numbers(1, "shape") or []
    try:
        sizes = np.broadcast_shapes(shape, tuple(target))
    except ValueError:
        raise node.error(f"target shape {target} does not fit a tensor of shape {shape}") from None
    source, made = node.inputs[0], []
    if len(sizes) > len(shape):
        source = f"{node.proto.output[0]}:operand"
        made.append(node.reshaped(node.inputs[0], (1,) * (len(sizes) - len(shape)) + shape, source))
    name = node.keep(f"{node.proto.output[0]}:shape", np.array([1, *sizes], np.int64))
    return [*made, node.changed((source, name))]


def tile(node: WholeNode) -> list[onnx.NodeProto]:
    """The images are not repeated."""
    repeats = node.numbers(1, "repeats") or []
    name = node.keep(f"{node.proto.output[0]}:repeats", np.array([1, *repeats], np.int64))
    return [node.changed((node.inputs[0], name))]


def matmul(node: WholeNode) -> list[onnx.NodeProto]:
    """A vector gets the axis that ONNX gives it, and loses it behind the product."""
    a, b = node.shapes[:2]
    inputs, shapes, made, output = list(node.inputs), [a, b], [], node.proto.output[0]
    for i in (0, 1):
        if node.runtime(i) and len(shapes[i]) == 1:
            shapes[i] = (1, *shapes[i]) if i == 0 else (*shapes[i], 1)
            inputs[i] = f"{output}:operand{i}"
            made.append(node.reshaped(node.inputs[i], shapes[i], inputs[i]))
    rank = max(len(shape) for shape in shapes)
    for i in (0, 1):
        if node.runtime(i) and len(shapes[i]) < rank:
            made.append(node.reshaped(inputs[i], (1,) * (rank - len(shapes[i])) + shapes[i], f"{output}:aligned{i}"))
            inputs[i] = f"{output}:aligned{i}"
    if len(a) > 1 and len(b) > 1:
        return [*made, node.changed(inputs)]
    if not (node.runtime(0) and node.runtime(1)) and len(b if node.runtime(0) else a) == 1:
        raise node.error("a product with a constant vector is not supported, store it as a matrix")
    product = node.other("MatMul", inputs, f"{output}:product")
    rows = np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
    sizes = (*rows, *(a[-2:-1] if len(a) > 1 else ()), *(b[-1:] if len(b) > 1 else ()))
    return [*made, product, node.reshaped(f"{output}:product", sizes, output)]


def gemm(node: WholeNode) -> list[onnx.NodeProto]:
    """Products of many rows an image: MatMul, factors and a sum, each where it is not idle."""
    output, inputs = node.proto.output[0], list(node.inputs)
    steps: list[onnx.NodeProto] = []

    def then(op: str, operands: Sequence[str], **attributes: Any) -> str:
        name = f"{output}:{op.lower()}{len(steps)}"
        steps.append(node.other(op, operands, name, **attributes))
        return name

    if node.attribute("transA", 0):
        inputs[0] = then("Transpose", inputs[:1], perm=[0, 2, 1])
    if node.attribute("transB", 0):
        inputs[1] = then("Transpose", inputs[1:2], perm=[0, 2, 1] if node.runtime(1) else [1, 0])
    made = then("MatMul", inputs[:2])
    alpha, beta = (float(node.attribute(name, 1.0)) for name in ("alpha", "beta"))
    if alpha != 1:
        made = then("Mul", (made, node.keep(f"{output}:alpha", np.array(alpha, np.float32))))
    if len(inputs) > 2 and inputs[2]:
        bias = inputs[2]
        if beta != 1:
            bias = then("Mul", (bias, node.keep(f"{output}:beta", np.array(beta, np.float32))))
        then("Add", (made, bias))
    steps[-1].output[0] = output
    return steps


def quantise(node: WholeNode) -> list[onnx.NodeProto]:
    """The axis of several scales counts the images too."""
    scale = node.constants.get(node.inputs[1])
    return along_axis(1)(node) if scale is not None and scale.size > 1 else [node.changed()]


def clip(node: WholeNode) -> list[onnx.NodeProto]:
    """Ends that are computed are a maximum and a minimum of every element."""
    if not (node.runtime(1) or node.runtime(2)):
        return as_it_is(node)
    output = node.proto.output[0]
    ends = [(place, op) for place, op in ((1, "Max"), (2, "Min")) if place < len(node.inputs) and node.inputs[place]]
    steps: list[onnx.NodeProto] = []
    source, shape = node.inputs[0], node.shapes[0]
    for place, op in ends:
        target = output if place == ends[-1][0] else f"{output}:{op}"
        made = node.other(op, (source, node.inputs[place]), target)
        steps += broadcast(replace(node, proto=made, inputs=tuple(made.input), shapes=(shape, node.shapes[place])))
        source = target
    return steps


ELEMENTS = [
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast",
    "Ceil", "Celu", "Clip", "Cos", "Cosh", "Dropout", "Elu", "Erf",
    "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
    "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round",
    "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign",
    "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "BitwiseNot", "DynamicQuantizeLinear",
]  # fmt: skip
OPERANDS = [
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
    "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow",
    "Sub", "Sum", "Where", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift",
]  # fmt: skip
REDUCTIONS = [
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare",
]  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTS, as_it_is),
    **dict.fromkeys(OPERANDS, broadcast),
    **dict.fromkeys(REDUCTIONS, reduce),
    **dict.fromkeys(("ArgMax", "ArgMin", "Split"), along_axis(0)),
    **dict.fromkeys(("TopK", "LayerNormalization", "RMSNormalization", "LpNormalization"), along_axis(-1)),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), quantise),
    **dict.fromkeys(("MatMul", "MatMulInteger"), matmul),
    "Clip": clip,
    "Concat": concat,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": gemm,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": cut,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
