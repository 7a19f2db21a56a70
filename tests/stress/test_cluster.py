import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from cimemu.errors import CimemuError
from cimemu.stress.cluster import run_cluster
from stress.tasks import Square, Unlucky
from stress.test_trials import campaign, go

# Found, not imported: that takes a second in every process of the suite.
NEEDS_DASK = pytest.mark.skipif(find_spec("distributed") is None, reason="needs the package distributed")
pytestmark = NEEDS_DASK


class Cluster:
    """A scheduler and two workers in processes of their own, on this machine."""

    def __init__(self, folder):
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self.file = folder / "scheduler.json"
        common = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
        self.scheduler = self.start([*common, "--no-dashboard", "--scheduler-file", str(self.file)])
        self.workers = [self.worker(folder) for _ in range(2)]
        deadline = time.monotonic() + 60
        while not self.file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        import json

        self.address = json.loads(self.file.read_text())["address"]

    def start(self, command):
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def worker(self, folder):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(self.file)]
        command += ["--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)]
        return self.start(command)

    def stop(self):
        for process in (*self.workers, self.scheduler):
            process.terminate()
        for process in (*self.workers, self.scheduler):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.stop()


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_in_this_process_gives_the_same_bytes_and_the_reasons_of_failures(tmp_path):
    from distributed import LocalCluster

    go(campaign(Square()), tmp_path / "local.h5")
    near = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None)
    with near as cluster:
        go(campaign(Square()), tmp_path / "cluster.h5", scheduler=cluster.scheduler_address)
        task = Unlucky(str(tmp_path), wrong=(1,), odd=(2,))
        wrong = {o.job: o for o in run_cluster(task, iter(range(4)), cluster.scheduler_address)}
    assert (tmp_path / "local.h5").read_bytes() == (tmp_path / "cluster.h5").read_bytes()
    assert wrong[1].error == "WorkloadError: job 1 cannot be"
    assert "ZeroDivisionError: odd" in wrong[2].error
    assert wrong[3].record["value"] == 9


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_bytes_as_one_process_also_when_workers_die(cluster, tmp_path):
    go(campaign(Square()), tmp_path / "local.h5")
    go(campaign(Square()), tmp_path / "cluster.h5", scheduler=cluster.address)
    go(campaign(Unlucky(str(tmp_path), once=(1, 6))), tmp_path / "deaths.h5", scheduler=cluster.address)
    assert (tmp_path / "local.h5").read_bytes() == (tmp_path / "cluster.h5").read_bytes()
    assert (tmp_path / "local.h5").read_bytes() == (tmp_path / "deaths.h5").read_bytes()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_killed_scheduler_is_one_line_and_resume_gives_the_same_bytes(cluster, tmp_path, capfd):
    go(campaign(Square(), 4, 50), tmp_path / "whole.h5")
    killed = []

    def kill(stage, done, total):
        if done == 20 and not killed:
            killed.append(done)
            os.kill(cluster.scheduler.pid, signal.SIGKILL)

    with pytest.raises(CimemuError, match=r"lost; what had ended is kept.*--resume"):
        go(campaign(Square(0.1), 4, 50), tmp_path / "cut.h5", scheduler=cluster.address, progress=kill)
    assert "Traceback" not in capfd.readouterr().err
    partial = tmp_path / "cut.h5.partial"
    assert partial.exists()
    go(campaign(Square(), 4, 50), None, resume=partial)
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_scheduler_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr("cimemu.stress.cluster.CONNECT_S", 1)
    with pytest.raises(CimemuError, match=r"scheduler tcp://127.0.0.1:9: not reached"):
        list(run_cluster(Square(), iter([1]), "tcp://127.0.0.1:9"))
