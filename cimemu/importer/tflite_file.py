"""A TensorFlow Lite file as plain Python: tensors, quantisation, operators and their options."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.given_file import read_bytes
from cimemu.importer.tflite_sparse import expanded

MAX_BYTES = 1 << 31


@dataclass(frozen=True, eq=False)
class TflTensor:
    """One tensor; `scale` and `zero_point` are empty where it is not quantised, `value` None where it is computed."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int
    value: NDArray[Any] | None


@dataclass(frozen=True, eq=False)
class TflOperator:
    """One operator: its name, options (a flatbuffer table of its own kind, or None) and tensor numbers (-1: absent)."""

    index: int
    op: str
    options: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def error(self, message: str) -> WorkloadError:
        """A WorkloadError that names this operator."""
        return WorkloadError(f"operator {self.index} ({self.op}): {message}")


@dataclass(frozen=True, eq=False)
class TflFile:
    """The main subgraph of a file."""

    tensors: tuple[TflTensor, ...]
    operators: tuple[TflOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


OPTIONS = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "ARG_MIN": "ArgMinOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "PACK": "PackOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNPACK": "UnpackOptions",
}
BROKEN = (struct.error, IndexError, ValueError, TypeError, AttributeError, UnicodeDecodeError, KeyError, OverflowError)


def read_tflite(path: Path) -> TflFile:
    """The main subgraph of `path`. WorkloadError for a missing, damaged or multi-graph file."""
    data = read_bytes(path, WorkloadError, "a TensorFlow Lite file", most=MAX_BYTES)
    if data[4:8] != b"TFL3":
        raise WorkloadError(f"{path}: is no TensorFlow Lite file (identifier {data[4:8]!r}, must be b'TFL3')")
    import tflite

    try:
        model = tflite.Model.GetRootAsModel(data, 0)
        if model.SubgraphsLength() != 1:
            raise WorkloadError(f"{path}: has {model.SubgraphsLength()} subgraphs, only networks of one are supported")
        graph = model.Subgraphs(0)
        tensors = tuple(_tensors(model, graph, tflite, path))
        return TflFile(
            tensors=tensors,
            operators=tuple(_operators(model, graph, tflite)),
            inputs=tuple(int(i) for i in graph.InputsAsNumpy()),
            outputs=tuple(int(i) for i in graph.OutputsAsNumpy()),
        )
    except BROKEN as error:
        raise WorkloadError(f"{path}: damaged TensorFlow Lite file ({type(error).__name__})") from None


def _tensors(model: Any, graph: Any, tflite: Any, path: Path) -> Iterator[TflTensor]:
    kinds = {number: name for name, number in vars(tflite.TensorType).items() if isinstance(number, int)}
    seen: set[str] = set()
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        dtype = kinds[tensor.Type()].lower()
        shape = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
        name = (tensor.Name() or b"").decode() or f"tensor_{index}"
        if name in seen:
            name = f"{name}_{index}"
        seen.add(name)
        quantization = tensor.Quantization()
        scale, zero, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
        if quantization is not None and quantization.ScaleLength():
            scale = np.array(quantization.ScaleAsNumpy(), dtype=np.float32)
            zero = np.zeros(len(scale), np.int64)
            if quantization.ZeroPointLength():
                zero = np.broadcast_to(np.array(quantization.ZeroPointAsNumpy(), dtype=np.int64), (len(scale),)).copy()
            axis = quantization.QuantizedDimension()
        buffer = model.Buffers(tensor.Buffer())
        value = None
        if buffer is not None and buffer.DataLength():
            value = np.frombuffer(bytes(buffer.DataAsNumpy()), dtype=np.dtype(dtype))
            sparsity = tensor.Sparsity()
            value = value.reshape(shape) if sparsity is None else expanded(value, shape, sparsity)
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise WorkloadError(f"{path}: tensor {name}: holds a value that is no number, must be finite")
        yield TflTensor(index, name, shape, dtype, scale, zero, axis, value)


def _operators(model: Any, graph: Any, tflite: Any) -> Iterator[TflOperator]:
    names = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        op = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        options = None
        if op in OPTIONS and operator.BuiltinOptions() is not None:
            options = getattr(tflite, OPTIONS[op])()
            options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        yield TflOperator(
            index,
            op,
            options,
            tuple(int(i) for i in operator.InputsAsNumpy()),
            tuple(int(i) for i in operator.OutputsAsNumpy()),
        )
