"""Whole chips with stuck cells, by what these change alone: the outputs of full runs, for many chips at once.

The network runs once on ideal cells, and all its tensors are kept. Of a drawn chip only those outputs are computed that its
faulty cells touch. An image whose tensor differs from the ideal run's in some layer runs through the layers behind, on
ideal cells but for the outputs that are touched there, and for as long as it differs. Pairs of (chip, image) of many chips go
through a layer together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.forward import Emulator
from cimemu.errors import CimemuError
from cimemu.faults.behind import unequal
from cimemu.faults.campaign import refuse_faults
from cimemu.faults.stuck_cells import Faulty, NetworkCells
from cimemu.faults.touched import Inputs, TouchedLayer
from cimemu.layer.base import Array, Layer
from cimemu.macro.spares import has_spares
from cimemu.mapping.plan import Plan
from cimemu.variation.compose import Variations

PAIRS = 2048  # (chip, image) that run through a layer together
CLEAN_BYTES = 1 << 29  # of tensors of the run on ideal cells
KEPT_BYTES = 1 << 28  # of input vectors of layers, which are laid out anew for every chip where they are more


def why_not(emulator: Emulator, variations: Variations, images: int) -> str | None:
    """Why chips of these variations run in full; None where what their stuck cells change alone is the whole difference."""
    others = [model for model in variations.models if not model.is_identity and not model.only_sticks]
    each = sum(kind.elements * kind.bits // 8 for kind in emulator.network.types.values())
    if others or not variations:
        return "models do more than stick cells"
    if emulator.products:
        return "cells are written for every image"
    if has_spares(emulator.macro):
        return "spare lines are chosen by all faults of a macro"
    if emulator.macro.accumulator_bits is not None:
        return "running sums are held in accumulators"
    if images * each > CLEAN_BYTES:
        return "the tensors of all images take much room"
    try:
        refuse_faults(emulator)
    except CimemuError as error:
        return str(error)
    return None


@dataclass(frozen=True, eq=False)
class Watched:
    """A chip's outputs by name, and tensors of layers on macros where they may differ from the ideal chip's: by layer name.

    `moved` is what a layer gives in the drawn network, `own` what it gives alone on the ideal chip's input.
    """

    outputs: dict[str, Array]
    moved: dict[str, Array]
    own: dict[str, Array]


class StuckChips:
    """A network on ideal cells, from which chips with stuck cells are told."""

    def __init__(self, emulator: Emulator, plan: Plan, inputs: Array) -> None:
        """Run `inputs` [images, ...] once."""
        network = emulator.network
        self.emulator, self.network, self.images = emulator, network, len(inputs)
        emulator.program(plan)
        batch = emulator.run([inputs], keep=frozenset(network.types) - frozenset(network.inputs))
        self.clean: dict[str, Array] = {**batch.tensors, network.inputs[0]: inputs}
        self.cells = NetworkCells(emulator, plan)
        self.layers = {
            name: TouchedLayer(matrix, emulator.copies.get(name, 1)) for name, matrix in emulator.matrices.items()
        }
        self.kept: dict[str, Inputs] = {}
        self.kept_bytes = 0

    @property
    def at_once(self) -> int:
        """Chips that run together."""
        return max(1, PAIRS // self.images)

    def outputs(self, chips: Sequence[Variations]) -> list[dict[str, Array]]:
        """The network's outputs by name [images, ...] of every chip."""
        state = _Differing(self, self._faults(chips))
        for layer in self.network.layers:
            state.through(layer)
        return self._outputs(state, len(chips))

    def watched(self, chip: Variations, first: int) -> "Watched":
        """One chip, with what its layers on macros give for the `first` images."""
        faults = self._faults([chip])
        state = _Differing(self, faults)
        moved: dict[str, Array] = {}
        own: dict[str, Array] = {}
        some = np.arange(first)
        for layer in self.network.layers:
            state.through(layer, first, moved)
            if layer.name in faults:
                tensor = self.clean[layer.outputs[0]][:first].copy()
                view = _by_channel(self.layers[layer.name], tensor)
                for part in self.layers[layer.name].channels(faults[layer.name][0], self.inputs(layer.name), some):
                    view[:, part.positions, part.channels] = part.values
                own[layer.name] = tensor
        return Watched(self._outputs(state, 1)[0], moved, own)

    def _faults(self, chips: Sequence[Variations]) -> dict[str, dict[int, list[Faulty]]]:
        """Faulty cells by layer and chip."""
        faults: dict[str, dict[int, list[Faulty]]] = {}
        for number, variations in enumerate(chips):
            for fault in self.cells.faulty(variations):
                faults.setdefault(fault.layer, {}).setdefault(number, []).append(fault)
        return faults

    def _outputs(self, state: "_Differing", chips: int) -> list[dict[str, Array]]:
        """The network's outputs where all layers have run."""
        made = []
        for number in range(chips):
            mine = np.flatnonzero(state.pairs // self.images == number)
            found = {}
            for name in self.network.outputs:
                whole = self.network.constants[name] if name in self.network.constants else self.clean[name]
                if name in state.values and len(mine):
                    whole = whole.copy()
                    whole[state.pairs[mine] % self.images] = state.values[name][mine]
                found[name] = whole
            made.append(found)
        return made

    def inputs(self, layer: str) -> Inputs:
        """What the macros of a layer are given in the run on ideal cells."""
        if layer in self.kept:
            return self.kept[layer]
        matrix = self.emulator.matrices[layer]
        made = Inputs.of(matrix, [self.clean[name] for name in matrix.layer.inputs if name])
        if self.kept_bytes + made.rows.nbytes <= KEPT_BYTES:
            self.kept[layer] = made
            self.kept_bytes += made.rows.nbytes
        return made


class _Differing:
    """Pairs of (chip, image) of which some tensor differs from the ideal run's, on their way through the layers."""

    def __init__(self, chips: StuckChips, faults: dict[str, dict[int, list[Faulty]]]) -> None:
        self.chips, self.faults = chips, faults
        self.pairs = np.zeros(0, dtype=np.int64)  # chip * images + image
        self.values: dict[str, Array] = {}  # tensors of which some pair's differs: [pairs, ...]
        network = chips.network
        self.last = {name: n for n, layer in enumerate(network.layers) for name in layer.inputs}
        self.number = {layer.name: n for n, layer in enumerate(network.layers)}

    def through(self, layer: Layer, first: int = 0, moved_of: dict[str, Array] | None = None) -> None:
        """Take all pairs through a layer, and those that its faulty cells make differ.

        `moved_of` is given what the layer gives for the `first` images, where there is one chip and the layer is on macros.
        """
        names = [name for name in layer.inputs if name]
        moved, faults = bool(self.values.keys() & set(names)), self.faults.get(layer.name, {})
        if not moved and not faults:
            return
        clean, image = self.chips.clean, self.pairs % self.chips.images
        arrays: list[Any] = []
        made: tuple[Array, ...] = tuple(clean[name][image] for name in layer.outputs)
        if moved and len(self.pairs):
            constants = self.chips.network.constants
            arrays = [
                self.values[n] if n in self.values else constants[n] if n in constants else clean[n][image]
                for n in names
            ]
            run_layer = self.chips.emulator.run_layer
            made = (run_layer(layer.name, arrays),) if layer.on_macros else layer.forward(arrays)
        if faults:
            whole = self._touched(layer, arrays, made[0], faults)
            made = (whole,)
        self.values.update(zip(layer.outputs, made))
        if moved_of is not None and layer.on_macros:
            tensor, seen = clean[layer.outputs[0]][:first].copy(), self.pairs < first
            tensor[self.pairs[seen]] = made[0][seen]
            moved_of[layer.name] = tensor
        self._forget(self.number[layer.name])

    def _touched(self, layer: Layer, arrays: list[Any], made: Array, faults: dict[int, list[Faulty]]) -> Array:
        """`made` with the touched channels of every chip; pairs that differ by them alone come to `pairs`."""
        chips, images = self.chips, self.chips.images
        touched, clean = chips.layers[layer.name], chips.clean[layer.outputs[0]]
        whole, parts, new = chips.inputs(layer.name), [], []
        view = _by_channel(touched, made)
        for chip, mine in faults.items():
            here = np.flatnonzero(self.pairs // images == chip)
            rest = np.ones(images, dtype=np.bool_)
            rest[self.pairs[here] % images] = False
            left = np.flatnonzero(rest)
            if len(here):
                given, which = whole, self.pairs[here] % images
                if arrays:
                    given, which = Inputs.of(touched.layer, [array[here] for array in arrays]), np.arange(len(here))
                for part in touched.channels(mine, given, which):
                    view[np.ix_(here, np.arange(view.shape[1])[part.positions], part.channels)] = part.values
            if not len(left):
                continue
            before = _by_channel(touched, clean)
            differs, found = np.zeros(len(left), dtype=np.bool_), list(touched.channels(mine, whole, left))
            for part in found:
                old = before[:, part.positions][np.ix_(left, np.arange(part.values.shape[1]), part.channels)]
                differs |= unequal(part.values, old)
            which = left[differs]
            fresh = clean[which].copy()
            put = _by_channel(touched, fresh)
            for part in found:
                put[:, part.positions, part.channels] = part.values[differs]
            parts.append(fresh)
            new.append(chip * images + which)
        if parts:
            self._join(np.concatenate(new))
        return np.concatenate([made, *parts]) if parts else made

    def _join(self, new: NDArray[np.int64]) -> None:
        """Pairs come to those at hand, all of whose tensors are so far the ideal run's."""
        for name, array in self.values.items():
            self.values[name] = np.concatenate([array, self.chips.clean[name][new % self.chips.images]])
        self.pairs = np.concatenate([self.pairs, new])

    def _forget(self, index: int) -> None:
        """Drop tensors that nothing behind layer `index` reads, and pairs that the ideal run's tensors serve."""
        network = self.chips.network
        self.values = {
            name: array
            for name, array in self.values.items()
            if name in network.outputs or self.last.get(name, -1) > index
        }
        differ = np.zeros(len(self.pairs), dtype=np.bool_)
        for name, array in list(self.values.items()):
            other = unequal(array, self.chips.clean[name][self.pairs % self.chips.images])
            differ |= other
            if not other.any():
                del self.values[name]
        if not differ.all():
            self.pairs = self.pairs[differ]
            self.values = {name: array[differ] for name, array in self.values.items()}


def _by_channel(touched: TouchedLayer, tensor: Array) -> Array:
    """A view [images, positions, channels] of a layer's output tensor."""
    layer = touched.layer.layer
    geometry = layer.geometry
    if layer.channels_last:
        return tensor.reshape(len(tensor), geometry.positions, geometry.channels_out)
    return tensor.reshape(len(tensor), geometry.channels_out, geometry.positions).transpose(0, 2, 1)
