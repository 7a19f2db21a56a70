"""The one decorator of every kernel: compiled on first use, cached on disk, no fast-math."""

import glob
import hashlib
import os
import pickle
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import config, njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

JIT_DISABLED = bool(config.DISABLE_JIT)
OPTIONS: dict[str, Any] = {
    "fastmath": False,
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
    # No reference counts, as kernels allocate nothing and callers hold the arrays. Counting them at every call of a
    # small kernel took more than half of the event engine's time.
    "_nrt": False,
}
DAMAGED = (
    OSError,
    EOFError,
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
)


PACKAGE = Path(__file__).parent.parent
ROOMS = ("lanes", "kernels")  # folders of kernel files; elsewhere a kernel file's name ends with `kernels.py`


def holds_kernels(path: Path) -> bool:
    """Whether kernels may stand in a file: its text is part of the stamp that machine code is kept under."""
    return path.suffix == ".py" and (path.parent.name in ROOMS or path.stem.endswith("kernels"))


def kernel_files() -> list[Path]:
    """Every file of the package that may hold kernels or what they are built of, in one order."""
    folders = [folder for folder, _, _ in os.walk(PACKAGE) if not folder.endswith("__pycache__")]
    return sorted(path for folder in folders for path in Path(folder).iterdir() if holds_kernels(path))


@cache
def sources_stamp() -> str:
    """SHA-256 over names and text of every kernel file, once a process (a few milliseconds).

    Kernels inline each other's helpers, so machine code is fresh only while no kernel file has changed.
    """
    digest = hashlib.sha256()
    for path in kernel_files():
        text = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()


class PackageCache(FunctionCache):
    """Numba's cache of one function, but fresh only while every kernel file is as it was when the code was compiled.

    Numba's own stamp is that of the file that holds the function alone: a change to a helper in another file would go
    on giving the old numbers, silently. The stamp stands in the files' names too, so that two versions that run at
    once never write into each other's files. Places and order of the cache folders stay numba's.
    """

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        self._base = self._impl.filename_base
        self._name = f"{self._base}-{sources_stamp()[:16]}"
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=self._name,
            source_stamp=(self._impl.locator.get_source_stamp(), sources_stamp()),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for the signature, or None where there is none that can be read."""
        try:
            return super().load_overload(sig, target_context)
        except DAMAGED:
            self.forget()
            return None  # a damaged file: the kernel is compiled, and the file written, again

    def forget(self) -> None:
        """Begin the index anew, as that of a damaged cache cannot be added to."""
        try:
            self._cache_file.flush()
        except OSError as error:
            cannot_keep(error)

    def holds_some(self) -> bool:
        """Whether there is machine code of the function, made from the sources as they are."""
        try:
            return bool(self._cache_file._load_index())
        except DAMAGED:
            return False

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled function, and remove what earlier versions of the sources left."""
        try:
            super().save_overload(sig, data)
            for old in Path(self._cache_path).glob(f"{glob.escape(self._base)}-*.nb[ic]"):
                if not old.name.startswith(self._name):
                    old.unlink(missing_ok=True)
        except OSError as error:
            cannot_keep(error)


def cannot_keep(reason: Exception) -> None:
    """Say that compiled kernels are lost with this process: a full disk, say, or no folder to write to."""
    warnings.warn(
        f"compiled kernels cannot be kept, each process compiles them anew (seconds): set NUMBA_CACHE_DIR to a folder "
        f"that can be written ({reason})",
        RuntimeWarning,
        stacklevel=3,
    )


def kernel(function: Callable) -> Callable:
    """Compile `function`: exact IEEE arithmetic, the GIL released, machine code kept between processes.

    The code is kept beside the module or, where that cannot be written, in the user's cache folder (numba's own order;
    NUMBA_CACHE_DIR comes before both). Where there is no such place, a RuntimeWarning says so.
    """
    file = Path(function.__code__.co_filename)
    if file.is_relative_to(PACKAGE) and not holds_kernels(file):
        raise RuntimeError(f"{file}: a kernel outside the files that the stamp covers, name the file *_kernels.py")
    compiled = njit(**OPTIONS)(function)
    if JIT_DISABLED:
        return compiled
    try:
        compiled._cache = PackageCache(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        cannot_keep(error)
    return compiled


def inlined(function: Callable) -> Callable:
    """A piece of kernels, compiled into each of its callers: where a call with its arrays' shapes would take as long as it."""
    return njit(**OPTIONS, forceinline=True)(function)


def is_compiled(function: Any) -> bool:
    """Whether a kernel has machine code, in this process or on disk: calling it costs no compilation."""
    if JIT_DISABLED or function.signatures:
        return True
    return isinstance(function._cache, PackageCache) and function._cache.holds_some()


def interpreted(function: Any) -> Callable:
    """The same function as Python runs it, and so are the kernels that it calls: for work smaller than compiling it."""
    made: dict[str, Callable] = {}

    def plain(kernel: Any) -> Callable:
        python = getattr(kernel, "py_func", kernel)
        if python.__qualname__ not in made:
            own = dict(python.__globals__)
            made[python.__qualname__] = FunctionType(python.__code__, own, python.__name__)
            called = [name for name in python.__code__.co_names if hasattr(own.get(name), "py_func")]
            own.update({name: plain(own[name]) for name in called})
        return made[python.__qualname__]

    return plain(function)
