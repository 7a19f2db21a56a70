"""Partial sums that calibration images make on a lossless converter, kept one by one: what converters are fitted to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import IdealAdc
from cimemu.arch.macro import Macro
from cimemu.compute.forward import Emulator
from cimemu.compute.matrix import LayerMatrix
from cimemu.engines.steps.run import step_psums
from cimemu.layer.base import Array
from cimemu.layer.execute import first_images, in_order
from cimemu.macro.encode import checked_inputs
from cimemu.macro.sums import masked_inputs
from cimemu.workload.network import Network

MOST = 3_000_000  # partial sums kept of a layer


@dataclass(frozen=True, eq=False)
class Step:
    """What one (group, input slice) gave on one unit of the layer: psums int32 [vectors, columns of the unit]."""

    block: int
    place: int  # weight of the input slice
    first: int  # first column of the unit
    psums: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class PsumSamples:
    """Partial sums of one layer; converted columns run over all units."""

    layer: str
    steps: tuple[Step, ...]
    blocks: int
    arrays: tuple[tuple[int, int], ...]  # converted columns of each column block
    conversions: int  # per output
    place: NDArray[np.float64]  # [columns] weight of a column in its output
    scale: NDArray[np.float64]  # [row blocks, columns] factors of column scales, 1 without
    zero: NDArray[np.float64]  # [outputs] what is taken off the sum of psums to get the accumulator

    @property
    def columns(self) -> int:
        """Converted columns."""
        return len(self.place)

    @property
    def steps_per_output(self) -> int:
        """Conversions that make one output: 1 where the converter sees the whole accumulator."""
        return (
            len({(s.block, k) for k, s in enumerate(self.steps) if s.first == self.steps[0].first}) * self.conversions
        )


def psum_samples(
    network: Network, macro: Macro, inputs: Any, *, vectors: int = 256, seed: int = 0, chunk: int = 32
) -> Iterator[PsumSamples]:
    """Samples of every macro layer from `inputs`, [images, ...] or a dict of such arrays by input name: at most `vectors`
    input vectors of a layer, drawn by `seed`."""
    emulator = lossless_emulator(network, macro)
    tensors = _inputs_of_layers(emulator, first_images(inputs, chunk))
    rng = np.random.default_rng(seed)
    for matrix, tensor in inputs_of_cells(emulator, tensors):
        yield _of_layer(matrix.layer.name, matrix, tensor, vectors, rng)


def inputs_of_cells(emulator: Emulator, tensors: Mapping[str, Array]) -> Iterator[tuple[LayerMatrix, Array]]:
    """Every matrix in cells, as its first layer has it, with the input tensors of all layers that share it, one behind the
    other."""
    for name, matrix in emulator.matrices.items():
        if emulator.cells_of[name] != name:
            continue
        users = [m for other, m in emulator.matrices.items() if emulator.cells_of[other] == name]
        alike = [m for m in users if m.layer.geometry == matrix.layer.geometry]
        parts = [tensors[m.layer.inputs[0]] for m in alike]
        yield matrix, parts[0] if len(parts) == 1 else np.concatenate(parts)


def lossless_emulator(network: Network, macro: Macro) -> Emulator:
    """The network with ideal converters."""
    return Emulator(network, macro.model_copy(update={"adc": IdealAdc(), "accumulator_bits": None}), adcs={})


def _inputs_of_layers(emulator: Emulator, images: Any) -> Mapping[str, Array]:
    """What every macro layer reads for `images`, an array or a dict, by tensor name; the network's own inputs too."""
    arrays = in_order(emulator.network, images)
    wanted = frozenset(matrix.layer.inputs[0] for matrix in emulator.matrices.values())
    return {**dict(zip(emulator.network.inputs, arrays)), **emulator.run(arrays, keep=wanted).tensors}


def _of_layer(name: str, matrix: LayerMatrix, tensor: Array, vectors: int, rng: np.random.Generator) -> PsumSamples:
    macro, layer = matrix.macro, matrix.layer
    per_output = macro.conversions_per_output
    columns = layer.geometry.channels_out * per_output
    groups = max(p.matrix.layout.groups for p in matrix.programmed)
    vectors = int(max(16, min(vectors, MOST // (columns * groups * macro.input_slices))))
    steps, arrays, place = [], [], []
    blocks = max(len(p.matrix.layout.row_blocks) for p in matrix.programmed)
    for x, program, unit in zip(matrix.sampled_inputs(tensor, vectors, rng), matrix.programmed, matrix.units):
        written = program.matrix
        checked = masked_inputs(checked_inputs(x, macro, written.layout.rows), written)
        first = unit.out_start * per_output
        for g, i, psums in step_psums(checked, written, packed=written.packed is not None):
            steps.append(Step(int(written.block_of[g]), int(written.slice_weights[i]), first, psums.astype(np.int32)))
        arrays += [(first + a * per_output, first + b * per_output) for a, b in written.layout.col_blocks]
        place.append(np.tile(written.columns.weight.astype(np.float64), written.layout.outputs))
    scale = np.ones((blocks, columns)) if layer.column_scale is None else layer.column_scale.scale
    zero = layer.input_zero_point + matrix.drive_offset
    return PsumSamples(
        layer=name,
        steps=tuple(steps),
        blocks=blocks,
        arrays=tuple(arrays),
        conversions=per_output,
        place=np.concatenate(place),
        scale=scale,
        zero=zero * matrix.stored.sum(axis=1).astype(np.float64) - layer.bias,
    )


def input_moments(
    network: Network, macro: Macro, inputs: Any, *, vectors: int = 1024, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Mean products `E[v v^T]` [conv groups, K, K] of every macro layer's inputs v = q - zero point, by layer name."""
    emulator = lossless_emulator(network, macro)
    tensors = _inputs_of_layers(emulator, first_images(inputs, 32))
    rng = np.random.default_rng(seed)
    found = {}
    for name, matrix in emulator.matrices.items():
        geometry = matrix.layer.geometry
        zero = matrix.layer.input_zero_point + matrix.drive_offset
        parts = []
        for x in matrix.sampled_inputs(tensors[matrix.layer.inputs[0]], vectors, rng):
            v = (x.astype(np.float64) - zero).reshape(len(x), -1, geometry.rows_per_group)
            parts.append(np.einsum("pgk,pgl->gkl", v, v, optimize=True) / len(x))
        moments = np.concatenate(parts)
        per_output = np.repeat(np.arange(geometry.groups), geometry.outputs_per_group)
        found[name] = moments if geometry.groups == 1 else moments[per_output]
    return found
