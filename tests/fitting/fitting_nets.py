"""Small float networks with ties between their channels, made of layers directly."""

import numpy as np

from cimemu.layer.activation import Relu
from cimemu.layer.arithmetic import Add
from cimemu.layer.base import TensorType
from cimemu.layer.conv import Conv
from cimemu.layer.execute import infer_types
from cimemu.layer.matmul import Gemm
from cimemu.layer.pool import GlobalAveragePool
from cimemu.layer.shape import Concat, Flatten, Pad, Slice
from cimemu.workload.network import Network


class Builder:
    def __init__(self, shape=(3, 8, 8)):
        self.layers, self.constants, self.inputs = [], {}, {"x": TensorType(shape, "float32")}
        self.draw = np.random.default_rng(0)
        self.channels = {"x": shape[0]}

    def _weights(self, name, shape):
        self.constants[name] = self.draw.standard_normal(shape).astype(np.float32)
        return name

    def conv(self, name, source, outputs, *, kernel=3, stride=1, groups=1):
        inputs = self.channels[source] // groups
        names = (
            source,
            self._weights(f"{name}.w", (outputs, inputs, kernel, kernel)),
            self._weights(f"{name}.b", (outputs,)),
        )
        pad = kernel // 2
        self.layers.append(Conv(name, names, (name,), (kernel, kernel), (stride, stride), (pad,) * 4, groups=groups))
        self.channels[name] = outputs
        return name

    def add(self, layer, channels):
        self.layers.append(layer)
        self.channels[layer.outputs[0]] = channels
        return layer.outputs[0]

    def relu(self, source):
        return self.add(Relu(f"{source}_relu", (source,), (f"{source}_relu",)), self.channels[source])

    def plus(self, name, a, b):
        return self.add(Add(name, (a, b), (name,)), self.channels[a])

    def concat(self, name, *sources):
        return self.add(Concat(name, sources, (name,), 1), sum(self.channels[s] for s in sources))

    def option_a(self, source, more):
        cut = self.add(
            Slice(f"{source}_cut", (source,), (f"{source}_cut",), (2, 3), (0, 0), (None, None), (2, 2)),
            self.channels[source],
        )
        pads = ((more // 2, more - more // 2), (0, 0), (0, 0))
        return self.add(Pad(f"{source}_pad", (cut,), (f"{source}_pad",), pads), self.channels[source] + more)

    def classes(self, source, count):
        pooled = self.add(GlobalAveragePool("pool", (source,), ("pool",)), self.channels[source])
        flat = self.add(Flatten("flat", (pooled,), ("flat",), (self.channels[source],)), self.channels[source])
        names = (flat, self._weights("fc.w", (count, self.channels[source])), self._weights("fc.b", (count,)))
        self.add(Gemm("fc", names, ("y",), trans_b=True), count)
        return self.network()

    def network(self):
        types = infer_types(self.layers, self.constants, self.inputs)
        return Network("small", tuple(self.layers), self.constants, ("x",), ("y",), types)


def residual():
    """Stem, a block with a residual addition, an option-A shortcut into a wider block, a head."""
    b = Builder()
    stem = b.relu(b.conv("stem", "x", 8))
    inner = b.relu(b.conv("inner", stem, 6))
    one = b.relu(b.plus("sum1", b.conv("outer", inner, 8), stem))
    wide = b.relu(b.conv("wide", one, 12, stride=2))
    two = b.plus("sum2", b.conv("wide2", wide, 12), b.option_a(one, 4))
    return b.classes(two, 5)


def branches():
    """Two branches joined, a depthwise convolution behind them, a 1x1 convolution, a head."""
    b = Builder()
    stem = b.conv("stem", "x", 8)
    joined = b.concat("join", b.conv("left", stem, 6, kernel=1), b.conv("right", stem, 10))
    narrow = b.relu(b.conv("narrow", joined, 12, kernel=1))
    deep = b.conv("deep", narrow, 12, groups=12)
    return b.classes(deep, 4)
