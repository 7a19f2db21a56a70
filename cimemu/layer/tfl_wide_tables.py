"""TensorFlow Lite's functions of 16-bit codes, from tables with straight lines between their entries.

SOFTMAX has tables of exp(x) and 1 / (1 + x), LOGISTIC and TANH one of 1 / (1 + exp(-x)) up to x = 255 / 24.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.rounding import gemmlowp_double, quantize_multiplier
from cimemu.layer.shapes import Operand, runtime
from cimemu.layer.tfl_tables import half_away

Ints = NDArray[np.int64]
ENTRIES = 512  # steps of a table over all 16-bit codes
REACH = 10.0  # exponentials of less than -10 count as that


def line_table(function: Callable[[float], float], low: float, high: float) -> Ints:
    """513 entries of a function over low .. high in steps of 2^-15, each moved by half of its line's error midway."""
    step = (high - low) / ENTRIES
    at = half_away(32768 * np.array([function(low + i * step) for i in range(ENTRIES + 1)]))
    middle = half_away(32768 * np.array([function(low + i * step + step / 2) for i in range(ENTRIES)]))
    behind = 32768 * np.array([function(low + (i + 1) * step) for i in range(ENTRIES)])
    error = half_away((behind + at[:-1]) / 2) - middle
    return np.asarray(np.clip([*(at[:-1] - half_away(error / 2)), at[-1]], -32768, 32767).astype(np.int64))


@cache
def _exponential() -> Ints:
    return line_table(lambda x: float(np.exp(x)), -REACH, 0.0)


@cache
def _reciprocal() -> Ints:
    return line_table(lambda x: 1 / (1 + x), 0.0, 1.0)


def _looked_up(table: Ints, code: Ints) -> Ints:
    """A table at 16-bit codes."""
    place = 256 + (code >> 7)
    return np.asarray(table[place] + (((table[place + 1] - table[place]) * (code & 127) + 64) >> 7))


def _limited(code: Ints) -> Ints:
    return np.asarray(np.clip(code, -32768, 32767))


@cache
def _sigmoid() -> Ints:
    """65536 / (1 + exp(-i / 24)) of i = 0 .. 255, each moved by half of its line's error midway; the last is the largest."""

    def real(i: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(65536 / (1 + np.exp(-i / 24)))

    at = np.arange(255.0)
    error = real(at + 0.5) - (real(at) + real(at + 1)) / 2
    return np.append(np.floor(real(at) + error / 2 + 0.5), 65535.0).astype(np.int64)


def _steps(scale: np.float32, exact: tuple[int, ...]) -> Ints:
    """All 16-bit codes of a scale, in steps of 1 / 12288, as the runtime multiplies them.

    A scale that is 2^(shift - 12) for a shift among `exact` is multiplied by 3 << shift; another by 15 bits of a multiplier.
    """
    codes = np.arange(-32768, 32768, dtype=np.int64)
    fraction, exponent = np.frexp(np.float64(scale))
    shift = int(exponent) - 1 + 12
    if fraction == 0.5 and shift in exact:
        return codes * (3 << shift)
    real, right = float(scale) * 4096.0 * 3.0, 0
    while real <= 32767.0 / 2.0 and right <= 30:
        real, right = real * 2.0, right + 1
    if not real < 65536.0:
        raise ValueError(f"input scale {scale:.4g}, must be at most 5")
    return (codes * int(real) + ((1 << right) >> 1)) >> right


def wide_logistic(scale: np.float32) -> NDArray[np.int16]:
    """LOGISTIC of every 16-bit code of a scale, in steps of 2^-15. ValueError where the runtime's 32 bits overflow."""
    x = _steps(scale, (0,))
    size, table = np.abs(x), _sigmoid()
    place, part = np.minimum(size >> 9, 254), size & 511
    line = (table[place] << 9) + part * (table[place + 1] - table[place])
    made = np.where(size >> 9 >= 255, 0x7FFF << 10, line)
    made = np.where(x >= 0, made + (1 << 9), (1 << 25) - made + (1 << 9) - 1) >> 10
    return made.astype(np.int16)


def wide_tanh(scale: np.float32) -> NDArray[np.int16]:
    """TANH of every 16-bit code of a scale, in steps of 2^-15: twice the LOGISTIC of twice x, less 1."""
    x = _steps(scale, (0, 1))
    size, table = np.abs(x), _sigmoid()
    place, part = np.minimum(size >> 8, 254), size & 255
    line = (table[place] << 8) + part * (table[place + 1] - table[place])
    made = np.where(size >> 8 >= 255, 0xFFFF << 8, line)
    made = np.where(x >= 0, made - (1 << 23) + (1 << 7), (1 << 23) - made + (1 << 7) - 1) >> 8
    return made.astype(np.int16)


@dataclass(frozen=True, eq=False)
class TflWideSoftmax(Layer):
    """`SOFTMAX` of int16 over the last axis, in steps of 2^-15."""

    scale: tuple[int, int]  # (q31, shift) of beta * input scale in steps of REACH / 65535

    op: ClassVar[str] = "SOFTMAX"

    @classmethod
    def multiplier(cls, beta: float, scale: np.float32) -> tuple[int, int]:
        """The field `scale`, of a softmax's beta and its input's scale."""
        return quantize_multiplier(float(scale * np.float32(beta)) / (REACH / 65535))

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """The input's own type."""
        return (runtime(self, types[0]),)

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """int16."""
        x = arrays[0].astype(np.int64)
        below = gemmlowp_double(x - x.max(axis=-1, keepdims=True), *self.scale)
        terms = _looked_up(_exponential(), _limited(below + 32767))
        total = terms.sum(axis=-1, keepdims=True)
        headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
        shifted = ((total << (headroom - 1)) + (1 << 13)) >> 14
        inverse = _looked_up(_reciprocal(), _limited(shifted - (1 << 15) - (1 << 16)))
        right = 31 - headroom
        made = (terms * inverse + (np.int64(1) << (right - 1))) >> right
        return (np.clip(made, 0, 32767).astype(np.int16),)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Compare, subtract, scale, look up with a line, add, multiply, round and clamp an element."""
        return 16 * outputs[0].elements
