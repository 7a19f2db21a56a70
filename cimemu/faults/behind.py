"""The layers behind a fault: they run for the images that changed, and for no longer than these differ."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.compute.forward import Emulator
from cimemu.layer.base import Array


@dataclass(frozen=True, eq=False)
class Reached:
    """Which of the given pairs changed an output of the network, and these pairs' outputs by name."""

    pairs: NDArray[np.int64]
    outputs: dict[str, Array]


class Behind:
    """Runs a network from one of its layers on, beside the tensors of a run without faults."""

    def __init__(self, emulator: Emulator, clean: Mapping[str, Array]) -> None:
        """`clean` has every runtime tensor [images, *shape], inputs too."""
        self.emulator, self.network, self.clean = emulator, emulator.network, clean
        self.number = {layer.name: index for index, layer in enumerate(self.network.layers)}

    def run(self, layer: str, output: Array, images: NDArray[np.int64]) -> Reached:
        """The outputs where layer `layer` gave `output` [pairs, *shape] for images `images` [pairs].

        A pair that no tensor tells from the run without faults any more goes no further: its outputs are the same.
        """
        start = self.number[layer]
        return self.run_tensor(self.network.layers[start].outputs[0], output, images, start + 1)

    def run_tensor(self, tensor: str, output: Array, images: NDArray[np.int64], start: int) -> Reached:
        """The same where `tensor`, which layers from number `start` on may be given, is `output`."""
        network = self.network
        pairs, values = np.arange(len(images)), {tensor: output}
        for index in range(start, len(network.layers)):
            now = network.layers[index]
            names = [name for name in now.inputs if name]
            if not values.keys() & set(names):
                continue
            arrays = [
                values[n]
                if n in values
                else network.constants[n]
                if n in network.constants
                else self.clean[n][images[pairs]]
                for n in names
            ]
            made = (self.emulator.run_layer(now.name, arrays),) if now.on_macros else now.forward(arrays)
            values.update(zip(now.outputs, made))
            kept = set(network.outputs).union(*(later.inputs for later in network.layers[index + 1 :]))
            values = {name: array for name, array in values.items() if name in kept}
            differ = np.zeros(len(pairs), dtype=np.bool_)
            for name, array in list(values.items()):
                same = ~unequal(array, self.clean[name][images[pairs]])
                differ |= ~same
                if same.all():
                    del values[name]
            if not differ.all():
                pairs = pairs[differ]
                values = {name: array[differ] for name, array in values.items()}
            if not len(pairs):
                break
        outputs = {
            name: values.get(name, self.clean[name][images[pairs]]) if name in self.clean else network.constants[name]
            for name in network.outputs
        }
        return Reached(pairs, outputs)


def unequal(a: Array, b: Array) -> NDArray[np.bool_]:
    """Which entries of the first axis differ in any byte."""
    return np.asarray((_bytes(a) != _bytes(b)).any(axis=1))


def _bytes(array: Array) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).view(np.uint8).reshape(len(array), array[:1].size * array.itemsize)
