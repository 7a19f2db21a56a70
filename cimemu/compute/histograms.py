"""Histograms of the partial sums that a network's macros really see, per layer, row block and converted column."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adc import IdealAdc
from cimemu.arch.macro import Macro
from cimemu.compute.forward import Emulator
from cimemu.compute.psum_samples import inputs_of_cells
from cimemu.engines.programmed import Programmed
from cimemu.engines.steps.run import step_psums
from cimemu.layer.execute import first_images, in_order
from cimemu.layer.macro_layer import MacroLayer
from cimemu.macro.encode import checked_inputs
from cimemu.macro.sums import masked_inputs
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class LayerHistogram:
    """counts[row block, converted column, v] is the weight of psum `low + v`; columns run over all units of the layer.

    A conversion counts with the square of its slice weight: what its error does to the output.
    """

    layer: str
    low: int
    counts: NDArray[np.float64]
    columns_of_array: tuple[tuple[int, int], ...]  # converted columns of each column block
    significance: NDArray[np.float64]  # [columns] square of the column's own slice weight


def psum_histograms(
    network: Network, macro: Macro, inputs: Any, *, vectors: int = 2048, seed: int = 0
) -> Iterator[LayerHistogram]:
    """One histogram per macro layer from `inputs` [images, ...]: at most `vectors` input vectors a layer, drawn evenly.

    Inputs of every layer are those of a lossless converter.
    """
    exact = macro.model_copy(update={"adc": IdealAdc(), "accumulator_bits": None})
    emulator = Emulator(network, exact, adcs={})
    keep = frozenset(layer.inputs[0] for layer in network.layers if isinstance(layer, MacroLayer))
    images = in_order(network, first_images(inputs, 64))
    tensors = {**dict(zip(network.inputs, images)), **emulator.run(images, keep=keep).tensors}
    rng = np.random.default_rng(seed)
    for matrix, tensor in inputs_of_cells(emulator, tensors):
        yield _of_layer(matrix.layer, list(matrix.sampled_inputs(tensor, vectors, rng)), matrix.programmed)


def _of_layer(layer: MacroLayer, inputs: Sequence[NDArray[Any]], programmed: Sequence[Programmed]) -> LayerHistogram:
    low = min(p.matrix.psum_range[0] for p in programmed)
    high = max(p.matrix.psum_range[1] for p in programmed)
    parts, arrays, significance = [], [], []
    done = 0
    for x, program in zip(inputs, programmed):
        matrix = program.matrix
        checked = masked_inputs(checked_inputs(x, matrix.macro, matrix.layout.rows), matrix)
        columns = matrix.seen_columns
        counts = np.zeros((len(matrix.layout.row_blocks), columns, high - low + 1))
        base = np.arange(columns) * (high - low + 1)
        for g, i, psums in step_psums(checked, matrix, packed=matrix.packed is not None):
            hits = np.bincount((psums - low + base).ravel(), minlength=counts[0].size)
            counts[matrix.block_of[g]] += hits.reshape(columns, -1) * float(matrix.slice_weights[i]) ** 2
        parts.append(counts)
        per_output = matrix.macro.conversions_per_output
        arrays += [(done + a * per_output, done + b * per_output) for a, b in matrix.layout.col_blocks]
        significance.append(np.tile(matrix.columns.weight.astype(np.float64) ** 2, matrix.layout.outputs))
        done += columns
    blocks = max(len(part) for part in parts)
    padded = [np.pad(part, ((0, blocks - len(part)), (0, 0), (0, 0))) for part in parts]
    return LayerHistogram(
        layer=layer.name,
        low=low,
        counts=np.concatenate(padded, axis=1),
        columns_of_array=tuple(arrays),
        significance=np.concatenate(significance),
    )
