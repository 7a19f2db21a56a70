"""A model in which every product has a weight of its own: ONNX Runtime's rewrite of weights gives a shared one the same name twice."""

import onnx


def with_own_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same values; every reader of a dequantised constant has a DequantizeLinear and constants of its own."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, list[tuple[int, int]]] = {}
    for number, node in enumerate(model.graph.node):
        for place, name in enumerate(node.input):
            readers.setdefault(name, []).append((number, place))
    shared = [
        node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in constants
        and len(readers.get(node.output[0], [])) > 1
    ]
    if not shared:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    copies = []
    for node in shared:
        for count, (number, place) in enumerate(readers[node.output[0]][1:], 1):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name, copy.output[0] = f"{node.name}_own_{count}", f"{node.output[0]}_own_{count}"
            for which, name in enumerate(node.input):
                if name in constants:
                    own = made.graph.initializer.add()
                    own.CopyFrom(constants[name])
                    own.name = copy.input[which] = f"{name}_own_{count}_{node.output[0]}"
            made.graph.node[number].input[place] = copy.output[0]
            copies.append(copy)
    nodes = [*copies, *made.graph.node]  # they depend on constants alone
    texts = [node.SerializeToString() for node in nodes]
    del made.graph.node[:]
    made.graph.node.extend(onnx.NodeProto.FromString(text) for text in texts)
    return made
