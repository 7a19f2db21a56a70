"""Who makes and who reads a tensor of a QDQ graph, and what a DequantizeLinear stands for."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimemu.layer.base import Array, Layer
from cimemu.layer.quant import DequantizeLinear, QuantizeLinear
from cimemu.layer.tfl_ends import TflDequantize
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantised tensor behind a DequantizeLinear: its name, parameters, and value where it is a constant."""

    name: str
    scale: NDArray[np.float32]  # [] or [n]
    zero_point: NDArray[np.int64]  # same shape
    dtype: str
    axis: int
    value: Array | None
    stored: str = ""  # int4 or uint4, where the file holds such integers (here in bytes)

    @property
    def per_tensor(self) -> bool:
        """One scale for the whole tensor."""
        return self.scale.size == 1


class Graph:
    """Look-ups over one network."""

    def __init__(self, network: Network) -> None:
        """Index `network`."""
        self.network = network
        self.maker: dict[str, Layer] = {}
        self.readers: dict[str, list[Layer]] = defaultdict(list)
        for layer in network.layers:
            for name in layer.outputs:
                self.maker[name] = layer
            for name in layer.inputs:
                self.readers[name].append(layer)

    def quantized(self, name: str) -> Quantized | None:
        """What float tensor `name` dequantises, or None where it comes from elsewhere."""
        maker = self.maker.get(name)
        if not isinstance(maker, DequantizeLinear):
            return None
        constants = self.network.constants
        source = maker.inputs[0]
        if isinstance(maker, TflDequantize):
            steps, zeros = np.array([maker.scale]), np.array([maker.zero_point])
            return Quantized(source, steps, zeros, self.network.types[source].dtype, maker.axis, None, maker.stored)
        scale = np.asarray(constants[maker.inputs[1]], dtype=np.float32)
        zero = (
            np.asarray(constants[maker.inputs[2]]).astype(np.int64)
            if len(maker.inputs) > 2 and maker.inputs[2]
            else np.zeros(scale.shape, np.int64)
        )
        value = constants.get(source)
        dtype = str(value.dtype) if value is not None else self.network.types[source].dtype
        return Quantized(source, scale.reshape(-1), zero.reshape(-1), dtype, maker.axis, value, maker.stored)

    def parameters(self, layer: QuantizeLinear) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scale and zero point of a QuantizeLinear, flat."""
        constants = self.network.constants
        scale = np.asarray(constants[layer.inputs[1]], dtype=np.float32).reshape(-1)
        if len(layer.inputs) > 2 and layer.inputs[2]:
            return scale, np.asarray(constants[layer.inputs[2]]).astype(np.int64).reshape(-1)
        return scale, np.zeros(scale.shape, np.int64)

    def scalars(self, layer: Layer) -> bool:
        """Whether scale and zero point of a QuantizeLinear or DequantizeLinear are stored without axes, not as [1]."""
        return all(self.network.constants[name].ndim == 0 for name in layer.inputs[1:] if name)

    def only_reader(self, name: str) -> bool:
        """Whether exactly one layer reads `name` and the network does not give it out."""
        return len(self.readers[name]) == 1 and name not in self.network.outputs
