"""A campaign: jobs by (point, trial) from a runner into a trial file, resumed where it was left."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from cimemu import bounds
from cimemu.errors import CimemuError, TraceError
from cimemu.options import Progress
from cimemu.stress.jobs import Outcome, Task
from cimemu.trace.schema import SCHEMA_VERSION
from cimemu.trace.trials import Field, Record, Status, TrialFile, create_trials, resume_trials
from cimemu.version import __version__

MOST_WORKERS = 1024
Stop = Callable[[int, NDArray[np.uint8], Mapping[str, NDArray[Any]]], int]  # point, status, values -> trials wanted


@dataclass(frozen=True, eq=False)
class Campaign:
    """What is run: `points` x `trials` jobs of `task`, job = trial * points + point (all points' first trials first)."""

    kind: str
    task: Task
    fields: Sequence[Field]
    points: int
    trials: int
    identity: Mapping[str, Any]
    wanted: Stop | None = None  # how many trials of a point are enough by now; None: all


@dataclass(eq=False)
class Done:
    """Records of a finished campaign: fields `[points, trials, ...]` and their status.

    Of a run with a file only numbers are in memory; fields of several values a trial stay in the file until it is finished.
    """

    kind: str
    status: NDArray[np.uint8]
    values: dict[str, Any]
    file: TrialFile | None = field(repr=False, default=None)

    def finish(self, groups: Mapping[str, Mapping[str, Any]], attributes: Mapping[str, Any]) -> None:
        """Write the whole file, where one was asked for."""
        if self.file is None:
            return
        known = {"schema_version": SCHEMA_VERSION, "cimemu_version": __version__, "kind": self.kind, "complete": True}
        self.file.finish({**known, **attributes}, groups)


@dataclass(frozen=True)
class Work:
    """Where a campaign's jobs run and where its results go. No field changes a result.

    `out` names the HDF5 file (None: results are only returned), which `overwrite` may replace; while the campaign runs,
    every finished job is kept in `OUT.partial`, and `resume` names that file to go on. `workers` are processes on this
    machine; `scheduler` is the address of a Dask scheduler, whose workers take their place. `progress` is called with
    ("trials", done, of how many). Raises CimemuError where `workers` is out of its range.
    """

    out: str | Path | None = None
    workers: int = 1
    scheduler: str | None = None
    resume: str | Path | None = None
    overwrite: bool = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        bounds.whole("workers", self.workers, 1, MOST_WORKERS)


class WorkKeywords(TypedDict, total=False):
    """Every field of `Work`, as a keyword of `stress` and `sweep`."""

    out: str | Path | None
    workers: int
    scheduler: str | None
    resume: str | Path | None
    overwrite: bool
    progress: Progress | None


def run_campaign(campaign: Campaign, work: Work) -> Done:
    """Run every job that is not done yet. The caller finishes the file. Raises CimemuError; what ended is kept."""
    store = _open(campaign, work)
    shape = (campaign.points, campaign.trials)
    if store is None:
        status = np.zeros(shape, dtype=np.uint8)
        values = {f.name: np.zeros((*shape, *f.shape), dtype=f.dtype) for f in campaign.fields}
        values["error"] = np.full(shape, "", dtype=object)
    else:
        status = store.status.copy()
        values = store.values()
    try:
        jobs = _missing(campaign, status, values)
        for outcome in _runner(campaign.task, jobs, work):
            trial, point = divmod(outcome.job, campaign.points)
            _keep(outcome, (point, trial), status, values)
            if store is not None:
                if outcome.record is None:
                    store.fail(point, trial, outcome.error)
                else:
                    store.commit(point, trial, outcome.record)
            if work.progress is not None:
                work.progress("trials", int((status != Status.MISSING).sum()), status.size)
    except BaseException:
        if store is not None:
            if work.resume is None and not (store.status != Status.MISSING).any():
                store.discard()
            else:
                store.close()
        raise
    return Done(campaign.kind, status, values, store)


def _open(campaign: Campaign, work: Work) -> TrialFile | None:
    resume, out = work.resume, work.out
    if resume is not None:
        if out is not None and Path(resume).with_suffix("") != Path(out):
            raise TraceError(
                f"--resume {resume} writes {Path(resume).with_suffix('')}, but --out is {out}: leave --out away"
            )
        shape = (campaign.points, campaign.trials)
        return resume_trials(Path(resume), campaign.identity, campaign.fields, shape, overwrite=work.overwrite)
    if out is None:
        return None
    return create_trials(
        Path(out), campaign.identity, campaign.fields, campaign.points, campaign.trials, overwrite=work.overwrite
    )


def _missing(campaign: Campaign, status: NDArray[np.uint8], values: Mapping[str, NDArray[Any]]) -> Iterator[int]:
    """Jobs still to be run, in order; asked for one at a time, so that a point that has enough gets no more."""
    for trial in range(campaign.trials):
        for point in range(campaign.points):
            if status[point, trial] != Status.MISSING:
                continue
            if campaign.wanted is not None and campaign.wanted(point, status, values) <= trial:
                continue
            yield trial * campaign.points + point


def _runner(task: Task, jobs: Iterator[int], work: Work) -> Iterator[Outcome]:
    if work.scheduler is not None:
        from cimemu.stress.cluster import run_cluster

        return run_cluster(task, jobs, work.scheduler)
    from cimemu.stress.local import run_local

    return run_local(task, jobs, work.workers)


def _keep(outcome: Outcome, at: tuple[int, int], status: NDArray[np.uint8], values: Mapping[str, Any]) -> None:
    """In memory; what is a dataset of the file is written there."""
    record: Record | None = outcome.record
    if record is None:
        status[at] = Status.FAILED
        values["error"][at] = outcome.error
        return
    status[at] = Status.DONE
    for name, value in record.items():
        if name not in values:
            raise CimemuError(f"record has an unknown field {name!r}")
        if isinstance(values[name], np.ndarray):
            values[name][at] = value
