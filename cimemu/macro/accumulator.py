"""The macro's accumulator: one running integer for each (row block, output), held to its width after every step.

A step is one (group, input slice), groups outer, slices ascending; the encoding's correction comes after the last one. Sums
of row blocks meet in the digital unit, which is wide enough.
"""

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, IdealAdc
from cimemu.arch.macro import Macro, Overflow
from cimemu.errors import ArchError, WorkloadError
from cimemu.macro.matrix import Matrix, limits
from cimemu.macro.read_noise import Reads
from cimemu.macro.references import References


def check_accumulator(macro: Macro, references: tuple[References, ...] | None, ideal_cells: bool, adc: Adc) -> None:
    """ArchError where a running sum would be no integer."""
    if macro.accumulator_bits is None:
        return
    if isinstance(adc, IdealAdc):
        integer, why = ideal_cells, "an ideal converter of cells whose levels are no integers"
    else:
        integer, why = references is not None and all(r.integer for r in references), "converter levels"
    if not integer:
        raise ArchError(
            f"macro.accumulator_bits = {macro.accumulator_bits} with {why} that are not integers: the accumulator holds "
            "integers; leave accumulator_bits out, or use integer lsb, zero and levels"
        )


def held(running: NDArray[np.int64], bits: int, overflow: Overflow) -> NDArray[np.int64]:
    """Running sums after a step as the accumulator holds them; with `error` as they are."""
    match overflow:
        case "saturate":
            return np.clip(running, *limits(bits))
        case "wrap":
            unused = np.int64(64 - bits)
            return (running << unused) >> unused
        case "error":
            return running
        case other:
            assert_never(other)


def overflow_error(macro: Macro, value: int, place: tuple[int, int, int], step: tuple[int, int, int]) -> WorkloadError:
    """What a running sum out of range says: place (image, output position, output), step (row block, group in it, slice)."""
    assert macro.accumulator_bits is not None
    low, high = limits(macro.accumulator_bits)
    (image, position, output), (block, group, i) = place, step
    return WorkloadError(
        f"image {image}, output position {position}, output {output}: running sum {value} of row block {block} after group "
        f"{group}, input slice {i}, must be {low} .. {high} (macro.accumulator_bits = {macro.accumulator_bits}); use more "
        "accumulator_bits, or accumulator_overflow saturate or wrap"
    )


class RunningSums:
    """The accumulators of all row blocks and outputs for some inputs."""

    def __init__(self, matrix: Matrix, points: int) -> None:
        """Empty accumulators for `points` inputs."""
        assert matrix.macro.accumulator_bits is not None
        self.matrix, self.bits, self.overflow = matrix, matrix.macro.accumulator_bits, matrix.macro.accumulator_overflow
        shape = (len(matrix.layout.row_blocks), points, matrix.layout.outputs)
        self.values = np.zeros(shape, dtype=np.int64)
        self.left: dict[
            int, tuple[int, int, int, int]
        ] = {}  # by input: output, value, group, slice where it first left

    def add(self, g: int, i: int, step: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add what group g and slice i give, [points, outputs]; the running sums of its row block."""
        block = int(self.matrix.block_of[g])
        running = self.values[block] + step
        self.values[block] = held(running, self.bits, self.overflow)
        if self.overflow == "error":
            low, high = limits(self.bits)
            outside = (running < low) | (running > high)
            for p in np.flatnonzero(outside.any(axis=1)).tolist():
                n = int(np.argmax(outside[p]))
                self.left.setdefault(p, (n, int(running[p, n]), g, i))
        made: NDArray[np.int64] = self.values[block]
        return made

    def total(self, reads: Reads) -> NDArray[np.int64]:
        """Row blocks added up [points, outputs]. WorkloadError for the first input that left the accumulator."""
        if self.left:
            p = min(self.left)
            n, value, g, i = self.left[p]
            block = int(self.matrix.block_of[g])
            group = g - int(np.searchsorted(self.matrix.block_of, block))
            raise overflow_error(self.matrix.macro, value, (*reads.place(p), n), (block, group, i))
        return np.asarray(self.values.sum(axis=0))
