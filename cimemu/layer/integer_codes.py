"""Codes by the rules of QONNX (Quant, BipolarQuant, Trunc): the zero point is added before rounding, in one of seven modes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.shapes import Operand, constant, dtype_of

Rounding = Callable[[Array], Array]


def _away(step: Callable[[Array], Array]) -> Rounding:
    """A rounding of magnitudes."""
    return lambda x: np.asarray(np.sign(x) * step(np.abs(x)))


ROUNDINGS: Mapping[str, Rounding] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": _away(np.ceil),
    "DOWN": np.trunc,
    "HALF_UP": _away(lambda x: np.floor(x + x.dtype.type(0.5))),
    "HALF_DOWN": _away(lambda x: np.ceil(x - x.dtype.type(0.5))),
}
SIGN = "SIGN"  # -1 below zero, else 1


@dataclass(frozen=True, eq=False)
class IntegerCodes(Layer):
    """`round(clip((x / scale + zero_point) / divide, low, high))` in float32, integers of `dtype`; inputs (x, scale, zero_point).

    scale and zero_point are float32 constants that broadcast to x in the file's own axes. Where `divide` is not 1, x is on
    a grid of codes, and these are rounded half to even first. `rounding` is one of ROUNDINGS, or SIGN: -1 or 1.
    """

    low: int
    high: int
    dtype: str
    rounding: str = "ROUND"
    divide: float = 1.0

    op: ClassVar[str] = "IntegerCodes"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's shape, in integers."""
        if dtype_of(types[0]) != "float32":
            raise self.error(f"the input is {dtype_of(types[0])}, must be float32")
        scale = constant(self, types[1], "the scale")
        if not np.isfinite(scale).all() or not (scale > 0).all():
            raise self.error(f"scale = {scale.reshape(-1)[:4]}, must be positive and finite")
        shape = types[0].shape if isinstance(types[0], TensorType) else types[0].shape[1:]
        return (TensorType(tuple(shape), self.dtype),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Integers of `dtype`; what is no number becomes `low`."""
        x, scale, zero = arrays[0], arrays[1].astype(np.float32), arrays[2].astype(np.float32)
        with np.errstate(all="ignore"):
            codes = np.asarray(x / scale + zero)
            if self.divide != 1.0:
                codes = np.rint(codes) / np.float32(self.divide)
            if self.rounding == SIGN:
                return (np.where(codes >= 0, 1, -1).astype(self.dtype),)
            whole = ROUNDINGS[self.rounding](codes.astype(np.float32)).astype(np.float64)  # which holds 32 bits
        limited = np.clip(np.where(np.isnan(whole), self.low, whole), self.low, self.high)
        return (limited.astype(self.dtype),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Multiply by 1/scale, add, clamp, round: 4 an element, and 2 more of a division."""
        return (4 if self.divide == 1.0 else 6) * outputs[0].elements


def storage(low: int, high: int) -> str | None:
    """The narrowest integer type with `low` .. `high`; None where none has."""
    for name in ("uint8", "int8", "uint16", "int16", "int32"):
        limits: Any = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return name
    return None
