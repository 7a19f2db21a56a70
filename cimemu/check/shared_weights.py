"""A weight that several products share, given to each of them by itself, because ONNX Runtime turns int8 weights to uint8.

It does so at every product, under one new name for the constant, and refuses a file in which two products share it. Values
are the same.
"""

from collections import Counter

import onnx
from onnx import helper


def with_own_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of the same values in which every product has a DequantizeLinear and constants of its own."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = Counter(name for node in model.graph.node for name in node.input)
    shared = {
        node.output[0]: node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored and readers[node.output[0]] > 1
    }
    if not shared:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    seen: set[str] = set()
    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for place, name in enumerate(node.input):
            if name not in shared:
                continue
            if name in seen:
                copy.input[place] = f"{name}_of_{node.output[0]}"
                made.graph.node.append(_own(made, shared[name], stored, copy.input[place]))
            seen.add(name)
        made.graph.node.append(copy)
    return made


def _own(
    model: onnx.ModelProto, dequantize: onnx.NodeProto, stored: dict[str, onnx.TensorProto], output: str
) -> onnx.NodeProto:
    """A DequantizeLinear like another one, of copies of its constants."""
    inputs = []
    for name in dequantize.input:
        tensor = onnx.TensorProto()
        tensor.CopyFrom(stored[name])
        tensor.name = f"{name}_of_{output}"
        model.graph.initializer.append(tensor)
        inputs.append(tensor.name)
    made = helper.make_node("DequantizeLinear", inputs, [output], name=output, domain=dequantize.domain)
    made.attribute.extend(dequantize.attribute)
    return made
