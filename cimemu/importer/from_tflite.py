"""TensorFlow Lite files: integer ones as integer layers with the reference kernels' arithmetic, float ones as float
layers (channels first inside, as the float layers are)."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cimemu.errors import WorkloadError
from cimemu.importer.onnx_sizes import filled_with, refuse_names
from cimemu.importer.tflite_calls import inlined
from cimemu.importer.tflite_checks import WEIGHTED, check_input_type, check_wiring
from cimemu.importer.tflite_dilation import dilated
from cimemu.importer.tflite_file import BROKEN, TflFile, TflOperator, TflTensor, read_tflite
from cimemu.importer.tflite_float import FloatGraph
from cimemu.importer.tflite_fold import folded
from cimemu.importer.tflite_sizes import with_shapes
from cimemu.importer.tflite_table import FLOAT_OPS, INTEGER_OPS
from cimemu.importer.unsupported import refusal
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.execute import MAX_ELEMENTS, infer_types
from cimemu.layer.tfl_whole import image_shape
from cimemu.workload.network import Network

REMEDY = (
    "leave them out of the conversion; the manual's page on networks lists what is supported (cimemu docs networks)"
)
CODES = ("int8", "uint8", "int16")


def load_tflite(
    path: str | Path, shapes: Mapping[str, Sequence[int]] | None = None, values: Mapping[str, float] | None = None
) -> Network:
    """The network in a TensorFlow Lite file. Raises WorkloadError in one line that names file and operator.

    `shapes` are whole shapes [1, ...] by input name ("": of the only input), for sizes that the file leaves open. `values` are
    numbers that inputs always hold.
    """
    path = Path(path)
    file = read_tflite(path)
    try:
        check_wiring(file)
        file, fixed = _valued(file, values or {})
        file = inlined(file)
        check_wiring(file)
        for number in file.inputs:
            check_input_type(file.tensors[number].name, file.tensors[number].dtype)
        file = dilated(folded(*with_shapes(file, shapes or {})))
        integer = any(_is_code(file, i) for op in file.operators for i in (*op.inputs, *op.outputs))
        _check_supported(file, [op for op in file.operators if op.op not in _table(file, op, integer)])
        made = _integer(file, path) if integer else _float(file, path)
    except WorkloadError as error:
        raise WorkloadError(f"{path}: {error}") from None
    except (*BROKEN, ZeroDivisionError) as error:  # numbers in the file that point nowhere
        raise WorkloadError(
            f"{path}: damaged TensorFlow Lite file ({type(error).__name__}), export or copy it again"
        ) from None
    return replace(made, fixed=fixed, origin=path if made.is_quantized else None)


def _valued(file: TflFile, values: Mapping[str, float]) -> tuple[TflFile, dict[str, Array]]:
    """(the file with constants for inputs that always hold one number, these by name). WorkloadError."""
    names = {file.tensors[i].name: i for i in file.inputs}
    tensors, found = list(file.tensors), {}
    refuse_names(values, names)
    for name, number in values.items():
        tensor = tensors[names[name]]
        sizes = [
            0 if -1 in tensor.signature[axis : axis + 1] and axis else size for axis, size in enumerate(tensor.shape)
        ]
        found[name] = filled_with(name, sizes, tensor.dtype, number)
        tensors[tensor.index] = replace(tensor, value=found[name])
    left = tuple(i for i in file.inputs if file.tensors[i].name not in found)
    return replace(file, tensors=tuple(tensors), inputs=left), found


def _is_code(file: TflFile, number: int) -> bool:
    """Whether a tensor is computed and holds integers that stand for reals."""
    return number >= 0 and file.tensors[number].value is None and file.tensors[number].dtype in CODES


def _between(file: TflFile, op: TflOperator) -> bool:
    """Whether an operator of an integer network computes floats of floats (or truth values), with indices perhaps."""
    computed = [t for i in (*op.inputs, *op.outputs) if i >= 0 and (t := file.tensors[i]).value is None]
    kinds = {tensor.dtype for tensor in computed}
    return bool(kinds & {"float32", "bool"}) and kinds <= {"float32", "bool", "int32", "int64"}


def _table(file: TflFile, op: TflOperator, integer: bool) -> Collection[str]:
    """What an operator is looked up in."""
    return FLOAT_OPS if not integer or _between(file, op) else INTEGER_OPS


def _check_supported(file: TflFile, left: Sequence[TflOperator]) -> None:
    """WorkloadError that names every operator that is `left`, how often it occurs, and what could run."""
    if left:
        macs = sum(_macs(op, file) for op in file.operators)
        able = macs - sum(_macs(op, file) for op in left)
        raise refusal(Counter(op.op for op in left), able, macs, REMEDY)


def _macs(op: TflOperator, file: TflFile) -> int:
    """Multiply-accumulates of one image; 0 of an operator that multiplies nothing with weights."""
    if op.op == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        weights = sum(int(np.prod(file.tensors[i].shape, dtype=np.int64)) for i in op.inputs[1:9] if i >= 0)
        return weights * int(np.prod(file.tensors[op.inputs[0]].shape[:2], dtype=np.int64))
    if op.op not in WEIGHTED:
        return 0
    first, second = (file.tensors[i].shape for i in op.inputs[:2])
    out = int(np.prod(file.tensors[op.outputs[0]].shape, dtype=np.int64))
    weights = int(np.prod(second, dtype=np.int64))
    if op.op == "TRANSPOSE_CONV":
        return int(np.prod(file.tensors[op.inputs[2]].shape[1:3], dtype=np.int64)) * weights
    if op.op == "BATCH_MATMUL":
        return out * (first[-1] if first else 0)
    return out // max(1, second[3 if op.op == "DEPTHWISE_CONV_2D" else 0]) * weights


def _image_shape(tensor: TflTensor) -> tuple[int, ...]:
    """The shape without the batch axis, which must be 1 in the file."""
    if not tensor.shape:
        return ()  # a number without axes: every image has its own
    if tensor.shape[0] != 1:
        raise WorkloadError(
            f"tensor {tensor.name}: shape {list(tensor.shape)}, must be [1, ...], one image, or without axes"
        )
    if min(tensor.shape) < 1 or np.prod(tensor.shape, dtype=np.float64) > MAX_ELEMENTS:
        raise WorkloadError(f"tensor {tensor.name}: shape {list(tensor.shape)}, must hold 1 .. 2^31 elements")
    return tensor.shape[1:]


def _integer(file: TflFile, path: Path) -> Network:
    """Integers, between float ends if the file has such; float operators without weights among them run in float."""
    graph = FloatGraph(file)
    for operator in file.operators:
        inputs = tuple(None if i < 0 else file.tensors[i] for i in operator.inputs)
        targets = tuple(file.tensors[i] for i in operator.outputs)
        if _between(file, operator):
            FLOAT_OPS[operator.op](graph, operator)
            continue
        for number in operator.inputs:
            if number in graph.first:
                graph.plain(number)
        graph.layers.extend(INTEGER_OPS[operator.op](operator, inputs, targets))
    graph.finish()
    read = {name for layer in graph.layers for name in layer.inputs}
    constants = {t.name: t.value for t in file.tensors if t.value is not None and t.name in read}
    network = _network(file, path, graph.layers, {**constants, **graph.constants})
    for tensor in file.tensors:
        made = network.types.get(tensor.name)
        if made is not None and (made.shape, made.dtype) != (image_shape(tensor.shape), tensor.dtype):
            raise WorkloadError(
                f"tensor {tensor.name}: the file says {tensor.dtype} {list(tensor.shape)}, its operator makes "
                f"{made.dtype} {list(made.shape)} an image: convert it again"
            )
    return network


def _float(file: TflFile, path: Path) -> Network:
    graph = FloatGraph(file)
    for operator in file.operators:
        FLOAT_OPS[operator.op](graph, operator)
    graph.finish()
    return _network(file, path, graph.layers, graph.constants)


def _network(file: TflFile, path: Path, layers: list[Layer], constants: dict) -> Network:  # type: ignore[type-arg]
    inputs = {
        file.tensors[i].name: TensorType(_image_shape(file.tensors[i]), file.tensors[i].dtype) for i in file.inputs
    }
    return Network(
        name=path.stem,
        layers=tuple(layers),
        constants=constants,
        inputs=tuple(inputs),
        outputs=tuple(file.tensors[i].name for i in file.outputs),
        types=infer_types(tuple(layers), constants, inputs),
    )
