"""NumPy's BLAS has one thread while cimemu computes, and as many as before when it is done."""

from threading import Thread

import nets
import numpy as np
import pytest
import threadpoolctl

import cimemu
from cimemu.layer.execute import run_float
from cimemu.threads import one_blas_thread


def blas_threads():
    return [info["num_threads"] for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]


def test_the_limit_holds_inside_and_ends_with_the_last_who_asked_for_it():
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before, seen = blas_threads(), []
        with one_blas_thread():
            seen.append(blas_threads())
            inner = Thread(target=one_blas_thread()(lambda: seen.append(blas_threads())))
            inner.start()
            inner.join()
            seen.append(blas_threads())
        assert {count for counts in seen for count in counts} == {1}
        assert blas_threads() == before


def test_an_error_ends_it_too():
    before = blas_threads()
    with pytest.raises(cimemu.WorkloadError):
        run_float(nets.residual_network(), np.zeros((1, 2)), ["no such tensor"])
    assert blas_threads() == before
