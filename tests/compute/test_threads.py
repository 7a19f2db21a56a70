"""Work on several threads: results in order, the first error raised, nothing begun after it."""

import multiprocessing
import sys
import threading

import pytest

from cimemu.threads import on_threads


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_results_keep_their_order(threads, count):
    assert on_threads(threads, lambda n: n * n, range(count)) == [n * n for n in range(count)]


def test_all_threads_work_at_once():
    meeting = threading.Barrier(3, timeout=60)
    idents = on_threads(3, lambda _: (meeting.wait(), threading.get_ident())[1], range(3))
    assert len(set(idents)) == 3
    assert threading.get_ident() in idents


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("helper_fails", [True, False])
def test_an_error_is_raised_and_ends_the_work(threads, helper_fails):
    caller, done = threading.get_ident(), []

    def work(n):
        if threads == 1 or (threading.get_ident() != caller) == helper_fails:
            raise KeyError(n)
        done.append(n)

    with pytest.raises(KeyError):
        on_threads(threads, work, range(10**6))
    assert len(done) < 10**6


def test_work_may_use_threads_itself():
    def inner(n):
        return sum(on_threads(2, lambda m: n * m, range(20)))

    assert on_threads(2, inner, range(50)) == [190 * n for n in range(50)]


def squares_in_a_child(queue):
    queue.put(on_threads(2, lambda n: n * n, range(30)))


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_forked_process_has_helpers_of_its_own():
    meeting = threading.Barrier(2, timeout=60)
    on_threads(2, lambda _: meeting.wait(), range(2))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=squares_in_a_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == [n * n for n in range(30)]
    child.join()
