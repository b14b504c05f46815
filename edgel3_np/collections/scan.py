"""Search one file of embeddings exactly."""

from __future__ import annotations

import heapq
from contextlib import closing
from typing import NamedTuple

import numpy as np

from ..network.threads import one_blas_thread
from .gather import embedding_space
from .query import APART, source_of
from .results import recording_of
from .sources import read_results


class Hit(NamedTuple):
    """A recording, or a moment of one, that is similar to the query.

    Parameters
    ----------
    score : float
        Rank of the hit, from -1 to 1: the cosine of the recording's mean embedding and the query's. In a search for
        moments it equals `moment`.
    moment : float
        Cosine of the query's mean embedding and the most similar single embedding of the recording.
    time : float
        Timestamp of that single embedding, seconds.
    path : str
        The file of embeddings: an npz, or a part of a table.
    recording : str or None
        The recording that they are of: its path when it was embedded. None if the file does not tell.
    """

    score: float
    moment: float
    time: float
    path: str
    recording: str | None = None


def search_file(path, query, top, moments):
    """Return the `EmbeddingSpace` of a file, and its best hits: none unless that is the query's space."""
    best = []
    with closing(read_results(path)) as results:
        for _, result in results:
            space, found = search_result(path, result, query, top, moments)
            if space != query.space:
                break
            best = best_of([*best, *found], top)
    return space, best


def search_result(path, result, query, top, moments):
    """Return the `EmbeddingSpace` of one recording, and its hits: none unless that is the query's space."""
    with one_blas_thread():
        space = embedding_space(result.provenance, path, result.dim)
        return space, list(_hits(path, result, query, top, moments)) if space == query.space else []


def best_of(hits, top):
    """Return the best hits, at most `top`, in order."""
    return heapq.nsmallest(top, hits, key=lambda hit: (-hit.score, hit.path, hit.recording or "", hit.time))


def _hits(path, result, query, top, moments):
    """Yield the hits in one file: the recording, or its best moments."""
    own = query.source is not None and query.source == source_of(result.provenance)
    own = own or result.file == query.file
    cosines, total = [], np.zeros(result.dim)
    for batch in result.embedding:
        batch = batch.astype(np.float64)  # (b, dim)
        lengths = np.sqrt(np.einsum("ij,ij->i", batch, batch))
        cosines.append(batch @ query.unit / np.where(lengths > 0, lengths, 1.0))
        total += batch.sum(axis=0)
    cosines, times, recording = np.concatenate(cosines), result.timestamps(), recording_of(result.provenance)
    if not moments:
        best = int(cosines.argmax())
        score = float(total @ query.unit / (np.linalg.norm(total) or 1.0))
        if not own:
            yield Hit(score, float(cosines[best]), float(times[best]), path, recording)
        return
    left = cosines.copy()  # -inf where a moment is taken or excluded
    if own:
        left[(times > query.span[0] - APART) & (times < query.span[1] + APART)] = -np.inf
    for _ in range(top):
        best = int(left.argmax())
        if left[best] == -np.inf:
            return
        yield Hit(float(cosines[best]), float(cosines[best]), float(times[best]), path, recording)
        left[np.abs(times - times[best]) < APART] = -np.inf
