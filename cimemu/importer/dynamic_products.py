"""Products whose inputs are quantised when they come, for recurrent layers: image by image, as ONNX Runtime's dynamic quantiser
writes it, or row by row, as TensorFlow Lite's hybrid kernels do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.arithmetic import Mul
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.dynamic import DynamicQuantizeLinear
from cimemu.layer.hybrid import HybridQuantize, HybridScale
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import Accumulator
from cimemu.layer.shape import Cast, Reshape


class Matrix(Protocol):
    """A matrix [inputs, outputs] of integers on macros."""

    def layers(
        self, name: str, source: str, rows: int, shares: str, keep: Callable[[str, Array], str]
    ) -> Sequence[Layer]:
        """Layers of `source` [rows, inputs] times the matrix, the last of which makes `name`; `keep` stores a constant."""

    def stored(self, x: Array) -> Array:
        """The same of a stored x [1, rows, inputs]."""


@dataclass(frozen=True, eq=False)
class Codes:
    """A matrix of 8-bit integers; `scale` and `zero_point` are [outputs]. Inputs have a scale an image."""

    values: NDArray[np.int16]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]

    @property
    def real(self) -> NDArray[np.float32]:
        """What the codes stand for."""
        return (self.values - self.zero_point).astype(np.float32) * self.scale

    def layers(
        self, name: str, source: str, rows: int, shares: str, keep: Callable[[str, Array], str]
    ) -> Sequence[Layer]:
        """DynamicQuantizeLinear, the macros' sums, and both scales."""
        return dynamic_product(name, source, self, keep("scales", self.scale), rows, shares)

    def stored(self, x: Array) -> Array:
        """The same of a stored x [1, rows, inputs]."""
        return stored_product(x, self)


@dataclass(frozen=True, eq=False)
class RowCodes:
    """A matrix of int8 integers around 0 with a scale an output, and a bias; inputs have a scale a row (`cimemu.layer.hybrid`)."""

    values: NDArray[np.int16]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    asymmetric: bool

    def layers(
        self, name: str, source: str, rows: int, shares: str, keep: Callable[[str, Array], str]
    ) -> Sequence[Layer]:
        """Codes of the rows, the macros' sums, and both scales."""
        inputs, outputs = self.values.shape
        codes, steps, zero, sums = (f"{name}.{what}" for what in ("codes", "scale", "zero_point", "sums"))
        return [
            HybridQuantize(codes, (source,), (codes, steps, zero), rows=rows, asymmetric=self.asymmetric),
            MacroLayer(
                name=sums,
                inputs=(codes,),
                outputs=(sums,),
                geometry=Geometry(inputs, rows, 1, outputs, rows, 1),
                weight=np.ascontiguousarray(self.values.T[:, :, None, None]),
                weight_zero_point=np.zeros(outputs, np.int64),
                input_zero_point=0,
                input_dtype="int8",
                bias=np.zeros(outputs, np.int64),
                stage=Accumulator(),
                output_type=TensorType((rows, outputs), "int32"),
                layout="rows",
                shares=shares,
            ),
            HybridScale(
                name,
                (sums, steps, zero) if self.asymmetric else (sums, steps),
                (name,),
                weight_scale=self.scale,
                bias=self.bias,
                column_sums=self.values.sum(axis=0, dtype=np.int64),
                axis=2,
            ),
        ]

    def stored(self, x: Array) -> Array:
        """The same of a stored x [1, rows, inputs]."""
        first, product, last = self.layers("y", "x", x.shape[1], "", lambda name, _: name)
        assert isinstance(product, MacroLayer)
        codes, *rest = first.forward([x.astype(np.float32)])
        sums = codes.astype(np.int64) @ self.values.astype(np.int64)
        return last.forward([sums.astype(np.int32), *rest[: len(last.inputs) - 1]])[0]


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
