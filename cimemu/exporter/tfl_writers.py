"""ONNX writers of TensorFlow Lite operators that a float network keeps: moves of elements, look-ups, truth values over axes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from cimemu.exporter.onnx_writers import Writes
from cimemu.layer.tfl_moves import TflGatherComputed


def _moved(writer: Writes, layer: Any) -> None:
    """Any move: each output element's place in the flat image, found by moving the places themselves."""
    kind = writer.network.types[layer.inputs[0]]
    places = layer.forward([np.arange(kind.elements, dtype=np.int64).reshape(1, *kind.shape)])
    flat = f"{layer.name}_flat"
    sizes = writer.constant(f"{flat}_sizes", np.array([-1, kind.elements], np.int64))
    writer.nodes.append(helper.make_node("Reshape", [layer.inputs[0], sizes], [flat]))
    for output, place in zip(layer.outputs, places):
        taken, shape = f"{output}_taken", writer.network.types[output].shape
        index = writer.constant(f"{output}_places", place.reshape(-1))
        writer.nodes.append(helper.make_node("Gather", [flat, index], [taken], axis=1))
        sizes = writer.constant(f"{output}_sizes", np.array([-1, *shape], np.int64))
        writer.nodes.append(helper.make_node("Reshape", [taken, sizes], [output]))


def _gather(writer: Writes, layer: Any) -> None:
    """Rows of a stored table, or places that are stored; of two computed tensors ONNX has no such operator."""
    if not isinstance(layer, TflGatherComputed):
        _moved(writer, layer)
        return
    if not layer.stored or layer.apart or layer.axis_of(layer.axis):
        raise layer.error(f"has no ONNX writer at axis {layer.axis} with {layer.apart} axes of both")
    writer.node(layer, op="Gather", axis=0)


def _truth(writer: Writes, layer: Any) -> None:
    """The largest or smallest of truth values, as integers."""
    source, shape = writer.network.types[layer.inputs[0]], writer.network.types[layer.outputs[0]].shape
    if source.dtype != "bool":
        raise layer.error(f"has no ONNX writer for {source.dtype}")
    names = [f"{layer.name}_{what}" for what in ("integers", "whole", "chosen", "shaped")]
    whole = writer.constant(f"{layer.name}_file", np.array([-1, *layer.shapes[0]], np.int64))
    sizes = writer.constant(f"{layer.name}_sizes", np.array([-1, *shape], np.int64))
    op = "ReduceMax" if layer.largest else "ReduceMin"
    add = writer.nodes.append
    add(helper.make_node("Cast", [layer.inputs[0]], [names[0]], to=TensorProto.INT32))
    add(helper.make_node("Reshape", [names[0], whole], [names[1]]))
    add(helper.make_node(op, [names[1]], [names[2]], axes=list(layer.behind), keepdims=0))
    add(helper.make_node("Reshape", [names[2], sizes], [names[3]]))
    add(helper.make_node("Cast", [names[3]], [layer.outputs[0]], to=TensorProto.BOOL))


MOVES = ("STRIDED_SLICE", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
TFL_WRITERS: dict[str, Callable[[Any, Any], None]] = {
    **dict.fromkeys(MOVES, _moved),
    "GATHER": _gather,
    "REDUCE_MAX": _truth,
}
