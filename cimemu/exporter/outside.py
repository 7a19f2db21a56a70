"""ONNX nodes of operators from outside: those that their classes bring, held to what a graph needs of them."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from cimemu.errors import WorkloadError
from cimemu.layer.operator import Operator


def nodes_of(layer: Operator, opset: int) -> tuple[list[NodeProto], dict[str, int]]:
    """(the nodes of a layer, versions of the operator sets they need) for a model of ONNX operator set `opset`.

    WorkloadError in one line where its class brings no writer, or one that fails or leaves out an output.
    """
    try:
        made: Any = layer.onnx_nodes(opset)
        nodes = [_own_node(layer)] if made is None else list(made)
    except WorkloadError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise layer.error(f"onnx_nodes: {type(error).__name__}: {said}; correct the operator's class") from None
    if not all(isinstance(node, NodeProto) for node in nodes):
        raise layer.error("onnx_nodes gives what is no onnx.NodeProto, make nodes with onnx.helper.make_node")
    _check_names(layer, nodes)
    domains = {node.domain for node in nodes} - {"", "ai.onnx"}
    context = onnx.checker.C.CheckerContext()
    context.ir_version = 8
    context.opset_imports = {"": opset, **dict.fromkeys(domains, layer.version)}
    for node in nodes:
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError as error:
            raise layer.error(f"onnx_nodes: {' '.join(str(error).split())[:200]}; correct the node") from None
    return nodes, dict.fromkeys(domains, layer.version)


def _own_node(layer: Operator) -> NodeProto:
    """The node that a layer was read from. WorkloadError where its class reads nodes in a way of its own."""
    if type(layer).from_node.__func__ is not Operator.from_node.__func__:  # type: ignore[attr-defined]
        raise layer.error(
            "cannot be written as ONNX: its class reads nodes with a from_node of its own and has no onnx_nodes; define it"
        )
    values = {field.name: getattr(layer, field.name) for field in fields(layer)}
    attributes = {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in values.items()
        if name not in ("name", "inputs", "outputs") and value is not None
    }
    domain, _, op_type = layer.operator.rpartition(":")
    return helper.make_node(op_type, layer.inputs, layer.outputs, name=layer.name, domain=domain, **attributes)


def _check_names(layer: Operator, nodes: Sequence[NodeProto]) -> None:
    """Nodes read what the layer reads and each other, in order, and give every output of the layer."""
    there = {name for name in layer.inputs if name}
    for node in nodes:
        unknown = [name for name in node.input if name and name not in there]
        if unknown:
            raise layer.error(f"onnx_nodes: {node.op_type} reads {unknown[0]!r}, which no input or earlier node gives")
        there.update(node.output)
    missing = [name for name in layer.outputs if name and name not in there]
    if missing:
        raise layer.error(f"onnx_nodes: no node gives the output {missing[0]!r}")


__all__ = ["nodes_of"]
