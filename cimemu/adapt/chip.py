"""Inference of an adapted network: the chip's integers, computed by torch from the exported network alone.

Macro layers are grouped convolutions of the weights' digits in float64, where every sum of integers is exact, and codes
are counted against the converter's thresholds; what follows the converters is the digital unit's own arithmetic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cimemu.adapt.digits import seen_by_converters
from cimemu.adapt.wiring import Wiring
from cimemu.adc import Adc
from cimemu.arch.load import macro_for
from cimemu.arch.macro import Macro
from cimemu.compute.matrix import LayerMatrix
from cimemu.compute.scaled_layer import finished
from cimemu.layer.base import Array
from cimemu.layer.macro_layer import MacroLayer
from cimemu.macro.accumulator import RunningSums
from cimemu.macro.combine import combined, correction
from cimemu.macro.encode import checked_inputs, input_slice
from cimemu.macro.read_noise import Reads
from cimemu.macro.sums import Sums, converted_weights, driven_steps, masked_inputs
from cimemu.windows.strips import Room, Strip
from cimemu.workload.network import Network

IMAGES_AT_ONCE = 16
Seen = Callable[[str, "Inside"], None]


@dataclass(frozen=True, eq=False)
class Inside:
    """Integers of one macro layer and batch, [images * positions, groups, input slices, converted columns]."""

    inputs: Array  # the layer's input tensor
    psums: NDArray[np.int64]
    codes: NDArray[np.int64]  # of an ideal converter: the psums
    output: Array


class ChipLayer:
    """One macro layer."""

    def __init__(self, layer: MacroLayer, macro: Macro, adc: Adc | None) -> None:
        """Raises what writing the layer into cells raises."""
        self.layer, self.macro = layer, macro
        self.written = LayerMatrix(layer, macro, adc=adc)
        (programmed,) = self.written.programmed
        self.matrix = programmed.matrix
        self.wiring = Wiring(layer.geometry, macro).double()
        integers = torch.from_numpy(self.written.stored.astype(np.float64))
        self.filters = self.wiring.filters(seen_by_converters(integers, macro, "proper").digits.flatten(0, 1))

    def run(self, quantized: Array) -> Inside:
        """A batch of the layer's input tensor."""
        g, layer, matrix = self.layer.geometry, self.layer, self.matrix
        images = len(quantized)
        if not layer.channels_last:
            tensor = quantized.reshape(images, g.channels_in, g.height_in, g.width_in)
        else:
            tensor = quantized.reshape(images, g.height_in, g.width_in, g.channels_in).transpose(0, 3, 1, 2)
        zero = layer.input_zero_point + self.written.drive_offset
        pads = ((0, 0), (0, 0), (g.pad_top, g.pad_bottom), (g.pad_left, g.pad_right))
        u = np.pad(tensor.astype(np.int64) + self.written.drive_offset, pads, constant_values=zero)
        x = checked_inputs(self._windows(u), self.macro, matrix.layout.rows)
        masked = masked_inputs(x, matrix)
        psums = self._psums(
            masked_inputs(checked_inputs(u.reshape(1, -1), self.macro, u.size), matrix).reshape(u.shape)
        )
        codes, sums = self._converted(psums, masked)
        reads = Reads(positions=g.positions)
        added = self._held(codes, masked).total(reads) if matrix.holding else combined(sums, matrix)
        y = correction(added, x, masked, matrix, reads)
        constant = self.written.constants(np.full(images, zero))
        if matrix.scale is None:
            y = self.written.without_weight_zeros(y, x, self.written.units[0])
        else:
            y = finished(y, x, matrix, np.full(len(x), zero), layer.bias)
            constant = np.zeros_like(constant)
        cut, room = Strip(0, images, 0, g.height_out), Room()
        output = self.written.writer.tensor(images)
        acc = self.written.writer.accumulators_of(y, constant, cut, room)
        self.written.writer.write(acc, g.width_out, cut, output, room)
        return Inside(quantized, psums, codes, output)

    def _windows(self, u: NDArray[np.int64]) -> NDArray[np.int64]:
        """[images * positions, rows] of padded codes."""
        g = self.layer.geometry
        strides, dilations = (g.stride_h, g.stride_w), (g.dilation_h, g.dilation_w)
        flat = torch.nn.functional.unfold(
            torch.from_numpy(u.astype(np.float64)), (g.kernel_h, g.kernel_w), dilations, 0, strides
        )
        return np.asarray(flat.transpose(1, 2).reshape(-1, g.rows_per_group).numpy().astype(np.int64))

    def _psums(self, u: Array) -> NDArray[np.int64]:
        """[images * positions, groups, input slices, converted columns]."""
        slices = []
        for i in range(self.macro.input_slices):
            part = torch.from_numpy(np.asarray(input_slice(u, i, self.macro.input), dtype=np.float64))
            made = self.wiring.psums(self.wiring.met(part), self.filters)
            made = made.unflatten(1, (self.wiring.groups, -1)).permute(0, 3, 4, 1, 2).flatten(0, 2)
            slices.append(made)
        found: NDArray[np.int64] = torch.stack(slices, dim=2).round().to(torch.int64).numpy()
        return found

    def _converted(self, psums: NDArray[np.int64], masked: Array) -> tuple[NDArray[np.int64], Sums]:
        """Codes, and their sums weighed by input slices."""
        matrix, block_of = self.matrix, self.matrix.block_of
        blocks = len(matrix.layout.row_blocks)
        active = driven_steps(masked, matrix) if self.macro.timing.skip_zero_slices else None
        weight = np.broadcast_to(matrix.slice_weights, psums.shape[:3])
        weight = weight if active is None else weight * active
        codes, by_code = psums, None
        if matrix.references is not None:
            codes = np.empty_like(psums)
            for g, block in enumerate(block_of):
                thresholds = matrix.references[block].thresholds
                codes[:, g] = sum((psums[:, g] >= column) for column in thresholds.T)
        values = codes
        if matrix.references is not None and matrix.references[0].lsb is None:
            tables = [matrix.references[block].levels for block in block_of]
            if matrix.integer_result:
                values = np.stack([_levels(codes[:, g], t.astype(np.int64)) for g, t in enumerate(tables)], axis=1)
            else:
                count = 2 ** matrix.references[0].bits
                hits = [(weight[..., None] * (codes == code)).sum(axis=2) for code in range(count)]
                by_code = _by_block(np.stack(hits, axis=-1), block_of, blocks)
        sums = _by_block((weight[..., None] * values).sum(axis=2), block_of, blocks)
        return codes, Sums(sums, converted_weights(matrix, len(psums), active), by_code)

    def _held(self, codes: NDArray[np.int64], masked: Array) -> RunningSums:
        """The accumulators after every (group, input slice)."""
        matrix = self.matrix
        points, per_output = len(codes), len(matrix.columns.weight)
        active = driven_steps(masked, matrix) if self.macro.timing.skip_zero_slices else None
        running = RunningSums(matrix, points)
        for g, block in enumerate(matrix.block_of):
            values = codes[:, g]
            if matrix.references is not None:
                values = _levels(values, matrix.references[block].levels.astype(np.int64))
            steps = values.reshape(points, self.macro.input_slices, -1, per_output) @ matrix.columns.weight
            for i, weight in enumerate(matrix.slice_weights):
                on = 1 if active is None else active[:, g, i, None]
                running.add(g, i, steps[:, i] * weight * on)
        return running


def _levels(codes: NDArray[np.int64], table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Levels of codes [P, I, columns] by table [columns or 1, codes]."""
    wide = np.broadcast_to(table, (codes.shape[2], table.shape[1]))
    return np.asarray(wide[np.arange(codes.shape[2]), codes])


def _by_block(values: NDArray[np.int64], block_of: NDArray[np.int64], blocks: int) -> NDArray[np.int64]:
    """Values [P, groups, ...] added up by row block."""
    return np.stack([values[:, block_of == block].sum(axis=1) for block in range(blocks)], axis=1)


class Chip:
    """An integer network on macros, layer by layer."""

    def __init__(self, network: Network, macro: Macro, adcs: Mapping[str, Adc] | None = None) -> None:
        """`adcs`: converters by layer; default the network's own."""
        self.network, macro = network, macro_for(macro, network.overrides)
        chosen = network.converters if adcs is None else adcs
        self.layers = {
            layer.name: ChipLayer(layer, macro, chosen.get(layer.name))
            for layer in network.layers
            if isinstance(layer, MacroLayer)
        }

    def run(self, inputs: Array, seen: Seen | None = None) -> Array:
        """The first output [images, ...] of `inputs` [images, ...]; `seen` gets every macro layer's integers."""
        parts = [self._part(inputs[a : a + IMAGES_AT_ONCE], seen) for a in range(0, len(inputs), IMAGES_AT_ONCE)]
        return np.concatenate(parts)

    def _part(self, inputs: Array, seen: Seen | None) -> Array:
        values: dict[str, Any] = {**self.network.constants, self.network.inputs[0]: inputs}
        for layer in self.network.layers:
            arrays = [values[name] for name in layer.inputs if name]
            if isinstance(layer, MacroLayer):
                inside = self.layers[layer.name].run(arrays[0])
                if seen is not None:
                    seen(layer.name, inside)
                outputs: tuple[Array, ...] = (inside.output,)
            else:
                outputs = layer.forward(arrays)
            values.update(zip(layer.outputs, outputs))
        return np.asarray(values[self.network.outputs[0]])
