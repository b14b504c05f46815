"""Run jobs on any `concurrent.futures.Executor`; and on processes of our own, which may die."""

import os
import signal
import threading
from contextlib import contextmanager
from itertools import islice

from .jobs import embed_file, failed


def run(jobs, executor, pending, function=embed_file):
    """Run jobs on an executor, with a bounded number of them handed over at a time.

    Nothing of the executor is used but `submit`, and of its futures what `concurrent.futures.wait` uses.

    Parameters
    ----------
    jobs : iterable of Job
    executor : concurrent.futures.Executor
    pending : int > 0
    function : callable, Job -> Report

    Yields
    ------
    report : Report
        As jobs end. A job whose worker died or could not be reached fails with the kind `worker`; once the executor
        takes no more jobs, the generator ends, and `jobs` still has the others.
    """
    from concurrent.futures import FIRST_COMPLETED, wait

    jobs, running, open_ = iter(jobs), {}, True
    try:
        while True:
            for job in islice(jobs, max(0, pending - len(running)) if open_ else 0):
                try:
                    running[executor.submit(function, job)] = job
                except Exception as error:  # broken, or shut down
                    open_ = False
                    yield _lost(job, error)
                    break
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    report = future.result()
                except Exception as error:
                    report = _lost(job, error)
                yield report
    finally:
        for future in running:
            future.cancel()


def _lost(job, error):
    reason = f"{job.input}: the worker was lost: {type(error).__name__}: {error}; run again"
    return failed(job, "worker", reason)


def run_in_processes(jobs, count):
    """Run jobs in `count` processes; where one dies, go on in new ones, and find out whose job it was.

    Yields
    ------
    report : Report
        As jobs end. A job fails with the kind `worker` if its process died when it ran there alone.
    """
    jobs, by_input = iter(jobs), {}

    def remembered():
        for job in jobs:
            by_input[job.input] = job
            yield job

    while True:
        suspects = []
        with processes(count) as pool:
            for report in run(remembered(), pool, 2 * count, embed_file_here):
                job = by_input.pop(report.input)
                if report.kind == "worker":
                    suspects.append(job)
                else:
                    yield report
        for job in suspects:
            with processes(1) as pool:
                yield from run([job], pool, 1, embed_file_here)
        if not suspects:
            return


@contextmanager
def processes(count):
    """A pool of processes that stop what they do, and clean up, when the block is left by an exception."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    told, tell = multiprocessing.Pipe(duplex=False)  # not an Event, whose set() waits for processes that were killed
    with told, tell:
        pool = ProcessPoolExecutor(count, initializer=_begin, initargs=(told,))
        try:
            yield pool
        except BaseException:
            tell.send_bytes(b"stop")  # nobody reads it: all see that it is there
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def embed_file_here(job):
    """`embed_file` in a process of ours: SIGTERM ends it too, but only when what was begun has been cleaned up."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return embed_file(job)
    except KeyboardInterrupt:
        os._exit(1)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough, and the cleaning up must not be disturbed
    raise KeyboardInterrupt


def _begin(told):
    """Set up a process of ours: Ctrl-C, which a terminal sends to all, is for the parent, who will tell."""
    import multiprocessing

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    arguments = (told, multiprocessing.parent_process())
    threading.Thread(target=_watch, args=arguments, daemon=True).start()


def _watch(told, parent):
    """End this process when told to, or when its parent is gone."""
    while not told.poll(1.0) and parent.is_alive():
        pass
    os.kill(os.getpid(), signal.SIGTERM)
