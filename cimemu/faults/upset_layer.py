"""What a layer on macros gives when one of its bits is wrong: its products again, with that bit as the fault leaves it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.matrix import LayerMatrix
from cimemu.engines.engine import Chunk, Outcome
from cimemu.engines.programmed import finish
from cimemu.engines.steps.run import sum_steps
from cimemu.errors import CimemuError
from cimemu.faults.column import LayerInputs, some_channels
from cimemu.faults.upset_sites import Kind, Upset
from cimemu.macro.accumulator import RunningSums
from cimemu.macro.matrix import Matrix, limits
from cimemu.macro.read_noise import Reads
from cimemu.macro.sums import masked_inputs
from cimemu.mapping.layout import accumulator_width


def points_of(site: Upset, layer: LayerMatrix, images: int, copies: int) -> NDArray[np.int64]:
    """The input vectors (image-major) that meet the fault."""
    positions = layer.layer.geometry.positions
    if not site.permanent:
        return np.array([site.image * positions + site.position])
    points = np.arange(images * positions)
    mine: NDArray[np.int64] = points[points % positions % copies == site.replica]
    return mine


def faulty_channels(
    kind: Kind, site: Upset, layer: LayerMatrix, inputs: LayerInputs, points: NDArray[np.int64]
) -> tuple[slice, NDArray[Any]]:
    """(channels of the layer, their values [points, channels]) of input vectors `points` with the fault."""
    unit, matrix = layer.units[site.unit], layer.programmed[site.unit].matrix
    x = np.ascontiguousarray(inputs.rows[points, unit.row_start : unit.row_stop])
    known = x  # what the adder of inputs takes
    outputs = slice(0, matrix.layout.outputs)
    if kind != "accumulators":
        outputs = slice(*matrix.layout.col_blocks[site.column_block])
    masked = masked_inputs(x, matrix)
    if kind in ("registers", "wordlines"):
        masked = masked.copy()
        row = matrix.layout.row_blocks[site.row_block][0] + site.place
        masked[:, row] = wrong_word(masked[:, row], site, matrix, kind)
        if kind == "registers":
            known = _signed(masked, matrix, x.dtype)
    y = _products(kind, site, matrix, known, masked)[:, outputs]
    images = points // layer.layer.geometry.positions
    channels = slice(unit.out_start + outputs.start, unit.out_start + outputs.stop)
    whole = np.zeros((len(points), matrix.layout.outputs), dtype=y.dtype)
    whole[:, outputs] = y
    acc = layer.without_weight_zeros(whole, known, unit)[:, outputs] + inputs.constants[images][:, channels]
    values = some_channels(layer.layer.stage, np.arange(channels.start, channels.stop)).apply(acc)
    return channels, values.astype(layer.layer.output_type.dtype, copy=False)


def wrong_bit(values: NDArray[Any], bit: int, stuck: int) -> NDArray[Any]:
    """Unsigned numbers with one bit flipped, or stuck at 0 or 1."""
    mask = values.dtype.type(1 << bit)
    if stuck < 0:
        return np.asarray(values ^ mask)
    return np.asarray(values | mask if stuck else values & ~mask)


def wrong_word(words: NDArray[Any], site: Upset, matrix: Matrix, kind: Kind) -> NDArray[Any]:
    """Inputs as bit patterns: one bit of the register, or of what a wordline is driven with (permanent: in every slice)."""
    given = matrix.macro.input
    bits = [site.bit]
    if kind == "wordlines" and site.permanent:
        bits = [place + site.bit for place, width in given.spans if site.bit < width and place + site.bit < given.bits]
    made = words.astype(np.uint16)
    for bit in bits:
        made = wrong_bit(made, bit, site.stuck)
    return made.astype(words.dtype)


def _signed(masked: NDArray[Any], matrix: Matrix, dtype: Any) -> NDArray[Any]:
    """Bit patterns as the numbers that they are."""
    if not matrix.macro.input.signed:
        return masked
    bits = matrix.macro.input.bits
    values = masked.astype(np.int64)
    return np.where(values >= 1 << (bits - 1), values - (1 << bits), values).astype(dtype)


def _products(kind: Kind, site: Upset, matrix: Matrix, known: NDArray[Any], masked: NDArray[Any]) -> NDArray[Any]:
    """y [points, outputs] with the encoding's correction; `known` are the inputs that it takes."""
    meddle = _code_fault(site, matrix) if kind == "codes" else None
    running = FaultySums(matrix, len(masked), site) if kind == "accumulators" else None
    sums, total, _ = sum_steps(
        masked, matrix, packed=False, codes_out=None, reads=Reads(), meddle=meddle, running=running
    )
    y = np.empty((len(masked), matrix.layout.outputs), dtype=np.int64 if matrix.integer_result else np.float64)
    chunk = Chunk(x=known, masked=masked, reads=Reads(), y=y, codes=None)
    finish(chunk, matrix, Outcome(sums=sums, total=total))
    return y


Meddle = Callable[[int, int, NDArray[np.int32]], NDArray[np.int32]]


def _code_fault(site: Upset, matrix: Matrix) -> Meddle:
    """Codes of a step with the wrong bit: of one column in one step, or of a converter in all."""
    first_group = int(np.searchsorted(matrix.block_of, site.row_block))
    per = matrix.macro.conversions_per_output
    start, stop = (v * per for v in matrix.layout.col_blocks[site.column_block])
    if site.permanent:
        shared = matrix.macro.columns_per_adc
        columns = slice(start + site.place * shared, min(stop, start + (site.place + 1) * shared))
    else:
        columns = slice(start + site.place, start + site.place + 1)

    def meddle(g: int, i: int, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        here = int(matrix.block_of[g]) == site.row_block
        if not here or (not site.permanent and (g - first_group, i) != (site.group, site.slice)):
            return codes
        made = codes.copy()
        made[:, columns] = wrong_bit(made[:, columns].astype(np.uint32), site.bit, site.stuck).astype(np.int32)
        return made

    return meddle


class FaultySums(RunningSums):
    """Accumulators of which one has a wrong bit, in two's complement of its width; beyond it they wrap or saturate."""

    def __init__(self, matrix: Matrix, points: int, site: Upset) -> None:
        """Empty accumulators, as the fault leaves them."""
        self.matrix, self.site, self.left = matrix, site, {}
        self.overflow = "saturate" if matrix.macro.accumulator_overflow == "saturate" else "wrap"
        self.bits = accumulator_width(matrix.macro, matrix.layout, site.row_block)
        shape = (len(matrix.layout.row_blocks), points, matrix.layout.outputs)
        self.values = np.zeros(shape, dtype=np.int64)
        self.first_group = int(np.searchsorted(matrix.block_of, site.row_block))

    def add(self, g: int, i: int, step: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add a step; the fault comes behind it."""
        site, block = self.site, int(self.matrix.block_of[g])
        if self.matrix.macro.accumulator_bits is None and block != site.row_block:
            self.values[block] += step  # wide enough
            return np.asarray(self.values[block])
        made = super().add(g, i, step)
        if block == site.row_block and (site.permanent or (g - self.first_group, i) == (site.group, site.slice)):
            low, _ = limits(self.bits)
            pattern = (made[:, site.place] & ((1 << self.bits) - 1)).astype(np.uint64)
            wrong = wrong_bit(pattern, site.bit, site.stuck).astype(np.int64)
            made[:, site.place] = np.where(wrong >= -low, wrong - (1 << self.bits), wrong)
        return made


def check_kind(kind: str, kinds: tuple[str, ...]) -> None:
    """CimemuError for a word that is no kind of site."""
    if kind not in kinds:
        raise CimemuError(f"faults: site = {kind}, must be one of {', '.join(kinds)}")
