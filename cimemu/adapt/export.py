"""An adapted network as a file that the emulator runs."""

from pathlib import Path

from cimemu.adapt.adapted import AdaptedModule
from cimemu.adapt.integers import integer_network


def export(module: AdaptedModule, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the module's integer network with its converters to one ONNX file, as `cimemu quantize --scheme` does.

    `cimemu run`, `check` and `stress` take it. Raises WorkloadError.
    """
    from cimemu.exporter import save_onnx

    save_onnx(integer_network(module.parts()), Path(path), overwrite=overwrite)
