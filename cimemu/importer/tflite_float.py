"""Float TensorFlow Lite operators as float layers; images are channels first inside, as those layers have them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cimemu.importer.tflite_file import TflFile, TflOperator, TflTensor
from cimemu.importer.tflite_integer import ACTIVATIONS, window
from cimemu.importer.tflite_rows import option
from cimemu.layer.activation import Clip, Relu, Softmax
from cimemu.layer.arithmetic import Add, Mul
from cimemu.layer.base import Array, Layer
from cimemu.layer.conv import Conv
from cimemu.layer.matmul import Gemm, MatMul
from cimemu.layer.pool import AveragePool, MaxPool, WindowPool
from cimemu.layer.shape import Reshape, Transpose
from cimemu.layer.tfl_whole import image_shape

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
FIRST = ":nchw"  # behind the name of a tensor of the file: the same with channels first


class FloatGraph:
    """Layers and constants so far; `first` are the tensors that stand channels first, by tensor number."""

    def __init__(self, file: TflFile) -> None:
        """Start with the inputs as the file has them."""
        self.file = file
        self.layers: list[Layer] = []
        self.constants: dict[str, Array] = {}
        self.first: dict[int, str] = {}
        self.wholes: set[tuple[int, int]] = set()  # (tensor, rank) that `whole` has made

    def image(self, number: int) -> str:
        """The name of tensor `number` with channels first."""
        if number not in self.first:
            tensor = self.file.tensors[number]
            name = f"{tensor.name}{FIRST}"
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

    def whole(self, number: int, rank: int = 0) -> str:
        """The name of computed tensor `number` as one image holds it with every axis of the file (with axes of 1 in front up
        to `rank`): axis k of the file is axis k + 1."""
        tensor = self.file.tensors[number]
        shape = (1,) * (rank - len(tensor.shape)) + tensor.shape
        source = self.plain(number)
        if shape == image_shape(tensor.shape):
            return source
        name = f"{tensor.name}:whole{len(shape)}"
        if (number, len(shape)) not in self.wholes:
            self.wholes.add((number, len(shape)))
            self.layers.append(Reshape(name=name, inputs=(source,), outputs=(name,), shape=shape))
        return name

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

    def activated(self, op: TflOperator, layer: Layer, images: bool, *, whole: bool = False) -> None:
        """Add `layer` and the activation fused into it; its output is the operator's.

        `images`: it stands channels first. `whole`: it has every axis of the file, see `whole`.
        """
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
        target, shape = self.file.tensors[number].name, self.file.tensors[number].shape
        if whole and image_shape(shape) != shape:
            self.layers.append(Reshape(name=f"{target}:image", inputs=(name,), outputs=("",), shape=image_shape(shape)))
        if images:
            target = self.first[number] = f"{target}{FIRST}"
        self.layers[-1] = replace(self.layers[-1], outputs=(target,))

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
    if op.shares or int(np.prod(x.shape, dtype=np.int64)) != weight.shape[1]:
        _rows(graph, op, weight)
        return
    name = graph.file.tensors[op.outputs[0]].name
    source = graph.plain(op.inputs[0])
    if image_shape(x.shape) != (weight.shape[1],):
        source, before = f"{name}:rows", source
        graph.layers.append(Reshape(name=source, inputs=(before,), outputs=(source,), shape=(weight.shape[1],)))
    names = [source, f"{name}:weight"]
    graph.constants[names[1]] = weight
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        names.append(f"{name}:bias")
        graph.constants[names[2]] = graph.constant(op, graph.file.tensors[op.inputs[2]]).reshape(-1)
    gemm = Gemm(name=name, inputs=tuple(names), outputs=(f"{name}:fc",), trans_b=True)
    if image_shape(graph.file.tensors[op.outputs[0]].shape) == (len(weight),):
        graph.activated(op, gemm, images=False)
        return
    graph.layers.append(gemm)
    _shaped(graph, op, f"{name}:fc")


def _shaped(graph: FloatGraph, op: TflOperator, source: str) -> None:
    """The rows of a product in the output's shape."""
    target = graph.file.tensors[op.outputs[0]]
    shape = image_shape(target.shape)
    name = f"{target.name}:shaped"
    graph.activated(op, Reshape(name=name, inputs=(source,), outputs=(name,), shape=shape), images=False)


def _rows(graph: FloatGraph, op: TflOperator, weight: Array) -> None:
    """A matrix product of many rows: a weight's inputs are the last elements of the image in their order."""
    x, name = graph.file.tensors[op.inputs[0]], graph.file.tensors[op.outputs[0]].name
    elements = int(np.prod(x.shape, dtype=np.int64))
    if elements % weight.shape[1]:
        raise op.error(
            f"input of shape {list(x.shape)} does not divide into rows of {weight.shape[1]}: convert it again"
        )
    rows, made = f"{name}:rows", f"{name}:product"
    flat = (elements // weight.shape[1], weight.shape[1])
    graph.layers.append(Reshape(name=rows, inputs=(graph.plain(op.inputs[0]),), outputs=(rows,), shape=flat))
    graph.constants[f"{name}:weight"] = np.ascontiguousarray(weight.T)
    graph.layers.append(MatMul(name=name, inputs=(rows, f"{name}:weight"), outputs=(made,), shares=op.shares))
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        graph.constants[f"{name}:bias"] = graph.constant(op, graph.file.tensors[op.inputs[2]]).reshape(-1)
        biased = f"{name}:biased"
        graph.layers.append(Add(name=biased, inputs=(made, f"{name}:bias"), outputs=(biased,)))
        made = biased
    _shaped(graph, op, made)


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
    source, shape = graph.plain(op.inputs[0]), image_shape(target.shape)
    graph.layers.append(Reshape(name=target.name, inputs=(source,), outputs=(target.name,), shape=shape))


def _softmax(graph: FloatGraph, op: TflOperator) -> None:
    target = graph.file.tensors[op.outputs[0]]
    beta = float(option(op, "Beta", 0.0))
    source = graph.plain(op.inputs[0])
    if not 0.0 < beta < np.inf:
        raise op.error(f"beta = {beta}, must be finite and above 0: convert it again")
    if beta != 1.0:
        scaled = f"{target.name}:scaled"
        graph.constants[f"{target.name}:beta"] = np.array(beta, np.float32)
        graph.layers.append(Mul(name=scaled, inputs=(source, f"{target.name}:beta"), outputs=(scaled,)))
        source = scaled
    graph.layers.append(Softmax(name=target.name, inputs=(source,), outputs=(target.name,)))


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
