"""Embed a recording for a table: the worker returns the embeddings, and the parent process writes them."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, suppress
from itertools import chain
from typing import NamedTuple

import numpy as np

from ...errors import EdgeL3Error
from ...pipeline import SignalStats, framing_for
from ..find import clamped, make_directories
from ..jobs import Job, Report, checked_batches, guarded, load_model_of, state_of
from ..results import open_result, save_embedding
from .part import MAX_GROUPS, Entry, Held

SMALL_BYTES = 1 << 20  # of embeddings that a worker returns; more of them wait in a file


class Embedded(NamedTuple):
    """A recording that is embedded, and not yet in the table.

    Parameters
    ----------
    report : Report
        What is to be said when it is.
    entry : Entry
    time : np.ndarray [shape=(n,), float64] or None
    embedding : np.ndarray [shape=(n, dim), float32] or None
        None: they are in the npz `report.output`.
    """

    report: Report
    entry: Entry
    time: np.ndarray | None
    embedding: np.ndarray | None

    @property
    def input(self):
        """The recording, as in a `Report`."""
        return self.report.input

    @property
    def kind(self):
        """The kind of failure, as in a `Report`: none."""
        return self.report.kind


def embed_for_table(job: Job) -> Embedded | Report:
    """Embed one recording. This is the function that executors run for a table; running it twice does no harm.

    Parameters
    ----------
    job : Job
        Its `output` is an npz that is written if there are many embeddings.

    Returns
    -------
    embedded : Embedded or Report
        The report is that of a failure.
    """
    found = []

    def work(job):
        report, *rest = _embed(job)
        found.extend(rest)
        return report

    report = guarded(work, job)
    return Embedded(report, *found) if report.status == "done" else report


def _embed(job):
    """Return the report, the entry, the times and the embeddings of a recording, as `Embedded` has them."""
    model, state = load_model_of(job), state_of(job.input)
    framing, stats = framing_for(model.network, job.hop_size, job.center), SignalStats()
    kept, left = [], SMALL_BYTES
    with closing(checked_batches(job, model, framing, state, stats)) as batches:
        for batch in batches:
            kept.append(batch)
            left -= batch.nbytes
            if left < 0:
                break
        if left < 0:
            make_directories(os.path.dirname(job.output), job.root)
            count = save_embedding(job.output, chain(kept, batches), framing.timestamps, {"input": {"name": job.name}})
            time = embedding = None
        else:
            embedding = np.concatenate(kept)  # a copy, for a batch may be a part of a larger array
            count, time = len(embedding), framing.timestamps(len(embedding), 0)
    remarks, incomplete = tuple(stats.remarks(framing.window)), bool(stats.missing)
    report = Report(job.input, job.output, "done", remarks=remarks, windows=count, incomplete=incomplete)
    entry = Entry(job.name, job.source, state["bytes"], clamped(state["mtime_ns"]), count, remarks, incomplete)
    return report._replace(seconds=stats.samples / framing.window), entry, time, embedding


@contextmanager
def opened(embedded):
    """Yield the times, and an iterator of the embeddings, of a recording that may wait in a file.

    Raises
    ------
    EdgeL3Error
        The file cannot be read, or another run has put another recording there.
    """
    if embedded.embedding is not None:
        yield embedded.time, iter([embedded.embedding])
        return
    with open_result(embedded.report.output) as stored:
        times, entry = stored.timestamps(), embedded.entry
        if stored.provenance.get("input") != {"name": entry.name} or len(times) != entry.windows:
            raise EdgeL3Error(f"{embedded.report.output}: expected {entry.name}, found another recording; run again")
        yield times, stored.embedding


def held_of(embedded):
    """Return the embeddings of a recording in memory, as `Held`."""
    with opened(embedded) as (times, pieces):
        return Held(embedded.entry, times, np.concatenate(list(pieces)))


def groups_of(embedded, rows):
    """Yield the embeddings of a recording as lists of one `Held` each, which have so many rows.

    Raises
    ------
    EdgeL3Error
        They are more than a part may hold; or as `opened`.
    """
    most, found = rows * MAX_GROUPS, embedded.entry.windows
    if found > most:
        how = "choose a larger hop_size, or the format npz"
        raise EdgeL3Error(f"expected at most {most} windows, found {found}; {how}")
    with opened(embedded) as (times, pieces):
        start, kept, count = 0, [], 0
        for piece in pieces:
            while count + len(piece) >= rows:
                kept, piece = np.concatenate([*kept, piece[: rows - count]]), piece[rows - count :]
                group, kept, count = [Held(embedded.entry, times[start : start + rows], kept)], [], 0
                start += rows
                yield group
                del group  # before the next one is put together
            if len(piece):
                kept.append(piece)
                count += len(piece)
        if kept:
            yield [Held(embedded.entry, times[start:], np.concatenate(kept))]


def discard(embedded):
    """Remove the file in which the embeddings of a recording have waited, if there is one."""
    if embedded.embedding is None:
        with suppress(OSError):
            os.unlink(embedded.report.output)
