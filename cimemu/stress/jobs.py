"""A job is a number; a task turns it into a record. Runners below give records in whatever order they come."""

import io
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from cimemu import plugins
from cimemu.errors import CimemuError

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


class _Pickler(pickle.Pickler):
    """Notes the classes of the running script, which other processes may not have."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.of_script: list[str] = []

    def reducer_override(self, thing: Any) -> Any:
        """Pickle as ever."""
        if isinstance(thing, type) and thing.__module__ == "__main__":
            self.of_script.append(thing.__name__)
        return NotImplemented


def packed(task: Any) -> bytes:
    """`task` for `unpacked` in another process, with the plug-in files that its classes are from.

    Raises CimemuError where a class cannot be imported there: it is local to a function, or of the running script.
    """
    file = io.BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise CimemuError(
            f"workers: {' '.join(str(error).split())[:200]}; define it in a file of its own, and name FILE.py:Class"
        ) from None
    if pickler.of_script:
        name = pickler.of_script[0]
        raise CimemuError(
            f"workers: {name} is defined in the running script, which other processes do not run; put it in a file of its "
            f"own and name FILE.py:{name}, or use one worker"
        )
    return pickle.dumps((plugins.files(), file.getvalue()))


def unpacked(payload: bytes) -> Any:
    """What was packed. Raises PluginError where a plug-in file does not run here."""
    files, task = pickle.loads(payload)
    for path, text in files:
        plugins.load_text(path, text)
    return pickle.loads(task)


def attempt(task: Task, job: int) -> Outcome:
    """Run a job; a mistake of the run itself (CimemuError) is an outcome, anything else is raised."""
    try:
        return Outcome(job, task.run(job))
    except CimemuError as error:
        return Outcome(job, None, f"{type(error).__name__}: {error}")
