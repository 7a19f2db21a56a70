"""Jobs on this machine: one worker is this process; of several, a job whose worker dies is tried again, and only that job."""

import itertools
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any

from cimemu.errors import CimemuError
from cimemu.stress.jobs import TRIES, Jobs, Outcome, Task, attempt, packed, unpacked


class _Worker:
    """One process and the job that it has."""

    def __init__(self, payload: bytes) -> None:
        context = multiprocessing.get_context("spawn")  # forked threads of compiled code would hang
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, payload), daemon=True)
        with _script_hidden():
            self.process.start()
        far.close()
        self.job: int | None = None

    def give(self, job: int) -> bool:
        """Hand over a job; False where the process is dead already."""
        self.job = job
        try:
            self.pipe.send(job)
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


def run_local(task: Task, jobs: Jobs, workers: int = 1) -> Iterator[Outcome]:
    """Outcomes of `jobs` in the order they end: from this process, or from several. CimemuError for less than one worker."""
    if workers < 1:
        raise CimemuError(f"workers = {workers}, must be >= 1")
    if workers == 1:
        yield from (_here(task, job) for job in jobs)
        return
    coming, again = iter(jobs), deque[int]()
    tries: dict[int, int] = {}
    payload = packed(task)
    crew: list[_Worker] = []
    try:
        for job in itertools.islice(coming, workers):
            crew.append(_Worker(payload))
            crew[-1].give(job)
        while any(worker.job is not None for worker in crew):
            ready = set(wait([worker.pipe for worker in crew if worker.job is not None]))
            for number, worker in enumerate(crew):
                if worker.pipe not in ready or worker.job is None:
                    continue
                job, outcome, error = worker.job, None, ""
                try:
                    outcome, error = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.process.join()
                    error = f"the worker process died ({_how(worker.process.exitcode)})"
                    worker.stop()
                    crew[number] = worker = _Worker(payload)
                worker.job = None
                if outcome is not None:
                    yield outcome
                else:
                    tries[job] = tries.get(job, 0) + 1
                    if tries[job] < TRIES:
                        again.append(job)
                    else:
                        yield Outcome(job, None, f"{error}, {TRIES} times")
                following = again.popleft() if again else next(coming, None)
                if following is not None:
                    worker.give(following)
    finally:
        for worker in crew:
            worker.stop()


@contextmanager
def _script_hidden() -> Iterator[None]:
    """A process that starts meanwhile does not run the user's script again, which may have no `if __name__` guard."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _here(task: Task, job: int) -> Outcome:
    """The outcome of a job in this process, as workers give it."""
    error = ""
    for _ in range(TRIES):
        try:
            return attempt(task, job)
        except Exception as raised:  # as of a worker, which reports it
            error = f"{type(raised).__name__}: {raised}"
    return Outcome(job, None, f"{error}, {TRIES} times")


def _serve(pipe: Connection, payload: bytes) -> None:
    """The process: jobs in, (outcome, "") or (None, error) out, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the client's
    task: Any = None
    try:
        while True:
            job = pipe.recv()
            try:
                task = task or unpacked(payload)
                reply: tuple[Outcome | None, str] = (attempt(task, job), "")
            except Exception as error:  # reported to the client, which tries again or gives up
                reply = (None, f"{type(error).__name__}: {error}")
            pipe.send(reply)
    except (EOFError, OSError):
        return


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit status {code}"
