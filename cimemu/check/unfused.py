"""Operators that ONNX Runtime must not fuse, because what is fused is not what the file says.

Everything else is compared as ONNX Runtime ships it, fusions included. A function of DROPPED finds such operators; they are
kept apart by factors of 1.0 that are fed at run time, around the operator's float operands and its results: exact, and no
optimisation can take them away or look through them.
"""

from collections.abc import Callable, Mapping
from itertools import chain

import onnx
from onnx import TensorProto, helper

from cimemu.layer.macro_layer import MacroLayer
from cimemu.layer.requantize import RealBias
from cimemu.lower import left_in_float
from cimemu.workload.network import Network

ONE = "cimemu_one"  # the input that is fed 1.0

Finder = Callable[[Network], Mapping[str, str]]
"""Of a lowered network: float output of an operator of its QDQ graph -> why its fused form is not what the file says."""


def biases_with_scales_of_their_own(network: Network) -> dict[str, str]:
    """Products whose int32 bias has a scale that is not input scale x weight scale, or a zero point."""
    if network.qdq is None:
        return {}
    dropped = {
        layer.name
        for layer in network.layers
        if isinstance(layer, MacroLayer) and isinstance(layer.stage, RealBias) and layer.stage.dropped
    }
    why = "the fused kernel does not read the bias's own scale and zero point"
    return {layer.outputs[0]: why for layer in network.qdq.layers if layer.name in dropped}


def products_left_in_float(network: Network) -> dict[str, str]:
    """Products of float weights between DequantizeLinear and QuantizeLinear: ONNX Runtime makes 8-bit integers of such weights."""
    why = "ONNX Runtime would quantise its float weights"
    return {} if network.qdq is None else {layer.outputs[0]: why for layer in left_in_float(network.qdq)}


def real_biases(network: Network) -> dict[str, str]:
    """Products of a QONNX file with a float bias: its own runtime adds it as it is."""
    if network.qdq is None or not network.real_biases:
        return {}
    kept = {
        layer.name for layer in network.layers if isinstance(layer, MacroLayer) and isinstance(layer.stage, RealBias)
    }
    why = "ONNX Runtime would round its float bias to steps of the products"
    return {layer.outputs[0]: why for layer in network.qdq.layers if layer.name in kept}


DROPPED: tuple[Finder, ...] = (biases_with_scales_of_their_own, products_left_in_float, real_biases)


def operators_to_keep_apart(network: Network) -> dict[str, str]:
    """Float output of an operator -> why it is kept apart."""
    return dict(chain.from_iterable(find(network).items() for find in DROPPED))


def keep_apart(model: onnx.ModelProto, outputs: Mapping[str, str]) -> onnx.ModelProto:
    """A model of the same values in which no fusion reaches the operators that make `outputs`.

    It has one input more, ONE, where there are such operators: a float32 of no axes, to be fed 1.0.
    """
    if not outputs:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    types = _types(made)
    makers = {name for node in made.graph.node for name in node.output}
    nodes = []
    for node in made.graph.node:
        if not any(name in outputs for name in node.output):
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            if name in makers and types.get(name) == TensorProto.FLOAT:
                apart = f"{name}_apart_{node.output[0]}_{place}"
                nodes.append(helper.make_node("Mul", [name, ONE], [apart]))
                node.input[place] = apart
        after = []
        for place, name in enumerate(node.output):
            if name in outputs:
                after.append(helper.make_node("Mul", [f"{name}_apart", ONE], [name]))
                node.output[place] = f"{name}_apart"
        nodes += [node, *after]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del made.graph.node[:]
    made.graph.node.extend(copies)
    made.graph.input.append(helper.make_tensor_value_info(ONE, TensorProto.FLOAT, []))
    return made


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Element types of runtime tensors; DequantizeLinear makes float32 where inference does not say."""
    types = {name: TensorProto.FLOAT for n in model.graph.node if n.op_type == "DequantizeLinear" for name in n.output}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        if value.type.tensor_type.elem_type:
            types[value.name] = value.type.tensor_type.elem_type
    return types
