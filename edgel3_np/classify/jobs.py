"""Detect the classes of a classifier in one recording: a `DetectJob` of plain data, which any worker can do."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .._files import open_regular
from .._version import __version__
from ..collections.atomic import atomic
from ..collections.find import make_directories
from ..collections.gather import embedding_space
from ..collections.jobs import Job, Report, checked_batches, embed_file, guarded, load_model_of, state_of
from ..collections.results import MAX_TIME, open_result
from ..errors import EdgeL3Error
from ..pipeline import Embedding, SignalStats, framing_for
from .classifier import is_label, load_classifier
from .events import WINDOW, Event, events
from .tables import DIGITS, FORMATS, is_scores, rows_of, write_scores

MAX_RECORD_BYTES = 256 << 20


class DetectJob(NamedTuple):
    """What to detect in one recording: picklable, and all that a worker needs.

    Parameters
    ----------
    input, output : str
        Absolute paths.
    root : str
        The output directory.
    embedding : Job
        How the recording is embedded.
    keep : bool
        Keep the embeddings, at `embedding.output`; they are used if they are there.
    classifier : str
        Absolute path of its file.
    sha256 : str
        Of that file.
    form : str
        Of the output, one of `FORMATS`.
    thresholds : tuple of float
        One for each class.
    merge_gap, min_length : float
        Seconds, as for `events`.
    scores : str
        Absolute path of the file for the scores of windows; empty: none is written.
    scores_root : str
        The directory of such files.
    other_outputs : tuple of str
        As for `Job`.
    """

    input: str
    output: str
    root: str
    embedding: Job
    keep: bool
    classifier: str
    sha256: str
    form: str
    thresholds: tuple[float, ...]
    merge_gap: float
    min_length: float
    scores: str = ""
    scores_root: str = ""
    other_outputs: tuple[str, ...] = ()


def detect_file(job):
    """Detect classes in one recording. This is the function that executors run; running it twice does no harm.

    Parameters
    ----------
    job : DetectJob

    Returns
    -------
    report : Report
        Every failure is a report. `windows` is the number of windows that have a score.
    """
    return guarded(_detect_file, job)


def record_of(output):
    """Return the path of the hidden file beside an output that says how it was made, and keeps its events."""
    folder, name = os.path.split(output)
    return os.path.join(folder, f".{name}.json")


def read_events(output: str | os.PathLike[str]) -> tuple[str, list[Event]]:
    """Return the recording that an output of `detect_files` is of, and its events, without trusting what is stored.

    Parameters
    ----------
    output : str or Path

    Returns
    -------
    recording : str
    found : list of Event

    Raises
    ------
    EdgeL3Error
        There is no such output, or its record is missing or damaged.
    """
    output = os.fsdecode(output)
    said = _read_record(output)
    if not said or not isinstance(said.get("recording"), str) or not isinstance(said.get("events"), list):
        raise EdgeL3Error(
            f"{output}: expected what `edgel3-np detect` wrote, with {record_of(output)} beside it, found none; "
            "detect again",
            kind="damaged",
        )
    try:
        found = [
            Event(float(start), float(end), str(label), float(score)) for start, end, label, score in said["events"]
        ]
        if not all(0 <= event.start <= event.end <= MAX_TIME and 0 <= event.score <= 1 for event in found):
            raise ValueError("times or scores out of their ranges")
        if not all(is_label(event.label) for event in found):
            raise ValueError("labels that are none")
    except (TypeError, ValueError, OverflowError) as error:
        raise EdgeL3Error(f"{record_of(output)}: expected events, found: {error}; detect again", "damaged") from error
    return said["recording"], found


def _read_record(output):
    """Return what the record of an output says, a dict; None if there is none that can be read."""
    try:
        with open_regular(record_of(output)) as file:
            content = file.read(MAX_RECORD_BYTES + 1)
        said = json.loads(content.decode()) if len(content) <= MAX_RECORD_BYTES else None
    except (EdgeL3Error, OSError, ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _write_record(output, said):
    with atomic(record_of(output)) as file:
        file.write(json.dumps(said).encode())


def _detect_file(job):
    classifier, embedding = _load(job.classifier, job.sha256), job.embedding
    made_from = {
        "classifier": job.sha256,
        "contract": classifier.contract,
        "hop_size": embedding.hop_size,
        "options": [job.form, *job.thresholds, job.merge_gap, job.min_length],
        "input": {"name": embedding.name, **state_of(job.input)},
    }
    before = _read_record(job.output)
    if os.path.lexists(job.output) and before is None:
        what = "expected nothing, or what `edgel3-np detect` wrote, found another file"
        raise EdgeL3Error(f"{job.output}: {what}; move it, or choose another output directory", kind="output")
    if job.scores and os.path.lexists(job.scores) and not is_scores(job.scores):
        what = "expected nothing, or a table of scores, found another file"
        raise EdgeL3Error(f"{job.scores}: {what}; move it, or choose another directory of scores", kind="output")
    if embedding.resume and _is_done(job, before, made_from):
        remarks = before.get("remarks")
        remarks = tuple(map(str, remarks)) if isinstance(remarks, list) else ()
        return Report(job.input, job.output, "skipped", remarks=remarks, incomplete=before.get("incomplete") is True)
    timestamps, scores, center, report = _score(job, classifier)
    if report.status == "failed":
        return report
    options = {"merge_gap": job.merge_gap, "min_length": job.min_length, "center": center}
    found = events(scores, timestamps, job.thresholds, classifier.classes, **options)
    _write(job, made_from, classifier, found, (timestamps, scores), report)
    for path in job.other_outputs:  # an earlier output of this recording, under the name that it had
        earlier = _read_record(path)
        if earlier and earlier.get("recording") == job.input and os.path.lexists(path):
            os.unlink(path)
            os.unlink(record_of(path))
    return report


def _is_done(job, before, made_from):
    """Tell whether the output, and what else is asked for, is there and made from the same things."""
    there = [job.output, *([job.scores] if job.scores else []), *([job.embedding.output] if job.keep else [])]
    return (
        before is not None
        and before.get("done") is True
        and before.get("made_from") == made_from
        and not (job.embedding.strict and before.get("incomplete"))
        and all(map(os.path.lexists, there))
    )


def _write(job, made_from, classifier, found, scored, report):
    make_directories(os.path.dirname(job.output), job.root)
    top = load_model_of(job.embedding).sr / 2
    said = {"made_from": made_from, "recording": job.input, "version": __version__}
    _write_record(job.output, {**said, "done": False})  # if we are killed now, the output is known to be ours
    if job.scores:
        make_directories(os.path.dirname(job.scores), job.scores_root)
        with atomic(job.scores) as file:
            write_scores(file, classifier.classes, *scored)
    with atomic(job.output) as file:
        FORMATS[job.form][1](file, rows_of(job.input, found), top)
    kept = [[*(round(time, DIGITS) for time in event[:2]), event.label, round(event.score, DIGITS)] for event in found]
    more = {"events": kept, "remarks": list(report.remarks), "incomplete": report.incomplete}
    _write_record(job.output, {**said, **more, "done": True})


def _score(job, classifier):
    """Score the windows of a recording.

    Returns
    -------
    timestamps : np.ndarray [shape=(t,), float64]
    scores : np.ndarray [shape=(t, classes), float64]
    center : bool
    report : Report
        If it says that embedding has failed, there are no scores.
    """
    model = load_model_of(job.embedding)
    classifier.check_model(model)
    if job.keep:
        report = embed_file(job.embedding)._replace(output=job.output)
        if report.status == "failed":
            return None, None, True, report
        with open_result(job.embedding.output) as result:
            space = embedding_space(result.provenance, job.embedding.output, result.dim)
            classifier.check_space(space, job.embedding.output)
            timestamps, scores = result.timestamps(), _score_batches(classifier, result.embedding)
        seconds = report.seconds or float(timestamps[-1]) + WINDOW / 2  # embedded earlier: about so long
        report = report._replace(status="done", windows=len(scores), seconds=seconds)
        return timestamps, scores, job.embedding.center, report
    framing = framing_for(model.network, job.embedding.hop_size, job.embedding.center)
    stats = SignalStats()
    batches = checked_batches(job.embedding, model, framing, state_of(job.input), stats)
    scores = _score_batches(classifier, batches)
    remarks = tuple(stats.remarks(framing.window))
    report = Report(job.input, job.output, "done", remarks=remarks, windows=len(scores))
    report = report._replace(seconds=stats.samples / framing.window, incomplete=bool(stats.missing))
    return framing.timestamps(len(scores)), scores, job.embedding.center, report


def _score_batches(classifier, batches):
    """Score embeddings that come in batches: shape (t, classes)."""
    nowhere = np.empty(0)  # no score depends on the time
    parts = [classifier.predict(Embedding(batch, nowhere)) for batch in batches]
    return np.concatenate(parts) if parts else np.empty((0, len(classifier.classes)))


def _load(path, sha256):
    """Return the classifier of a job, or raise `EdgeL3Error` if the worker's file is another one."""
    try:
        classifier = cached_classifier(path)
    except EdgeL3Error as error:
        raise EdgeL3Error(str(error), kind="model") from error
    if classifier.sha256 != sha256:
        found = f"found {classifier.sha256} on this worker"
        raise EdgeL3Error(f"classifier {path}: expected sha256 {sha256}, {found}", kind="model")
    return classifier


@lru_cache(maxsize=1)
def cached_classifier(path):
    """Return `load_classifier(path)`; the last classifier is kept, so a worker loads it once."""
    return load_classifier(path)
