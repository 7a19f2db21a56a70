"""Independent pieces of work on several threads, the caller's own among them."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, lru_cache
from threading import Lock
from typing import Any, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


@cache
def _helpers(count: int) -> ThreadPoolExecutor:
    """Threads that stay: starting one takes as long as a small layer."""
    return ThreadPoolExecutor(count, thread_name_prefix="cimemu")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # a child has none of its parent's threads


def on_threads(threads: int, work: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """[work(item) for item in items] on `threads` threads; after an error, which is raised, no further item is begun.

    The caller works too, and waits only for helpers that have begun: work may call this function in its turn.
    """
    given = list(items)
    made: dict[int, Made] = {}
    left = iter(range(len(given)))

    def take() -> None:
        try:
            for place in left:
                made[place] = work(given[place])
        except BaseException:
            for _ in left:  # the others find nothing to take
                pass
            raise

    helpers = min(threads, len(given)) - 1
    others = [_helpers(threads - 1).submit(take) for _ in range(helpers)]
    try:
        take()
    finally:
        begun = [other for other in others if not other.cancel()]
        wait(begun)
    for other in begun:
        other.result()
    return [made[place] for place in range(len(given))]


class _Blas:
    """The limit of NumPy's BLAS: the first who asks for it sets it, the last one takes it away."""

    def __init__(self) -> None:
        self.lock, self.users = Lock(), 0
        self.before: Any = None

    def enter(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.before = _controller(len(sys.modules)).limit(limits=1, user_api="blas")

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.before.restore_original_limits()


_BLAS = _Blas()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_BLAS.__init__)  # type: ignore[misc]  # its lock may be held by another thread


@lru_cache(maxsize=1)
def _controller(modules: int) -> Any:
    """What limits the libraries that are loaded; a module imported since (SciPy, PyTorch) may have brought a BLAS of its own."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS on the thread that calls it, which is one of as many as were asked for; also a decorator.

    A BLAS of its own threads has them wait in loops for every small product, beside ours and other processes'.
    """
    _BLAS.enter()
    try:
        yield
    finally:
        _BLAS.leave()
