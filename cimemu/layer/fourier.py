"""The discrete Fourier transform along one axis of an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, inner_axis, runtime


@dataclass(frozen=True, eq=False)
class DFT(Layer):
    """`[images, ..., 1 or 2]` (real, or real and imaginary) transformed along `axis` (batch axis counted).

    The axis is cut or filled with 0 to `length` elements. `inverse` divides by the length; `onesided` gives the first half
    of a real signal's transform, or makes a real signal of it.
    """

    axis: int
    length: int
    inverse: bool = False
    onesided: bool = False

    op: ClassVar[str] = "DFT"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """Real and imaginary parts in the input's dtype; one real part of an inverse onesided transform."""
        x = runtime(self, types[0])
        axis = inner_axis(self, self.axis, len(x.shape) + 1) - 1
        back = self.inverse and self.onesided
        parts = (2,) if back else (1, 2)
        if len(x.shape) < 2 or axis == len(x.shape) - 1 or x.shape[-1] not in parts or self.length < 1:
            raise self.error(
                f"axis = {self.axis}, length = {self.length} of an image of shape {x.shape}: the last axis must hold "
                f"{' or '.join(map(str, parts))} parts and cannot be transformed, the length must be >= 1"
            )
        if self.onesided and not self.inverse and x.shape[-1] != 1:
            raise self.error("onesided of a complex signal, must be real")
        size = self.length // 2 + 1 if self.onesided and not self.inverse else self.length
        return (TensorType((*x.shape[:axis], size, *x.shape[axis + 1 : -1], 1 if back else 2), x.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """NumPy's transform in float32, or in float64 of float64."""
        x = arrays[0].astype(np.promote_types(arrays[0].dtype, np.float32))
        signal = x[..., 0] + x.dtype.type(1) * 1j * x[..., 1] if x.shape[-1] == 2 else x[..., 0]
        axis = self.axis % x.ndim
        if self.inverse and self.onesided:
            made = np.fft.irfft(signal, self.length, axis)[..., None]
        else:
            one = np.fft.ifft if self.inverse else np.fft.rfft if self.onesided else np.fft.fft
            whole = one(signal, self.length, axis)
            made = np.stack([whole.real, whole.imag], axis=-1)
        return (np.ascontiguousarray(made.astype(arrays[0].dtype)),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """A fast transform: 5 log2(length) operations a complex element."""
        return max(1, 5 * outputs[0].elements * math.ceil(math.log2(self.length) + 1) // 2)
