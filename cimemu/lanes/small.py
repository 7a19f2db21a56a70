"""Work that is smaller than compiling its kernels: NumPy does it, with the same bytes, until compiling would have paid."""

from collections.abc import Callable
from threading import local
from time import thread_time
from typing import Any

from cimemu.lanes.jit import is_compiled

PAYS_AFTER = 0.75  # seconds of a process in NumPy: compiling the kernels of a first run takes some 5 s


class _Spent:
    """How long NumPy has stood in for kernels in this process."""

    def __init__(self) -> None:
        self.seconds = 0.0  # of the processor, which other programs do not change
        self.inside = local()  # its `depth` is above 0 where a thread is in such a function
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
            begun = (
                getattr(SPENT.inside, "depth", 0) > 0
            )  # what stands in for larger kernels does not have parts of it compiled
            self.ready = (pays() and not begun) or all(is_compiled(kernel) for kernel in self.needed)
        return self.by_kernels(*given) if self.ready else timed(self.in_numpy, *given)


def pays() -> bool:
    """Whether kernels are compiled from now on, wherever they are not."""
    return SPENT.at_once or SPENT.seconds > PAYS_AFTER


def timed(in_numpy: Callable[..., Any], *given: Any) -> Any:
    """What a function gives that stands in for kernels; the time that it takes is counted, once where it calls others."""
    before, begun = SPENT.seconds, thread_time()
    SPENT.inside.depth = getattr(SPENT.inside, "depth", 0) + 1
    try:
        return in_numpy(*given)
    finally:
        SPENT.inside.depth -= 1
        SPENT.seconds = max(SPENT.seconds, before + thread_time() - begun)
