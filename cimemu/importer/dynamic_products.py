"""A product whose inputs are quantised image by image, as ONNX Runtime's dynamic quantiser writes it, for recurrent layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.arithmetic import Mul
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.dynamic import DynamicQuantizeLinear
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import Accumulator
from cimemu.layer.shape import Cast, Reshape


@dataclass(frozen=True, eq=False)
class Codes:
    """A matrix [inputs, outputs] of 8-bit integers; `scale` and `zero_point` are [outputs]."""

    values: NDArray[np.int16]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]

    @property
    def real(self) -> NDArray[np.float32]:
        """What the codes stand for."""
        return (self.values - self.zero_point).astype(np.float32) * self.scale


def dynamic_product(name: str, source: str, codes: Codes, scales: str, rows: int, shares: str) -> Sequence[Layer]:
    """Layers of `source` [rows, inputs] times `codes`, the last of which makes `name`; `scales` is the constant of their scale."""
    inputs, outputs = codes.values.shape
    codes_of = tuple(f"{name}.{what}" for what in ("codes", "scale", "zero_point"))
    flat, both, sums, real = (f"{name}.{what}" for what in ("image_scale", "scales", "sums", "real"))
    return [
        DynamicQuantizeLinear(codes_of[0], (source,), codes_of),
        MacroLayer(
            name=sums,
            inputs=(codes_of[0], codes_of[2]),
            outputs=(sums,),
            geometry=Geometry(inputs, rows, 1, outputs, rows, 1),
            weight=np.ascontiguousarray(codes.values.T[:, :, None, None]),
            weight_zero_point=codes.zero_point,
            input_zero_point=0,
            input_dtype="uint8",
            bias=np.zeros(outputs, np.int64),
            stage=Accumulator(),
            output_type=TensorType((rows, outputs), "int32"),
            layout="rows",
            dynamic_zero_point=True,
            shares=shares,
        ),
        Cast(real, (sums,), (real,), "float32"),
        Reshape(flat, (codes_of[1],), (flat,), (1, 1)),
        Mul(both, (flat, scales), (both,)),
        Mul(name, (real, both), (name,)),
    ]


def stored_product(x: Array, codes: Codes) -> Array:
    """The same of a stored x [1, rows, inputs]."""
    quantised, scale, zero = DynamicQuantizeLinear("", ("x",), ("q", "s", "z")).forward([x.astype(np.float32)])
    centred = quantised.astype(np.int64) - zero.astype(np.int64).reshape(-1, 1, 1)
    sums = centred @ (codes.values.astype(np.int64) - codes.zero_point)
    return np.asarray(sums.astype(np.float32) * (scale.reshape(-1, 1, 1) * codes.scale), np.float32)
