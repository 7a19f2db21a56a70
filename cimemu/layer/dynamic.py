"""Quantisation whose scale and zero point are found in the values themselves, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.float32 import quantized
from cimemu.layer.shapes import Operand, dtype_of, runtime


@dataclass(frozen=True, eq=False)
class DynamicQuantizeLinear(Layer):
    """ONNX's DynamicQuantizeLinear to uint8: outputs (codes, scale, zero point), the last two one value an image.

    ONNX takes smallest and largest value over the whole tensor; here an image is a tensor of its own, so that results do
    not depend on what else is in the batch (they are ONNX Runtime's for one image at a time).
    """

    op: ClassVar[str] = "DynamicQuantizeLinear"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """uint8 of the input's shape, and two values an image."""
        x = runtime(self, types[0])
        if dtype_of(x) != "float32":
            raise self.error(f"the input is {x.dtype}, must be float32")
        return TensorType(x.shape, "uint8"), TensorType((), "float32"), TensorType((), "uint8")

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32 arithmetic, ties to even."""
        x = arrays[0]
        flat = x.reshape(len(x), -1)
        with np.errstate(all="ignore"):
            low = np.minimum(np.fmin.reduce(flat, axis=1), np.float32(0))
            high = np.maximum(np.fmax.reduce(flat, axis=1), np.float32(0))
            scale = np.where(high == low, np.float32(1), (high - low) / np.float32(255)).astype(np.float32)
            # A range of a few denormals has a scale of 0 and, where 0 is its end, no zero point: ONNX Runtime's
            # comparisons make 255 of what is no number.
            zero = np.float32(0) - low / scale
            zero = np.rint(np.where(np.isnan(zero), np.float32(255), np.clip(zero, 0, 255))).astype(np.float32)
        shape = (len(x),) + (1,) * (x.ndim - 1)
        codes = quantized(x, scale.reshape(shape), zero.reshape(shape), 0, 255)
        return codes.astype(np.uint8), scale, zero.astype(np.uint8)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Two comparisons, then multiply, round, add and clamp an element."""
        return 6 * outputs[0].elements
