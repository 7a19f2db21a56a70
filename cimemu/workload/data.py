"""Images and labels from files: npz, HDF5, CIFAR-10's own two formats. Nothing in a file is ever executed."""

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError, why_unreadable
from cimemu.given_file import GIB, read_bytes, refuse_input
from cimemu.workload.metrics import IGNORED
from cimemu.workload.npz import DAMAGE, is_npz, npy_array, npz_array, npz_names

Labels = NDArray[np.int64] | None
CIFAR_RECORD = 3073  # a label and 3 x 32 x 32 bytes


def read_images(
    path: Path,
    form: str,
    images_key: str,
    labels_key: str | None,
    first: int,
    limit: int | None,
    asked: int | None,
    window: int = 1,
) -> tuple[NDArray[Any], Labels]:
    """Images `first` .. of a file, at most `limit`, of those `asked` for, and their labels.

    With a `window` an image is that many neighbouring rows joined: of the file's rows [rows, bins], or of every clip of
    [clips, rows, bins], whose label then is that of all its images.

    Raises WorkloadError where the file is missing, damaged, holds other things, or fewer images than are asked for.
    """
    refuse_input(path, WorkloadError, "the data: put it there or change the workload.yaml")
    if asked is not None and asked < 1:
        raise WorkloadError(f"images = {asked}, must be >= 1")
    form = _by_suffix(path) if form == "auto" else form
    readers = {
        "npz": _npz,
        "hdf5": _hdf5,
        "hdf5_jpeg": _hdf5_jpeg,
        "cifar10_python": _cifar_python,
        "cifar10_binary": _cifar_binary,
    }
    if asked is not None and limit is not None and asked > limit:
        raise WorkloadError(f"{path}: {limit} images are to be used, {asked} asked for; ask for fewer")
    wanted = asked if asked is not None else limit
    skipped, stop = first, None if wanted is None else first + wanted
    if window > 1:  # images are counted after rows are joined
        skipped, stop = 0, None if stop is None else stop + window - 1
    try:
        images, labels, total = readers[form](path, images_key, labels_key, skipped, stop)
    except WorkloadError:
        raise
    except (*DAMAGE, pickle.UnpicklingError, IndexError, AttributeError) as error:
        reason = why_unreadable(error) if isinstance(error, OSError) else " ".join(str(error).split())[:160]
        raise WorkloadError(f"{path}: cannot be read as {form}: {reason or type(error).__name__}") from None
    if window > 1:
        images, labels, each = _windows(np.asarray(images), labels, window, path)
        total = total - window + 1 if each is None else total * each
        part = slice(first, None if wanted is None else first + wanted)
        images, labels = images[part], None if labels is None else labels[part]
    if total <= first:
        raise WorkloadError(f"{path}: has {total} images, the workload begins at number {first}")
    if asked is not None and len(images) < asked:
        raise WorkloadError(f"{path}: has {total - first} images, {asked} asked for; ask for fewer")
    return _checked(images, labels, path, images_key, labels_key)


def _windows(rows: NDArray[Any], labels: Labels, window: int, path: Path) -> tuple[NDArray[Any], Labels, int | None]:
    """Image i of a clip is its rows i .. i + window - 1, joined; labels of images; images a clip (None: rows alone)."""
    if rows.ndim not in (2, 3):
        raise WorkloadError(f"{path}: rows of shape {rows.shape}, windows need [rows, bins] or [clips, rows, bins]")
    if rows.ndim == 2 and labels is not None:
        raise WorkloadError(
            f"{path}: windows of {window} rows have no labels of their own, set labels: null or store [clips, rows, bins]"
        )
    clips = rows if rows.ndim == 3 else rows[None]
    each = clips.shape[1] - window + 1
    if each < 1:
        raise WorkloadError(f"{path}: clips of {clips.shape[1]} rows, windows of {window} need as many")
    joined = np.lib.stride_tricks.sliding_window_view(clips, window, axis=1)  # [clips, each, bins, window]
    images = joined.transpose(0, 1, 3, 2).reshape(len(clips) * each, -1)
    return images, None if labels is None else np.repeat(labels, each), each if rows.ndim == 3 else None


def moved_labels(labels: Labels, offset: int, where: str) -> Labels:
    """Labels with `offset` added. WorkloadError where one becomes negative."""
    if labels is None or offset == 0 or not len(labels):
        return labels
    least = int(labels.min())
    if least + offset < 0:
        raise WorkloadError(
            f"{where}: label_offset = {offset} makes label {least} negative, must be at least {-least} for these labels"
        )
    return labels + offset


def windows_per_clip(path: Path, form: str, images_key: str, window: int) -> int:
    """Images of one label: windows of a clip where the file has [clips, rows, bins], else 1."""
    form = _by_suffix(path) if form == "auto" else form
    if window == 1 or form not in ("npz", "hdf5"):
        return 1
    rows = np.asarray((_npz if form == "npz" else _hdf5)(path, images_key, None, 0, 1)[0])
    return rows.shape[1] - window + 1 if rows.ndim == 3 else 1


def read_tensors(
    path: Path, form: str, keys: Mapping[str, Sequence[str]], first: int, limit: int | None, asked: int | None
) -> dict[str, NDArray[Any]]:
    """Arrays by input name; rows of several keys alternate. `first`, `limit` and `asked` as for `read_images`."""
    if asked is not None and limit is not None and asked > limit:
        raise WorkloadError(f"{path}: {limit} images are to be used, {asked} asked for; ask for fewer")
    found: dict[str, NDArray[Any]] = {}
    for name, sources in keys.items():
        parts = [read_images(path, form, key, None, 0, None, None)[0] for key in sources]
        if not parts or len({part.shape for part in parts}) > 1:
            raise WorkloadError(
                f"{path}: {', '.join(sources) or 'no key'} for input {name}, must be arrays of one shape"
            )
        whole = np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])
        wanted = asked if asked is not None else limit
        if first >= len(whole) or (asked is not None and first + asked > len(whole)):
            raise WorkloadError(f"{path}: has {len(whole) - first} images, {asked or 1} asked for; ask for fewer")
        found[name] = whole[first : None if wanted is None else first + wanted]
    if len({len(array) for array in found.values()}) > 1:
        raise WorkloadError(f"{path}: inputs of {[len(array) for array in found.values()]} images, must be as many")
    return found


def read_array(path: Path) -> NDArray[Any]:
    """One numeric array of a `.npy`, or of an `.npz` with one array (or one named `images`)."""
    if not is_npz(path):
        return _checked(npy_array(path), None, path, "array", None)[0]
    names = npz_names(path)
    if "images" not in names and len(names) != 1:
        raise WorkloadError(f"{path}: has arrays {', '.join(names)}, name one `images`")
    key = "images" if "images" in names else names[0]
    return _checked(npz_array(path, key)[0], None, path, "array", None)[0]


def _by_suffix(path: Path) -> str:
    known = {
        ".npz": "npz",
        ".h5": "hdf5",
        ".hdf5": "hdf5",
        ".bin": "cifar10_binary",
        "": "cifar10_python",
        ".pkl": "cifar10_python",
    }
    if path.suffix.lower() not in known:
        raise WorkloadError(
            f"{path}: suffix '{path.suffix}' tells no format, set format: npz, hdf5, cifar10_python or cifar10_binary"
        )
    return known[path.suffix.lower()]


def _npz(path: Path, images: str, labels: str | None, first: int, stop: int | None) -> tuple[Any, Any, int]:
    array, total = npz_array(path, images, stop)
    named, labelled = (None, total) if labels is None else npz_array(path, labels, stop)
    if labelled != total:
        raise WorkloadError(f"{path}: {total} images and {labelled} labels, must be as many")
    return array[first:], None if named is None else named[first:], total


def _hdf5(path: Path, images: str, labels: str | None, first: int, stop: int | None) -> tuple[Any, Any, int]:
    import h5py

    with h5py.File(path, "r") as file:
        for key in (images, labels):
            if key is not None and (key not in file or not isinstance(file[key], h5py.Dataset)):
                raise WorkloadError(f"{path}: no dataset {key!r}, has {', '.join(file)}")
        total = len(file[images])
        if labels is not None and len(file[labels]) != total:
            raise WorkloadError(f"{path}: {total} images and {len(file[labels])} labels, must be as many")
        return file[images][first:stop], None if labels is None else file[labels][first:stop], total


def hdf5_keys(path: Path) -> tuple[str, ...]:
    """The keys at the top of an HDF5 file. WorkloadError where it is none."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return tuple(file)
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read as hdf5: {why_unreadable(error)}") from None


def _hdf5_jpeg(path: Path, images: str, labels: str | None, first: int, stop: int | None) -> tuple[Any, Any, int]:
    """JPEG bytes end to end in `images`, image i at offsets[i] .. offsets[i + 1]; decoded to [images, rows, columns, 3]."""
    try:
        from PIL import Image
    except ImportError:
        raise WorkloadError(f'{path}: JPEGs need Pillow: pip install "cimemu[jpeg]"') from None
    bytes_of, truth, _ = _hdf5(path, images, None, 0, None)
    offsets, _, entries = _hdf5(path, "offsets", None, 0, None)
    offsets = np.asarray(offsets, dtype=np.int64)
    total = entries - 1
    if total < 1 or offsets[0] < 0 or int(offsets[-1]) > len(bytes_of) or bool((np.diff(offsets) <= 0).any()):
        raise ValueError(f"{images}: offsets do not cut its {len(bytes_of)} bytes into images")
    if labels is not None:
        truth, _, labelled = _hdf5(path, labels, None, 0, None)
        if labelled != total:
            raise WorkloadError(f"{path}: {total} images and {labelled} labels, must be as many")
    chosen = range(total)[first:stop] or range(1)  # the caller refuses a beginning behind the end
    decoded = [
        np.asarray(Image.open(io.BytesIO(bytes_of[offsets[i] : offsets[i + 1]].tobytes())).convert("RGB"))
        for i in chosen
    ]
    if len({one.shape for one in decoded}) > 1:
        raise ValueError(f"{images}: images of several sizes, must be of one")
    return np.stack(decoded), truth if labels is None else truth[first:stop], total


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays and plain containers only; anything else is refused before it is made."""

    ALLOWED: ClassVar = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Only what arrays are rebuilt with."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"holds {module}.{name}, only arrays and plain values are allowed")
        if module.startswith("numpy.core"):
            module = module.replace("numpy.core", "numpy._core")
        return super().find_class(module, name)


def _cifar_python(path: Path, images: str, labels: str | None, first: int, stop: int | None) -> tuple[Any, Any, int]:
    whole_file = read_bytes(path, WorkloadError, "a batch of CIFAR-10", most=GIB)
    try:
        data = _PlainUnpickler(io.BytesIO(whole_file), encoding="bytes").load()
    except (AttributeError, KeyError, TypeError, ImportError, MemoryError) as error:
        raise ValueError(f"damaged pickle ({type(error).__name__})") from None
    if not isinstance(data, dict) or b"data" not in data or b"labels" not in data:
        raise ValueError("no CIFAR-10 batch: needs the keys data and labels")
    pixels = np.asarray(data[b"data"])
    if pixels.ndim != 2 or pixels.shape[1] != CIFAR_RECORD - 1:
        raise ValueError(f"data of shape {pixels.shape}, must be [images, {CIFAR_RECORD - 1}]")
    whole = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return whole[first:stop], np.asarray(data[b"labels"])[first:stop], len(whole)


def _cifar_binary(path: Path, images: str, labels: str | None, first: int, stop: int | None) -> tuple[Any, Any, int]:
    data = np.frombuffer(read_bytes(path, WorkloadError, "a batch of CIFAR-10", most=GIB), dtype=np.uint8)
    if len(data) == 0 or len(data) % CIFAR_RECORD:
        raise ValueError(f"{len(data)} bytes, must be a multiple of {CIFAR_RECORD}")
    records = data.reshape(-1, CIFAR_RECORD)
    whole = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return whole[first:stop], records[first:stop, 0].astype(np.int64), len(records)


def _checked(
    images: Any, labels: Any, path: Path, images_key: str, labels_key: str | None
) -> tuple[NDArray[Any], Labels]:
    """Finite numbers with a batch axis, and integer labels >= 0 (-100: one that perplexity leaves out)."""
    images = np.asarray(images)
    if images.dtype.kind not in "iuf" or images.ndim < 2:
        raise WorkloadError(
            f"{path}: {images_key} is {images.dtype} of shape {images.shape}, must be numbers [images, ...]"
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(images))[0]]
        raise WorkloadError(f"{path}: {images_key}{where} = {images[tuple(where)]}, must be finite")
    if labels is None:
        return images, None
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.ndim not in (1, 2):
        raise WorkloadError(
            f"{path}: {labels_key} is {labels.dtype} of shape {labels.shape}, must be integers [images]"
        )
    wrong = (labels < 0) & ((labels != IGNORED) if labels.ndim == 2 else True)
    if wrong.any():
        first = [int(i) for i in np.argwhere(wrong)[0]]
        shown = first[0] if len(first) == 1 else ", ".join(map(str, first))
        raise WorkloadError(f"{path}: {labels_key}[{shown}] = {labels[tuple(first)]}, must be >= 0")
    return images, labels.astype(np.int64)
