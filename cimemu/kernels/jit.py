"""The one decorator of every kernel: compiled on first use, cached on disk, no fast-math."""

from numba import config, njit

JIT_DISABLED = bool(config.DISABLE_JIT)


def kernel(function):
    """Compile `function`: exact IEEE arithmetic, the GIL released, machine code kept between processes."""
    return njit(cache=True, fastmath=False, nogil=True, error_model="numpy", boundscheck=False)(function)
