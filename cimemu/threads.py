"""Independent pieces of work on several threads, the caller's own among them."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

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
