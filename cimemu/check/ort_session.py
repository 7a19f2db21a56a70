"""ONNX Runtime sessions with exact 8-bit products, on processors with and without VNNI."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from cimemu.check.forms import Probe
from cimemu.check.ort_form import kernel_forms

PRODUCTS = {  # operator -> where its activation's and its weight's type is seen
    "QLinearConv": (2, 5),
    "QLinearMatMul": (2, 5),
    "QGemm": (2, 5),
    "MatMulInteger": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
    "ConvInteger": (1, 0),  # the weight is the left factor of its product
}
# What ONNX Runtime says where its rewrite of weights as uint8 does not end well.
UNWRITTEN = ("NOT_IMPLEMENTED", "Could not find an implementation", "AddInitializedOrtValue")
WEIGHTS = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3, "ConvInteger": 0}  # else 1

# ONNX Runtime makes MatMulNBits of MatMul behind a DequantizeLinear; by default (4) that quantises activations to 8 bits, by 1 not.
NBITS = ("session.qdq_matmulnbits_accuracy_level", "1")


def make_session(model: bytes, *, optimized: Path | None = None, threads: int = 0, rewrites: bool = True) -> Any:
    """A session on the processor; `optimized` is written with the graph that it really runs.

    Where a uint8 x int8 kernel adds pairs in saturating 16 bits (AVX2 and AVX-512 without VNNI), ONNX Runtime is asked to
    rewrite such weights as uint8, which is exact. It rewrites int8 x int8 too and then has no kernel for them; these are
    exact as they are, so a graph that it refuses is taken without the rewrite, and `saturable` says what is left. So is one
    with a weight that several products share, which it rewrites once for each and then fails.
    Raises what ONNX Runtime raises, and ImportError where it is not installed.
    """
    import onnxruntime

    def session(precise: str) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4 if precise == "1" else 3
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.qdqisint8allowed", "1")  # else int8 products stay in float on x86
        options.add_session_config_entry("session.x64quantprecision", precise)
        options.add_session_config_entry(*NBITS)
        if not rewrites:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if optimized is not None:
            options.optimized_model_filepath = str(optimized)
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    try:
        return session("1")
    except Exception as refusal:  # the runtime's own exceptions have no common base
        if not any(text in str(refusal) for text in UNWRITTEN):
            raise
        return session("0")


@cache
def saturates() -> bool:
    """True where this processor's uint8 x int8 kernel is not exact."""
    import onnxruntime

    x, w = np.full((1, 64), 255, np.uint8), np.full((64, 16), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "pairs",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT32, (1, 16))],
        [onnx.numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return not np.array_equal(session.run(None, {"x": x})[0], x.astype(np.int32) @ w)


def saturating_pairs(ran: onnx.ModelProto) -> dict[str, tuple[str, bool]]:
    """Products that this processor's kernel adds in saturating 16 bits."""
    found = saturable(ran)
    if not found or not saturates():
        return {}
    return dict.fromkeys(found, ("pairs of products are added in saturating 16 bits on this processor", False))


PROBES: tuple[Probe, ...] = (saturating_pairs, kernel_forms)


def saturable(model: onnx.ModelProto) -> list[str]:
    """Outputs of the products of a graph (as ONNX Runtime runs it) whose pair sums can pass 16 bits.

    Those of uint8 with int8 factors, the left one unsigned; none where the int8 factors are constants of 7 bits:
    2 * 255 * 64 < 2^15.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    types |= {name: tensor.data_type for name, tensor in constants.items()}
    found = []
    for node in model.graph.node:
        if node.op_type == "DynamicQuantizeLinear":
            types[node.output[0]] = TensorProto.UINT8
        elif node.op_type == "QuantizeLinear" and len(node.input) > 2:
            types[node.output[0]] = types.get(node.input[2], TensorProto.UINT8)
        if node.op_type == "DynamicQuantizeMatMul":
            kinds: tuple[int | None, ...] = (TensorProto.UINT8, types.get(node.input[1]))
        elif node.op_type in PRODUCTS:
            kinds = tuple(types.get(node.input[place]) for place in PRODUCTS[node.op_type])
        else:
            continue
        weight = constants.get(node.input[WEIGHTS.get(node.op_type, 1)])
        small = (
            weight is not None
            and weight.data_type == TensorProto.INT8
            and np.abs(onnx.numpy_helper.to_array(weight).astype(int)).max(initial=0) <= 64
        )
        if kinds == (TensorProto.UINT8, TensorProto.INT8) and not small:
            found.append(node.output[0])
    return found
