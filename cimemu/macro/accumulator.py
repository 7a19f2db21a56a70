"""The macro's accumulator: one running integer for each (row block, output), held to its width after every step.

A step is one (group, input slice), groups outer, slices ascending; the encoding's correction comes after the last one. Sums
of row blocks meet in the digital unit, which is wide enough.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import Adc, IdealAdc
from cimemu.arch.macro import Macro
from cimemu.errors import ArchError, WorkloadError
from cimemu.macro.read_noise import Reads
from cimemu.macro.references import References

if TYPE_CHECKING:
    from cimemu.macro.program import Matrix

LARGEST = 2.0**62  # running sums and what a step adds: their sum stays in int64


def limits(bits: int) -> tuple[int, int]:
    """Smallest and largest number of a signed accumulator."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


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


def check_sums(matrix: "Matrix") -> None:
    """ArchError where sums of integer levels could leave the 64 bits that they are added in."""
    if matrix.references is None or not matrix.integer_levels:
        return
    largest = max(float(np.abs(r.levels).max()) for r in matrix.references)
    weight = float(np.abs(matrix.columns.weight).sum()) * float(np.abs(matrix.slice_weights).sum())
    if largest * weight * len(matrix.starts) >= LARGEST:
        raise ArchError(
            f"macro.adc: levels up to {largest:.3g} add up to {largest * weight * len(matrix.starts):.3g}, must stay below "
            "2^62; use a smaller lsb, zero or smaller levels"
        )


def may_overflow(matrix: "Matrix") -> bool:
    """Whether inputs exist, for all that the programmed levels tell, that take a running sum out of the accumulator.

    False costs nothing afterwards: every path runs as with an accumulator that is wide enough.
    """
    bits = matrix.macro.accumulator_bits
    if bits is None:
        return False
    low, high = limits(bits)
    least, most = sum_range(matrix)
    return bool((most > high).any() or (least < low).any())


def sum_range(matrix: "Matrix") -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Smallest and largest running sum that the programmed levels allow, [row blocks, N]; levels are integers."""
    per_output = (matrix.layout.outputs, len(matrix.columns.weight))
    most = np.zeros((len(matrix.layout.row_blocks), matrix.layout.outputs), dtype=np.int64)
    least = np.zeros_like(most)
    weights = matrix.columns.weight
    if matrix.flipped is not None:  # what is stored inverted is taken off
        inverted = matrix.flipped.reshape(len(most), *per_output)
    for g, block in enumerate(matrix.block_of):
        if matrix.flipped is not None:
            weights = np.where(inverted[block], -matrix.columns.weight, matrix.columns.weight)
        ends = [v.reshape(per_output) * weights for v in value_range(matrix, g)]
        below, above = np.minimum(*ends).sum(axis=1), np.maximum(*ends).sum(axis=1)
        for weight in matrix.slice_weights:
            one, other = weight * below, weight * above
            most[block] += np.maximum(np.maximum(one, other), 0)
            least[block] += np.minimum(np.minimum(one, other), 0)
    return least, most


def value_range(matrix: "Matrix", g: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Smallest and largest integer value of every converted column in a step of group g."""
    rows, largest = matrix.seen[matrix.starts[g] : matrix.stops[g]], 2**matrix.macro.input.dac_bits - 1
    low = np.minimum(rows, 0).sum(axis=0) * largest
    high = np.maximum(rows, 0).sum(axis=0) * largest
    if matrix.references is None:
        return low, high
    references = matrix.references[matrix.block_of[g]]
    levels = np.broadcast_to(references.levels, (len(low), references.levels.shape[1])).astype(np.int64)
    wandering = matrix.noise or matrix.traps or matrix.bow or matrix.gated is not None
    if references.lsb is None or wandering:  # any code may be met
        return levels.min(axis=1), levels.max(axis=1)
    reached = [(references.thresholds <= psums[:, None]).sum(axis=1) for psums in (low, high)]
    first, last = (np.take_along_axis(levels, codes[:, None], axis=1)[:, 0] for codes in reached)
    return first, last


def held(running: NDArray[np.int64], bits: int, overflow: str) -> NDArray[np.int64]:
    """Running sums after a step as the accumulator holds them; with `error` as they are."""
    if overflow == "saturate":
        return np.clip(running, *limits(bits))
    if overflow == "wrap":
        unused = np.int64(64 - bits)
        return (running << unused) >> unused
    return running


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

    def __init__(self, matrix: "Matrix", points: int) -> None:
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
        return self.values[block]

    def total(self, reads: Reads) -> NDArray[np.int64]:
        """Row blocks added up [points, outputs]. WorkloadError for the first input that left the accumulator."""
        if self.left:
            p = min(self.left)
            n, value, g, i = self.left[p]
            block = int(self.matrix.block_of[g])
            group = g - int(np.searchsorted(self.matrix.block_of, block))
            raise overflow_error(self.matrix.macro, value, (*reads.place(p), n), (block, group, i))
        return np.asarray(self.values.sum(axis=0))
