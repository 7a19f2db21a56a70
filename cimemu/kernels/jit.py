"""The one decorator of every kernel: compiled on first use, cached on disk, no fast-math."""

import warnings

from numba import config, njit

JIT_DISABLED = bool(config.DISABLE_JIT)


def kernel(function):
    """Compile `function`: exact IEEE arithmetic, the GIL released, machine code kept between processes.

    The code is kept beside the module or, where that cannot be written, in the user's cache folder (numba's own order;
    NUMBA_CACHE_DIR comes before both). Where there is no such place, a RuntimeWarning says so.

    `_nrt=False`: no reference counts, as kernels allocate nothing and callers hold the arrays. Counting them at every
    call of a small kernel took more than half of the event engine's time.
    """
    options = {"fastmath": False, "nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        warnings.warn(
            "compiled kernels cannot be kept, each process compiles them anew (seconds): set NUMBA_CACHE_DIR to a folder "
            "that can be written",
            RuntimeWarning,
            stacklevel=2,
        )
        return njit(**options)(function)
