"""The one decorator of every kernel: compiled on first use, cached on disk, no fast-math."""

from numba import config, njit

JIT_DISABLED = bool(config.DISABLE_JIT)


def kernel(function):
    """Compile `function`: exact IEEE arithmetic, the GIL released, machine code kept between processes.

    `_nrt=False`: no reference counts, as kernels allocate nothing and callers hold the arrays. Counting them at every
    call of a small kernel took more than half of the event engine's time.
    """
    return njit(cache=True, fastmath=False, nogil=True, error_model="numpy", boundscheck=False, _nrt=False)(function)
