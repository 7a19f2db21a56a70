"""The vectors of one layer's macros: cells, wordlines, codes, running sums, outputs, and the cycles they belong to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.compute.forward import Emulator
from cimemu.compute.macro import Programmed
from cimemu.compute.paths import masked_inputs, step_psums
from cimemu.errors import WorkloadError
from cimemu.layer.base import Array
from cimemu.layer.macro_layer import MacroLayer
from cimemu.mapping.cycles import convert_cycles, drive_cycles
from cimemu.mapping.layout import accumulator_width
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class MacroVectors:
    """One macro (block of a layer) over `ops` operations of G x I steps; columns are converted columns.

    A skipped step has no codes: `driven` says which steps were driven.
    """

    name: str
    unit: int
    row_block: int
    col_block: int
    cells: NDArray[np.int64]  # [rows, physical columns] levels
    thresholds: NDArray[np.int64] | None  # [columns or 1, 2^bits - 1], integer: code = how many are <= psum
    inputs: NDArray[np.int64]  # [ops, rows] as the wordlines are given them, two's complement if signed
    wordlines: NDArray[np.int64]  # [ops, steps, rows] slice values of the raised group, 0 elsewhere
    codes: NDArray[np.int64]  # [ops, steps, columns] codes; psums of an ideal converter
    driven: NDArray[np.bool_]  # [ops, steps]
    drive_cycles: NDArray[np.int64]  # [ops, steps] cycles from the operation's start to the slice on the wordlines
    code_cycles: NDArray[np.int64]  # [ops, steps, columns] cycles from the operation's start to the finished code
    shift_add: NDArray[np.int64]  # [ops, steps, outputs] running sums after a step
    outputs: NDArray[np.int64]  # [ops, outputs] after the encoding's correction
    op_cycles: NDArray[np.int64]  # [ops]
    groups: int
    slices: int
    code_bits: int
    signed_codes: bool  # an ideal converter's psums may be negative
    accumulator_bits: int


def layer_vectors(
    network: Network, macro: Macro, inputs: Array, layer: str | None, ops: int
) -> tuple[MacroLayer, list[MacroVectors]]:
    """Vectors of the first `ops` output positions of `inputs` [images, ...] on every macro of one layer.

    `layer` is its name or number among the layers on macros (None: the first). Raises WorkloadError where there is no
    such layer, no such position, or converter levels are no integers.
    """
    emulator = Emulator(network, macro, path="packed")
    chosen = _layer(emulator, layer)
    matrix = emulator.matrices[chosen.name]
    per_image = chosen.geometry.positions
    if not 1 <= ops <= per_image * len(inputs):
        raise WorkloadError(
            f"ops = {ops}, layer {chosen.name} has 1 .. {per_image * len(inputs)} on {len(inputs)} images"
        )
    images = -(-ops // per_image)
    source = chosen.inputs[0]
    tensors = emulator.run([inputs[:images]], keep=frozenset([source])).tensors
    quantized = tensors[source] if source in tensors else inputs[:images]
    found = []
    for number, (x, programmed) in enumerate(zip(matrix.vectors(quantized), matrix.programmed)):
        if programmed.matrix.references is not None and not programmed.matrix.integer_result:
            raise WorkloadError(
                f"layer {chosen.name}: converter levels are no integers, RTL vectors need integer lsb and zero"
            )
        found += _unit_vectors(x[:ops], programmed, number)
    return chosen, found


def _layer(emulator: Emulator, name: str | None) -> MacroLayer:
    layers = emulator.macro_layers
    if name is None:
        return layers[0]
    for number, layer in enumerate(layers):
        if name in (layer.name, str(number)):
            return layer
    raise WorkloadError(f"layer {name!r}: no such layer on macros, there are {', '.join(x.name for x in layers)}")


def _unit_vectors(x: NDArray[Any], programmed: Programmed, unit: int) -> list[MacroVectors]:
    matrix = programmed.matrix
    macro, layout = matrix.macro, matrix.layout
    masked = masked_inputs(x, matrix).astype(np.int64)
    result = programmed.run(x, codes=True, path="packed")
    slices, columns = macro.input_slices, matrix.seen.shape[1]
    if result.codes is None:
        codes = np.zeros((len(x), layout.groups, slices, columns), dtype=np.int64)
        for g, i, psums in step_psums(masked_inputs(x, matrix), matrix, packed=matrix.packed is not None):
            codes[:, g, i] = psums
    else:
        codes = result.codes.astype(np.int64)
    driven = np.ones(codes.shape[:3], dtype=np.bool_) if result.nonzero is None else result.nonzero
    values = np.where(driven[..., None], _values(codes, programmed), 0)
    made = []
    for rb, (r0, r1) in enumerate(layout.row_blocks):
        groups = np.flatnonzero(matrix.block_of == rb)
        for cb, (c0, c1) in enumerate(layout.col_blocks):
            made.append(
                _block_vectors(programmed, unit, rb, cb, masked, x, codes, values, driven, groups, (r0, r1), (c0, c1))
            )
    return made


def _values(codes: NDArray[np.int64], programmed: Programmed) -> NDArray[np.int64]:
    """The integer level of every code, by its row block and column."""
    matrix = programmed.matrix
    if matrix.references is None:
        return codes
    values = np.zeros_like(codes)
    for g, block in enumerate(matrix.block_of):
        levels = matrix.references[block].levels.astype(np.int64)
        inside = np.where(codes[:, g] == 65535, 0, codes[:, g])
        column = np.zeros(codes.shape[3], np.int64) if len(levels) == 1 else np.arange(codes.shape[3])
        values[:, g] = levels[column, inside]
    return values


def _block_vectors(programmed, unit, rb, cb, masked, x, codes, values, driven, groups, rows, outputs):  # type: ignore[no-untyped-def]
    matrix = programmed.matrix
    macro, layout = matrix.macro, matrix.layout
    (r0, r1), (c0, c1) = rows, outputs
    per_output, ops, slices = macro.conversions_per_output, len(x), macro.input_slices
    span = slice(c0 * per_output, c1 * per_output)
    steps = len(groups) * slices
    mine, on = codes[:, groups][..., span].reshape(ops, steps, -1), driven[:, groups].reshape(ops, steps)
    place = np.tile(matrix.slice_weights, len(groups))
    added = values[:, groups][..., span].reshape(ops, steps, c1 - c0, per_output) * matrix.columns.weight
    shift_add = np.cumsum(added.sum(axis=3) * place[None, :, None], axis=1)
    total = _corrected(shift_add[:, -1], x, matrix, (r0, r1), (c0, c1), cb, rb)
    wordlines = np.zeros((ops, steps, r1 - r0), dtype=np.int64)
    dac = macro.input.dac_bits
    for number, g in enumerate(groups):
        a, b = int(matrix.starts[g]), int(matrix.stops[g])
        for i in range(slices):
            wordlines[:, number * slices + i, a - r0 : b - r0] = (masked[:, a:b] >> (i * dac)) & (2**dac - 1)
    references = None if matrix.references is None else matrix.references[rb]
    thresholds = None
    if references is not None:
        thresholds = references.thresholds if references.uniform else references.thresholds[span]
    begins, code_cycles, op_cycles = _schedule(macro, on, (c1 - c0) * per_output)
    low, high = matrix.psum_range
    bits = references.bits if references is not None else max(1, int(max(abs(low), high)).bit_length() + (low < 0))
    return MacroVectors(
        name=f"macro_{unit:03d}_{rb:03d}_{cb:03d}",
        unit=unit,
        row_block=rb,
        col_block=cb,
        cells=matrix.levels[r0:r1, c0 * macro.columns_per_output : c1 * macro.columns_per_output].astype(np.int64),
        thresholds=thresholds,
        inputs=masked[:, r0:r1],
        wordlines=wordlines,
        codes=mine,
        driven=on,
        drive_cycles=begins,
        code_cycles=code_cycles,
        shift_add=shift_add,
        outputs=total,
        op_cycles=op_cycles,
        groups=len(groups),
        slices=slices,
        code_bits=bits,
        signed_codes=references is None and low < 0,
        accumulator_bits=accumulator_width(macro, layout, rb) + 1,
    )


def _corrected(total, x, matrix, rows, outputs, cb, rb):  # type: ignore[no-untyped-def]
    """The block's share of the outputs: its own rows' share of the encoding's correction."""
    macro = matrix.macro
    encoding = macro.weight.encoding
    if encoding not in ("offset", "binary"):
        return total
    if matrix.has_reference_column or matrix.flipped is not None:
        raise WorkloadError("golden vectors of a reference column or of flipped columns are not defined, turn them off")
    (r0, r1), (c0, c1) = rows, outputs
    x = x[:, r0:r1].astype(np.int64)
    if matrix.row_group is None:
        sums = x.sum(axis=1)[:, None]
    else:
        sums = x @ (matrix.row_group[r0:r1, None] == matrix.out_group[None, c0:c1]).astype(np.int64)
    return 2 * total - sums if encoding == "binary" else total - 2 ** (macro.weight.bits - 1) * sums


def _schedule(
    macro: Macro, driven: NDArray[np.bool_], columns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cycles by spec section 3: (to each drive [ops, steps], to each finished code [ops, steps, columns], of each op)."""
    ops, steps = driven.shape
    rounds = np.arange(columns) % macro.columns_per_adc
    each = macro.adc.conversion_cycles()
    begins = np.zeros((ops, steps), dtype=np.int64)
    cycles = np.zeros((ops, steps, columns), dtype=np.int64)
    ends = np.zeros(ops, dtype=np.int64)
    for op in range(ops):
        begin = free = 0
        for j in range(steps):
            on = bool(driven[op, j])
            drive = drive_cycles(macro) if on else macro.timing.skip_cycles
            convert = convert_cycles(macro, columns) if on else 0
            if macro.timing.overlap:
                begins[op, j] = begin
                begin = start = max(begin + drive, free)
            else:
                begins[op, j] = free
                start = free + drive
            free = start + convert
            cycles[op, j] = start + (rounds + 1) * each
        ends[op] = free + macro.timing.shift_add_cycles
    return begins, cycles, ends
