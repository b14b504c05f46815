"""Embed many short recordings together: their windows go through the network in full batches.

No embedding depends on what goes through the network with it, so the outputs have the same bytes as one by one.
"""

from __future__ import annotations

import os
import time
from itertools import islice
from typing import NamedTuple

import numpy as np

from ..audio.reading import open_audio
from ..network.columns import ColumnNetwork
from ..network.forward import forward, workspace
from ..network.threads import check_threads, in_order, one_blas_thread
from ..pipeline import check_finite, spectrogram, windows_of
from .atomic import write_together
from .jobs import Report, Started, add_remarks, attempt, check_recording, embed_file, report_of, start_job
from .results import result_bytes

MOST = 32  # recordings of a bundle
BATCHES = 4  # of windows; a recording with more is long
SHORT, ALL = 1 << 19, 1 << 22  # bytes of a recording, and of all of a bundle


def bundles(jobs, most=MOST):
    """Group jobs of short recordings, in their order.

    Parameters
    ----------
    jobs : iterable of Job
    most : int > 0
        Jobs of a bundle.

    Yields
    ------
    bundle : list of Job
        A recording that is not short is alone.
    """
    bundle, size = [], 0
    for job in jobs:
        length = _size(job.input)
        if bundle and (len(bundle) >= most or length > SHORT or size + length > ALL):
            yield bundle
            bundle, size = [], 0
        bundle.append(job)
        size += length
        if length > SHORT:
            yield bundle
            bundle, size = [], 0
    if bundle:
        yield bundle


def _size(path):
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # reading it tells what is wrong


def embed_bundle(jobs):
    """Embed recordings into a file each. This is the function that executors run; running it twice does no harm.

    Parameters
    ----------
    jobs : list of Job, or Job
        Of one model and with the same options.

    Returns
    -------
    reports : list of Report, or Report
        One for each job, in their order. Every failure is a report, as of `embed_file`.
    """
    if not isinstance(jobs, list):
        return embed_file(jobs)
    if len(jobs) == 1:
        return [embed_file(jobs[0])]
    start = time.perf_counter()
    found = [attempt(job, _read, job) for job in jobs]
    read = [item for item in found if not isinstance(item, Report)]
    embedded = iter(_embed(read))
    found = [item if isinstance(item, Report) else attempt(item.job, _encode, item, next(embedded)) for item in found]
    contents = {item.job.output: item.content for item in found if isinstance(item, _Ready)}
    failures = write_together(contents)
    each = (time.perf_counter() - start) / len(jobs)
    done = (attempt(item.job, _report, item, failures) for item in found if isinstance(item, _Ready))
    return [item if isinstance(item, Report) else next(done)._replace(elapsed=each) for item in found]


class _Read(NamedTuple):
    """A recording that has been read: its log-mel spectrograms, shape (b, n_mels, n_frames)."""

    started: Started
    log_mel: np.ndarray

    @property
    def job(self):
        return self.started.job


class _Ready(NamedTuple):
    """An output that only has to be written."""

    started: Started
    content: bytes
    windows: int

    @property
    def job(self):
        return self.started.job


def _read(job):
    """Return the `_Read` of a job, or the report of one that is done.

    That is one whose recording is long in spite of its size, or whose network is for streams: it takes columns.
    """
    started = start_job(job)
    if isinstance(started, Report):
        return started
    network, framing, stats = started.model.network, started.framing, started.stats
    if isinstance(network, ColumnNetwork):
        return embed_file(job)
    with one_blas_thread(), open_audio(job.input, None, stats.notice) as (sr, blocks):
        batches = islice(windows_of(network, blocks, sr, framing, stats), BATCHES + 1)
        parts = [spectrogram(network)(batch, network.frontend, network.bands, framing.hop) for batch in batches]
    if len(parts) > BATCHES:
        return embed_file(job)
    check_recording(job, framing, started.state, stats)
    return _Read(started, np.concatenate(parts))


def _embed(read):
    """Return the embeddings of each recording, shape (b, dim), of windows that go through the network together."""
    if not read:
        return []
    network, threads = read[0].started.model.network, read[0].job.threads
    log_mel = np.concatenate([item.log_mel for item in read])
    size = read[0].started.framing.batch

    def embed_part(part):
        with workspace(network) as work:
            return forward(work, part)

    with one_blas_thread() as active:
        parts = [log_mel[first : first + size] for first in range(0, len(log_mel), size)]
        embedding = np.concatenate(list(in_order(embed_part, iter(parts), check_threads(threads, active))))
    return np.split(embedding, np.cumsum([len(item.log_mel) for item in read])[:-1])


def _encode(read, embedding):
    """Return the `_Ready` of a recording and its embeddings."""
    check_finite(embedding)
    started = read.started
    add_remarks(started)
    times = started.framing.timestamps(len(embedding))
    return _Ready(started, result_bytes(embedding, times, started.provenance), len(embedding))


def _report(ready, failures):
    """Return the report of an output that was written, or raise the error of writing it."""
    if ready.job.output in failures:
        raise failures[ready.job.output]
    return report_of(ready.started, ready.windows)
