"""Float networks put together layer by layer, with random weights that keep activations near one."""

from collections.abc import Sequence

import numpy as np

from cimemu.errors import WorkloadError
from cimemu.layer.activation import Relu
from cimemu.layer.arithmetic import Add
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.conv import Conv
from cimemu.layer.execute import infer_layer
from cimemu.layer.matmul import Gemm
from cimemu.layer.norm import BatchNormalization
from cimemu.layer.pool import AveragePool, GlobalAveragePool, MaxPool
from cimemu.layer.shape import Concat, Flatten, Pad, Slice
from cimemu.workload.network import Network


class Builder:
    """Layers so far and the type of every tensor; each method adds a layer and gives its output's name.

    Convolution and fully connected weights are normal with variance 2 / fan-in (He et al., ICCV 2015, eq. 10).
    """

    def __init__(self, name: str, side: int, seed: int, smallest: int) -> None:
        """Input `x`, float32 `[images, 3, side, side]`. WorkloadError where `side` is below `smallest`."""
        if side < smallest:
            raise WorkloadError(f"shape {name}: side = {side}, must be >= {smallest} pixels")
        if seed < 0:
            raise WorkloadError(f"shape {name}: seed = {seed}, must be >= 0")
        self.name = name
        self.layers: list[Layer] = []
        self.constants: dict[str, Array] = {}
        self.types = {"x": TensorType((3, side, side), "float32")}
        self._rng = np.random.default_rng(seed)

    def _add(self, layer: Layer) -> str:
        self.types.update(infer_layer(layer, self.constants, self.types))
        self.layers.append(layer)
        return layer.outputs[0]

    def _constant(self, name: str, values: Array) -> str:
        self.constants[name] = values
        return name

    def _weights(self, name: str, shape: tuple[int, ...]) -> str:
        values = self._rng.standard_normal(shape, dtype=np.float32)
        values *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
        return self._constant(f"{name}.weight", values)

    def _small(self, name: str, count: int) -> str:
        return self._constant(name, self._rng.normal(0, 0.1, count).astype(np.float32))

    def conv(
        self, name: str, source: str, outputs: int, kernel: int | tuple[int, int], *, stride: int = 1,
        pad: int | tuple[int, int] | None = None, bias: bool = False,
    ) -> str:  # fmt: skip
        """A convolution; `pad` None: half the kernel."""
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        down, across = (high // 2, wide // 2) if pad is None else (pad, pad) if isinstance(pad, int) else pad
        names = [source, self._weights(name, (outputs, self.types[source].shape[0], high, wide))]
        if bias:
            names.append(self._small(f"{name}.bias", outputs))
        pads = (down, across, down, across)
        return self._add(Conv(name, tuple(names), (f"{name}_out",), (high, wide), (stride, stride), pads))

    def norm(self, name: str, source: str, *, epsilon: float = 1e-5) -> str:
        """A batch normalisation as at the start of training, but for its scales and biases, which vary."""
        count = self.types[source].shape[0]
        names = (
            source,
            self._constant(f"{name}.weight", self._rng.uniform(0.8, 1.2, count).astype(np.float32)),
            self._small(f"{name}.bias", count),
            self._constant(f"{name}.running_mean", np.zeros(count, dtype=np.float32)),
            self._constant(f"{name}.running_var", np.ones(count, dtype=np.float32)),
        )
        return self._add(BatchNormalization(name, names, (f"{name}_out",), epsilon))

    def relu(self, source: str) -> str:
        """max(x, 0)."""
        return self._add(Relu(f"{source}_relu", (source,), (f"{source}_relu_out",)))

    def add(self, name: str, a: str, b: str) -> str:
        """a + b."""
        return self._add(Add(name, (a, b), (f"{name}_out",)))

    def concat(self, name: str, sources: Sequence[str]) -> str:
        """Channels of all sources, in order."""
        return self._add(Concat(name, tuple(sources), (f"{name}_out",), 1))

    def max_pool(self, name: str, source: str, kernel: int, stride: int, pad: int = 0) -> str:
        """Largest value of every window."""
        return self._add(
            MaxPool(name, (source,), (f"{name}_out",), (kernel, kernel), (stride, stride), (pad,) * 4)
        )  # fmt: skip

    def mean_pool(self, name: str, source: str) -> str:
        """Mean of every 3x3 window, stride 1, without the padding."""
        return self._add(AveragePool(name, (source,), (f"{name}_out",), (3, 3), (1, 1), (1, 1, 1, 1)))

    def every_other(self, name: str, source: str, more: int) -> str:
        """Every second row and column, and `more` channels of zeros around: option A of He et al., CVPR 2016."""
        cut = self._add(Slice(f"{name}_cut", (source,), (f"{name}_cut_out",), (2, 3), (0, 0), (None, None), (2, 2)))
        pads = ((more // 2, more - more // 2), (0, 0), (0, 0))
        return self._add(Pad(f"{name}_pad", (cut,), (f"{name}_pad_out",), pads))

    def global_mean(self, source: str) -> str:
        """Mean of every channel."""
        return self._add(GlobalAveragePool("mean", (source,), ("mean_out",)))

    def flat(self, source: str) -> str:
        """One row an image."""
        elements = int(np.prod(self.types[source].shape))
        return self._add(Flatten("flat", (source,), ("flat_out",), (elements,)))

    def linear(self, name: str, source: str, outputs: int) -> str:
        """A fully connected layer with bias."""
        weight = self._weights(name, (outputs, self.types[source].shape[0]))
        names = (source, weight, self._small(f"{name}.bias", outputs))
        return self._add(Gemm(name, names, (f"{name}_out",), trans_b=True))

    def network(self, output: str) -> Network:
        """The network that ends in `output`."""
        return Network(self.name, tuple(self.layers), self.constants, ("x",), (output,), self.types)
