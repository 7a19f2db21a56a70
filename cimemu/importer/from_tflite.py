"""TensorFlow Lite files: integer ones as integer layers with the reference kernels' arithmetic, float ones as float
layers (channels first inside, as the float layers are)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cimemu.errors import WorkloadError
from cimemu.importer.tflite_checks import check_activation, check_alike, check_input_type, check_wiring
from cimemu.importer.tflite_file import BROKEN, TflFile, TflOperator, TflTensor, read_tflite
from cimemu.importer.tflite_float import FLOAT_OPS, FloatGraph
from cimemu.importer.tflite_integer import INTEGER_OPS
from cimemu.layer.base import Layer, TensorType
from cimemu.layer.execute import infer_types
from cimemu.workload.network import Network

IntegerBuilder = Callable[[TflOperator, tuple[TflTensor | None, ...], TflTensor], Layer]


def load_tflite(path: str | Path) -> Network:
    """The network in a TensorFlow Lite file. Raises WorkloadError in one line that names file and operator."""
    path = Path(path)
    file = read_tflite(path)
    try:
        check_wiring(file)
        for number in file.inputs:
            check_input_type(file.tensors[number].name, file.tensors[number].dtype)
        made = _float(file, path) if file.tensors[file.inputs[0]].dtype == "float32" else _integer(file, path)
    except WorkloadError as error:
        raise WorkloadError(f"{path}: {error}") from None
    except (*BROKEN, ZeroDivisionError) as error:  # numbers in the file that point nowhere
        raise WorkloadError(f"{path}: damaged TensorFlow Lite file ({type(error).__name__})") from None
    return replace(made, origin=path) if made.is_quantized else made


def _image_shape(tensor: TflTensor) -> tuple[int, ...]:
    """The shape without the batch axis, which must be 1 in the file."""
    if not tensor.shape or tensor.shape[0] != 1:
        raise WorkloadError(f"tensor {tensor.name}: shape {list(tensor.shape)}, must be [1, ...], one image")
    return tensor.shape[1:]


def _integer(file: TflFile, path: Path) -> Network:
    layers: list[Layer] = []
    for operator in file.operators:
        if operator.op not in INTEGER_OPS:
            raise operator.error(f"not supported for integers, known are {', '.join(sorted(INTEGER_OPS))}")
        inputs = tuple(None if i < 0 else file.tensors[i] for i in operator.inputs)
        target = file.tensors[operator.outputs[0]]
        if len(operator.outputs) != 1:
            raise operator.error(f"has {len(operator.outputs)} outputs, must have one")
        for tensor in (inputs[0] if inputs else None, target):
            check_activation(operator, tensor)
        check_alike(operator, (inputs[0], target))
        layers.append(INTEGER_OPS[operator.op](operator, inputs, target))
    network = _network(file, path, layers, {})
    for tensor in file.tensors:
        computed = network.types.get(tensor.name)
        if computed is not None and (computed.shape, computed.dtype) != (tensor.shape[1:], tensor.dtype):
            raise WorkloadError(
                f"tensor {tensor.name}: the file says {tensor.dtype} {list(tensor.shape)}, its operator makes "
                f"{computed.dtype} {[1, *computed.shape]}: convert it again"
            )
    return network


def _float(file: TflFile, path: Path) -> Network:
    graph = FloatGraph(file)
    for operator in file.operators:
        if operator.op not in FLOAT_OPS:
            raise operator.error(f"not supported for floats, known are {', '.join(sorted(FLOAT_OPS))}")
        FLOAT_OPS[operator.op](graph, operator)
    return _network(file, path, [*graph.layers, *graph.outputs()], graph.constants)


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
