"""Workloads by name: presets, folders, workload.yaml files, and network files alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cimemu.config_file import read_mapping, validated
from cimemu.errors import WorkloadError
from cimemu.importer import FORMATS, load_network
from cimemu.loading.bare import BareWorkload, Given
from cimemu.workload.manifest import Manifest, Workload
from cimemu.workload.network import Network


def preset_folder() -> Path:
    """Folder of the workloads: inside the package, or beside it in a source checkout."""
    packaged = Path(__file__).parent.parent / "_presets" / "workloads"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent.parent / "workloads"


def list_workloads() -> list[tuple[str, str]]:
    """(name, title) of every preset, by name. The files of some are yours to bring, as their titles say.

    >>> import cimemu
    >>> dict(cimemu.list_workloads())["digits"]
    'UCI handwritten digits 8x8, residual CNN of 5 convolutions, 360 test images (default)'
    """
    found = sorted(preset_folder().glob("*/workload.yaml"))
    return [(path.parent.name, load_workload(path).manifest.title) for path in found]


def is_network(source: object) -> bool:
    """Whether a name is that of a network file, by its suffix."""
    return isinstance(source, str | Path) and Path(source).suffix.lower() in FORMATS


def network_of(workload: Workload, module: Any = None) -> Network:
    """The workload's network; `module` is for PyTorch weights, as in `cimemu.load_network`."""
    if isinstance(workload, BareWorkload):
        return workload.load(module)
    shape = workload.inputs(1)[0].shape[1:] if module is not None else None
    return load_network(workload.network, module=module, input_shape=shape)


def load_workload(source: str | Path, given: Given | None = None) -> Workload:
    """The workload `source`: a preset's name, a folder with a workload.yaml, such a file, or a network file alone.

    A network file takes its images from `given` (`cimemu.loading.bare.Given`), else they are random.
    Raises WorkloadError naming the file, the key, the value and the rule.

    >>> import cimemu
    >>> images, labels = cimemu.load_workload("digits").inputs(2)
    >>> images.shape, labels.tolist()
    ((2, 1, 8, 8), [1, 9])
    """
    if is_network(source):
        return BareWorkload.of(Path(source), given or Given())
    if given is not None and replace(given, module=None) != Given():
        raise WorkloadError(
            f"workload {source}: names its images itself; inputs, labels, calibration, shapes and values are for network files"
        )
    path = _find(source)
    shown = f"workloads/{path.parent.name}/{path.name}" if path.parent.parent == preset_folder() else str(path)
    tree = read_mapping(path, shown, "a workload file (name, source, network, inputs ...)", WorkloadError)
    return Workload(validated(Manifest, tree, shown, WorkloadError), path)


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_dir() and (path / "workload.yaml").is_file():
        return path / "workload.yaml"
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    if path.is_file():
        raise WorkloadError(
            f"{path}: is no workload but a {path.suffix or 'plain'} file; write a workload.yaml that names it and its images"
        )
    preset = preset_folder() / str(source) / "workload.yaml"
    if len(path.parts) == 1 and preset.is_file():
        return preset
    names = sorted(p.parent.name for p in preset_folder().glob("*/workload.yaml"))
    raise WorkloadError(
        f"workload {str(source)!r}: no such preset, folder or workload.yaml; presets: {', '.join(names)}"
    )
