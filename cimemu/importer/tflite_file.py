"""A TensorFlow Lite file as plain Python: tensors, quantisation, operators and their options."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.given_file import read_bytes
from cimemu.importer.tflite_sparse import expanded

MAX_BYTES = 1 << 31
MOST_SUBGRAPHS = 1000


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
    variable: bool = False  # keeps its value from one run to the next; every image begins with its zero
    signature: tuple[int, ...] = ()  # the shape with -1 where a size is open; empty where none is


@dataclass(frozen=True, eq=False)
class TflOperator:
    """One operator: its name, options (a flatbuffer table of its own kind, or None) and tensor numbers (-1: absent)."""

    index: int
    op: str
    options: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shares: str = ""  # products with an equal one that is not empty have one matrix in the cells: turns of a loop
    intermediates: tuple[TflTensor, ...] = ()  # of a recurrent operator: what scales it has inside

    def error(self, message: str) -> WorkloadError:
        """A WorkloadError that names this operator."""
        return WorkloadError(f"operator {self.index} ({self.op}): {message}")


@dataclass(frozen=True, eq=False)
class TflFile:
    """A subgraph of a file: the main one has the `others`, in the file's order, which its operators call by number."""

    tensors: tuple[TflTensor, ...]
    operators: tuple[TflOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    others: tuple["TflFile", ...] = ()

    def subgraph(self, op: TflOperator, number: int) -> "TflFile":
        """Subgraph `number` of the file that an operator of the main one calls. WorkloadError where there is none."""
        if not 1 <= number <= len(self.others):
            raise op.error(f"calls subgraph {number} of {len(self.others) + 1}, must be another one: convert it again")
        return self.others[number - 1]


OPTIONS = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "ARG_MIN": "ArgMinOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CALL_ONCE": "CallOnceOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "CUMSUM": "CumsumOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "GELU": "GeluOptions",
    "IF": "IfOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "PACK": "PackOptions",
    "REDUCE_ALL": "ReducerOptions",
    "REDUCE_ANY": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SQUEEZE": "SqueezeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions",
    "UNPACK": "UnpackOptions",
    "VAR_HANDLE": "VarHandleOptions",
    "WHILE": "WhileOptions",
}
BROKEN = (struct.error, IndexError, ValueError, TypeError, AttributeError, UnicodeDecodeError, KeyError, OverflowError)


def read_tflite(path: Path) -> TflFile:
    """The main subgraph of `path`, the first, with the others. WorkloadError for a missing or damaged file."""
    data = read_bytes(path, WorkloadError, "a TensorFlow Lite file", most=MAX_BYTES)
    if data[4:8] != b"TFL3":
        raise WorkloadError(f"{path}: is no TensorFlow Lite file (identifier {data[4:8]!r}, must be b'TFL3')")
    import tflite

    try:
        model = tflite.Model.GetRootAsModel(data, 0)
        if not 1 <= model.SubgraphsLength() <= MOST_SUBGRAPHS:
            raise WorkloadError(f"{path}: has {model.SubgraphsLength()} subgraphs, must have 1 .. {MOST_SUBGRAPHS}")
        graphs = [_graph(model, number, tflite, path) for number in range(model.SubgraphsLength())]
        return replace(graphs[0], others=tuple(graphs[1:]))
    except BROKEN as error:
        raise WorkloadError(
            f"{path}: damaged TensorFlow Lite file ({type(error).__name__}), export or copy it again"
        ) from None


def _graph(model: Any, number: int, tflite: Any, path: Path) -> TflFile:
    """Subgraph `number`; tensors of all but the first have its number in front of their names."""
    graph = model.Subgraphs(number)
    tensors = tuple(_tensors(model, graph, tflite, path))
    if number:
        tensors = tuple(replace(tensor, name=f"subgraph{number}:{tensor.name}") for tensor in tensors)
    return TflFile(
        tensors=tensors,
        operators=tuple(_operators(model, graph, tflite, tensors)),
        inputs=_numbers(graph.InputsLength(), graph.Inputs),
        outputs=_numbers(graph.OutputsLength(), graph.Outputs),
    )


def _numbers(count: int, number: Any) -> tuple[int, ...]:
    return tuple(int(number(i)) for i in range(count))


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
            if value.dtype.kind == "f" and np.isnan(value).any():
                raise WorkloadError(f"{path}: tensor {name}: holds a value that is no number, must be one")
        if value is None and 0 in shape:  # a shape of no axes, say
            value = np.zeros(shape, np.dtype(dtype))
        signature = _numbers(tensor.ShapeSignatureLength(), tensor.ShapeSignature)
        yield TflTensor(index, name, shape, dtype, scale, zero, axis, value, bool(tensor.IsVariable()), signature)


def _operators(model: Any, graph: Any, tflite: Any, tensors: Sequence[TflTensor]) -> Iterator[TflOperator]:
    names = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        op = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        options: Any = None
        if op == "CUSTOM":
            op = f"CUSTOM {(code.CustomCode() or b'').decode()}"
            options = bytes(operator.CustomOptionsAsNumpy()) if operator.CustomOptionsLength() else b""
        elif op in OPTIONS and operator.BuiltinOptions() is not None:
            options = getattr(tflite, OPTIONS[op])()
            options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        yield TflOperator(
            index,
            op,
            options,
            _numbers(operator.InputsLength(), operator.Inputs),
            _numbers(operator.OutputsLength(), operator.Outputs),
            intermediates=tuple(tensors[i] for i in _numbers(operator.IntermediatesLength(), operator.Intermediates)),
        )
