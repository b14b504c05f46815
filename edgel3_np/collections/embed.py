"""Embed collections: every recording of some directories, each into a file of its own."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any, Callable

from .._checks import check_whole
from ..errors import EdgeL3Error, warn
from ..model import cached_model
from ..network.threads import check_threads
from ..pipeline import framing_for
from ..weights.locate import is_path
from ..weights.registry import DEFAULT
from .bundles import MOST, bundles, embed_bundle
from .executors import MAX_PROCESSES, jobs_of, run_in_processes, run_jobs
from .find import find_files, in_shard, name_outputs, output_names
from .jobs import Job, Report, failed
from .parquet.part import MAX_NUMBER
from .parquet.shard import check_format, write_shard
from .parquet.worker import embed_for_table
from .summary import Summary

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
    strict: bool = False,
    format: str = "npz",
    on_report: Callable[[Report], object] | None = None,
) -> Summary:
    """Embed a collection of recordings into one npz each, in a tree that mirrors theirs, or into a table.

    Each npz has the arrays `embedding`, `timestamps` and `provenance` (JSON), and appears whole or not at all.
    `iter_files` does the same and yields a report for each recording, as soon as it ends.

    Parameters
    ----------
    inputs : str or Path, or iterable of them
        Files, and directories whose audio files are taken. In directories, names with a leading
        dot are ignored.
    output_dir : str or Path or None
        Directory of all outputs; made if missing. None: each output is next to its recording.
    model : str or Path
        Name of a model, or path of a weight file, which workers must be able to load as well.
    dim : int, optional
        Length of an embedding, as for `load_model`.
    hop_size : number > 0
        Seconds between windows, as for `embed`.
    center : bool
        Centre windows on their timestamps, as for `embed`.
    recursive : bool
        Search subdirectories as well.
    suffix : str, optional
        Write `name_suffix.npz` instead of `name.npz`.
    shard : tuple of int (k, n)
        Do part k of n, 1 <= k <= n: for n machines that share a collection. The names of outputs decide which part a
        recording belongs to.
    executor : concurrent.futures.Executor, optional
        Where jobs run: a pool of threads or processes, or a cluster. By default they run in this process, one after
        the other.
    jobs : int > 0
        Without an executor: number of worker processes.
    pending : int > 0
        Jobs submitted to an executor at a time, at most. Choose at least its number of workers, better twice that. For
        many short recordings choose 64 times as many or more: then up to 32 of them go to a worker together.
    threads : int > 0, optional
        Threads per recording; by default one with an executor or several jobs, otherwise one per core.
    resume : bool
        Skip outputs that were made with the same weights, numeric contract and options from a recording of the same
        name, size and modification time.
    strict : bool
        A recording of which less or more is read than its headers promise fails, of the kind `incomplete`. Otherwise it
        is embedded, and its report says so.
    format : {'npz', 'parquet'}
        `parquet`: instead of the npz files, `output_dir` gets a table in parts, `part-K-of-N-00000.parquet` and so on,
        of up to 100,000 rows each. All of them together have a row for each window, with the columns `path`, `time` and
        `embedding`. A report `done` comes when the rows are in a finished file, so reports come late. Needs pyarrow
        (extra `parquet`), `output_dir`, and no `suffix`.
    on_report : callable, Report -> None, optional
        Called with the report of each recording, in the order in which they end.

    Returns
    -------
    summary : Summary
        Counts, and the reports of recordings that failed: a failure is no exception.

    Raises
    ------
    EdgeL3Error
        An option is not as described, or the model does not exist.

    Warns
    -----
    EdgeL3Warning
        A recording failed, or there is none.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> folder = tempfile.mkdtemp()
    >>> soundfile.write(os.path.join(folder, "noise.wav"), np.random.default_rng(0).standard_normal(16000) / 9, 8000)
    >>> summary = embed_files(folder, os.path.join(folder, "embeddings"), hop_size=0.5)
    >>> summary.statuses["done"], summary.windows, summary.failures
    (1, 4, [])
    """
    summary = Summary()
    for report in iter_files(
        inputs,
        output_dir,
        executor=executor,
        jobs=jobs,
        pending=pending,
        threads=threads,
        on_report=on_report,
        model=model,
        dim=dim,
        hop_size=hop_size,
        center=center,
        recursive=recursive,
        suffix=suffix,
        shard=shard,
        resume=resume,
        strict=strict,
        format=format,
    ):
        summary.add(report)
    if summary.kinds or not summary.count():
        warn(f"embed_files: {str(summary) if summary.count() else 'expected audio files, found none'}")
    return summary


def iter_files(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str] | None,
    *,
    executor: Executor | None = None,
    jobs: int = 1,
    pending: int = 64,
    threads: int | None = None,
    format: str = "npz",
    on_report: Callable[[Report], object] | None = None,
    **options: Any,
) -> Generator[Report, None, None]:
    """Embed a collection as `embed_files` does, and yield a report for each recording, as soon as it ends.

    The work starts when the first report is asked for; closing the generator stops it.

    Parameters
    ----------
    inputs, output_dir, executor, jobs, pending, threads, format, on_report, options : as for `embed_files`

    Yields
    ------
    report : Report
        One per recording, in the order in which they end. A recording that fails is a report, not an exception.

    Raises
    ------
    EdgeL3Error
        As for `embed_files`; raised by the call itself.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> folder = tempfile.mkdtemp()
    >>> soundfile.write(os.path.join(folder, "noise.wav"), np.random.default_rng(0).standard_normal(16000) / 9, 8000)
    >>> for report in iter_files(folder, os.path.join(folder, "embeddings"), hop_size=0.5):
    ...     print(report.status, os.path.basename(report.output), report.windows, report.seconds)
    done noise.npz 4 2.0
    """
    check_executor(executor, jobs, pending)
    threads = 1 if threads is None and (executor is not None or jobs > 1) else threads
    count, work, problems = find_jobs(inputs, output_dir, threads=threads, format=format, **options)
    table = options.get("shard", (1, 1)) if format == "parquet" else None
    return reports(work, problems, executor, jobs, pending, on_report, count=count, table=table)


def check_executor(executor, jobs, pending):
    """Raise `EdgeL3Error` unless these options of `embed_files` are as described there."""
    check_whole("jobs", jobs, 1, MAX_PROCESSES)
    check_whole("pending", pending)
    if executor is not None and jobs != 1:
        raise EdgeL3Error(f"jobs: expected 1 with an executor, which has workers of its own, found {jobs}")


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
    strict=False,
    format="npz",
):
    """Check the options, list the recordings, and say what is to be done with each.

    The arguments are those of `embed_files`. Jobs for a table (`format='parquet'`) can be run by `reports` only.

    Returns
    -------
    count : int
        Number of jobs.
    jobs : iterator of Job
    problems : list of Report
        Directories that cannot be listed, and files of audio that libsndfile does not read.

    Raises
    ------
    EdgeL3Error
        An option is not as described, or the model does not exist.
    """
    model = os.path.abspath(os.fsdecode(model)) if is_path(model) else model
    cached_model.cache_clear()  # the file may have changed since it was loaded
    loaded = cached_model(model, dim)
    framing = framing_for(loaded.network, hop_size, center)
    check_threads(threads, 1)
    shard = _check_shard(shard)
    check_format(format, output_dir, suffix)
    inputs = [inputs] if isinstance(inputs, (str, bytes, os.PathLike)) else list(inputs)
    found, unreadable, passed = find_files(inputs, recursive)
    place = output_dir, suffix
    outputs = name_outputs(found, *place)
    root = None if output_dir is None else os.path.abspath(os.fsdecode(output_dir))
    if root is not None and root.endswith(".npz") and not os.path.isdir(root):
        raise EdgeL3Error(f"output_dir: expected a directory for the outputs, found a file's name, {root}")
    chosen = [path for path in found if in_shard(outputs[path], root, shard)]

    def job(path):
        return Job(
            input=path,
            output=outputs[path],
            root=os.path.dirname(path) if root is None else root,
            source=os.path.normpath(path[: len(path) - len(found[path])]),
            name=found[path].replace(os.sep, "/"),
            model=model,
            sha256=loaded.sha256,
            dim=dim,
            hop_size=framing.hop_size,
            center=bool(center),
            threads=threads,
            resume=bool(resume),
            strict=bool(strict),
            other_outputs=tuple(name for name in output_names(path, found[path], *place) if name != outputs[path]),
        )

    problems = [
        Report(path, "", "failed", "unreadable", f"{path}: cannot be listed: {why}") for path, why in unreadable.items()
    ]
    foreign = "libsndfile does not read it; convert it, for example: ffmpeg -i X Y.wav"
    problems += [Report(path, "", "passed over", None, f"{path}: {foreign}") for path in passed]
    return len(chosen), map(job, chosen), problems if shard[0] == 1 else []  # one machine reports them


def _check_shard(shard):
    """Return a shard, (k, n), as a tuple of two ints."""
    if not isinstance(shard, tuple) or len(shard) != 2:
        raise EdgeL3Error(f"shard: expected (k, n) with 1 <= k <= n, found {shard!r}")
    parts = check_whole("shard", shard[1], 1, MAX_NUMBER)
    return check_whole("shard", shard[0], 1, parts), parts


def reports(
    work, problems, executor=None, jobs=1, pending=64, on_report=None, function=None, count=None, table=None
):  # fmt: skip
    """Run jobs and yield their reports, after those in `problems`.

    Parameters
    ----------
    work : iterator of Job
        As `find_jobs` returns it.
    problems : list of Report
        Likewise.
    executor, jobs, pending, on_report
        As for `embed_files`.
    function : callable, Job -> Report, optional
        Does a job; it must be picklable. By default recordings are embedded, short ones together.
    count : int, optional
        Number of jobs, if it is known: a few are not bundled, so that each process has some.
    table : tuple of int (k, n), optional
        Embed into a table, whose new parts have names with this shard.

    Yields
    ------
    report : Report
    """

    most = MOST if count is None else min(MOST, -(-count // (4 * jobs)))
    if executor is not None:
        most = min(MOST, max(1, pending // 64))

    def run(work, function):
        items, do = (bundles(work, most), embed_bundle) if function is None else (work, function)
        if executor is not None:
            yield from run_jobs(items, executor, pending, do)
            for job in chain.from_iterable(map(jobs_of, items)):  # left over: the executor broke
                reason = f"{job.input}: not started: the executor accepts no more jobs; run again"
                yield failed(job, "worker", reason)
        elif jobs == 1:
            yield from chain.from_iterable(map(do, items)) if function is None else map(function, items)
        else:
            yield from run_in_processes(items, jobs, do, max(1, most))

    def everything():
        yield from problems
        if table is None:
            yield from run(work, function)
        else:
            yield from write_shard(work, table, lambda work: run(work, embed_for_table))

    with closing(everything()) as generator:
        for report in generator:
            if on_report is not None:
                on_report(report)
            yield report
