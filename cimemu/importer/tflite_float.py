"""Float TensorFlow Lite operators as float layers; images are channels first inside, as those layers have them."""

from collections.abc import Callable

import numpy as np

from cimemu.importer.tflite_file import TflFile, TflOperator, TflTensor
from cimemu.importer.tflite_integer import ACTIVATIONS, window
from cimemu.importer.tflite_rows import option
from cimemu.layer.activation import Clip, Relu, Softmax
from cimemu.layer.base import Array, Layer
from cimemu.layer.conv import Conv
from cimemu.layer.matmul import Gemm
from cimemu.layer.pool import AveragePool, MaxPool, WindowPool
from cimemu.layer.shape import Reshape, Transpose

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class FloatGraph:
    """Layers and constants so far; `first` are the tensors that stand channels first, by tensor number."""

    def __init__(self, file: TflFile) -> None:
        """Start with the inputs as the file has them."""
        self.file = file
        self.layers: list[Layer] = []
        self.constants: dict[str, Array] = {}
        self.first: dict[int, str] = {}

    def image(self, number: int) -> str:
        """The name of tensor `number` with channels first."""
        if number not in self.first:
            tensor = self.file.tensors[number]
            name = f"{tensor.name}:nchw"
            self.layers.append(Transpose(name=name, inputs=(tensor.name,), outputs=(name,), perm=TO_CHANNELS_FIRST))
            self.first[number] = name
        return self.first[number]

    def plain(self, number: int) -> str:
        """The name of tensor `number` as the file has it."""
        tensor = self.file.tensors[number]
        made = {name for layer in self.layers for name in layer.outputs}
        if tensor.value is not None:
            self.constants[tensor.name] = tensor.value
        if number in self.first and tensor.name not in made and number not in self.file.inputs:
            self.layers.append(
                Transpose(
                    name=f"{tensor.name}:nhwc",
                    inputs=(self.first[number],),
                    outputs=(tensor.name,),
                    perm=TO_CHANNELS_LAST,
                )
            )
        return tensor.name

    def constant(self, op: TflOperator, tensor: TflTensor) -> Array:
        """Real values of a constant; integers with scales are dequantised (weights of a dynamic-range file)."""
        if tensor.value is None:
            raise op.error(f"tensor {tensor.name} is computed, must be a constant")
        if tensor.value.dtype.kind == "f":
            return tensor.value.astype(np.float32)
        if not len(tensor.scale):
            raise op.error(f"tensor {tensor.name} is {tensor.dtype} without a scale")
        shape = [1] * tensor.value.ndim
        if len(tensor.scale) > 1:
            shape[tensor.axis] = len(tensor.scale)
        centred = tensor.value.astype(np.float32) - tensor.zero_point.reshape(shape).astype(np.float32)
        return centred * tensor.scale.reshape(shape)

    def activated(self, op: TflOperator, layer: Layer, images: bool) -> None:
        """Add `layer` and the activation fused into it; its output is the operator's."""
        fused = option(op, "FusedActivationFunction", 0)
        low, high = ACTIVATIONS.get(fused, (np.nan, None))
        if low is not None and np.isnan(low):
            raise op.error(f"fused activation {fused}, must be none, ReLU, ReLU1 or ReLU6")
        self.layers.append(layer)
        name = layer.outputs[0]
        if (low, high) != (None, None):
            target = f"{name}:activated"
            plain = (low, high) == (0.0, None)
            common = {"name": target, "inputs": (name,), "outputs": (target,)}
            self.layers.append(Relu(**common) if plain else Clip(**common, low=low, high=high))  # type: ignore[arg-type]
            name = target
        number = op.outputs[0]
        if images:
            self.first[number] = name
        else:
            self._rename(name, self.file.tensors[number].name)

    def _rename(self, name: str, target: str) -> None:
        from dataclasses import replace

        last = self.layers[-1]
        self.layers[-1] = replace(last, outputs=(target,))
        assert last.outputs == (name,)

    def finish(self) -> None:
        """Every output of the network as the file has it."""
        for number in self.file.outputs:
            self.plain(number)


def _conv(graph: FloatGraph, op: TflOperator) -> None:
    x, w = graph.file.tensors[op.inputs[0]], graph.file.tensors[op.inputs[1]]
    value = graph.constant(op, w)
    weight = value.transpose(3, 0, 1, 2) if op.op == "DEPTHWISE_CONV_2D" else value.transpose(0, 3, 1, 2)
    channels = x.shape[3]
    _, before, after = window(op, x.shape[1:3], weight.shape[2:])
    name = graph.file.tensors[op.outputs[0]].name
    names = [graph.image(op.inputs[0]), f"{name}:weight"]
    graph.constants[names[1]] = np.ascontiguousarray(weight)
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        names.append(f"{name}:bias")
        graph.constants[names[2]] = graph.constant(op, graph.file.tensors[op.inputs[2]]).reshape(-1)
    layer = Conv(
        name=name,
        inputs=tuple(names),
        outputs=(f"{name}:conv",),
        kernel_shape=(weight.shape[2], weight.shape[3]),
        strides=(op.options.StrideH(), op.options.StrideW()),
        pads=(before[0], before[1], after[0], after[1]),
        dilations=(op.options.DilationHFactor(), op.options.DilationWFactor()),
        groups=channels // weight.shape[1],
    )
    graph.activated(op, layer, images=True)


def _fully_connected(graph: FloatGraph, op: TflOperator) -> None:
    x, w = graph.file.tensors[op.inputs[0]], graph.file.tensors[op.inputs[1]]
    weight = graph.constant(op, w)
    name = graph.file.tensors[op.outputs[0]].name
    source = graph.plain(op.inputs[0])
    if x.shape[1:] != (weight.shape[1],):
        source, before = f"{name}:rows", source
        graph.layers.append(Reshape(name=source, inputs=(before,), outputs=(source,), shape=(weight.shape[1],)))
    names = [source, f"{name}:weight"]
    graph.constants[names[1]] = weight
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        names.append(f"{name}:bias")
        graph.constants[names[2]] = graph.constant(op, graph.file.tensors[op.inputs[2]]).reshape(-1)
    graph.activated(op, Gemm(name=name, inputs=tuple(names), outputs=(f"{name}:fc",), trans_b=True), images=False)


def _pool(graph: FloatGraph, op: TflOperator) -> None:
    name = graph.file.tensors[op.outputs[0]].name
    kernel = (op.options.FilterHeight(), op.options.FilterWidth())
    _, before, after = window(op, graph.file.tensors[op.inputs[0]].shape[1:3], kernel)
    kind: type[WindowPool] = {"AVERAGE_POOL_2D": AveragePool, "MAX_POOL_2D": MaxPool}[op.op]
    layer = kind(
        name=name,
        inputs=(graph.image(op.inputs[0]),),
        outputs=(f"{name}:pool",),
        kernel_shape=kernel,
        strides=(op.options.StrideH(), op.options.StrideW()),
        pads=(before[0], before[1], after[0], after[1]),
    )
    graph.activated(op, layer, images=True)


def _reshape(graph: FloatGraph, op: TflOperator) -> None:
    target = graph.file.tensors[op.outputs[0]]
    source = graph.plain(op.inputs[0])
    graph.layers.append(Reshape(name=target.name, inputs=(source,), outputs=(target.name,), shape=target.shape[1:]))


def _softmax(graph: FloatGraph, op: TflOperator) -> None:
    target = graph.file.tensors[op.outputs[0]]
    beta = None if op.options is None else op.options.Beta()
    if beta != 1.0:
        raise op.error(f"beta = {beta}, must be 1")
    graph.layers.append(Softmax(name=target.name, inputs=(graph.plain(op.inputs[0]),), outputs=(target.name,)))


FloatRow = Callable[[FloatGraph, TflOperator], None]
WEIGHTED_OPS: dict[str, FloatRow] = {
    "AVERAGE_POOL_2D": _pool,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pool,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
}
