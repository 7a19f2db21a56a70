"""A reference from a file: an `.npz` with an array per tensor of the network, read without ever unpickling.

What cannot be compared is refused from the arrays' headers, before any of them is read: a name that is no tensor of the
network, a type that is no number, another shape, no images, as many images as no run was asked for.
"""

import zipfile
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

import numpy as np

from cimemu.check.compare import comparable
from cimemu.check.forms import Form
from cimemu.errors import WorkloadError
from cimemu.given_file import refuse_input
from cimemu.layer.base import Array
from cimemu.shown import printable
from cimemu.workload.network import Network
from cimemu.workload.npz import DAMAGE, npz_array

UNREADABLE = DAMAGE
Header = tuple[tuple[int, ...], np.dtype[Any]]


class FileReference:
    """The tensors of an `.npz`, checked against a network; `images` is how many it has of each."""

    version = ""
    kernels: Mapping[str, int] = {}
    unfused = 0
    inexact: tuple[str, ...] = ()
    settings: Mapping[str, str] = {}

    def __init__(self, path: str | Path, network: Network, images: int) -> None:
        """Check every array's header; `images` inputs are at hand. WorkloadError in one line."""
        self.path = Path(path)
        self.title = str(path)
        headers = read_headers(self.path)
        _known(self.title, headers, network)
        for name, (shape, dtype) in headers.items():
            kind = network.types[name]
            comparable(name, dtype, kind.dtype)
            if not shape or shape[1:] != kind.shape:
                raise WorkloadError(
                    f"{self.title}: tensor {name} has shape {shape}, must be [images, {', '.join(map(str, kind.shape))}]"
                )
        if all(name in network.inputs for name in headers):
            raise WorkloadError(
                f"{self.title}: holds the network's inputs alone, nothing that it computes; add the outputs or tensors between"
            )
        counts = {shape[0] for shape, _ in headers.values()}
        if len(counts) > 1:
            raise WorkloadError(f"{self.title}: tensors of {sorted(counts)} images, must all have as many")
        self.images = counts.pop()
        if not self.images:
            raise WorkloadError(f"{self.title}: tensors of 0 images, there is nothing to compare; save at least one")
        if self.images > images:
            raise WorkloadError(
                f"{self.title}: has {self.images} images, {images} inputs are given; ask for more images"
            )
        self.names = tuple(headers)
        self.forms = {name: Form("as the file has it") for name in headers}
        self.arrays: dict[str, Array] = {name: _array(self.path, name) for name in headers}

    def tensors(self, inputs: Sequence[Array], network: Network, first: int = 0) -> dict[str, Array]:
        """The tensors of the images from number `first` on, as many as `inputs` has."""
        return {name: array[first : first + len(inputs[0])] for name, array in self.arrays.items()}


def _known(title: str, names: Mapping[str, Header], network: Network) -> None:
    """WorkloadError where a name is no tensor that the network computes, or there is none."""
    if not names:
        raise WorkloadError(f"{title}: holds no arrays, there is nothing to compare; save an array per tensor")
    strange = [name for name in names if name not in network.types]
    if not strange:
        return
    near = get_close_matches(strange[0], list(network.types), 1)
    source = network.qdq
    if strange[0] in network.constants or (source is not None and strange[0] in source.constants):
        why = "is a constant of the network, which is not computed"
    elif source is not None and strange[0] in source.types:
        why = "lies inside what the integer network computes in one step, so no value of it exists"
    else:
        why = "is no tensor of the network"
    hint = f" (nearest: {near[0]})" if near else f", whose tensors are {', '.join(list(network.types)[:4])} ..."
    more = f", and {len(strange) - 1} names more are none" if len(strange) > 1 else ""
    raise WorkloadError(f"{title}: '{printable(strange[0])}' {why}{hint}{more}; leave out what cannot be compared")


def read_headers(path: Path) -> dict[str, Header]:
    """(shape, dtype) of every array of an `.npz`, in order. WorkloadError where it is none, or holds something else."""
    refuse_input(path, WorkloadError, "an .npz with a name per tensor")
    headers: dict[str, Header] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                name = member.removesuffix(".npy")
                if name in headers:
                    raise WorkloadError(
                        f"{path}: holds '{printable(name)}' twice, which of the two is meant cannot be told"
                    )
                with archive.open(member) as file:
                    headers[name] = _header(path, name, file)
    except UNREADABLE as error:
        raise WorkloadError(f"{path}: not a readable .npz of plain arrays: {_line(error)}") from None
    return headers


def _header(path: Path, name: str, file: IO[bytes]) -> Header:
    magic = file.read(len(np.lib.format.MAGIC_PREFIX) + 2)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = tuple(magic[-2:])
    if not magic.startswith(np.lib.format.MAGIC_PREFIX) or version not in readers:
        raise WorkloadError(f"{path}: '{printable(name)}' is no plain array of NumPy, save the tensors by numpy.savez")
    shape, _, dtype = readers[version](file)
    return tuple(shape), dtype


def _array(path: Path, name: str) -> Array:
    """One array, native bytes."""
    array: Array = npz_array(path, name)[0]
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
