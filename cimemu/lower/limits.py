"""What a product must be to run on macros, each rule with the value that breaks it and the remedy."""

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Layer
from cimemu.layer.matmul import Gemm
from cimemu.layer.quant import QuantizeLinear
from cimemu.layer.wide import WIDE
from cimemu.lower.graph import Quantized

BYTES = ("int8", "uint8")
HELD = (*BYTES, *WIDE)


def check_operands(layer: Layer, x: Quantized, w: Quantized) -> None:
    """WorkloadError for an input or weight of another width, several scales of the input, and factors of a Gemm."""
    if x.dtype not in HELD:
        raise layer.error(
            f"its input '{x.name}' is {x.dtype}, must be of 4, 8 or 16 bits: quantise activations to 8 bits"
        )
    if w.dtype not in HELD:
        raise layer.error(f"its weight '{w.name}' is {w.dtype}, must be of 4, 8 or 16 bits: quantise weights to 8 bits")
    if not x.per_tensor:
        raise layer.error(
            f"its input '{x.name}' has {x.scale.size} scales, macros add rows of one scale: quantise it per tensor"
        )
    if isinstance(layer, Gemm):
        if layer.alpha != 1.0:
            raise layer.error(f"alpha = {layer.alpha:g}, must be 1: multiply the scale of its weight by it instead")
        if layer.beta != 1.0 and len(layer.inputs) > 2:
            raise layer.error(f"beta = {layer.beta:g}, must be 1: multiply the scale of its bias by it instead")


def check_weight_scales(layer: Layer, w: Quantized, axis: int, outputs: int) -> None:
    """WorkloadError for weight scales along the inputs: a column sums over them."""
    assert w.value is not None
    own = w.axis % w.value.ndim
    if not w.per_tensor and (own != axis or w.scale.size != outputs):
        raise layer.error(
            f"its weight '{w.name}' has {w.scale.size} scales along axis {own}, must have one or one an output (axis "
            f"{axis}, {outputs}): a column sums over the others; quantise weights per output channel"
        )


def check_output(layer: Layer, quantize: QuantizeLinear, scale: NDArray[np.float32], zero: NDArray[np.int64]) -> None:
    """WorkloadError for an output of another width or with several scales."""
    if quantize.storage not in BYTES:
        raise layer.error(
            f"its output '{quantize.outputs[0]}' is {quantize.dtype}, macros give int8 or uint8: quantise activations "
            "to 8 bits"
        )
    if scale.size != 1 or zero.size != 1:
        raise layer.error(
            f"its output '{quantize.outputs[0]}' has {scale.size} scales, must have one: quantise it per tensor"
        )
