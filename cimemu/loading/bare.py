"""A network file alone as a workload: images from a file of arrays, else random ones of the types it takes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.importer import WEIGHTS, load_network
from cimemu.layer.base import Layer, TensorType
from cimemu.layer.shape import Gather
from cimemu.layer.tfl_moves import TflGatherComputed
from cimemu.lower import left_in_float
from cimemu.workload.manifest import Manifest, Workload
from cimemu.workload.network import Network
from cimemu.workload.npz import is_npz, npy_array, npz_array, npz_names

IMAGES = 8  # random ones, where it is not said how many
CALIBRATION = 32  # random ones
SEED = 0


@dataclass(frozen=True)
class Given:
    """What a network file alone is run on.

    `inputs` and `calibration` are files: an `.npy` [images, ...] of a network of one input, or an `.npz` with an array by
    the name of every input (of one input: any name, where it is the only one, or `images`). `labels` is a file of integers
    [images], or the name of an array in `inputs`. `shapes` are whole shapes [batch, ...] by input name, "" that of the only one.
    `values` are numbers that inputs always hold.
    """

    inputs: Path | None = None
    labels: str | None = None
    calibration: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    module: Any = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class BareWorkload(Workload):
    """A network file and what it is run on; the network is read once."""

    given: Given = Given()
    _loaded: dict[str, Network] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, path: Path, given: Given) -> "BareWorkload":
        """For the file at `path`."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem) or "network"
        manifest = Manifest(name=name, source="a network file", network=str(path.absolute()), inputs={"file": "."})  # type: ignore[arg-type]
        return cls(manifest, path, given)

    def load(self, module: Any = None) -> Network:
        """The network, read at the first call."""
        if "" not in self._loaded:
            module, shape = module or self.given.module, None
            shapes: Mapping[str, tuple[int, ...]] | None = self.given.shapes or None
            if self.network.suffix.lower() in WEIGHTS and module is not None:
                shape, shapes = self._image_shape(), None
            self._loaded[""] = load_network(
                self.network,
                module=module,
                input_shape=shape,
                input_shapes=shapes,
                input_values=self.given.values or None,
            )
        return self._loaded[""]

    def inputs(self, limit: int | None = None) -> tuple[Any, NDArray[np.int64] | None]:
        """The first `limit` images: an array, or a dict of arrays by name for several inputs; labels, None where none are given."""
        network, given = self.load(), self.given
        if given.inputs is None:
            if given.labels is not None:
                raise WorkloadError(f"labels = {given.labels} without inputs: random images have no labels")
            return random_images(network, limit or IMAGES, SEED), None
        images = images_of(given.inputs, network)
        count = len(next(iter(images.values())))
        if limit is not None and limit > count:
            raise WorkloadError(f"{given.inputs}: has {count} images, {limit} asked for; ask for fewer")
        labels = self._labels(count)
        taken = {name: array[:limit] for name, array in images.items()}
        return taken if len(taken) > 1 else next(iter(taken.values())), None if labels is None else labels[:limit]

    def calibration(self) -> Any:
        """The images of the calibration file, else those that are run, else random ones."""
        network = self.load()
        if self.given.calibration is not None:
            images = images_of(self.given.calibration, network)
            return images if len(images) > 1 else next(iter(images.values()))
        return self.inputs()[0] if self.given.inputs is not None else random_images(network, CALIBRATION, SEED + 1)

    @property
    def notes(self) -> tuple[str, ...]:
        """That images are random, and what a float network is calibrated on."""
        network, given, told = self.load(), self.given, []
        if given.inputs is None:
            kinds = ", ".join(f"{n} {described(network.types[n])}" for n in network.inputs)
            told.append(f"images are random numbers ({kinds}); give your own with --inputs FILE.npz")
        chosen = self.manifest.quantize.float_layers == "quantize" and left_in_float(network)
        if (chosen or not network.is_quantized) and given.calibration is None:
            what = "random numbers" if given.inputs is None else "the images that are run"
            told.append(
                f"ranges of activations are calibrated on {what}; give other images with --calibration FILE.npz"
            )
        return tuple(told)

    def _labels(self, count: int) -> NDArray[np.int64] | None:
        """Of `count` images."""
        given = self.given
        assert given.inputs is not None
        named = given.labels
        archive = npz_names(given.inputs) if is_npz(given.inputs) else []
        if named is None and "labels" not in archive:
            return None
        if named is None or named in archive:
            where, labels = given.inputs, npz_array(given.inputs, named or "labels")[0]
        else:
            where = Path(named)
            labels = only_array(where) if is_npz(where) else npy_array(where)
        if labels.dtype.kind not in "iu" or labels.shape != (count,):
            raise WorkloadError(
                f"{where}: labels are {labels.dtype} of shape {list(labels.shape)}, must be integers [{count}], one an image"
            )
        if count and int(labels.min()) < 0:
            raise WorkloadError(f"{where}: label {int(labels.min())}, must be >= 0")
        return labels.astype(np.int64)

    def _image_shape(self) -> tuple[int, ...]:
        """Of one image, for a file of weights alone."""
        if self.given.shapes:
            return tuple(next(iter(self.given.shapes.values()))[1:])
        if self.given.inputs is not None:
            where = self.given.inputs
            return tuple((only_array(where) if is_npz(where) else npy_array(where)).shape[1:])
        raise WorkloadError(
            f"{self.network}: weights do not say what images look like, give --input-shape 1,3,224,224 or --inputs FILE.npz"
        )


def described(kind: TensorType) -> str:
    """Type and shape of one image."""
    return f"{kind.dtype}[{','.join(map(str, kind.shape))}]"


def only_array(path: Path) -> NDArray[Any]:
    """The array of an `.npz`: the one named `images`, else the only one but labels. WorkloadError."""
    names = npz_names(path)
    found = ["images"] if "images" in names else [name for name in names if name != "labels"] or names
    if len(found) != 1:
        raise WorkloadError(f"{path}: has arrays {', '.join(names)}, name the one with the images `images`")
    return npz_array(path, found[0])[0]


def images_of(path: Path, network: Network) -> dict[str, NDArray[Any]]:
    """Arrays [images, ...] by input name from an `.npy` or `.npz`, in the types that the network takes. WorkloadError."""
    if not is_npz(path):
        arrays = {"": npy_array(path)}
    elif len(network.inputs) == 1 and network.inputs[0] not in npz_names(path):
        arrays = {"": only_array(path)}
    else:
        names = npz_names(path)
        missing = [name for name in network.inputs if name not in names]
        if missing:
            raise WorkloadError(
                f"{path}: no array for input '{missing[0]}', has {', '.join(names)}; name arrays as the inputs: "
                f"{', '.join(network.inputs)}"
            )
        arrays = {name: npz_array(path, name)[0] for name in network.inputs}
    if "" in arrays and len(network.inputs) > 1:
        raise WorkloadError(
            f"{path}: one array, the network takes {', '.join(network.inputs)}: give an .npz with these"
        )
    images = {
        name: _as_taken(arrays.get(name, arrays.get("")), name, network.types[name], path) for name in network.inputs
    }
    count = max(len(array) for array in images.values())
    numbers = [name for name, array in arrays.items() if array is not None and array.ndim == 0]  # one for all images
    images |= {name: np.repeat(images[name], count) for name in numbers if name in images}
    if len({len(array) for array in images.values()}) > 1:
        raise WorkloadError(f"{path}: inputs of {[len(a) for a in images.values()]} images, must be as many")
    return images


def _as_taken(array: Any, name: str, kind: TensorType, path: Path) -> NDArray[Any]:
    """An array as the input takes it; values that its type does not have are refused."""
    if array.shape == kind.shape:
        array = array[None]  # one image without a batch axis
    if array.shape[1:] != kind.shape or not len(array):
        raise WorkloadError(
            f"{path}: '{name}' has shape {list(array.shape)}, must be [images, {', '.join(map(str, kind.shape))}]"
        )
    wanted = np.dtype(kind.dtype)
    if wanted.kind == "f":
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise WorkloadError(f"{path}: '{name}' is {array.dtype}, must be finite numbers")
        return np.ascontiguousarray(array, dtype=wanted)
    made = array.astype(wanted) if array.dtype.kind in "iub" else array
    if array.dtype.kind not in "iub" or not np.array_equal(made, array):
        raise WorkloadError(
            f"{path}: '{name}' is {array.dtype} with values {array.min()} .. {array.max()}, must be integers of {wanted.name}"
        )
    return np.ascontiguousarray(made)


def random_images(network: Network, count: int, seed: int) -> Any:
    """`count` random images: normal numbers, or integers over the whole range of their type.

    Indices into a constant table (the words of an embedding) lie within it; integers that are compared with constants are one
    of these (a sampling rate, say); other integers of 32 and 64 bits are 0 or 1.
    An array, or a dict of arrays by name for several inputs.
    """
    rng = np.random.default_rng(seed)
    made = {
        name: _random(rng, (count, *network.types[name].shape), np.dtype(network.types[name].dtype), network, name)
        for name in network.inputs
    }
    return made if len(made) > 1 else next(iter(made.values()))


def _random(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any], network: Network, name: str
) -> NDArray[Any]:
    if dtype.kind == "f":
        return rng.standard_normal(shape, dtype=np.float32).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    tables = [
        len(network.constants[layer.inputs[0]])
        for layer in network.layers
        if isinstance(layer, Gather) and layer.inputs[1] == name and layer.inputs[0] in network.constants
    ]
    tables += [
        layer.shapes[0][layer.axis_of(layer.axis)]
        for layer in network.layers
        if isinstance(layer, TflGatherComputed) and layer.inputs[1] == name
    ]
    choices = sorted(
        {number for layer in network.layers if layer.op == "Equal" for number in _compared(layer, network, name)}
    )
    if choices and not tables:
        return rng.choice(np.array(choices, dtype), shape)
    return rng.integers(0, min(tables, default=2), shape).astype(dtype)


def _compared(layer: Layer, network: Network, name: str) -> list[int]:
    """Constants that a comparison holds input `name` against."""
    if name not in layer.inputs:
        return []
    return [int(v) for one in layer.inputs if one in network.constants for v in network.constants[one].reshape(-1)[:16]]
