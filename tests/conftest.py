"""Whole-suite settings: `pytest` alone uses every core, `pytest FILE` and benches run in one process."""

import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None)  # wall time is never asserted
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def _kernels():
    """Kernels are compiled however small a test is: what NumPy does in their place has tests of its own."""
    from cimemu.lanes.small import SPENT

    SPENT.at_once = True


@pytest.fixture(autouse=True)
def _plugins():
    """Plug-in files that a test loads end with it: what a later test lists does not depend on what ran before."""
    from cimemu import plugins

    before = {path for path, _ in plugins.files()}
    yield
    for path, _ in plugins.files():
        if path not in before:
            plugins.forget(path)


def pytest_xdist_auto_num_workers(config):
    """Workers of `-n auto`, which is the default: one process where tests are chosen by name, or timed.

    A single file ends before a second process has imported NumPy and Numba, and rates are those of a quiet machine.
    """
    import os

    chosen = [arg for arg in config.args if not str(arg).rstrip("/").endswith("tests")]
    timed = config.getoption("benchmark_enable", False) or config.getoption("markexpr", "") == "bench"
    if chosen or timed:
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
