"""Which form of a kernel this machine's ONNX Runtime has: some of its float32 operations depend on processor and version.

For each operator whose rounding is known to vary, ONNX Runtime runs a small network and cimemu computes the same. Where
they differ, `cimemu check` says that this machine's kernel follows another rule than cimemu reproduces. What is known to
vary:

| operator | cimemu's form | others |
|---|---|---|
| QLinearAdd | x86-64 with FMA3: fused multiply-adds | x86-64 without: every operation rounds; ARM: integer multipliers |
| QLinearMul | x86-64, ARM 64: one product, zero point added, rounded half to even | ARM 32: ties away from zero |
| QLinearGlobalAveragePool | x86-64: float32 multiplier, half to even | ARM: 24-bit integer multiplier, ties away from zero |
| QLinearSoftmax | 1.32: quotient in float64, int8 saturates | before: quotient in float32, int8 may wrap |
| QLinearSigmoid, Tanh | x86-64 with FMA3: polynomials of fused multiply-adds | every product and sum rounds |
| ReduceSum, ReduceMean | x86-64 with AVX: `cimemu.layer.sum_order` | without AVX: sums over axes in the middle, one by one |
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cimemu.layer.base import Array
from cimemu.layer.float32 import to_int32
from cimemu.layer.q_arith import QMul, Scale, add_values_fma, add_values_sse2
from cimemu.layer.q_pool import QGlobalAveragePool
from cimemu.layer.q_softmax import QSoftmax
from cimemu.layer.rational import logistic, tanh
from cimemu.layer.sum_order import ordered_sum

OTHER = "this machine's kernel rounds in another way than cimemu's"
# Under these scales and zero points the fma and the sse2 form of QLinearAdd differ for 9,345 of all pairs.
ADD = (Scale(np.float32(0.0777), 126), Scale(np.float32(0.0777), 193), Scale(np.float32(0.0518), 187))
CODES = np.arange(256, dtype=np.uint8)
PAIRS = tuple(grid.reshape(1, -1) for grid in np.meshgrid(CODES, CODES, indexing="ij"))
LIMITS: dict[str, Any] = {"low": 0, "high": 255, "dtype": "uint8", "name": "", "inputs": (), "outputs": ()}


@cache
def ort_add_form() -> str:
    """The form of this machine's QLinearAdd: "fma" (cimemu's), "sse2" or "another"; see `cimemu.layer.q_arith`."""
    theirs = _qlinear("QLinearAdd", PAIRS, ADD)
    a, b = (grid.astype(np.int32) for grid in PAIRS)
    for name, values in (("fma", add_values_fma), ("sse2", add_values_sse2)):
        if np.array_equal(theirs, np.clip(to_int32(values(a, b, *ADD)), 0, 255)):
            return name
    return "another"


def kernel_forms(ran: onnx.ModelProto) -> dict[str, tuple[str, bool]]:
    """Of a graph as ONNX Runtime runs it: tensors of operators of PROBED, whether their kernel is the one known here."""
    makers = {name: node for node in ran.graph.node for name in node.output}
    found: dict[str, tuple[str, bool]] = {}
    for name, node in makers.items():
        if node.op_type == "QuantizeLinear" and node.input[0] in makers:
            node = makers[node.input[0]]  # a float operator's result is compared behind its QuantizeLinear
        if node.op_type == "QLinearAdd":
            form = ort_add_form()
            found[name] = (f"its {form} form" if form != "another" else OTHER, form == "fma")
        elif node.op_type in PROBED and not is_known(node.op_type):
            found[name] = (OTHER, False)
    return found


@cache
def is_known(operator: str) -> bool:
    """Whether this machine's kernel of an operator of PROBED gives what cimemu computes."""
    return PROBED[operator]()


def _mul() -> bool:
    scales = (Scale(np.float32(0.036315), 255), Scale(np.float32(0.003003), 186), Scale(np.float32(0.045935), 133))
    layer = QMul(a=scales[0], b=scales[1], y=scales[2], **LIMITS)
    return np.array_equal(_qlinear("QLinearMul", PAIRS, scales), layer.forward(PAIRS)[0])


def _softmax() -> bool:
    x = np.stack([np.roll(CODES, 7 * k)[:10] // (1 + k % 5) for k in range(64)])
    scales = (Scale(np.float32(0.1), 0), Scale(np.float32(1 / 256), 0))
    signed = tuple(Scale(scale.scale, zero) for scale, zero in zip(scales, (0, 100)))
    ours = QSoftmax(x=scales[0], y=scales[1], **LIMITS).forward([x])[0]
    bytes_ = QSoftmax(x=signed[0], y=signed[1], **{**LIMITS, "low": -128, "high": 127, "dtype": "int8"})
    below = x.view(np.int8)
    return np.array_equal(_qlinear("QLinearSoftmax", [x], scales, axis=-1, opset=13), ours) and np.array_equal(
        _qlinear("QLinearSoftmax", [below], signed, axis=-1, opset=13), bytes_.forward([below])[0]
    )


def _global_pool() -> bool:
    x = np.stack([np.roll(CODES, 11 * k)[:8].reshape(2, 2, 2) for k in range(32)])
    scales = (Scale(np.float32(0.1), 3), Scale(np.float32(0.05), 100))  # sums over 4 of ratio 2: many ties
    ours = QGlobalAveragePool(x=scales[0], y=scales[1], **LIMITS).forward([x])[0]
    return np.array_equal(_qlinear("QLinearGlobalAveragePool", [x], scales, channels_last=0), ours)


def _float(operator: str, function: Callable[[Array], Array]) -> Callable[[], bool]:
    def same() -> bool:
        x = np.linspace(-9, 9, 2000, dtype=np.float32)[None]
        return np.array_equal(_run([helper.make_node(operator, ["x"], ["y"])], {"x": x}, {}), function(x))

    return same


def _sums() -> bool:
    x = (np.linspace(-1, 1, 4 * 6 * 7, dtype=np.float32) ** 3).reshape(1, 4, 6, 7)
    for axes in ((1,), (2,), (3,), (1, 3)):
        node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
        if not np.array_equal(_run([node], {"x": x}, {"axes": np.array(axes)}), ordered_sum(x, axes)):
            return False
    return True


PROBED: Mapping[str, Callable[[], bool]] = {
    "QLinearMul": _mul,
    "QLinearSoftmax": _softmax,
    "QLinearGlobalAveragePool": _global_pool,
    "QLinearSigmoid": _float("Sigmoid", logistic),
    "Tanh": _float("Tanh", tanh),
    "ReduceSum": _sums,
    "ReduceMean": _sums,
}


def _qlinear(operator: str, arrays: Sequence[Array], scales: Sequence[Scale], **attributes: int) -> Array:
    """ONNX Runtime's result of an operator of com.microsoft on arrays of one 8-bit type."""
    names: list[str] = []
    constants: dict[str, Any] = {}
    feeds: dict[str, Array] = {}
    for place, scale in enumerate(scales):
        if place < len(arrays):
            names.append(f"x{place}")
            feeds[f"x{place}"] = arrays[place]
        names += [f"s{place}", f"z{place}"]
        constants[f"s{place}"] = scale.scale
        constants[f"z{place}"] = np.array(scale.zero_point, arrays[0].dtype)
    return _run([helper.make_node(operator, names, ["y"], domain="com.microsoft", **attributes)], feeds, constants)


def _run(nodes: list[onnx.NodeProto], feeds: Mapping[str, Array], constants: Mapping[str, Any]) -> Array:
    import onnxruntime

    def value(name: str, dtype: Any, shape: Any) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    graph = helper.make_graph(
        nodes,
        "probe",
        [value(name, array.dtype, array.shape) for name, array in feeds.items()],
        [value("y", next(iter(feeds.values())).dtype, None)],
        [numpy_helper.from_array(np.asarray(constant), name) for name, constant in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(feeds))[0])
