"""Work that is smaller than compiling its kernels: NumPy does it, with the same bytes, until compiling would have paid."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from cimemu.lanes.jit import is_compiled

PAYS_AFTER = 0.75  # seconds of a process in NumPy: compiling the kernels of a first run takes some 5 s


class _Spent:
    """How long NumPy has stood in for kernels in this process."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.at_once = False  # `cimemu warm` and the tests of whole runs: kernels are compiled though it does not pay


SPENT = _Spent()


class Either:
    """What kernels do, or the same in NumPy: for as long as they are not compiled and a process has little for NumPy.

    Which of both ran shows in nothing but the time that it took.
    """

    def __init__(self, by_kernels: Callable[..., Any], in_numpy: Callable[..., Any], *needed: Any) -> None:
        """`needed` are the kernels that `by_kernels` calls (default: it is one itself)."""
        self.by_kernels, self.in_numpy, self.needed = by_kernels, in_numpy, needed or (by_kernels,)
        self.ready = False

    def __call__(self, *given: Any) -> Any:
        """Both take the same arguments."""
        if not self.ready:
            self.ready = pays() or all(is_compiled(kernel) for kernel in self.needed)
        return self.by_kernels(*given) if self.ready else timed(self.in_numpy, *given)


def pays() -> bool:
    """Whether kernels are compiled from now on, wherever they are not."""
    return SPENT.at_once or SPENT.seconds > PAYS_AFTER


def timed(in_numpy: Callable[..., Any], *given: Any) -> Any:
    """What a function gives that stands in for kernels; the time that it takes is counted, once where it calls others."""
    before, begun = SPENT.seconds, perf_counter()
    made = in_numpy(*given)
    SPENT.seconds = max(SPENT.seconds, before + perf_counter() - begun)
    return made
