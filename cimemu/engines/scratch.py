"""Arrays that kernels work in: kept by every thread from chunk to chunk, as fresh memory costs a page fault for every 4 KiB."""

from math import prod
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 1 << 23  # of an array that is kept


def aligned(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """An array on a 64-byte boundary: registers are loaded from one cache line."""
    size = prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


class _Kept(local):
    """The arrays of one thread, by name."""

    def __init__(self) -> None:
        self.flat: dict[str, NDArray[np.uint8]] = {}


_kept = _Kept()


def scratch(name: str, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """An aligned array of any contents, valid until this thread asks for `name` again; it is not to be given away."""
    size = prod(shape) * np.dtype(dtype).itemsize
    flat = _kept.flat.get(name)
    if flat is None or len(flat) < size:
        flat = aligned((size,), np.uint8)
        if size <= MOST_BYTES:
            _kept.flat[name] = flat
    return flat[:size].view(dtype).reshape(shape)
