"""Networks with a ResNet's shapes and random weights, made of integer layers: for time, energy and area, not accuracy."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from cimemu.layer.base import Layer, TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.pool import MaxPool
from cimemu.layer.q_arith import QAdd, Scale
from cimemu.layer.q_pool import QGlobalAveragePool
from cimemu.layer.requantize import Accumulator, Fp32HalfEven
from cimemu.workload.network import Network


@dataclass
class _Maker:
    """Layers so far, and the shape of every tensor."""

    input_bits: int
    weight_limit: int  # weights are -limit .. limit; 0: -1 and +1
    rng: np.random.Generator
    layers: list[Layer]
    types: dict[str, TensorType]

    @property
    def top(self) -> int:
        return 2**self.input_bits - 1

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        if self.weight_limit == 0:
            return (2 * self.rng.integers(0, 2, shape) - 1).astype(np.int16)
        return self.rng.integers(-self.weight_limit, self.weight_limit + 1, shape).astype(np.int16)

    def add(self, layer: Layer, kind: TensorType) -> str:
        self.layers.append(layer)
        self.types[layer.outputs[0]] = kind
        return layer.outputs[0]

    def conv(self, name: str, source: str, channels: int, kernel: int, stride: int) -> str:
        inputs, height, width = self.types[source].shape
        pad = kernel // 2
        out = ((height + 2 * pad - kernel) // stride + 1, (width + 2 * pad - kernel) // stride + 1)
        weight = self.weights((channels, inputs, kernel, kernel))
        # Sums of random signs: a third of the range of the next activations is one standard deviation.
        spread = sqrt(inputs * kernel**2) * self.top / 3 * max(0.7, 0.7 * self.weight_limit)
        stage = Fp32HalfEven(
            multiplier=np.array([self.top / 3 / spread], dtype=np.float32),
            zero_point=0,
            low=0,
            high=self.top,
            dtype="uint8",
        )
        kind = TensorType((channels, *out), "uint8")
        geometry = Geometry(inputs, height, width, channels, *out, kernel, kernel, stride, stride, pad, pad, pad, pad)
        return self.add(self._macro(name, source, geometry, weight, stage, kind, "nchw"), kind)

    def _macro(self, name, source, geometry, weight, stage, kind, layout) -> MacroLayer:  # type: ignore[no-untyped-def]
        outputs = geometry.channels_out
        return MacroLayer(
            name=name,
            inputs=(source,),
            outputs=(f"{name}_out",),
            geometry=geometry,
            weight=weight,
            weight_zero_point=np.zeros(outputs, dtype=np.int64),
            input_zero_point=0,
            input_dtype="uint8",
            bias=np.zeros(outputs, dtype=np.int64),
            stage=stage,
            output_type=kind,
            layout=layout,
        )

    def join(self, name: str, a: str, b: str) -> str:
        unit = Scale(np.float32(1), 0)
        layer = QAdd(
            name=name, inputs=(a, b), outputs=(f"{name}_out",), a=unit, b=unit, y=Scale(np.float32(1.4), 0), low=0,
            high=self.top, dtype="uint8",
        )  # fmt: skip
        return self.add(layer, self.types[a])

    def classify(self, source: str, classes: int) -> str:
        unit, channels = Scale(np.float32(1), 0), self.types[source].shape[0]
        pool = QGlobalAveragePool(
            name="pool", inputs=(source,), outputs=("pool_out",), x=unit, y=unit, low=0, high=self.top, dtype="uint8",
            keep_axes=False,
        )  # fmt: skip
        pooled = self.add(pool, TensorType((channels,), "uint8"))
        kind = TensorType((classes,), "int64")
        weight = self.weights((classes, channels, 1, 1))
        return self.add(
            self._macro("fc", pooled, Geometry(channels, 1, 1, classes, 1, 1), weight, Accumulator(), kind, "rows"),
            kind,
        )

    def stages(self, source: str, widths: tuple[int, ...], blocks: int, kernel_of_shortcut: int = 1) -> str:
        for stage, width in enumerate(widths):
            for block in range(blocks):
                name = f"s{stage}b{block}"
                stride = 2 if stage and not block else 1
                inside = self.conv(f"{name}c0", source, width, 3, stride)
                inside = self.conv(f"{name}c1", inside, width, 3, 1)
                changes = self.types[source].shape != self.types[inside].shape
                around = self.conv(f"{name}short", source, width, kernel_of_shortcut, stride) if changes else source
                source = self.join(f"{name}add", inside, around)
        return source


def _maker(input_bits: int, weight_bits: int, shape: tuple[int, int, int], seed: int) -> _Maker:
    limit = 0 if weight_bits == 1 else 2 ** (weight_bits - 1) - 1
    return _Maker(input_bits, limit, np.random.default_rng(seed), [], {"x": TensorType(shape, "uint8")})


def _network(name: str, maker: _Maker, output: str) -> Network:
    return Network(
        name=name, layers=tuple(maker.layers), constants={}, inputs=("x",), outputs=(output,), types=maker.types
    )  # fmt: skip


def resnet18(input_bits: int, weight_bits: int, *, side: int = 224, classes: int = 1000, seed: int = 0) -> Network:
    """He et al., CVPR 2016: 7x7 stem, four stages of two basic blocks (64 .. 512 channels), on `side` x `side` images."""
    maker = _maker(input_bits, weight_bits, (3, side, side), seed)
    stem = maker.conv("stem", "x", 64, 7, 2)
    channels, height, width = maker.types[stem].shape
    pool = MaxPool(
        name="max", inputs=(stem,), outputs=("max_out",), kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)
    )
    pooled = maker.add(pool, TensorType((channels, *pool.output_size(height, width)), "uint8"))
    body = maker.stages(pooled, (64, 128, 256, 512), 2)
    return _network("resnet18", maker, maker.classify(body, classes))


def resnet20(input_bits: int, weight_bits: int, *, seed: int = 0) -> Network:
    """The CIFAR-10 network of He et al.: three stages of three basic blocks (16, 32, 64 channels), 1x1 shortcuts."""
    maker = _maker(input_bits, weight_bits, (3, 32, 32), seed)
    stem = maker.conv("stem", "x", 16, 3, 1)
    body = maker.stages(stem, (16, 32, 64), 3)
    return _network("resnet20", maker, maker.classify(body, 10))
