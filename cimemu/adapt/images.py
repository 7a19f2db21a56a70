"""Training images: stored bytes read once, drawn and changed at random in an order that the seed alone fixes."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.adapt.settings import Augment
from cimemu.errors import WorkloadError
from cimemu.whole_file import whole_file
from cimemu.workload.data import moved_labels, read_images
from cimemu.workload.manifest import DataSource, Preprocess, prepared, resolve

SMALLEST_PHOTOGRAPH = 24  # rows and columns; smaller ones are digits, spectrograms: mirrored they are something else
CROP_PAD = 4
Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images as stored (uint8 [images, rows, columns, channels]) with labels, and how the network takes them."""

    images: NDArray[Any]
    labels: Labels
    preprocess: Preprocess
    name: str = "images"  # of the file, for messages

    def __post_init__(self) -> None:
        """Raises WorkloadError for what no network can learn from."""
        if len(self.images) == 0:
            raise WorkloadError(f"{self.name}: holds no image, training and accuracy need one at least")
        if len(self.labels) != len(self.images):
            raise WorkloadError(f"{self.name}: {len(self.labels)} labels of {len(self.images)} images, must be as many")
        if self.images.dtype.kind == "f":
            bad = np.flatnonzero(~np.isfinite(self.images.reshape(len(self.images), -1)).all(axis=1))
            if len(bad):
                raise WorkloadError(
                    f"{self.name}: image {bad[0]} holds a value that is nan or infinite ({len(bad)} images do), "
                    "all must be finite: repair or remove them"
                )
        if int(self.labels.min()) < 0:
            raise WorkloadError(f"{self.name}: label {int(self.labels.min())}, must be >= 0: set label_offset")

    def part(self, chosen: NDArray[Any]) -> "ImageSet":
        """The images of a mask or of numbers."""
        return ImageSet(self.images[chosen], self.labels[chosen], self.preprocess, self.name)

    def suited(self, augment: Augment) -> Augment:
        """`augment` with what it leaves open: photographs (colour, at least 24 x 24) are cropped and mirrored, no others."""
        pad, flip = augment.crop_pad, augment.flip
        photographs = False
        if self.images.ndim == 4:
            *sides, channels = (
                np.roll(self.images.shape[1:], -1) if self.preprocess.stored == "nchw" else self.images.shape[1:]
            )
            photographs = channels == 3 and min(sides) >= SMALLEST_PHOTOGRAPH
        pad = (CROP_PAD if photographs else 0) if pad is None else pad
        return Augment(crop_pad=pad, flip=photographs if flip is None else flip)

    def __len__(self) -> int:
        return len(self.images)

    def inputs(self, chosen: slice | NDArray[np.int64] = slice(None)) -> NDArray[np.float32]:
        """Images as the network takes them, float32."""
        return prepared(self.images[chosen], self.preprocess, "images")


def cache_folder() -> Path:
    """Where decoded images are kept: $XDG_CACHE_HOME/cimemu, by default ~/.cache/cimemu."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cimemu"


def load_images(
    source: DataSource, preprocess: Preprocess, *, folder: Path | None = None, cache: Path | None = None
) -> ImageSet:
    """The images and labels of `source`, relative to `folder`. JPEGs are decoded once and kept below `cache`.

    Raises WorkloadError where files are missing or damaged, or have no labels.
    """
    if source.labels is None:
        raise WorkloadError(f"{source.file}: labels = null, training and accuracy need labels")
    path = resolve(source.file, (folder or Path.cwd()) / "config")
    if not path.is_file():
        raise WorkloadError(f"{path}: no such file, put the data there or name another with --data")
    jpeg = source.format == "hdf5_jpeg"
    kept = (cache or cache_folder()) / f"{path.stem}_{_fingerprint(path, source)}.npz" if jpeg else None
    if kept is not None and kept.is_file():
        images, labels = read_images(kept, "npz", "images", "labels", 0, None, None)
    else:
        images, labels = read_images(
            path, source.format, source.images, source.labels, source.first, source.limit, None, source.window
        )
        if kept is not None:
            _keep(kept, images, labels)
    assert labels is not None
    moved = moved_labels(labels, source.label_offset, source.file)
    assert moved is not None
    return ImageSet(images, moved, preprocess, str(path))


def _fingerprint(path: Path, source: DataSource) -> str:
    """Changes with the file (its size and time) and with what is taken of it."""
    stat = path.stat()
    told = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, source.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _keep(kept: Path, images: Any, labels: Any) -> None:
    """Write a cache file whole, beside others that may be writing the same one."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkloadError(f"{kept.parent}: cannot be made ({error.strerror}), name a folder with --cache") from None
    own = kept.with_name(f"{kept.stem}_{os.getpid()}.npz")
    with whole_file(own, WorkloadError, overwrite=True) as partial, open(partial, "wb") as file:
        np.savez(file, images=images, labels=labels)
    os.replace(own, kept)


@dataclass(frozen=True, eq=False)
class Epoch:
    """One epoch's images in order, and what is done to each."""

    order: NDArray[np.int64]
    shifts: NDArray[np.int64]  # [images, 2]: row and column of the crop
    mirrored: NDArray[np.bool_]


def draw_epoch(total: int, wanted: int, augment: Augment, seed: int, epoch: int) -> Epoch:
    """Epoch number `epoch` of `wanted` images: the next ones of endless shuffles of all `total`; `augment` leaves nothing open.

    A function of its arguments alone: neither threads nor an interruption change it.
    """
    first = epoch * wanted
    parts = []
    for turn in range(first // total, (first + wanted - 1) // total + 1):
        order = _generator(seed, 0, turn).permutation(total)
        parts.append(order[max(0, first - turn * total) : first + wanted - turn * total])
    draws = _generator(seed, 1, epoch)
    assert augment.crop_pad is not None
    assert augment.flip is not None
    span = 2 * augment.crop_pad + 1
    shifts = draws.integers(0, span, (wanted, 2))
    mirrored = draws.random(wanted) < 0.5
    return Epoch(np.concatenate(parts), shifts, mirrored & augment.flip)


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def batches(
    data: ImageSet, epoch: Epoch, augment: Augment, batch: int, first: int = 0
) -> Iterator[tuple[NDArray[np.float32], Labels]]:
    """(inputs, labels) of an epoch's batches from number `first` on; what is left over at the end is one more."""
    for start in range(first * batch, len(epoch.order), batch):
        part = slice(start, start + batch)
        chosen = epoch.order[part]
        images = data.images[chosen]
        if images.ndim == 4 and (augment.crop_pad or augment.flip):
            images = changed(
                images, epoch.shifts[part], epoch.mirrored[part], augment.crop_pad or 0, data.preprocess.stored
            )
        yield prepared(images, data.preprocess, "images"), data.labels[chosen]


def changed(
    images: NDArray[Any], shifts: NDArray[np.int64], mirrored: NDArray[np.bool_], pad: int, stored: str
) -> NDArray[Any]:
    """Crops of `images` at `shifts` inside a border of `pad` zeros, then mirrored where asked; axes as `stored`."""
    chw = stored == "nchw"
    if chw:
        images = images.transpose(0, 2, 3, 1)
    count, rows, columns, _ = images.shape
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    row = shifts[:, :1] + np.arange(rows)
    column = shifts[:, 1:] + np.where(mirrored[:, None], np.arange(columns)[::-1], np.arange(columns))
    made = padded[np.arange(count)[:, None, None], row[:, :, None], column[:, None, :]]
    found: NDArray[Any] = made.transpose(0, 3, 1, 2) if chw else made
    return found
