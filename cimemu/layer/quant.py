"""QuantizeLinear and DequantizeLinear: the borders of float and integer tensors, exactly as ONNX has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.float32 import quantized
from cimemu.layer.shapes import Operand, constant, dtype_of, inner_axis, normal_axis, rank_of

# Four-bit integers travel in bytes; their range is what makes them four bits.
RANGES: dict[str, tuple[int, int]] = {
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": (-(2**31), 2**31 - 1),
}


@dataclass(frozen=True, eq=False)
class QuantizeLinear(Layer):
    """`saturate(rint(x / scale) + zero_point)`; inputs (x, scale) or (x, scale, zero_point).

    scale and zero_point are constants, one value or one per index of `axis` (batch axis counted); ties go to
    even. `dtype` is the ONNX name of the result: int8, uint8, int16, uint16, or int4, uint4 (held in int8,
    uint8 arrays).
    """

    axis: int = 1
    dtype: str = "uint8"

    op: ClassVar[str] = "QuantizeLinear"

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest value of the result."""
        return RANGES[self.dtype]

    @property
    def storage(self) -> str:
        """NumPy dtype name that holds the result."""
        return {"int4": "int8", "uint4": "uint8"}.get(self.dtype, self.dtype)

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape, in integers."""
        if dtype_of(types[0]) != "float32":
            raise self.error(f"the input is {dtype_of(types[0])}, must be float32")
        _check_parameters(self, types, self.axis)
        shape = types[0].shape if isinstance(types[0], TensorType) else types[0].shape[1:]
        return (TensorType(shape, self.storage),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `storage`, exactly ONNX Runtime's (float32 division, limited, half to even)."""
        x = arrays[0]
        scale = _along(arrays[1], x.ndim, self.axis)
        zero = _along(arrays[2], x.ndim, self.axis).astype(np.float32) if len(arrays) > 2 else np.float32(0)
        return (quantized(x, scale, zero, *self.limits).astype(self.storage),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Multiply by 1/scale, round, add, clamp: 4 an element."""
        return 4 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class DequantizeLinear(Layer):
    """`(x - zero_point) * scale` in float32; inputs (x, scale) or (x, scale, zero_point).

    scale and zero_point are constants, one value or one per index of `axis` of x. x may be a constant:
    then `axis` is an axis of it, while for a runtime x the batch axis is counted. `stored` is int4 or uint4 where the
    file has such integers, which are held in bytes.
    """

    axis: int = 1
    stored: str = ""

    op: ClassVar[str] = "DequantizeLinear"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape, in float32."""
        if dtype_of(types[0]) not in RANGES:
            raise self.error(f"the input is {dtype_of(types[0])}, must be one of {', '.join(RANGES)}")
        _check_parameters(self, types, self.axis)
        shape = types[0].shape if isinstance(types[0], TensorType) else types[0].shape[1:]
        return (TensorType(shape, "float32"),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32, exactly ONNX Runtime's."""
        x = arrays[0]
        if len(arrays) > 2 and arrays[2].any():
            x = x.astype(np.int32) - _along(arrays[2], x.ndim, self.axis).astype(np.int32)
        made, scale = x.astype(np.float32), _along(arrays[1], x.ndim, self.axis)
        in_place = made if made.ndim and scale.dtype == np.float32 else None  # one array the less of a large weight
        with np.errstate(over="ignore", under="ignore"):
            return (np.asarray(np.multiply(made, scale, out=in_place)),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Subtract and multiply: 2 an element."""
        return 2 * outputs[0].elements


@dataclass(frozen=True, eq=False)
class BlockDequantizeLinear(Layer):
    """A constant dequantised with a scale for every `block` elements along `axis`; inputs (x, scale) or (x, scale, zero_point).

    No column of a macro has such scales, so that this is computed once, when a file is read.
    """

    axis: int = 0
    block: int = 1

    op: ClassVar[str] = "BlockDequantizeLinear"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape, in float32. WorkloadError for a computed input."""
        x = constant(self, types[0], f"its input, with block_size = {self.block},")
        scale = constant(self, types[1], "the scale")
        blocks = list(x.shape)
        axis = normal_axis(self, self.axis, x.ndim)
        blocks[axis] = -(-blocks[axis] // self.block)
        if list(scale.shape) != blocks:
            raise self.error(
                f"scale of shape {list(scale.shape)}, must be {blocks}: one for {self.block} along axis {axis}"
            )
        return (TensorType(tuple(x.shape[1:]), "float32"),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """float32."""
        x = arrays[0].astype(np.float32)
        scale, *zeros = (np.repeat(part, self.block, self.axis) for part in arrays[1:])
        inside = tuple(slice(size) for size in x.shape)
        centred = x - zeros[0][inside].astype(np.float32) if zeros else x
        return (np.asarray(centred * scale[inside]),)


def _along(parameter: Array, rank: int, axis: int) -> Array:
    """A per-axis parameter shaped to broadcast; one value stays one value."""
    if parameter.size == 1:
        return parameter.reshape(())
    shape = [1] * rank
    shape[axis] = parameter.size
    return parameter.reshape(shape)


def _check_parameters(layer: Layer, types: Sequence[Operand], axis: int) -> None:
    x = types[0]
    scale = constant(layer, types[1], "the scale")
    zero = constant(layer, types[2], "the zero point") if len(types) > 2 else np.zeros(scale.shape, np.int32)
    if scale.dtype != np.float32 or not np.all(np.isfinite(scale)) or not np.all(scale > 0):
        raise layer.error(f"scale = {scale.reshape(-1)[:4]} ({scale.dtype}), must be positive finite float32")
    if scale.size != zero.size:
        raise layer.error(f"{scale.size} scales and {zero.size} zero points, must be equally many")
    if scale.size == 1:
        return
    if scale.ndim != 1:
        raise layer.error(f"scale of shape {scale.shape}: must be per tensor or per axis")
    if isinstance(x, TensorType):
        size = x.shape[inner_axis(layer, axis, rank_of(x)) - 1]
    else:
        size = x.shape[normal_axis(layer, axis, x.ndim)]
    if size != scale.size:
        raise layer.error(f"{scale.size} scales along axis {axis} of size {size}, must be one per index")
