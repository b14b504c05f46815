"""One recording of a collection: the job, on plain data, that any worker anywhere can do, and the report of it."""

from __future__ import annotations

import os
import time
from contextlib import closing
from functools import lru_cache
from typing import NamedTuple

from .embedding import Seen, embed_pieces, framing_of
from .errors import EdgeL3Error
from .files import make_directories
from .metadata import CONTRACT
from .models import load_model
from .output import read_provenance, save_embedding


class Job(NamedTuple):
    """What to do with one recording: picklable, and all that a worker needs."""

    input: str  # absolute path
    output: str  # likewise
    root: str  # the output directory; the output's own if none was given
    name: str  # of the recording: its path relative to the directory that was named
    model: str  # name, or absolute path of a weight file
    sha256: str  # of the weight file
    dim: int | None  # length of an embedding; None for the model's own
    hop_size: float
    center: bool
    threads: int | None
    resume: bool


class Report(NamedTuple):
    """What became of one recording.

    Parameters
    ----------
    input, output : str
        Absolute paths.
    status : str
        `done`; `skipped`, where the output was there already, made of the same with the same; or `failed`.
    kind : str or None
        Of failure: `unreadable`, `not audio`, `damaged`, `bad samples`, `empty` or `invalid` (the recording);
        `changed` (while it was read); `output` (it cannot be written); `model` (the worker has another one); `worker`
        (its process died); `unexpected` (a defect of ours: please report it).
    reason : str or None
        Of failure, in words.
    remarks : tuple of str
        What is unusual about the recording: warnings.
    windows : int
        Embeddings written.
    seconds : float
        Length of the recording; 0 unless it was done.
    elapsed : float
        Seconds that it took.
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


def embed_file(job):
    """Embed one recording into one file: the function that executors run. The same again if it is run again.

    Parameters
    ----------
    job : Job

    Returns
    -------
    report : Report
        Whatever happens; nothing but KeyboardInterrupt and its like is raised.
    """
    start = time.perf_counter()
    try:
        report = _embed_file(job)
    except EdgeL3Error as error:
        text = str(error)
        report = failed(job, error.kind, text if job.input in text else f"{job.input}: {text}")
    except OSError as error:  # those of reading are EdgeL3Error
        report = failed(job, "output", f"{job.output}: cannot be written: {error.strerror or error}")
    except Exception as error:
        report = failed(job, "unexpected", f"{job.input}: {type(error).__name__}: {error}")
    return report._replace(elapsed=time.perf_counter() - start)


def failed(job, kind, reason):
    """The report of a job that failed."""
    return Report(job.input, job.output, "failed", kind, reason)


def made_by(model, hop_size, center):
    """What embeddings depend on besides the recording, for their provenance."""
    options = {"dim": model.dim, "hop_size": float(hop_size), "center": bool(center)}
    return {"weights_sha256": model.sha256, "contract": CONTRACT, "options": options}


def _embed_file(job):
    model = _model(job.model, job.dim, job.sha256)
    fingerprint = made_by(model, job.hop_size, job.center)
    fingerprint["input"] = {"name": job.name, **_state(job.input)}
    if job.resume and fingerprint.items() <= (read_provenance(job.output) or {}).items():
        return Report(job.input, job.output, "skipped")
    make_directories(os.path.dirname(job.output), job.root)
    from . import __version__

    framing, seen, remarks = framing_of(model.network, job.hop_size, job.center), Seen(), []

    def pieces():
        with closing(embed_pieces(model.network, job.input, None, framing, job.threads, seen)) as embeddings:
            yield from embeddings
        if _state(job.input) != {key: fingerprint["input"][key] for key in ("bytes", "mtime_ns")}:
            raise EdgeL3Error(f"{job.input}: it was written to while it was read; run again", kind="changed")
        remarks.extend(seen.remarks(framing.window))  # raises if there was nothing

    provenance = {"model": model.name, "version": __version__, **fingerprint}
    count = save_embedding(job.output, pieces(), framing.timestamps, provenance)
    return Report(job.input, job.output, "done", None, None, tuple(remarks), count, seen.samples / framing.window)


def _state(path):
    """What shows that a recording has changed."""
    try:
        info = os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EdgeL3Error(f"{path}: cannot be read: {reason}", kind="unreadable") from error
    return {"bytes": info.st_size, "mtime_ns": info.st_mtime_ns}


def _model(name, dim, sha256):
    """The model, which must be the one that was meant."""
    try:
        model = load_once(name, dim)
    except EdgeL3Error as error:
        raise EdgeL3Error(str(error), kind="model") from error
    if model.sha256 != sha256:
        raise EdgeL3Error(f"model {name}: expected sha256 {sha256}, found {model.sha256} here", kind="model")
    return model


@lru_cache(maxsize=1)
def load_once(name, dim):
    """`load_model`, once a process."""
    return load_model(name, dim)
