"""Detect the classes of a classifier in collections of recordings: events of each, in a file of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Callable

from .._checks import check_seconds
from ..collections.atomic import atomic
from ..collections.embed import check_executor, find_jobs, reports
from ..collections.summary import Summary
from ..errors import EdgeL3Error
from ..model import load_model
from ..weights.locate import is_path
from .classifier import find_classifier, load_classifier
from .events import WINDOW, check_length, check_threshold
from .jobs import DetectJob, cached_classifier, detect_file, read_events
from .tables import FORMATS, check_format, format_of, rows_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ..collections.jobs import Report

ENDING = len(".npz")


def detect_files(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    classifier: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    form: str = "csv",
    threshold: float | None = None,
    merge_gap: float = 0.0,
    min_length: float = 0.0,
    hop_size: float = 0.1,
    embeddings: str | os.PathLike[str] | None = None,
    scores: str | os.PathLike[str] | None = None,
    recursive: bool = True,
    shard: tuple[int, int] = (1, 1),
    executor: Executor | None = None,
    jobs: int = 1,
    pending: int = 64,
    threads: int | None = None,
    resume: bool = True,
    strict: bool = False,
    on_report: Callable[[Report], object] | None = None,
) -> Summary:
    """Detect the classes of a classifier in a collection of recordings.

    The events of each recording are a file of their own, in a tree that mirrors that of the recordings. Each file
    appears whole or not at all; a hidden file beside it, `.<name>.json`, says how it was made, so that a second run
    does only what is missing.

    Parameters
    ----------
    inputs : str or Path, or iterable of them
        Files, and directories whose audio files are taken, as for `embed_files`.
    output_dir : str or Path
        Directory of all outputs; made if missing. A file there that `detect_files` did not write is never replaced.
    classifier : str or Path
        File of a classifier, which workers must be able to load as well.
    model : str or Path, optional
        Name or weight file of the model for which the classifier was trained; by default the one of that name.
    form : 'csv', 'audacity', 'raven', 'jsonl' or 'parquet'
        Columns path, start, end, label and score (csv, jsonl, and parquet, which needs pyarrow); a label track of
        Audacity, `.txt`; a selection table of Raven, `.txt`.
    threshold : float, optional
        For all classes, above 0, up to 1; by default each class has the one that was chosen when it was trained.
    merge_gap, min_length : number >= 0
        Seconds, as for `edgel3_np.classifier.events`.
    hop_size : number > 0
        Seconds between windows, as for `embed`.
    embeddings : str or Path, optional
        Directory in which embeddings are kept as `embed_files` writes them; those that are there already are used.
    scores : str or Path, optional
        Directory in which the scores of all windows are written, as CSV with a column for each class. A file there that
        is no table of scores is never replaced.
    recursive, shard, executor, jobs, pending, threads, resume, strict, on_report : as for `embed_files`

    Returns
    -------
    summary : Summary
        Counts, and the reports of recordings that failed: a failure is no exception.

    Raises
    ------
    EdgeL3Error
        An option is not as described; the classifier cannot be read, or its model is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> import edgel3_np
    >>> from edgel3_np._version import CONTRACT
    >>> from edgel3_np.classifier import save_classifier
    >>> model, folder = edgel3_np.load_model(), tempfile.mkdtemp()
    >>> soundfile.write(os.path.join(folder, "noise.wav"), np.random.default_rng(0).standard_normal(16000) / 9, 8000)
    >>> classifier = edgel3_np.Classifier(
    ...     ("any sound",), np.array([0.5]), model.name, model.sha256, CONTRACT, {},
    ...     np.zeros(64), np.ones(64), np.ones((1, 64)), np.zeros(1)
    ... )
    >>> save_classifier(os.path.join(folder, "any.npz"), classifier)
    >>> summary = detect_files(folder, os.path.join(folder, "out"), os.path.join(folder, "any.npz"))
    >>> recording, found = read_events(os.path.join(folder, "out", "noise.csv"))
    >>> found
    [Event(start=0.0, end=2.0, label='any sound', score=1.0)]
    """
    check_executor(executor, jobs, pending)
    threads = 1 if threads is None and (executor is not None or jobs > 1) else threads
    _, work, problems = find_detect_jobs(
        inputs,
        output_dir,
        classifier,
        model=model,
        form=form,
        threshold=threshold,
        merge_gap=merge_gap,
        min_length=min_length,
        embeddings=embeddings,
        scores=scores,
        hop_size=hop_size,
        recursive=recursive,
        shard=shard,
        threads=threads,
        resume=resume,
        strict=strict,
    )
    summary = Summary()
    for report in reports(work, problems, executor, jobs, pending, on_report, detect_file):
        summary.add(report)
    return summary


def find_detect_jobs(
    inputs,
    output_dir,
    classifier,
    *,
    model=None,
    form="csv",
    threshold=None,
    merge_gap=0.0,
    min_length=0.0,
    embeddings=None,
    scores=None,
    **options,
):
    """Check the options, list the recordings, and say what is to be done with each; the arguments are those above.

    Returns
    -------
    count : int
    jobs : iterator of DetectJob
    problems : list of Report
        As `collections.embed.find_jobs` returns them.
    """
    check_format(form)
    if check_seconds("hop_size", options.get("hop_size", 0.1)) > WINDOW:
        found = f"found {options['hop_size']!r}"
        raise EdgeL3Error(
            f"hop_size: expected at most {WINDOW:g} s, the length of a window, {found}; else sound is missed"
        )
    merge_gap, min_length = (check_length(*item) for item in (("merge_gap", merge_gap), ("min_length", min_length)))
    cached_classifier.cache_clear()  # the file may have changed since it was loaded
    path = os.fsdecode(classifier) if find_classifier(classifier) is not classifier else _absolute(classifier)
    loaded = load_classifier(path)
    thresholds = tuple(loaded.thresholds.tolist())
    if threshold is not None:
        thresholds = (check_threshold(threshold),) * len(thresholds)
    model = find_classifiers_model(loaded, model)
    root, keep, scored = map(_absolute, (output_dir, embeddings, scores))
    if scored is not None and scored in (root, keep):
        raise EdgeL3Error(f"scores: expected a directory of their own, found {scores!r}")
    count, found, problems = find_jobs(inputs, root, model=model, dim=loaded.dim, **options)
    ending = FORMATS[form][0]

    def detect_job(job):
        def moved(path, folder, ending):
            return os.path.join(folder, os.path.relpath(path, root)[:-ENDING] + ending)

        embedding = job
        if keep is not None:
            others = tuple(moved(name, keep, ".npz") for name in job.other_outputs)
            embedding = job._replace(output=moved(job.output, keep, ".npz"), root=keep, other_outputs=others)
        return DetectJob(
            input=job.input,
            output=moved(job.output, root, ending),
            root=root,
            embedding=embedding,
            keep=keep is not None,
            classifier=path,
            sha256=loaded.sha256,
            form=form,
            thresholds=thresholds,
            merge_gap=merge_gap,
            min_length=min_length,
            scores="" if scored is None else moved(job.output, scored, ".csv"),
            scores_root=scored or "",
            other_outputs=tuple(moved(name, root, ending) for name in job.other_outputs),
        )

    return count, map(detect_job, found), problems


def find_classifiers_model(classifier, model=None):
    """Return the name or path of the model for which a classifier was trained.

    Parameters
    ----------
    classifier : Classifier
    model : str or Path, optional
        By default the name that the classifier tells.

    Raises
    ------
    EdgeL3Error
        The model is not installed, or another one has its name.
    """
    name = classifier.model_name if model is None else model
    try:
        if model is None and is_path(name):  # an untrusted file does not decide which file is opened
            raise EdgeL3Error("expected a model's name, found a path")
        loaded = load_model(name, classifier.dim)
    except EdgeL3Error as error:
        raise EdgeL3Error(f"classifier: cannot load its model {name!r}: {error}; or name its weight file") from error
    classifier.check_model(loaded)
    return name


def _absolute(path):
    return None if path is None else os.path.abspath(os.fsdecode(path))


def gather_rows(outputs):
    """Yield the rows of all events of some outputs, recording by recording, in the order of the recordings' paths.

    Parameters
    ----------
    outputs : dict of str to str
        Outputs of `detect_files`, by recording.
    """
    for recording in sorted(outputs):
        _, found = read_events(outputs[recording])
        yield from rows_of(recording, found)


def write_table(outputs, path):
    """Write the events of many recordings into one table; the ending of its name chooses csv, jsonl or parquet."""
    write, path = FORMATS[format_of(path)][1], os.fsdecode(path)
    try:
        with atomic(path) as file:
            write(file, gather_rows(outputs), 0.0)
    except OSError as error:
        raise EdgeL3Error(f"{path}: cannot be written: {error.strerror or error}", kind="output") from error
