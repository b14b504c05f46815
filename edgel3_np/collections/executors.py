"""Run jobs on any `concurrent.futures.Executor`, or in worker processes of this package, any of which may die."""

import os
import signal
import sys
import threading
from collections import deque
from contextlib import contextmanager
from functools import partial
from itertools import islice

from .interrupts import hold_interrupts
from .jobs import embed_file, failed

MAX_PROCESSES = 61 if sys.platform == "win32" else 1024  # Windows waits for 63 things at a time, two of them its own


def run_jobs(jobs, executor, pending, function=embed_file):
    """Run jobs on an executor, with a bounded number of them submitted at a time.

    Uses nothing of the executor but `submit`, and nothing of its futures but what `concurrent.futures.wait` needs.

    Parameters
    ----------
    jobs : iterable of (Job or list of Job)
        A list of jobs, which go together, is submitted as one.
    executor : concurrent.futures.Executor
    pending : int > 0
        Jobs submitted and not finished, at most; but one list of jobs always.
    function : callable, Job -> Report, or list of Job -> list of Report

    Yields
    ------
    report : Report
        In the order in which jobs end. A job whose worker dies or cannot be reached fails with the kind `worker`; jobs
        that were lost together are tried again, each alone. Once the executor accepts no more jobs, the generator ends
        and the remaining jobs are left in `jobs`.
    """
    from concurrent.futures import FIRST_COMPLETED, wait

    jobs, again, running, accepting = iter(jobs), deque(), {}, True
    try:
        while True:
            while accepting and sum(len(jobs_of(item)) for item in running.values()) < pending:
                again.extend(islice(jobs, not again))
                if not again:
                    break
                item = again.popleft()
                try:
                    running[_submit(executor, function, item)] = item
                except Exception as error:  # the executor is broken or shut down
                    accepting = False
                    again.appendleft(item)
                    yield from _lost_workers(again, error)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item, lost = running.pop(future), future.exception()
                if lost is None:
                    yield from jobs_of(future.result())
                elif isinstance(item, list) and accepting:
                    again.extend(item)
                else:
                    yield from _lost_workers([item], lost)
    finally:
        for future in running:
            future.cancel()


def _submit(executor, function, item):
    with hold_interrupts():
        return executor.submit(function, item)


def jobs_of(item):
    """Return what is submitted as one, a job or a list of jobs, as a list."""
    return item if isinstance(item, list) else [item]


def _lost_workers(items, error):
    return [_lost_worker(job, error) for item in items for job in jobs_of(item)]


def _lost_worker(job, error):
    reason = f"{job.input}: the worker was lost: {type(error).__name__}: {error}; run again"
    return failed(job, "worker", reason)


def run_in_processes(jobs, count, function=None, size=1):
    """Run jobs in `count` worker processes.

    When a process dies, all jobs that were submitted to its pool are lost, and any of them may be the cause. Each of
    these suspects runs again, alone in a process of its own (jobs that go together, as before, and if that process
    dies, one by one); then the remaining jobs continue in a new pool.

    Parameters
    ----------
    jobs : iterable of (Job or list of Job)
    count : int > 0
    function : callable, as for `run_jobs`, optional
        By default `embed_file`.
    size : int > 0
        Jobs that go together, at most.

    Yields
    ------
    report : Report
        In the order in which jobs end. A job fails with the kind `worker` if its process dies while it runs alone.
    """
    jobs, work = iter(jobs), partial(embed_file_in_worker, function=function)
    while True:
        submitted = {}  # what was submitted, by the input of each of its jobs that is not done

        def remember(submitted=submitted):
            for item in jobs:
                submitted.update((job.input, item) for job in jobs_of(item))
                yield item

        with process_pool(count) as pool:
            for report in run_jobs(remember(), pool, 2 * count * size, work):
                if report.kind != "worker":
                    del submitted[report.input]
                    yield report
        suspects = list({id(item): item for item in submitted.values()}.values())
        for item in suspects:
            yield from _run_alone(item, work)
        if not suspects:
            return


def _run_alone(item, work):
    """Yield the reports of what may have killed its process: a job, or jobs that go together."""
    with process_pool(1) as pool:
        found = list(run_jobs([item], pool, 1, work))
    lost = {report.input for report in found if report.kind == "worker"}
    if not isinstance(item, list):
        lost = set()
    yield from (report for report in found if report.input not in lost)
    for job in jobs_of(item):
        if job.input in lost:
            yield from _run_alone(job, work)


@contextmanager
def process_pool(count):
    """Open a pool of worker processes. When the block raises, they abandon their jobs, clean up and end.

    Parameters
    ----------
    count : int > 0

    Yields
    ------
    pool : concurrent.futures.ProcessPoolExecutor
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # Not an Event: its set() would wait for ever for a process that was killed
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with receiver, sender:
        pool = ProcessPoolExecutor(count, initializer=_start_worker, initargs=(receiver,))
        try:
            yield pool
        except BaseException:
            sender.send_bytes(b"stop")  # no worker receives it, so all of them see it
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def embed_file_in_worker(job, function=None):
    """Run `embed_file`, or another function of a job, in a worker process.

    There SIGTERM interrupts the job: it cleans up, then the process exits.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return (function or embed_file)(job)
    except KeyboardInterrupt:
        os._exit(1)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second signal would disturb the cleaning up
    raise KeyboardInterrupt


def _start_worker(receiver):
    """Prepare a worker process: only the parent handles Ctrl-C, which a terminal sends to every process."""
    import multiprocessing

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    arguments = (receiver, multiprocessing.parent_process())
    threading.Thread(target=_watch, args=arguments, daemon=True).start()


def _watch(receiver, parent):
    """End this process when the parent says so, or when the parent is gone."""
    while not receiver.poll(1.0) and parent.is_alive():
        pass
    os.kill(os.getpid(), signal.SIGTERM)
