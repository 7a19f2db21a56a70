"""A job is a number; a task turns it into a record. Runners below give records in whatever order they come."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

Record = dict[str, Any]
TRIES = 3  # of a job whose worker dies, or that raises what is not a user's mistake


class Task(Protocol):
    """What workers are given once: picklable, and heavy things are made on first use."""

    def run(self, job: int) -> Record:
        """The record of one job; the same wherever and whenever it runs."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A finished job: its record, or why there is none."""

    job: int
    record: Record | None
    error: str = ""


Jobs = Iterable[int]
Runner = Callable[[Task, Jobs], Iterator[Outcome]]


def attempt(task: Task, job: int) -> Outcome:
    """Run a job; a mistake of the run itself (CimemuError) is an outcome, anything else is raised."""
    from cimemu.errors import CimemuError

    try:
        return Outcome(job, task.run(job))
    except CimemuError as error:
        return Outcome(job, None, f"{type(error).__name__}: {error}")
