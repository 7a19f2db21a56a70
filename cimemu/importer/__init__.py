"""Importers: a network file becomes a Network; one module per format, loaded when a file of it is opened."""

from importlib import import_module
from pathlib import Path

from cimemu.errors import WorkloadError
from cimemu.workload.network import Network

# suffix -> (module, function); each function takes the path and gives a Network.
FORMATS: dict[str, tuple[str, str]] = {
    ".onnx": ("cimemu.importer.from_onnx", "load_onnx"),
    ".tflite": ("cimemu.importer.from_tflite", "load_tflite"),
}


def load_network(path: str | Path) -> Network:
    """The network in a file, by its suffix. Raises WorkloadError in one line for a wrong or unknown file."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise WorkloadError(f"{path}: suffix '{suffix}' is not a network format, known are {', '.join(FORMATS)}")
    module, function = FORMATS[suffix]
    network: Network = getattr(import_module(module), function)(path)
    return network
