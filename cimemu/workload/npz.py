"""NumPy's files, read an array at a time and no further than is asked for; sizes are checked before memory is taken."""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import WorkloadError
from cimemu.given_file import GIB, MIB, refuse_input

MOST_BYTES = 16 * GIB  # of one array
BOMB_BYTES, BOMB_RATIO = 256 * MIB, 100  # larger and packed tighter than images ever are
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    tokenize.TokenError,  # of a damaged header, which NumPy reads as Python's own text
    RuntimeError,  # a password
    NotImplementedError,  # a way of packing that Python lacks
    SyntaxError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


def npz_names(path: Path) -> list[str]:
    """Names of the arrays in an `.npz`. WorkloadError where it is none."""
    with _archive(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def npz_array(path: Path, name: str, stop: int | None = None) -> tuple[NDArray[Any], int]:
    """(array, rows it has in the file); only its first `stop` rows are read. WorkloadError."""
    with _archive(path) as archive:
        names = archive.namelist()
        member = next((n for n in (f"{name}.npy", name) if n in names), None)
        if member is None:
            known = ", ".join(n.removesuffix(".npy") for n in names)
            raise WorkloadError(f"{path}: no array {name!r}, has {known}")
        packed = archive.getinfo(member)
        with archive.open(member) as file:
            return _array(file, f"{path}: {name}", stop, packed.file_size, packed.compress_size)


def npy_array(path: Path) -> NDArray[Any]:
    """The array of an `.npy`. WorkloadError where it is none."""
    size = refuse_input(path, WorkloadError, "an .npy or .npz").stat().st_size
    with _damage_is_told(path, "npy"), open(path, "rb") as file:
        return _array(file, str(path), None, size, size)[0]


def is_npz(path: Path) -> bool:
    """Whether the file is an archive, as `.npz` are."""
    refuse_input(path, WorkloadError, "an .npy or .npz")
    with _damage_is_told(path, "npy or npz"), open(path, "rb") as file:
        return file.read(2) == b"PK"


def _array(file: IO[bytes], where: str, stop: int | None, size: int, packed: int) -> tuple[NDArray[Any], int]:
    """The array that begins here, of `size` bytes in all, which take `packed` bytes in the file."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the format")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, column_major, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("holds Python objects, only plain arrays are read")
    wanted = math.prod(shape) * dtype.itemsize
    rows = shape[0] if shape else 0
    if wanted > size:
        raise ValueError(f"says that it has {wanted} bytes, the file has {size}")
    if stop is not None and shape and not column_major:
        kept = min(max(stop, 0), rows)
        shape = (kept, *shape[1:])
        wanted = math.prod(shape) * dtype.itemsize
    if wanted > MOST_BYTES or (wanted > BOMB_BYTES and wanted > BOMB_RATIO * max(1, packed)):
        raise WorkloadError(f"{where}: {wanted} bytes, packed into {packed}, more than is read; give fewer images")
    data = bytearray(wanted)
    view, done = memoryview(data), 0
    while done < wanted:
        got = file.read(min(16 * MIB, wanted - done))
        if not got:
            raise ValueError("ends before its last value")
        view[done : done + len(got)] = got
        done += len(got)
    array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if column_major else "C")
    return array if stop is None or not shape else array[: max(stop, 0)], rows


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    refuse_input(path, WorkloadError, "an .npz")
    with _damage_is_told(path, "npz"), zipfile.ZipFile(path) as archive:
        yield archive


@contextmanager
def _damage_is_told(path: Path, form: str) -> Iterator[None]:
    """Whatever readers make of a damaged file, as one line."""
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise WorkloadError(f"{path}: cannot be read as {form}: {reason}") from None
