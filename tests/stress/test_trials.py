import os
import signal
import subprocess
import sys
import time
import tracemalloc

import h5py
import numpy as np
import pytest

from cimemu.errors import TraceError
from cimemu.stress.campaign import Campaign, Work, run_campaign
from cimemu.trace.trials import Chosen, Field, Status, create_trials, resume_trials
from stress.tasks import Square, Unlucky

FIELDS = (Field("value", "int64"), Field("row", "int16", (2,)))


def campaign(task, points=3, trials=4, wanted=None, **identity):
    return Campaign("stress", task, FIELDS, points, trials, {"seed": 0, **identity}, wanted)


def go(made, out, **changes):
    done = run_campaign(made, Work(out=out, **changes))
    done.finish({"trials": {"value": done.values["value"], "status": done.status}}, {"seed": 0})
    return done


@pytest.mark.slow
def test_the_partial_file_opens_with_what_has_ended_and_resume_gives_the_same_bytes(tmp_path):
    whole, cut = tmp_path / "whole.h5", tmp_path / "cut.h5"
    go(campaign(Square()), whole)
    store = create_trials(cut, {"seed": 0}, FIELDS, 3, 4, overwrite=False)
    store.commit(1, 0, {"value": 1, "row": [1, 2]})
    store.close()
    with h5py.File(tmp_path / "cut.h5.partial") as file:
        assert not file.attrs["complete"]
        assert file["trials/status"][()].sum() == 1
        assert file["trials/value"][1, 0] == 1
    go(campaign(Square()), None, resume=tmp_path / "cut.h5.partial")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.h5", "whole.h5"]
    assert cut.read_bytes() == whole.read_bytes()


def test_a_torn_record_counts_as_missing(tmp_path):
    store = create_trials(tmp_path / "a.h5", {"seed": 0}, FIELDS, 2, 2, overwrite=False)
    store.commit(0, 0, {"value": 7, "row": [1, 2]})
    store.commit(1, 1, {"value": 8, "row": [1, 2]})
    store.file["trials/value"][0, 0] = 6
    store.close()
    again = resume_trials(tmp_path / "a.h5.partial", {"seed": 0}, FIELDS)
    assert again.status.tolist() == [[Status.MISSING, 0], [0, Status.DONE]]
    again.close()


CLIENT = """
import sys; sys.path[:0] = {path!r}
from pathlib import Path
from stress.tasks import Square
from stress.test_trials import campaign, go
if __name__ == "__main__":
    go(campaign(Square(0.02), 4, 20), Path({out!r}), workers=2, **{extra})
"""


def start(tmp_path, out, extra):
    script = tmp_path / "client.py"
    script.write_text(CLIENT.format(path=sys.path, out=str(out), extra=extra))
    return subprocess.Popen([sys.executable, str(script)])


def kept(partial):
    """Trials that a partial file holds, also while it is written; 0 where there is none."""
    if not partial.exists():
        return 0
    with h5py.File(partial, "r", locking=False) as file:
        return int((file["trials/status"][()] == Status.DONE).sum())


@pytest.mark.long
@pytest.mark.slow
def test_killed_at_any_moment_a_run_goes_on_where_it_was(tmp_path):
    go(campaign(Square(), 4, 20), tmp_path / "whole.h5")
    out = tmp_path / "cut.h5"
    partial = tmp_path / "cut.h5.partial"
    rng = np.random.default_rng(3)
    extra, seen = "{}", [0]
    for _ in range(4):
        client = start(tmp_path, out, extra)
        deadline = time.monotonic() + 60
        while kept(partial) <= seen[-1] and not out.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        os.kill(client.pid, signal.SIGKILL)
        client.wait()
        if out.exists():
            break
        seen.append(kept(partial))
        extra = repr({"resume": str(partial)}).replace("'" + str(partial) + "'", f"Path({str(partial)!r})")
    assert seen == sorted(seen)
    if not out.exists():
        assert seen[-1] > 0
        assert start(tmp_path, out, extra).wait(timeout=120) == 0
    assert out.read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing_in_the_file(tmp_path):
    go(campaign(Square()), tmp_path / "a.h5")
    go(campaign(Unlucky(str(tmp_path), once=(0, 11))), tmp_path / "b.h5", workers=2)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_trial_that_always_fails_is_kept_with_its_reason_and_the_rest_goes_on(tmp_path):
    done = go(campaign(Unlucky(str(tmp_path), wrong=(4,))), tmp_path / "b.h5")
    assert done.status[1, 1] == Status.FAILED  # job 4 of 3 points: trial 1, point 1
    assert done.values["error"][1, 1] == "WorkloadError: job 4 cannot be"
    assert (done.status == Status.DONE).sum() == 11


def test_a_point_that_has_enough_trials_gets_no_more(tmp_path):
    enough = lambda point, status, values: 2 if point == 1 else 4  # noqa: E731
    done = go(campaign(Square(), wanted=enough), None)
    assert (done.status == Status.DONE).sum(axis=1).tolist() == [4, 2, 4]


def test_names_that_are_taken_and_runs_that_differ_are_refused(tmp_path):
    out = tmp_path / "a.h5"
    store = create_trials(out, {"seed": 0, "arch": "x"}, FIELDS, 2, 2, overwrite=False)
    store.close()
    with pytest.raises(TraceError, match=r"is an unfinished run, go on with --resume"):
        create_trials(out, {"seed": 0}, FIELDS, 2, 2, overwrite=False)
    with pytest.raises(TraceError, match=r"was made with arch = x, now y"):
        resume_trials(tmp_path / "a.h5.partial", {"seed": 0, "arch": "y"}, FIELDS)
    with pytest.raises(TraceError, match=r"an unfinished run ends in .partial"):
        resume_trials(out, {}, FIELDS)
    with pytest.raises(TraceError, match=r"no such file"):
        resume_trials(tmp_path / "b.h5.partial", {}, FIELDS)
    out.write_text("mine")
    with pytest.raises(TraceError, match=r"exists already"):
        create_trials(out, {}, FIELDS, 2, 2, overwrite=False)


class Wide:
    """Many values a trial; trial 3 of every seven fails."""

    def run(self, job):
        if job % 7 == 3:
            raise TraceError("not this one")
        return {"value": job, "row": np.arange(1000) % 5 * 0.1 + job % 3}


def test_values_of_trials_stay_in_the_file_and_come_out_of_it_in_parts(tmp_path):
    trials, fields = 2000, (Field("value", "int64"), Field("row", "float64", (1000,)))
    made = Campaign("stress", Wide(), fields, 2, trials // 2, {"seed": 0})

    def finished(work):
        done = run_campaign(made, work)
        ran = done.status == Status.DONE
        rows = Chosen(done.values["row"], ran)
        means = np.stack([rows.mean(0), rows.mean(1)])
        done.finish({"trials": {"row": rows, "error": np.where(ran, "", done.values["error"])}}, {})
        return means

    in_memory = run_campaign(made, Work())
    row, ran = in_memory.values["row"], in_memory.status == Status.DONE
    assert 0 < ran.sum() < trials
    tracemalloc.start()
    means = finished(Work(out=tmp_path / "a.h5"))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < row.nbytes / 3  # the finished file, compressed, is the largest part
    for point in range(2):
        total = np.zeros(1000)
        for values in row[point, ran[point]]:
            total += values
        assert np.array_equal(means[point], total / ran[point].sum())
    assert np.isnan(Chosen(row, np.zeros_like(ran)).mean(0)).all()
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["trials/row"][()], np.where(ran[:, :, None], row, 0))
        assert np.array_equal(file["trials/error"].asstr()[()] != "", ~ran)
