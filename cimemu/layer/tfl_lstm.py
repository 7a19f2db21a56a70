"""One time step of TensorFlow Lite's integer LSTM behind its products: gates, cell state and hidden state.

Gates have 16 bits: sums in steps of 2^-12, activations in steps of 2^-15, by gemmlowp's fixed-point functions, which are
looked up here in tables of all codes. The cell state has 16 bits in steps of a power of two, the hidden state 8 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.fixed_point import FixedPointMath
from cimemu.layer.rounding import gemmlowp_double, rounding_shift
from cimemu.layer.shapes import Operand, runtime

Ints = NDArray[np.int64]
SHORT = FixedPointMath(16)
GATE_BITS = 3  # integer bits of a gate's sum
LOWEST, LARGEST = -32768, 32767


@cache
def logistic_table() -> NDArray[np.int16]:
    """1 / (1 + exp(-x)) of every gate's sum, from the lowest code."""
    return SHORT.logistic(np.arange(LOWEST, LARGEST + 1), GATE_BITS).astype(np.int16)


@cache
def tanh_table(integer_bits: int) -> NDArray[np.int16]:
    """tanh(x) of every 16-bit code with so many integer bits, from the lowest code."""
    return SHORT.tanh(np.arange(LOWEST, LARGEST + 1), integer_bits).astype(np.int16)


@dataclass(frozen=True, eq=False)
class TflLstmCell(Layer):
    """`UNIDIRECTIONAL_SEQUENCE_LSTM`, one step of one sequence: (hidden state [1, hidden], cell state [1, hidden]).

    Inputs are the scaled products of the inputs (int16) and of the last hidden state (int32), [1, gates * hidden], and the
    last cell state (int16). The first step has the first of these alone: `start` is what the state's products are then, and
    the cell state is 0. The gates' order is input, forget, cell, output; where the forget gate is `coupled` the input gate
    is missing, it is the rest of the forget gate.
    """

    hidden: int
    coupled: bool
    cell_bits: int  # integer bits of the cell state, 0..6
    clip: int  # the largest size of a cell state's code; 0: none
    scale: tuple[int, int]  # (q31, shift) from steps of 2^-30 to the hidden state's
    zero_point: int
    start: Ints | None = None

    op: ClassVar[str] = "UNIDIRECTIONAL_SEQUENCE_LSTM"

    def infer(self, types: Sequence[Operand]) -> tuple[TensorType, ...]:
        """int8 and int16 [1, hidden]."""
        x = runtime(self, types[0])
        if x.shape != (1, self.hidden * (3 if self.coupled else 4)):
            raise self.error(f"gates of shape {list(x.shape)} do not fit {self.hidden} outputs: convert it again")
        return TensorType((1, self.hidden), "int8"), TensorType((1, self.hidden), "int16")

    def forward(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Exact."""
        state = self.start if len(arrays) == 1 else arrays[1]
        cell = np.zeros(1, np.int64) if len(arrays) == 1 else arrays[2].astype(np.int64)
        assert state is not None
        gates = np.clip(arrays[0].astype(np.int64) + state, LOWEST, LARGEST) - LOWEST
        parts = np.split(gates, 3 if self.coupled else 4, axis=-1)
        forget, out = (logistic_table()[parts[i]].astype(np.int64) for i in (-3, -1))
        into = LARGEST - forget if self.coupled else logistic_table()[parts[0]].astype(np.int64)
        new = tanh_table(GATE_BITS)[parts[-2]].astype(np.int64)
        kept = rounding_shift(forget * cell, 15)
        cell = np.clip(kept + rounding_shift(into * new, 15 + self.cell_bits), LOWEST, LARGEST)
        if self.clip:
            cell = np.clip(cell, -self.clip, self.clip)
        shown = tanh_table(self.cell_bits)[cell - LOWEST].astype(np.int64)
        made = np.clip(gemmlowp_double(out * shown, *self.scale) + self.zero_point, -128, 127)
        return made.astype(np.int8), cell.astype(np.int16)

    def digital_ops(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """An addition and a looked-up function a gate, then ten operations an output: three products, shifts and limits."""
        return 2 * inputs[0].elements + 10 * outputs[0].elements
