"""Run jobs on an engine, some of which kill their worker or are slow: `python tests/engine_jobs.py ENGINE WHAT ...`.

`collections/test_engines.py` starts it, under mpiexec too. Workers import this module: it must be on PYTHONPATH.
"""

import json
import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import clusters

from edgel3_np.collections.embed import find_jobs
from edgel3_np.collections.jobs import Job, Report, embed_file

MANY = 1000


def deadly(job):
    """Embed a recording; one of them kills the worker."""
    if job.name == "07.wav":
        os.kill(os.getpid(), signal.SIGKILL)
    return embed_file(job)


def slow(job):
    """Embed a recording after half a second, and leave a mark of the start."""
    Path(f"{job.root}-{os.path.basename(job.output)}.started").touch()
    time.sleep(0.5)
    return embed_file(job)


def idle(job):
    """Report that a recording is done, without a look at it."""
    return Report(job.input, job.output, "done")


def make_jobs(count):
    """Return an iterator of jobs whose inputs are "0", "1", ..."""
    return iter([Job(str(i), f"{i}.npz", "/", "/", str(i), "m", "0", None, 0.1, True, 1, True) for i in range(count)])


def without_processes(context, jobs, function=embed_file):
    """Run jobs on Spark in its own workers."""
    yield from context.parallelize(list(jobs), 4).map(function).collect()


def short(reports):
    """Return the name, the status and the kind of each report, in order of names."""
    return sorted((os.path.basename(report.input), report.status, report.kind) for report in reports)


def try_all(engine, run, jobs):
    """Run jobs that succeed, very many of them, some that are closed early, and the first again.

    Returns
    -------
    found : dict of str to list
        Reports, as `short` returns them; the statuses only of very many.
    """
    found = {"same": short(run(jobs("same")))}
    found["many"] = sorted({report.status for report in run(make_jobs(MANY), function=idle)})
    small = {"size": 6} if engine == "spark" else {}  # jobs in a slice, which nothing stops
    with closing(run(jobs("closed"), function=slow, **small)) as reports:
        found["closed"] = short([next(reports)])
    time.sleep(3)
    found["again"] = short(run(jobs("same")))
    return found


def main(engine, what, sounds, out, model):
    """Print what happened as JSON."""

    def jobs(name):
        return find_jobs(sounds, os.path.join(out, name), model=model)[1]

    if what == "without processes":
        started = clusters.spark(2, without_processes)
    else:
        started = clusters.ENGINES[engine](2)
    with started as run:
        found = try_all(engine, run, jobs) if what == "all" else short(run(jobs("deadly"), function=deadly))
    print(json.dumps(found))


if __name__ == "__main__":
    from engine_jobs import main  # so that workers find its functions by the name of this module

    main(*sys.argv[1:])
