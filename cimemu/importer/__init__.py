"""Importers: a network file becomes a Network; one module per format, loaded when a file of it is opened."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from cimemu.errors import WorkloadError
from cimemu.given_file import GIB, refuse_input
from cimemu.workload.network import Network

MOST_BYTES = 64 * GIB
WEIGHTS = (".safetensors", ".pt", ".pth")
OPEN_SIZES = (".onnx", ".tflite")  # formats whose files may leave sizes open
# suffix -> (module, function); each function takes the path and gives a Network. Those of WEIGHTS hold no graph
# and take the module and the shape of an image besides.
FORMATS: dict[str, tuple[str, str]] = {
    ".onnx": ("cimemu.importer.from_onnx", "load_onnx"),
    ".tflite": ("cimemu.importer.from_tflite", "load_tflite"),
    ".pt2": ("cimemu.importer.from_torch", "load_program"),
    **dict.fromkeys(WEIGHTS, ("cimemu.importer.from_torch", "load_torch")),
}


def load_network(
    path: str | Path,
    *,
    module: Any = None,
    input_shape: Sequence[int] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_values: Mapping[str, float] | None = None,
) -> Network:
    """The network in a file, by its suffix. Raises WorkloadError in one line for a wrong or unknown file.

    PyTorch weights (.safetensors, .pt, .pth) need `module` (a torch.nn.Module, a function that makes one, or
    "FILE.py:NAME") and `input_shape`, that of one image; other formats need and take neither. `input_shapes` are whole
    shapes [batch, ...] by input name ("": of the only input), for sizes that an ONNX or TensorFlow Lite file leaves open.
    `input_values` are numbers that inputs of such a file always hold, by name: these are no inputs of the network.

    >>> import cimemu
    >>> network = cimemu.load_network(cimemu.load_workload("digits").network)
    >>> network.inputs, network.types["image"].shape, network.is_quantized
    (('image',), (1, 8, 8), False)
    """
    if not isinstance(path, str | Path):
        raise WorkloadError(f"network = {path!r:.60}, must be the path of a file ({', '.join(FORMATS)})")
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise WorkloadError(f"{path}: suffix '{suffix}' is not a network format, known are {', '.join(FORMATS)}")
    refuse_input(Path(path), WorkloadError, "a network file", most=MOST_BYTES)
    package, function = FORMATS[suffix]
    load = getattr(import_module(package), function)
    if suffix in WEIGHTS:
        return _network(load(path, module, input_shape))
    if module is not None:
        raise WorkloadError(f"{path}: holds its network itself, a module is for {', '.join(WEIGHTS)}")
    if (input_shapes or input_values) and suffix not in OPEN_SIZES:
        raise WorkloadError(
            f"{path}: fixes its inputs, their shapes and values are given for {' and '.join(OPEN_SIZES)} files"
        )
    return _network(load(path, input_shapes, input_values) if input_shapes or input_values else load(path))


def _network(loaded: Any) -> Network:
    assert isinstance(loaded, Network)
    return loaded
