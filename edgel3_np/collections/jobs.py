"""One recording of a collection: a `Job` of plain data, which any worker can do, and the `Report` of how it ended."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import NamedTuple

from .._version import __version__
from ..audio.framing import Framing
from ..errors import EdgeL3Error
from ..model import Model, cached_model
from ..pipeline import SignalStats, embedding_batches, framing_for
from .find import make_directories, stat_file
from .interrupts import keep_interrupts
from .results import fingerprint, read_provenance, save_embedding


class Job(NamedTuple):
    """What to do with one recording: picklable, and all that a worker needs.

    Parameters
    ----------
    input, output : str
        Absolute paths.
    root : str
        The output directory; if none was given, the directory of the output.
    source : str
        Absolute path of the directory that was named, or of the one that holds the file that was named.
    name : str
        Path of the recording relative to `source`, with slashes.
    model : str
        Name of a model, or absolute path of a weight file.
    sha256 : str
        Of the weight file.
    dim : int or None
        Length of an embedding; None stands for the model's default.
    hop_size : float
        Seconds between windows.
    center : bool
    threads : int or None
    resume : bool
    strict : bool
        A recording of which something is missing fails.
    other_outputs : tuple of str
        Absolute paths of other names that an output of this recording may have, when it was made beside other
        recordings: `x.wav` has the output `x.npz`, or `x.wav.npz` if there is an `x.flac` as well.
    """

    input: str
    output: str
    root: str
    source: str
    name: str
    model: str
    sha256: str
    dim: int | None
    hop_size: float
    center: bool
    threads: int | None
    resume: bool
    strict: bool = False
    other_outputs: tuple[str, ...] = ()


class Report(NamedTuple):
    """How the job of one recording ended.

    Parameters
    ----------
    input, output : str
        Absolute paths. The output of a recording in a table is its part; the table's directory, if it failed.
    status : str
        `done`; `skipped`, if the output existed and was made from the same recording with the same weights and
        options; `passed over`, if it is audio of a kind that libsndfile does not read, inside a directory; or `failed`.
    kind : str or None
        Of a failure. The recording: `unreadable`, `not audio`, `damaged`, `bad samples`, `empty`, `invalid`,
        `incomplete` (with `strict`), or `changed` (while it was read). The rest: `output` (it cannot be written);
        `model` (the worker has another one); `worker` (its process died); `unexpected` (a bug in edgel3_np: please
        report it).
    reason : str or None
        Of a failure, or of passing over, in words.
    remarks : tuple of str
        Warnings: what is unusual about the recording.
    windows : int
        Embeddings written.
    seconds : float
        Length of the recording; 0 unless the status is `done`.
    elapsed : float
        Seconds that the job took.
    incomplete : bool
        Less or more was read than the file's headers promise; the remarks say how much.
    """

    input: str
    output: str
    status: str
    kind: str | None = None
    reason: str | None = None
    remarks: tuple[str, ...] = ()
    windows: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    incomplete: bool = False


def embed_file(job):
    """Embed one recording into one file. This is the function that executors run; running it twice does no harm.

    Parameters
    ----------
    job : Job

    Returns
    -------
    report : Report
        Every failure is a report. Only exceptions that are not an `Exception`, such as KeyboardInterrupt, are raised.
    """
    return guarded(_embed_file, job)


def guarded(work, job):
    """Return the report of `work(job)`, with the seconds that it took. Every `Exception` is the report of a failure."""
    start = time.perf_counter()
    return attempt(job, work, job)._replace(elapsed=time.perf_counter() - start)


def attempt(job, work, *given):
    """Return `work(*given)`, or the report that the job has failed."""
    try:
        with keep_interrupts():
            return work(*given)
    except EdgeL3Error as error:
        text = str(error)
        return failed(job, error.kind, text if job.input in text else f"{job.input}: {text}")
    except OSError as error:  # errors of reading the recording are EdgeL3Error
        return failed(job, "output", f"{job.output}: cannot be written: {error.strerror or error}")
    except Exception as error:
        return failed(job, "unexpected", f"{job.input}: {type(error).__name__}: {error}")


def failed(job, kind, reason):
    """Return the report of a job that failed."""
    return Report(job.input, job.output, "failed", kind, reason, incomplete=kind == "incomplete")


class Started(NamedTuple):
    """A job whose recording is about to be read."""

    job: Job
    model: Model
    framing: Framing
    stats: SignalStats
    state: dict  # of the recording, before it is read: see `state_of`
    provenance: dict  # of the output


def _embed_file(job):
    started = start_job(job)
    if isinstance(started, Report):
        return started
    stats, framing = started.stats, started.framing

    def batches():
        yield from checked_batches(job, started.model, framing, started.state, stats)
        add_remarks(started)

    return report_of(started, save_embedding(job.output, batches(), framing.timestamps, started.provenance))


def start_job(job):
    """Prepare a job: return a `Started`, or the report that its output is there already."""
    model = load_model_of(job)
    state = state_of(job.input)
    made_from = {**fingerprint(model, job.hop_size, job.center), "input": {"name": job.name, **state}}
    _rename_output(job, made_from["input"])
    before = read_provenance(job.output) or {} if job.resume else {}
    if isinstance(before.get("input"), dict):
        before["input"].pop("root", None)  # a collection may move
    if job.resume and made_from.items() <= before.items() and not (job.strict and before.get("incomplete")):
        remarks = before.get("remarks")
        remarks = tuple(map(str, remarks)) if isinstance(remarks, list) else ()
        incomplete = before.get("incomplete") is True
        return Report(job.input, job.output, "skipped", remarks=remarks, incomplete=incomplete)
    make_directories(os.path.dirname(job.output), job.root)
    framing = framing_for(model.network, job.hop_size, job.center)
    provenance = {"model": model.name, "version": __version__, **made_from}
    provenance["input"] = {**made_from["input"], "root": job.source}
    return Started(job, model, framing, SignalStats(), state, provenance)


def add_remarks(started):
    """Write into the provenance what is unusual about the recording, which has been read."""
    remarks = started.stats.remarks(started.framing.window)
    if remarks:
        started.provenance.update(remarks=remarks, incomplete=bool(started.stats.missing))


def report_of(started, count):
    """Return the report of a job that is done, with so many embeddings."""
    job, stats = started.job, started.stats
    remarks = tuple(started.provenance.get("remarks", ()))
    report = Report(job.input, job.output, "done", remarks=remarks, windows=count)
    return report._replace(seconds=stats.samples / started.framing.window, incomplete=bool(stats.missing))


def checked_batches(job, model, framing, state, stats):
    """Embed the recording of a job, then check it: an error at the end says that what was yielded is to be discarded.

    Parameters
    ----------
    job : Job
    model : Model
    framing : Framing
    state : dict
        Of the recording, before it is read: see `state_of`.
    stats : SignalStats

    Yields
    ------
    embedding : np.ndarray [shape=(b, dim), float32]
    """
    with closing(embedding_batches(model.network, job.input, None, framing, job.threads, stats)) as embeddings:
        yield from embeddings
    check_recording(job, framing, state, stats)


def check_recording(job, framing, state, stats):
    """Raise `EdgeL3Error` if a recording that was read has changed meanwhile, has no sample, or is refused."""
    if state_of(job.input) != state:
        raise EdgeL3Error(f"{job.input}: the file changed while it was read; run again", kind="changed")
    stats.remarks(framing.window)  # raises if there was no sample
    if stats.missing and job.strict:
        refused = "strict refuses it, and nothing was written"
        raise EdgeL3Error(f"{job.input}: {stats.missing[0]}; {refused}", kind="incomplete")


def _rename_output(job, recording):
    """Give an earlier output of this recording its present name: the old one would stay, as a double.

    Another recording's output is left alone, and so is every file that is none of ours.
    """
    for path in job.other_outputs:
        before = (read_provenance(path) or {}).get("input") if os.path.isfile(path) else None
        if not isinstance(before, dict) or before.get("name") != job.name:
            continue
        if before.pop("root", None) == job.source or before == recording:
            if os.path.lexists(job.output):
                os.unlink(path)
            else:
                os.replace(path, job.output)


def state_of(path):
    """Return the size and the modification time of a recording, by which a change is noticed."""
    info = stat_file(path)
    return {"bytes": info.st_size, "mtime_ns": info.st_mtime_ns}


def load_model_of(job):
    """Return the model of a job, or raise `EdgeL3Error` if the worker's weight file is another one."""
    try:
        model = cached_model(job.model, job.dim)
    except EdgeL3Error as error:
        raise EdgeL3Error(str(error), kind="model") from error
    if model.sha256 != job.sha256:
        found = f"found {model.sha256} on this worker"
        raise EdgeL3Error(f"model {job.model}: expected sha256 {job.sha256}, {found}", kind="model")
    return model
