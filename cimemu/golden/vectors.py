"""The vectors of one layer's macros: cells, wordlines, codes, running sums, outputs, and the cycles they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.compute.forward import Emulator
from cimemu.compute.matrix import LayerMatrix
from cimemu.errors import ArchError, WorkloadError
from cimemu.golden.block import MacroVectors, Replica, block_vectors
from cimemu.golden.steps import unit_steps
from cimemu.keywords import filled
from cimemu.layer.base import Array
from cimemu.layer.macro_layer import MacroLayer
from cimemu.macro.read_noise import Reads
from cimemu.mapping.plan import Plan
from cimemu.options import Draws, DrawsKeywords
from cimemu.workload.network import Network

MOST_CODES = 1 << 26


@dataclass(frozen=True, eq=False)
class DigitalVectors:
    """What the digital unit makes of the macros of one column block: row blocks added up, the correction made."""

    name: str
    unit: int
    col_block: int
    first_output: int  # of the layer's output channels
    outputs: NDArray[Any]  # [ops, outputs] int64, or float64 where levels are real numbers


@dataclass(frozen=True, eq=False)
class LayerVectors:
    """All vectors of a layer's first operations."""

    layer: MacroLayer
    macros: list[MacroVectors]
    digital: list[DigitalVectors]
    fraction_bits: int | None  # levels of varied cells are whole multiples of 2^-fraction_bits; None: ideal cells
    added: int = 0  # operations behind those of the network's own inputs, made to cover more


@dataclass(frozen=True, eq=False)
class LayerInputs:
    """One layer with its cells written, and what the first output positions drive onto it."""

    matrix: LayerMatrix
    x: list[Array]  # [ops, rows] of every unit


def layer_vectors(
    network: Network,
    macro: Macro,
    inputs: Array | Mapping[str, Array],
    layer: str | None,
    ops: int,
    *,
    plan: Plan | None = None,
    draws: Draws = Draws(),
    **given: Unpack[DrawsKeywords],
) -> LayerVectors:
    """Vectors of the first `ops` output positions of `inputs` [images, ...] on every macro of one layer.

    `layer` is its name or number among the layers on macros (None: the first). `draws`, or `seed`, `trial` and `vary` by
    themselves, draw the chip's cells as `cimemu.run` does, at the places of `plan`. Raises WorkloadError where there is no
    such layer or position, and what running the network raises.
    """
    (draws,) = filled("layer_vectors", given, draws)
    return vectors_of(layer_inputs(network, macro, inputs, layer, ops, plan=plan, draws=draws))


def layer_inputs(
    network: Network,
    macro: Macro,
    inputs: Array | Mapping[str, Array],
    layer: str | None,
    ops: int,
    *,
    plan: Plan | None,
    draws: Draws,
) -> LayerInputs:
    """What `layer_vectors` makes vectors of."""
    _check_repair(macro)
    emulator = Emulator(network, macro, path="serial")
    chosen = _layer(emulator, layer)
    if plan is not None:
        emulator.program(plan, draws.vary, draws.seed, draws.trial)
    named = inputs if isinstance(inputs, Mapping) else {network.inputs[0]: inputs}
    arrays = [np.asarray(named[name]) for name in network.inputs]
    per_image, count = chosen.geometry.positions, len(arrays[0])
    if not 1 <= ops <= per_image * count:
        raise WorkloadError(f"ops = {ops}, layer {chosen.name} has 1 .. {per_image * count} on {count} images")
    images = -(-ops // per_image)
    some = {name: array[:images] for name, array in zip(network.inputs, arrays)}
    sources = [name for name in chosen.inputs if name]
    kept = frozenset(sources) - some.keys() - network.constants.keys()
    tensors = some | dict(emulator.run(list(some.values()), keep=kept).tensors)
    zeros = tensors[sources[1]] if chosen.dynamic_zero_point else None
    matrix = emulator.matrices[chosen.name]
    _check_size(matrix, ops)
    return LayerInputs(matrix, [x[:ops] for x in matrix.vectors(tensors[sources[0]], zeros)])


def _check_repair(macro: Macro) -> None:
    """ArchError for what vectors do not hold."""
    if macro.repair.checksum_columns:
        raise ArchError(
            f"macro.repair.checksum_columns = {macro.repair.checksum_columns}: golden vectors hold no checksum columns; set it to 0"
        )
    if macro.repair.reads > 1:
        raise ArchError(
            f"macro.repair.reads = {macro.repair.reads}: golden vectors hold one code of every step, not those of several reads; "
            "set macro.repair.reads to 1"
        )


def _layer(emulator: Emulator, name: str | None) -> MacroLayer:
    layers = emulator.macro_layers
    if name in emulator.products:
        raise WorkloadError(
            f"layer {name}: mapping.activations = macros writes its cells for every image, golden vectors are of stored weights; "
            f"choose one of {', '.join(x.name for x in layers)}"
        )
    if not layers:
        raise WorkloadError(
            f"network {emulator.network.name}: no layer has weights in macros, golden vectors are of stored weights; choose "
            "another network"
        )
    if name is None:
        return layers[0]
    for number, layer in enumerate(layers):
        if name in (layer.name, str(number)):
            return layer
    raise WorkloadError(f"layer {name!r}: no such layer on macros, there are {', '.join(x.name for x in layers)}")


def vectors_of(given: LayerInputs, added: list[Array] | None = None) -> LayerVectors:
    """Every unit and replica: output position p is the work of replica p mod R.

    `added` [ops, rows] of every unit are operations behind those of the network, of a layer without replicas.
    """
    matrix, more = given.matrix, 0 if added is None else len(added[0])
    macros: list[MacroVectors] = []
    digital: list[DigitalVectors] = []
    per_image, count = matrix.layer.geometry.positions, len(matrix.replicas)
    assert not more or count == 1
    ops = len(given.x[0]) + more
    position = np.arange(ops) % per_image
    _check_size(matrix, ops)
    together = given.x if added is None else [np.concatenate(parts) for parts in zip(given.x, added, strict=True)]
    for number, x in enumerate(together):
        outputs = None
        for r, written in enumerate(matrix.replicas):
            mine = np.flatnonzero(position % count == r)
            if not len(mine):
                continue
            reads = Reads(positions=-(-(per_image - r) // count), replicas=count, replica=r + matrix.first_position)
            steps = unit_steps(written[number], x[mine], reads)
            unit = matrix.units[number]
            macros += block_vectors(steps, number, Replica(r, count), (unit.row_start, unit.out_start))
            if outputs is None:
                outputs = np.zeros((ops, steps.y.shape[1]), dtype=steps.y.dtype)
            outputs[mine] = steps.y
        assert outputs is not None
        blocks = enumerate(matrix.replicas[0][number].matrix.layout.col_blocks)
        digital += [
            DigitalVectors(
                f"digital_{number:03d}_{cb:03d}", number, cb, matrix.units[number].out_start + a, outputs[:, a:b]
            )
            for cb, (a, b) in blocks
        ]
    cells = matrix.replicas[0][0].matrix
    bits = None if cells.cells is None else cells.macro.cell.fraction_bits
    return LayerVectors(matrix.layer, macros, digital, bits, more)


def _check_size(matrix: LayerMatrix, ops: int) -> None:
    """WorkloadError before more codes than memory has room for are made."""
    for programmed in matrix.programmed:
        layout, macro = programmed.matrix.layout, programmed.matrix.macro
        each = layout.groups * macro.input_slices * programmed.matrix.seen_columns
        if ops * each > MOST_CODES:
            raise WorkloadError(
                f"ops = {ops}: {ops * each:,} codes of layer {matrix.layer.name}, must be <= {MOST_CODES:,}; "
                f"use ops <= {MOST_CODES // each}"
            )


__all__ = [
    "DigitalVectors",
    "LayerInputs",
    "LayerVectors",
    "MacroVectors",
    "layer_inputs",
    "layer_vectors",
    "vectors_of",
]
