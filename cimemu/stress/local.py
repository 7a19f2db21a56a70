"""Jobs in local processes: a job whose worker dies is tried again, and only that job."""

import itertools
import multiprocessing
import pickle
import signal
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from cimemu.errors import CimemuError
from cimemu.stress.jobs import TRIES, Jobs, Outcome, Task, attempt


class _Worker:
    """One process and the job that it has."""

    def __init__(self, payload: bytes) -> None:
        context = multiprocessing.get_context("spawn")  # forked threads of compiled code would hang
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, payload), daemon=True)
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
    """Outcomes of `jobs` in the order they end, from `workers` processes. CimemuError for less than one."""
    if workers < 1:
        raise CimemuError(f"workers = {workers}, must be >= 1")
    coming, again = iter(jobs), deque[int]()
    tries: dict[int, int] = {}
    payload = pickle.dumps(task)
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


def _serve(pipe: Connection, payload: bytes) -> None:
    """The process: jobs in, (outcome, "") or (None, error) out, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the client's
    task: Any = pickle.loads(payload)
    try:
        while True:
            job = pipe.recv()
            try:
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
