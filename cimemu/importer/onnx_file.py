"""Reads an ONNX file that nobody vouches for: whole, valid, and nothing outside its own folder."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from cimemu.errors import WorkloadError, why_unreadable
from cimemu.given_file import refuse_input

MAX_ELEMENTS = 1 << 32  # of a stored tensor
MAX_NODES = 1 << 20  # of a model whose functions are expanded


def read_model(path: Path) -> onnx.ModelProto:
    """The checked model with its external data. Raises WorkloadError in one line; executes nothing."""
    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except FileNotFoundError:
        raise WorkloadError(f"{path}: no such file") from None
    except (DecodeError, ValueError, RuntimeError):
        raise WorkloadError(f"{path}: not a whole ONNX file, export or copy it again") from None
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read ({why_unreadable(error)})") from None
    if not model.graph.node:
        raise WorkloadError(f"{path}: no ONNX graph with nodes in it, export or copy it again")
    for output in model.graph.output:
        # Tools leave out the shape of outputs, which the checker insists on and nothing here reads.
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.shape.SetInParent()
    external = False
    for tensor in _tensors(model.graph):
        external |= _check_tensor(path, tensor)
    try:
        if external:
            onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
        if model.functions:
            _check_functions(path, model)
            model = onnx.inliner.inline_local_functions(model)
    except (onnx.checker.ValidationError, ValueError, OSError, RuntimeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WorkloadError(f"{path}: not a valid ONNX network: {reason}") from None
    return model


def _check_functions(path: Path, model: onnx.ModelProto) -> None:
    """WorkloadError where functions call themselves, or would expand to more than MAX_NODES nodes."""
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Iterable[onnx.NodeProto], inside: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in inside:
                raise WorkloadError(f"{path}: function '{node.op_type}' calls itself, export the network again")
            if key in bodies and key not in sizes:
                sizes[key] = size(bodies[key], (*inside, key))
            total += sizes.get(key, 1)
        return total

    expanded = size(model.graph.node, ())
    if expanded > MAX_NODES:
        raise WorkloadError(f"{path}: its functions expand to {expanded} nodes, at most {MAX_NODES} are read")


def _check_tensor(path: Path, tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's data is external; WorkloadError for a hostile size or place."""
    size = math.prod(tensor.dims)
    if min(tensor.dims, default=0) < 0 or size > MAX_ELEMENTS:
        raise WorkloadError(
            f"{path}: tensor '{tensor.name}' has shape {list(tensor.dims)}, at most {MAX_ELEMENTS} elements"
        )
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return False
    entries = {entry.key: entry.value for entry in tensor.external_data}
    folder = path.parent.resolve()
    try:
        place = (folder / entries.get("location", "")).resolve()
    except (OSError, ValueError, RuntimeError):  # too long, with a NUL, a loop of links
        raise WorkloadError(f"{path}: tensor '{tensor.name}' has external data under a name that no file has") from None
    # resolve() follows links, so that neither ".." nor a link can lead out of the folder.
    if folder not in place.parents:
        raise WorkloadError(
            f"{path}: tensor '{tensor.name}' lies in '{entries.get('location', '')}', external data must be "
            "in the folder of the network"
        )
    if not place.exists():
        raise WorkloadError(f"{path}: external data '{place.name}' is missing, copy it beside the network")
    refuse_input(place, WorkloadError, "the network's external data")
    return True


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor of a graph, those in attributes and subgraphs too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from _tensors(inner)
