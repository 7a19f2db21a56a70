"""Networks with a ResNet's shapes and random weights, made of integer layers: for time, energy and area, not accuracy."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from cimemu.layer.arithmetic import Add
from cimemu.layer.base import Layer, TensorType
from cimemu.layer.conv import Conv
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.matmul import Gemm
from cimemu.layer.pool import MaxPool
from cimemu.layer.q_arith import QAdd, Scale
from cimemu.layer.q_pool import QGlobalAveragePool
from cimemu.layer.requantize import Accumulator, Fp32HalfEven
from cimemu.shapes import folded, make_shape
from cimemu.shapes.resnet import resnet20 as float_resnet20
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
        made: int = 2**self.input_bits - 1
        return made

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


def integer_shape(source: Network, input_bits: int, weight_bits: int, *, seed: int = 0) -> Network:
    """A residual float network's shapes as integer layers of other random weights; ReLUs are in the output stages."""
    limit = 0 if weight_bits == 1 else 2 ** (weight_bits - 1) - 1
    maker = _Maker(
        input_bits, limit, np.random.default_rng(seed), [], {"x": TensorType(source.types["x"].shape, "uint8")}
    )
    made = {"x": "x"}  # by name of the float tensor
    for layer in source.layers:
        first, output = made[layer.inputs[0]], layer.outputs[0]
        if isinstance(layer, Conv):
            channels = source.types[output].shape[0]
            made[output] = maker.conv(layer.name, first, channels, layer.kernel_shape[0], layer.strides[0])
        elif isinstance(layer, Add):
            made[output] = maker.join(layer.name, first, made[layer.inputs[1]])
        elif isinstance(layer, MaxPool):
            kind = TensorType(source.types[output].shape, "uint8")
            made[output] = maker.add(replace(layer, inputs=(first,)), kind)
        elif isinstance(layer, Gemm):
            made[output] = maker.classify(first, source.types[output].shape[0])
        else:  # ReLU, the mean and the flattening before the classifier
            made[output] = first
    return Network(
        name=source.name,
        layers=tuple(maker.layers),
        constants={},
        inputs=("x",),
        outputs=(made[source.outputs[0]],),
        types=maker.types,
    )


def resnet18(input_bits: int, weight_bits: int, *, side: int = 224, seed: int = 0) -> Network:
    """ResNet-18's shapes on `side` x `side` images."""
    return integer_shape(make_shape("resnet18", side=side), input_bits, weight_bits, seed=seed)


def resnet20(input_bits: int, weight_bits: int, *, seed: int = 0) -> Network:
    """ResNet-20's shapes for CIFAR-10, with 1x1 shortcuts."""
    return integer_shape(folded(float_resnet20(projection=True)), input_bits, weight_bits, seed=seed)
