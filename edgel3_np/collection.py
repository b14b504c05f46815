"""Embed collections: every recording of some directories, one file of embeddings each."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import closing
from numbers import Integral
from typing import TYPE_CHECKING, Callable

from . import parallel
from .embedding import framing_of
from .errors import EdgeL3Error
from .executors import run, run_in_processes
from .files import find_files, in_shard, name_outputs
from .jobs import Job, Report, embed_file, failed, load_once
from .locate import DEFAULT, is_path

if TYPE_CHECKING:
    from concurrent.futures import Executor


def embed_files(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str] | None,
    *,
    model: str | os.PathLike[str] = DEFAULT,
    dim: int | None = None,
    hop_size: float = 0.1,
    center: bool = True,
    recursive: bool = True,
    suffix: str | None = None,
    shard: tuple[int, int] = (1, 1),
    executor: Executor | None = None,
    jobs: int = 1,
    pending: int = 64,
    threads: int | None = None,
    resume: bool = True,
    on_report: Callable[[Report], object] | None = None,
) -> Generator[Report, None, None]:
    """Embed collections of recordings: one npz each, in a tree like theirs.

    Each npz has the arrays `embedding`, `timestamps` and `provenance` (JSON), and appears whole or not at all. Nothing
    happens before the iterator is asked for its first report; leaving it early stops the work.

    Parameters
    ----------
    inputs : str or Path, or iterable of them
        Files, and directories whose audio files (by extension) are taken; names with a leading dot are not.
    output_dir : str or Path or None
        Where outputs go, nowhere else; made if missing. None: next to each recording.
    model : str or Path
        A model's name or a weight file's path, which workers must be able to load too.
    dim : int, optional
        Length of an embedding, as for `load_model`.
    hop_size : number > 0
        Seconds between windows, as for `embed`.
    center : bool
        Centre windows on their times, as for `embed`.
    recursive : bool
        Look into the directories of directories too.
    suffix : str, optional
        Write `name_suffix.npz` instead of `name.npz`.
    shard : tuple of int (k, n)
        Do part k of n, 1 <= k <= n, chosen by the names of outputs: for n machines that share the work.
    executor : concurrent.futures.Executor, optional
        Where to run: a pool of threads or processes, a cluster. By default here, one recording after the other.
    jobs : int > 0
        Without an executor: processes of our own to use.
    pending : int > 0
        Recordings handed to an executor at a time. At least as many as it has workers, better twice.
    threads : int > 0, optional
        Threads for each recording; by default one with an executor or several jobs, otherwise one a core.
    resume : bool
        Leave outputs alone that were made with the same weights, numeric contract and options from a recording of the
        same name, size and modification time.
    on_report : callable, Report -> None, optional
        Called with each report, too.

    Yields
    ------
    report : Report
        One a recording, as they end. A recording that fails is a report, not an exception.

    Raises
    ------
    EdgeL3Error
        An option is not as described, or there is no such model. Raised at once.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> folder = tempfile.mkdtemp()
    >>> soundfile.write(os.path.join(folder, "noise.wav"), np.random.default_rng(0).standard_normal(16000) / 9, 8000)
    >>> for report in embed_files(folder, os.path.join(folder, "embeddings"), hop_size=0.5):
    ...     print(report.status, os.path.basename(report.output), report.windows, report.seconds)
    done noise.npz 4 2.0
    """
    check_executor(executor, jobs, pending)
    _, work, problems = find_jobs(
        inputs,
        output_dir,
        model=model,
        dim=dim,
        hop_size=hop_size,
        center=center,
        recursive=recursive,
        suffix=suffix,
        shard=shard,
        threads=1 if threads is None and (executor is not None or jobs > 1) else threads,
        resume=resume,
    )
    return reports(work, problems, executor, jobs, pending, on_report)


def check_executor(executor, jobs, pending):
    """Raise `EdgeL3Error` unless these options of `embed_files` are as described."""
    for name, value in (("jobs", jobs), ("pending", pending)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise EdgeL3Error(f"{name}: expected a whole number above 0, found {value!r}")
    if executor is not None and jobs != 1:
        raise EdgeL3Error(f"jobs: expected 1 with an executor, which has its own workers; found {jobs}")


def find_jobs(
    inputs,
    output_dir,
    *,
    model=DEFAULT,
    dim=None,
    hop_size=0.1,
    center=True,
    recursive=True,
    suffix=None,
    shard=(1, 1),
    threads=1,
    resume=True,
):
    """Check options, list recordings, and say what is to be done with each; the arguments are as in `embed_files`.

    Returns
    -------
    count : int
        Of jobs.
    jobs : iterator of Job
    problems : list of Report
        Directories that could not be listed.
    """
    model = os.path.abspath(os.fsdecode(model)) if is_path(model) else model
    load_once.cache_clear()  # the file may have changed since
    loaded = load_once(model, dim)
    framing_of(loaded.network, hop_size, center)
    parallel.check_threads(threads, 1)
    if not _is_shard(shard):
        raise EdgeL3Error(f"shard: expected (k, n) with 1 <= k <= n, found {shard!r}")
    inputs = [inputs] if isinstance(inputs, (str, bytes, os.PathLike)) else list(inputs)
    found, unreadable = find_files(inputs, recursive)
    outputs = name_outputs(found, output_dir, suffix)
    root = None if output_dir is None else os.path.abspath(os.fsdecode(output_dir))
    mine = [path for path in found if in_shard(outputs[path], root, shard)]

    def job(path):
        return Job(
            input=path,
            output=outputs[path],
            root=os.path.dirname(path) if root is None else root,
            name=found[path].replace(os.sep, "/"),
            model=model,
            sha256=loaded.sha256,
            dim=dim,
            hop_size=float(hop_size),
            center=bool(center),
            threads=threads,
            resume=bool(resume),
        )

    problems = [
        Report(path, "", "failed", "unreadable", f"{path}: cannot be listed: {why}") for path, why in unreadable.items()
    ]
    return len(mine), map(job, mine), problems


def _is_shard(shard):
    return (
        isinstance(shard, tuple)
        and len(shard) == 2
        and all(isinstance(value, Integral) for value in shard)
        and 1 <= shard[0] <= shard[1]
    )


def reports(work, problems, executor=None, jobs=1, pending=64, on_report=None):
    """Do jobs and yield a `Report` of each, after those in `problems`; the arguments are as in `embed_files`."""

    def everything():
        yield from problems
        if executor is not None:
            yield from run(work, executor, pending)
            for job in work:  # left over: the executor broke
                yield failed(job, "worker", f"{job.input}: not begun: the executor took no more jobs; run again")
        elif jobs == 1:
            yield from map(embed_file, work)
        else:
            yield from run_in_processes(work, jobs)

    with closing(everything()) as generator:
        for report in generator:
            if on_report is not None:
                on_report(report)
            yield report
