"""What is searched for: a recording, or embeddings of one, as one vector."""

from __future__ import annotations

import os
from numbers import Real
from typing import NamedTuple

import numpy as np

from ..errors import EdgeL3Error
from ..model import Model, load_model
from ..network.threads import one_blas_thread
from ..weights.locate import is_path
from .find import stat_file
from .gather import EmbeddingSpace, describe, embedding_space, nothing_found, space_of
from .results import open_result
from .sources import provenance_of

APART = 1.0 - 1e-6  # seconds; windows closer than this, their length, contain some of the same sound


class Query(NamedTuple):
    """What is searched for.

    Parameters
    ----------
    unit : np.ndarray [shape=(dim,), float64]
        Mean embedding of the query, scaled to length 1 (zeros stay zeros).
    space : EmbeddingSpace
    source : tuple or None
        Identity of the recording, from `source_of`.
    file : tuple
        Device and inode of the query's file.
    span : tuple of float
        First and last timestamp of the part that is asked about, seconds.
    """

    unit: np.ndarray
    space: EmbeddingSpace
    source: tuple | None
    file: tuple
    span: tuple


def read_query(path, at):
    """Return the `Query` for a file of embeddings."""
    with open_result(path) as result:
        embedding, timestamps = np.concatenate(list(result.embedding)), result.timestamps()
        space = embedding_space(result.provenance, path, result.dim)
        unit, span = _mean_of(embedding, timestamps, at, path)
        return Query(unit, space, source_of(result.provenance), result.file, span)


def embed_query(path, at, files, paths, model):
    """Return the `Query` for a recording, embedded like the first of the files that can be read.

    Parameters
    ----------
    path : str
    at : as for `similar`
    files : iterable of str
        Files of embeddings.
    paths : list of (str or Path)
        Where they were looked for, for messages.
    model : as for `similar`
    """
    failure, space = nothing_found(paths, []), None
    for first in files:
        provenance = provenance_of(first) or {}
        try:
            space = embedding_space(provenance, first)
            break
        except EdgeL3Error as error:
            failure = error
    if space is None:
        raise failure
    name = provenance.get("model") if model is None else model
    try:
        if model is None and is_path(name):  # an untrusted file does not decide which file is opened
            raise EdgeL3Error("expected a model's name, found a path")
        loaded = name if isinstance(name, Model) else load_model(name, space.dim)
    except EdgeL3Error as error:
        what = f"cannot embed the query like this file, with {name!r}: {error}"
        raise EdgeL3Error(f"{first}: {what}; or name the model that made it") from error
    here = space_of(loaded)
    if space != here:
        raise EdgeL3Error(
            f"{first}: expected embeddings from the {describe(here, loaded.name)} at hand, found {describe(space)}; "
            "embed the collection again, or name the model that made it"
        )
    options = provenance["options"]
    embedding, timestamps = loaded.embed(path, hop_size=options.get("hop_size"), center=options.get("center"))
    unit, span = _mean_of(embedding, timestamps, at, path)
    info = stat_file(path)
    source = os.path.basename(path), info.st_size, info.st_mtime_ns
    return Query(unit, space, source, (info.st_dev, info.st_ino), span)


def _mean_of(embedding, timestamps, at, path):
    """Return the mean of the embeddings that `at` asks about, scaled to length 1, and their first and last timestamp.

    The span is infinite if `at` is None.
    """
    span, chosen = (-np.inf, np.inf), slice(None)
    if at is not None:
        ends = at if isinstance(at, (tuple, list)) else (at, at)
        if len(ends) != 2 or not all(isinstance(end, Real) and end == end for end in ends) or ends[0] > ends[1]:
            raise EdgeL3Error(f"at: expected a time in seconds, or the first and the last, found {at!r}")
        chosen = np.flatnonzero((timestamps >= ends[0]) & (timestamps <= ends[1]))
        if not len(chosen):
            chosen = np.abs(timestamps - (ends[0] + ends[1]) / 2).argmin()[np.newaxis]
        span = float(timestamps[chosen[0]]), float(timestamps[chosen[-1]])
        if span[1] < ends[0] - APART or span[0] > ends[1] + APART:
            found = f"found {at!r}, and windows from {timestamps[0]:g} to {timestamps[-1]:g} s"
            raise EdgeL3Error(f"at: expected a time within {path}, {found}")
    mean = embedding[chosen].mean(axis=0, dtype=np.float64)
    with one_blas_thread():
        return mean / (np.linalg.norm(mean) or 1.0), span


def source_of(provenance):
    """Return which recording embeddings are from, as name, size and modification time; None if unknown."""
    source = provenance.get("input")
    if not isinstance(source, dict) or not isinstance(source.get("name"), str):
        return None
    return os.path.basename(source["name"]), source.get("bytes"), source.get("mtime_ns")
