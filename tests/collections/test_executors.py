"""Tests of jobs on executors: how many are submitted, which are lost, and how worker processes end."""

import os
import signal
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children

import pytest
import soundfile

from edgel3_np.collections import executors
from edgel3_np.collections.embed import find_jobs
from edgel3_np.collections.executors import embed_file_in_worker, process_pool, run_in_processes, run_jobs
from edgel3_np.collections.interrupts import hold_interrupts
from edgel3_np.collections.jobs import Job, Report

posix = pytest.mark.skipif(os.name != "posix", reason="only POSIX has signals")


def make_jobs(count):
    """Return an iterator of jobs whose inputs are "0", "1", ..."""
    return iter([Job(str(i), f"{i}.npz", "/", "/", str(i), "m", "0", None, 0.1, True, 1, True) for i in range(count)])


def done(job):
    return Report(job.input, job.output, "done")


class InThrees(Executor):
    """An executor that runs jobs once three of them wait, and accepts at most `accepted` jobs."""

    def __init__(self, accepted=99):
        self.accepted, self.submitted = accepted, []

    def submit(self, function, job):
        if len(self.submitted) == self.accepted:
            raise RuntimeError("cannot schedule new futures")
        future = Future()
        self.submitted.append((future, function, job))
        waiting = [each for each in self.submitted if not each[0].done()]
        if len(waiting) == 3:
            for other, function, job in waiting:
                other.set_result(function(job))
        return future


def test_every_job_is_reported_once():
    with ThreadPoolExecutor(3) as pool:
        reports = list(run_jobs(make_jobs(20), pool, 4, done))
    assert sorted(int(report.input) for report in reports) == list(range(20))
    assert {report.status for report in reports} == {"done"}
    assert list(run_jobs(iter([]), pool, 4, done)) == []  # the pool is closed, but there is nothing to submit


def test_the_function_is_embed_file_by_default(monkeypatch):
    executor = InThrees()
    reports = run_jobs(make_jobs(3), executor, 3)
    assert {report.kind for report in reports} == {"model"}  # there is no model named m
    assert {function for _, function, _ in executor.submitted} == {executors.embed_file}


def test_no_more_than_pending_jobs_are_submitted():
    executor = InThrees()
    jobs = make_jobs(9)
    reports = run_jobs(jobs, executor, 3, done)
    assert next(reports).status == "done"
    assert len(executor.submitted) == 3 and len(list(jobs)) == 6  # the others are not taken from the iterator yet
    reports.close()


def test_a_lost_worker_is_reported():
    class Losing(Executor):
        def submit(self, function, job):
            future = Future()
            if job.input == "1":
                future.set_exception(BrokenProcessPool("a process died"))
            else:
                future.set_result(function(job))
            return future

    reports = sorted(run_jobs(make_jobs(3), Losing(), 2, done))
    assert [report.kind for report in reports] == [None, "worker", None]
    assert reports[1].reason == "1: the worker was lost: BrokenProcessPool: a process died; run again"


def test_jobs_that_an_executor_does_not_accept_stay_in_the_iterator():
    jobs = make_jobs(9)
    reports = list(run_jobs(jobs, InThrees(accepted=3), 5, done))
    assert [report.kind for report in reports].count("worker") == 1 and len(reports) == 4
    assert "RuntimeError: cannot schedule new futures" in next(r.reason for r in reports if r.kind)
    assert [job.input for job in jobs] == ["4", "5", "6", "7", "8"]


def test_closing_cancels_the_submitted_jobs():
    class Waiting(Executor):
        futures = []

        def submit(self, function, job):
            future = Future()
            self.futures.append(future)
            if len(self.futures) == 1:
                future.set_result(function(job))
            return future

    executor = Waiting()
    reports = run_jobs(make_jobs(9), executor, 4, done)
    next(reports)
    reports.close()
    assert [future.cancelled() for future in executor.futures] == [False, True, True, True]


# Tests of the worker processes of this package


@pytest.fixture
def work(tmp_path, sweep, small_npz):
    """Write five short recordings; return their jobs."""
    for i in range(5):
        soundfile.write(tmp_path / f"{i}.wav", sweep[i:], 8000)
    return find_jobs(tmp_path, tmp_path / "out", model=small_npz, hop_size=0.5)[1]


def test_processes_do_every_job_and_end(work, tmp_path):
    reports = list(run_in_processes(work, 2))
    assert sorted(os.path.basename(report.input) for report in reports) == [f"{i}.wav" for i in range(5)]
    assert {report.status for report in reports} == {"done"} and len(os.listdir(tmp_path / "out")) == 5
    assert active_children() == []


def test_closing_early_ends_the_processes(work):
    reports = run_in_processes(work, 2)
    next(reports)
    assert len(active_children()) == 2
    reports.close()
    assert active_children() == []


@posix
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_in_the_with_block_interrupts_the_workers(error):
    start = time.monotonic()
    with pytest.raises(error), process_pool(1) as pool:
        pool.submit(time.sleep, 60)
        assert pool.submit(os.getpid) and active_children()
        raise error
    assert time.monotonic() - start < 30 and active_children() == []


@posix
def test_workers_ignore_ctrl_c():
    with process_pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        os.kill(pid, signal.SIGINT)
        assert pool.submit(os.getpid).result() == pid


@posix
def test_sigterm_interrupts_a_job_only_while_it_runs(monkeypatch):
    """The job cleans up as after Ctrl-C; then the process exits, which this test only records."""
    exits, before = [], signal.getsignal(signal.SIGTERM)

    def interrupted(job):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    monkeypatch.setattr(executors, "embed_file", interrupted)
    monkeypatch.setattr(executors.os, "_exit", exits.append)
    try:
        embed_file_in_worker(None)
        assert exits == [1] and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        monkeypatch.setattr(executors, "embed_file", lambda job: f"{job} done")
        assert embed_file_in_worker("a") == "a done" and exits == [1]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def handler():
    """Let this process handle interrupts as Python does, even where the shell has told it to ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@posix
def test_an_interrupt_while_a_job_is_submitted_comes_after_it(handler):
    """A process may be started then, and what runs after a fork loses interrupts."""
    log = []

    class Slow(ThreadPoolExecutor):
        def submit(self, *given):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            log.append("submitted")
            return super().submit(*given)

    with Slow(1) as pool, pytest.raises(KeyboardInterrupt):
        list(run_jobs([1, 2], pool, 1, str))
    assert log == ["submitted"] and signal.getsignal(signal.SIGINT) is handler


@posix
def test_a_handler_of_interrupts_of_the_user_is_called_and_kept(handler):
    found = []

    def note(number, frame):
        found.append(number)

    signal.signal(signal.SIGINT, note)
    with hold_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        assert found == []
    assert found == [signal.SIGINT] and signal.getsignal(signal.SIGINT) is note
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with hold_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_leave_handlers_alone():
    """Only the main thread may set them."""
    before, found = signal.getsignal(signal.SIGINT), []

    def work():
        with hold_interrupts():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
