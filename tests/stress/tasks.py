"""Tasks that workers import: quick ones, and ones that misbehave."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from cimemu.errors import WorkloadError


@dataclass(frozen=True)
class Square:
    """job^2, after a while."""

    seconds: float = 0.0

    def run(self, job):
        time.sleep(self.seconds)
        return {"value": job * job, "row": [job, job + 1]}


@dataclass(frozen=True)
class Where:
    """The process that runs the job."""

    def run(self, job):
        return {"process": os.getpid()}


@dataclass(frozen=True)
class Unlucky:
    """Kills its worker the first time that a job in `once` runs, and always for a job in `always`; raises for others."""

    folder: str
    once: tuple = ()
    always: tuple = ()
    wrong: tuple = ()
    odd: tuple = ()

    def run(self, job):
        marker = Path(self.folder) / f"tried{job}"
        if job in self.always or (job in self.once and not marker.exists()):
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if job in self.wrong:
            raise WorkloadError(f"job {job} cannot be")
        if job in self.odd:
            raise ZeroDivisionError("odd")
        return {"value": job * job, "row": [job, job + 1]}
