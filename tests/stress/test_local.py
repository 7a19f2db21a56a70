import os

import pytest

from cimemu.errors import CimemuError
from cimemu.stress.local import run_local
from stress.tasks import Square, Unlucky, Where


@pytest.mark.slow
def test_of_two_workers_a_dead_one_costs_only_its_own_job_a_try(tmp_path):
    task = Unlucky(str(tmp_path), once=(2,), always=(4,), wrong=(1,), odd=(5,))
    outcomes = {o.job: o for o in run_local(task, iter(range(7)), 2)}
    assert sorted(outcomes) == list(range(7))
    assert {job for job, o in outcomes.items() if o.record is None} == {1, 4, 5}
    assert all(o.record["value"] == job**2 for job, o in outcomes.items() if o.record)
    assert outcomes[4].error == "the worker process died (signal SIGKILL), 3 times"
    assert outcomes[1].error == "WorkloadError: job 1 cannot be"
    assert outcomes[5].error == "ZeroDivisionError: odd, 3 times"


def test_one_worker_is_this_process_and_tries_a_job_as_often(tmp_path):
    outcomes = {o.job: o for o in run_local(Unlucky(str(tmp_path), wrong=(1,), odd=(2,)), iter(range(3)), 1)}
    assert outcomes[0].record["value"] == 0
    assert outcomes[1].error == "WorkloadError: job 1 cannot be"
    assert outcomes[2].error == "ZeroDivisionError: odd, 3 times"
    assert next(run_local(Where(), iter([0]), 1)).record["process"] == os.getpid()


def test_every_job_ends_once_with_its_own_record_and_none_is_asked_for_before_a_worker_is_free():
    asked = []

    def jobs():
        for job in range(6):
            asked.append(job)
            yield job

    seen = []
    for outcome in run_local(Square(), jobs(), 1):
        seen.append(outcome.job)
        assert outcome.record["value"] == outcome.job**2
        assert len(asked) <= len(seen) + 1
    assert seen == list(range(6))


def test_no_workers_is_refused():
    with pytest.raises(CimemuError, match="workers = 0, must be >= 1"):
        list(run_local(Square(), iter([1]), 0))
