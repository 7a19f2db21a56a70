"""All that an ONNX file asks for and cimemu does not have, in one line."""

import math
from collections import Counter
from collections.abc import Collection, Iterator

import onnx

from cimemu.errors import WorkloadError
from cimemu.importer.unsupported import refusal

REMEDY = "export {them} as supported operators, cut {them} off, or add a plug-in of the kind cimemu.operator"
GATES = ("LSTM", "GRU", "RNN")
WINDOWS = ("Conv", "QLinearConv", "ConvInteger", "ConvTranspose", "DeformConv")
PRODUCTS = ("MatMul", "MatMulInteger", "Gemm", "QLinearMatMul")
Shapes = dict[str, tuple[int, ...]]


def refuse_unsupported(model: onnx.ModelProto, known: Collection[str]) -> None:
    """WorkloadError for a file with operators that are not `known`: all of them, how often each occurs, and the share of the MACs
    of one image that could run. Branches that are chosen later are not looked into."""
    nodes = list(_computed(model.graph))
    missing = [(index, node) for index, node in nodes if _key(node) not in known]
    if not missing:
        return
    index, first = missing[0]
    counts, shapes = Counter(_key(node) for _, node in missing), _shapes(model)
    macs = [(_key(node) in known, _macs(node, shapes)) for _, node in nodes]
    told = None if any(n is None for _, n in macs) else sum(n or 0 for _, n in macs)
    able = sum(n or 0 for supported, n in macs if supported)
    them = "it" if len(missing) == 1 else "them"
    remedy = f"{REMEDY.format(them=them)}; supported are {', '.join(sorted(known))}"
    error = refusal(counts, able, told, remedy)
    raise WorkloadError(f"node '{first.name or f'{first.op_type}_{index}'}' ({first.op_type}): {error}")


def _key(node: onnx.NodeProto) -> str:
    """The operator's name, with its domain in front if it has one."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"


def _computed(graph: onnx.GraphProto) -> Iterator[tuple[int, onnx.NodeProto]]:
    """(number, node) of those that something computed goes into: not those of constants and shapes alone."""
    fixed = {"", *(tensor.name for tensor in graph.initializer)}
    for index, node in enumerate(graph.node):
        if node.op_type in ("Constant", "Shape", "Size") or (
            fixed.issuperset(node.input) and not any(a.HasField("g") for a in node.attribute)
        ):
            fixed.update(node.output)
        else:
            yield index, node


def _shapes(model: onnx.ModelProto) -> Shapes:
    """Shapes by tensor, an open size as 1 (one image); {} where ONNX cannot infer them."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError):  # the share is then not known
        return {}
    found: Shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and value.name not in found:
            found[value.name] = tuple(max(1, dim.dim_value) for dim in kind.shape.dim)
    return found


def _macs(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Multiply-accumulates of one image by weights or another tensor; None where sizes are not known."""
    known = [shapes.get(name) for name in node.input]
    out = shapes.get(node.output[0]) if node.output else None
    given = [shape for shape in known if shape is not None]
    if node.op_type in WINDOWS:
        weight = next((shape for shape in given[1:] if len(shape) > 2), None)
        sized = given[0] if node.op_type == "ConvTranspose" and given else out
        return None if weight is None or sized is None else math.prod(sized[2:]) * math.prod(weight)
    if node.op_type in PRODUCTS:
        first = known[0] if known else None
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        inner = 0 if transposed else -1
        return None if not first or out is None else math.prod(out) * first[inner]
    if node.op_type in GATES:
        x, *weights = [shape for shape in known[:3] if shape] or [()]
        if not x or len(weights) < 2:
            return None
        return x[0] * sum(math.prod(weight) for weight in weights)  # every step of [steps, images, inputs]
    return 0
