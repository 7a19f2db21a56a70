"""Jobs on an existing Dask cluster, on this or many machines."""

import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from cimemu.errors import CimemuError
from cimemu.stress.jobs import TRIES, Jobs, Outcome, Task, attempt, packed, unpacked

AHEAD = 2  # jobs handed out for each thread, so that no worker waits for the client
POLL_S = 0.5
CONNECT_S = 10  # a scheduler answers within, or is not there
LOST_S = 15.0  # without its scheduler for so long, the client gives up


def run_cluster(task: Task, jobs: Jobs, address: str) -> Iterator[Outcome]:
    """Outcomes of `jobs` in the order they end, from the workers of the scheduler at `address` (tcp://host:port).

    Workers need this version of cimemu. Raises CimemuError where dask.distributed is missing, or the scheduler is
    not reached or lost.
    """
    try:
        from distributed import Client, wait
        from distributed.client import FuturesCancelledError
    except ImportError:
        raise CimemuError('dask.distributed is not installed: pip install "cimemu[dist]", or use --workers') from None
    for name in [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a lost scheduler is one line, ours; each has its own level
    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).split("\n")[0]
        raise CimemuError(f"scheduler {address}: not reached ({reason}); start it, or use --workers") from None
    coming = iter(jobs)
    payload = packed(task)
    again: list[int] = []
    failures: Counter[int] = Counter()
    running: dict[Any, int] = {}
    heard = time.monotonic()
    try:
        # A job that made it can make it again, scattered data is gone with the workers that held it. It stays bytes:
        # Dask hands results from worker to worker, and one that has not loaded a plug-in file cannot unpickle its objects.
        shared = client.submit(bytes, payload, pure=False)
        width = max(1, sum(client.nthreads().values())) * AHEAD
        while True:
            for job in [*again, *itertools.islice(coming, max(0, width - len(running)))]:
                running[client.submit(_attempt, shared, job, pure=False, retries=TRIES - 1)] = job
            again.clear()
            if not running:
                return
            try:
                done, _ = wait(list(running), timeout=POLL_S, return_when="FIRST_COMPLETED")
            except TimeoutError:
                done = set()
            if client.status == "running":
                heard = time.monotonic()
            elif client.status == "closed" or time.monotonic() - heard > LOST_S:
                raise _lost(address)
            for future in done:
                job = running.pop(future)
                if future.status == "cancelled":
                    raise _lost(address)
                outcome = _outcome(future, job)
                failures[job] += future.status != "finished"
                if future.status != "finished" and failures[job] == 1:
                    again.append(job)  # it may have died with a neighbour on its worker
                else:
                    yield outcome
            if done and client.status == "running":
                width = max(1, sum(client.nthreads().values())) * AHEAD
    except (OSError, FuturesCancelledError):
        raise _lost(address) from None
    finally:
        client.close(timeout=2)


_unpacked = lru_cache(maxsize=1)(unpacked)  # a worker's jobs share the task


def _attempt(payload: bytes, job: int) -> Outcome:
    """What a worker runs. A plug-in file that does not run there is the job's own failure."""
    try:
        task = _unpacked(payload)
    except CimemuError as error:
        return Outcome(job, None, f"{type(error).__name__}: {error}")
    return attempt(task, job)


def _outcome(future: Any, job: int) -> Outcome:
    if future.status == "finished":
        made: Outcome = future.result()
        return made
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return Outcome(job, None, "the worker process died every time")
    return Outcome(job, None, f"{type(error).__name__}: {error}, {TRIES} times")


def _lost(address: str) -> CimemuError:
    return CimemuError(f"scheduler {address}: lost; what had ended is kept, start a scheduler and go on with --resume")
