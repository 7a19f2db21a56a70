"""The bias of a product: integers of the accumulator where ONNX Runtime has them, else real numbers added behind it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer
from cimemu.layer.rounding import same_scale
from cimemu.lower.graph import Graph, Quantized
from cimemu.lower.products import Group

LIMIT = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Real:
    """A bias in real numbers, [outputs]; `dropped` where a fused operator of ONNX Runtime ignores its own scale."""

    value: NDArray[np.float32]
    dropped: bool


def product_bias(
    graph: Graph, group: Group, x: Quantized, weight_scale: NDArray[np.float32], *, quantized: bool
) -> tuple[NDArray[np.int64], Real | None]:
    """(integers to add to the accumulator [outputs], a real bias besides or None).

    An int32 bias of zero point 0 whose scale is input scale x weight scale is added as it is. A float one is rounded to
    such integers where ONNX Runtime does so: of one axis, with a QuantizeLinear behind the product. All others (an own
    scale, int8, those of a QONNX file, which ONNX Runtime does not run) keep their real values.
    """
    outputs = len(weight_scale)
    none = np.zeros(outputs, np.int64)
    if not group.bias:
        return none, None
    value = graph.network.constants.get(group.bias)
    if value is None:
        raise group.core.error("its bias is computed at run time, must be a constant: add it behind the product")
    if value.size not in (1, outputs):
        raise group.core.error(f"bias of shape {list(value.shape)}, must be [{outputs}]: one an output")
    with np.errstate(over="ignore", under="ignore"):
        product_scale = (x.scale[0] * weight_scale).astype(np.float32)
    stored = graph.quantized(group.bias)
    if stored is None and quantized and value.shape == (outputs,) and not graph.network.real_biases:
        return _rounded(group.core, value, product_scale), None
    if stored is not None and stored.value is not None and stored.dtype == "int32":
        if not stored.zero_point.any() and same_scale(stored.scale, product_scale):
            return np.broadcast_to(stored.value.reshape(-1).astype(np.int64), (outputs,)).copy(), None
        return none, Real(_spread(value, outputs), dropped=True)
    return none, Real(_spread(value, outputs), dropped=False)


def _spread(value: Array, outputs: int) -> NDArray[np.float32]:
    return np.broadcast_to(value.reshape(-1).astype(np.float32), (outputs,)).copy()


def _rounded(layer: Layer, value: Array, product_scale: NDArray[np.float32]) -> NDArray[np.int64]:
    """Whole steps of the products, float32 arithmetic and ties to even as ONNX Runtime's Div and Round."""
    steps = np.rint(value.astype(np.float32) / product_scale)
    if not (np.abs(steps) <= LIMIT).all():
        where = int(np.argmax(~(np.abs(steps) <= LIMIT)))
        raise layer.error(
            f"bias[{where}] = {value.reshape(-1)[where]:.6g} is {steps[where]:.4g} steps of input scale x weight scale, "
            "must be within 32 bits: give it a scale of its own"
        )
    made: NDArray[np.int64] = steps.astype(np.int64)
    return made
