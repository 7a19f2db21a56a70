"""What a run of `cimemu adapt` reads: the float network, images to train on, images to measure on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimemu.adapt.images import ImageSet, load_images
from cimemu.adapt.settings import DataSettings
from cimemu.errors import WorkloadError
from cimemu.importer import FORMATS, load_network
from cimemu.loading.load import load_workload
from cimemu.workload.manifest import DataSource, Workload
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class Images:
    """Images to train on and, by name, to measure on."""

    train: ImageSet
    tests: dict[str, ImageSet]


def load_float(name: str, *, module: Any = None, shape: tuple[int, ...] | None = None) -> Network:
    """The float network in a file or of a workload. WorkloadError for a quantised one."""
    path = Path(name) if is_file(name) else load_workload(name).network
    network = load_network(path, module=module, input_shape=shape if module is not None else None)
    if network.is_quantized:
        raise WorkloadError(f"{path}: is quantised already, training starts from the float network")
    return network


def is_file(name: str) -> bool:
    """Whether a name is a network file's."""
    return Path(name).suffix.lower() in FORMATS


def find_images(
    settings: DataSettings | None,
    workload: Workload | None,
    *,
    data: str | None = None,
    folder: Path | None = None,
    cache: Path | None = None,
) -> Images:
    """The images that `settings` (paths relative to `folder`) or the workload name; `data` replaces those to train on.

    Raises WorkloadError where neither says what to train on.
    """
    chosen, beside = settings, folder
    if chosen is None and workload is not None:
        manifest = workload.manifest
        beside = workload.path.parent
        source = manifest.train
        if source is None and data is None:
            raise WorkloadError(f"{workload.path}: has no key `train`, name training images with --data or in --config")
        chosen = DataSettings(
            train=source or manifest.inputs, test={"test": manifest.inputs}, preprocess=manifest.preprocess
        )
    if chosen is None:
        raise WorkloadError(
            "no training images: name a workload, or give --config FILE with the key `data` (train, test, preprocess)"
        )
    train = chosen.train
    if data is not None:
        train, train_beside = _named(data, train), Path.cwd()
    else:
        train_beside = beside or Path.cwd()
    return Images(
        load_images(train, chosen.preprocess, folder=train_beside, cache=cache),
        {
            name: load_images(source, chosen.preprocess, folder=beside, cache=cache)
            for name, source in chosen.test.items()
        },
    )


def _named(data: str, like: DataSource) -> DataSource:
    """The source `data`, a file with the keys of `like`; an HDF5 file of JPEG bytes is known by its keys."""
    path = Path(data)
    if path.suffix.lower() in (".h5", ".hdf5") and path.is_file():
        from cimemu.workload.data import hdf5_keys

        keys = hdf5_keys(path)
        if "offsets" in keys and "jpeg" in keys:
            return DataSource(file=data, format="hdf5_jpeg", images="jpeg", labels=like.labels or "labels")
    images = like.images if like.format != "hdf5_jpeg" else "images"
    return DataSource(file=data, images=images, labels=like.labels or "labels")
