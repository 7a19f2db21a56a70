"""Products that a quantised file leaves in float, quantised as those of a float network; all else stays as the file has it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cimemu.layer.base import Array, Layer
from cimemu.layer.quant import DequantizeLinear
from cimemu.lower.graph import Graph, Quantized
from cimemu.ptq.qdq import QdqBuilder


class PartlyBuilder(QdqBuilder):
    """Rewrites the products `left` alone: QuantizeLinear and DequantizeLinear on their inputs, integer weights and biases."""

    def __init__(self, *given: Any, left: Sequence[Layer]) -> None:
        """`given` are the arguments of `QdqBuilder`, in order."""
        self.left = {layer.name for layer in left}
        super().__init__(*given)
        self.islands = True  # only products are touched, and their results stay in float
        self.graph = Graph(self.network)
        self.taken = {*self.network.types, *self.network.constants}

    def _is_product(self, layer: Layer) -> bool:
        return layer.name in self.left

    def _product(self, layer: Layer) -> None:
        x = layer.inputs[0]
        there = self.graph.quantized(x)
        if x not in self.parameters and there is not None and there.per_tensor:  # as the file has it
            self.parameters[x] = (np.float32(there.scale[0]), int(there.zero_point[0]))
            self.renamed[x] = x
        super()._product(layer)

    def _weight(self, layer: Layer, weight: Array, axis: int, least: Any) -> tuple[str, Any]:
        """A weight that is integers already stays what it is."""
        there = self.graph.quantized(layer.inputs[1])
        if there is None or not self._fits(there, axis):
            return super()._weight(layer, weight, axis, least)
        return layer.inputs[1], there.scale

    def _fits(self, there: Quantized, axis: int) -> bool:
        """Whether a macro holds such integers: one scale a column, which sums over the inputs."""
        assert there.value is not None
        return there.per_tensor or there.axis % there.value.ndim == axis

    def _name(self, name: str) -> str:
        """A name that the file does not have."""
        while name in self.taken:
            name += "_added"
        return name

    def _layer(self, layer: Layer) -> None:
        if isinstance(layer, DequantizeLinear) and all(name in self.network.constants for name in layer.outputs):
            self.layers.append(layer)
            return
        super()._layer(layer)
