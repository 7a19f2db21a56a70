"""One-bit cells behind clipping converters of step 1, as bit planes: which matrices these are, and how they run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.lookup_run import aligned, constants
from cimemu.compute.program import Matrix
from cimemu.kernels.lanes import AVAILABLE
from cimemu.kernels.planes import PLANES, plane_cells, sum_planes

LEAST_FILL = 0.75  # of 256-column blocks: emptier ones run faster by table look-up
POINTS = 1024  # positions of a chunk


@dataclass(frozen=True, eq=False)
class BitPlanes:
    """A matrix as `sum_planes` takes it."""

    cells: NDArray[np.uint8]  # [G, blocks, rows + 1, 32]
    factors: NDArray[np.int32]  # [J]
    bits: int  # of a clipped code
    slices: int


def make_planes(matrix: Matrix, rule: tuple[int, int] | None) -> BitPlanes | None:
    """Planes of a matrix whose converters are all `min(psum, top)` (`rule` = (0, top)), or None."""
    macro, references, weight = matrix.macro, matrix.references, matrix.columns.weight
    if not AVAILABLE or rule is None or rule[0] != 0 or references is None or macro.accumulator_bits is not None:
        return None
    plain = matrix.scale is None and matrix.flipped is None and matrix.base is None and not matrix.bow
    ideal = matrix.cells is None and not matrix.noise and matrix.integer_result
    if not plain or not ideal or macro.input.signed or any(r.zero is None or r.zero.any() for r in references):
        return None
    rows, slices = int((matrix.stops - matrix.starts).max()), macro.input_slices
    bits = min(rule[1].bit_length(), rows.bit_length())
    largest = min((1 << bits) - 1, rows) * ((1 << slices) - 1)
    total = largest * int(np.abs(weight).sum()) * len(matrix.starts)
    if rows > 255 or slices > 8 or slices + bits > 16 or largest > 32767 or total >= 1 << 31 or bits > PLANES:
        return None
    cells = plane_cells(matrix.seen, matrix.starts, matrix.stops, len(weight))
    if matrix.seen.shape[1] < LEAST_FILL * 256 * cells.shape[1]:
        return None
    even = np.pad(weight, (0, len(weight) % 2))
    factors = (even[0::2] & 65535) | (even[1::2] << 16)
    return BitPlanes(cells, factors.astype(np.int32), bits, slices)


def plane_values(x: NDArray[Any], masked: NDArray[Any], matrix: Matrix, planes: BitPlanes, y: NDArray[Any]) -> bool:
    """Fill y [P, N] from inputs x [P, K]: whether the encoding's correction is made too."""
    lsb, rest, corrected = constants(x, matrix, 1, 0)
    rows = planes.cells.shape[2] - 1
    scratch = (
        aligned((32,), np.uint8),
        np.zeros((len(matrix.starts), planes.slices, -(-rows // 64)), dtype=np.uint64),
        np.zeros((planes.slices, rows + 16), dtype=np.uint8),
        np.zeros(planes.slices, dtype=np.int64),
        aligned((PLANES + 16, 32), np.uint8),
        aligned((16, 16), np.uint16),
        aligned((-(-y.shape[1] // 8), 8), np.int32),
    )
    spans = (matrix.starts, matrix.stops)
    inputs = np.ascontiguousarray(masked)
    sum_planes(inputs, spans, planes.cells, rows, planes.factors, (planes.bits, lsb, rest), scratch, y)
    return corrected
