"""Search a collection of embeddings for the recordings, or the moments, that are most similar to a query."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable
from numbers import Real
from typing import Callable, NamedTuple

import numpy as np

from .._checks import check_whole
from ..errors import EdgeL3Error, warn
from ..model import Model, load_model
from ..network.threads import one_blas_thread
from ..weights.locate import is_path
from .find import stat_file
from .gather import (
    EmbeddingSpace,
    check_space,
    describe,
    embedding_space,
    find_results,
    list_paths,
    nothing_found,
    space_of,
)
from .results import open_result, read_provenance, recording_of

APART = 1.0 - 1e-6  # seconds; windows closer than this, their length, contain some of the same sound


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
        The file of embeddings.
    recording : str or None
        The recording that they are of: its path when it was embedded. None if the file does not tell.
    """

    score: float
    moment: float
    time: float
    path: str
    recording: str | None = None


class Query(NamedTuple):
    """What is searched for.

    Parameters
    ----------
    unit : np.ndarray [shape=(dim,), float64]
        Mean embedding of the query, scaled to length 1 (zeros stay zeros).
    space : EmbeddingSpace
    source : tuple or None
        Identity of the recording, from `_source_of`.
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


def similar(
    query: str | os.PathLike[str],
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    top: int = 10,
    at: float | tuple[float, float] | None = None,
    moments: bool = False,
    model: str | os.PathLike[str] | Model | None = None,
    on_problem: Callable[[EdgeL3Error], object] | None = None,
) -> list[Hit]:
    """Find the recordings of a collection that are most similar to a recording, or to a part of it.

    Query and recordings are represented by the means of their embeddings, and scored by the cosine of the two. A score
    does not depend on the rest of the collection. Files are read one after the other, in parts, so memory is bounded.

    The query's own recording (the same name, size and modification time, or the same file of embeddings) is never a
    hit. A search for moments does return moments of it, at least a second from the part that is asked about.

    Parameters
    ----------
    query : str or Path
        A file of embeddings (`.npz`) that `edgel3-np` or `embed_files` wrote; or a recording, which is embedded like
        the collection's first readable file: with the same model, embedding length, hop and centring.
    paths : str or Path, or iterable of them
        Files of embeddings, and directories, which are searched for such files recursively (links that lead out of
        them and names with a leading dot are ignored). All files must come from one model.
    top : int > 0
        Number of hits wanted.
    at : number or (number, number), optional
        Ask about this second of the query, or about those from the first to the last, instead of all of it.
    moments : bool
        Rank moments, at least a second apart, instead of recordings.
    model : str, Path or Model, optional
        Model that embeds the query; needed if the collection's model is not installed under its name.
    on_problem : callable, EdgeL3Error -> None, optional
        Called for each file that is skipped because it cannot be read or was not written by `edgel3_np`. By default
        each such file is an `EdgeL3Warning`.

    Returns
    -------
    hits : list of Hit
        Best first; equal scores by path and time. Shorter than `top` if there are fewer hits.

    Raises
    ------
    EdgeL3Error
        An option is not as described; the query cannot be read; there are no embeddings, or embeddings of several
        models; the collection's model is not installed, or the installed one differs.

    Warns
    -----
    EdgeL3Warning
        A file is skipped (see `on_problem`), or a query that is a recording is silent or shorter than a window.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> from edgel3_np import embed_files
    >>> folder, rng = tempfile.mkdtemp(), np.random.default_rng(0)
    >>> for name, level in (("loud", 0.1), ("soft", 0.01), ("silence", 0.0)):
    ...     soundfile.write(os.path.join(folder, f"{name}.wav"), level * rng.standard_normal(16000), 8000)
    >>> summary = embed_files(folder, os.path.join(folder, "embeddings"))
    >>> for hit in similar(os.path.join(folder, "loud.wav"), os.path.join(folder, "embeddings")):
    ...     print(f"{hit.score:.1f}", os.path.basename(hit.path))
    1.0 soft.npz
    0.7 silence.npz
    """
    top = check_whole("top", top)
    skipped: list[EdgeL3Error] = []
    report = on_problem or skipped.append
    query, paths = os.fsdecode(query), list_paths(paths)
    _check_arguments(query, paths)
    files, unreadable = find_results(paths)
    for problem in unreadable:
        report(problem)
    is_result = query.lower().endswith(".npz")
    if not files and not is_result:
        raise nothing_found(paths, files)
    wanted = _read_query(query, at) if is_result else _embed_query(query, at, files, model)
    searched = 0

    def hits():
        nonlocal searched
        for path in files:
            try:
                space, found = _search_file(path, wanted, top, moments)
            except EdgeL3Error as error:
                report(error)
                continue
            check_space(space, wanted.space, path)
            searched += 1
            yield from found

    best = heapq.nsmallest(top, hits(), key=lambda hit: (-hit.score, hit.path, hit.time))
    for problem in skipped:
        warn(str(problem))
    if not searched:
        raise nothing_found(paths, files)
    return best


def _check_arguments(query, paths):
    """Raise `EdgeL3Error` if the query is a directory, or what is to be searched is missing or a recording."""
    if os.path.isdir(query):
        what = "expected a recording or its embeddings (npz), found a directory; the query comes first"
        raise EdgeL3Error(f"{query}: {what}")
    for path in map(os.fsdecode, paths):
        what = "expected a directory of embeddings, or an npz"
        if not os.path.lexists(path):
            raise EdgeL3Error(f"{path}: {what}; found nothing of that name")
        if not os.path.isdir(path) and not path.lower().endswith(".npz"):
            raise EdgeL3Error(f"{path}: {what}; found another file (the query comes first)")


def _search_file(path, query, top, moments):
    """Return the `EmbeddingSpace` of a file, and its hits: none unless that is the query's space."""
    with open_result(path) as result, one_blas_thread():
        space = embedding_space(result.provenance, path, result.dim)
        return space, list(_hits(path, result, query, top, moments)) if space == query.space else []


def _hits(path, result, query, top, moments):
    """Yield the hits in one file: the recording, or its best moments."""
    own = query.source is not None and query.source == _source_of(result.provenance)
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


def _read_query(path, at):
    """Return the `Query` for a file of embeddings."""
    with open_result(path) as result:
        embedding, timestamps = np.concatenate(list(result.embedding)), result.timestamps()
        space = embedding_space(result.provenance, path, result.dim)
        unit, span = _mean_of(embedding, timestamps, at, path)
        return Query(unit, space, _source_of(result.provenance), result.file, span)


def _embed_query(path, at, files, model):
    """Return the `Query` for a recording, embedded like the first of the files that can be read."""
    for number, first in enumerate(files, 1):
        provenance = read_provenance(first) or {}
        try:
            space = embedding_space(provenance, first)
            break
        except EdgeL3Error:
            if number == len(files):  # none is left
                raise
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
            f"{first}: expected embeddings from the {loaded.name} at hand ({describe(here)}), found {describe(space)}; "
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


def _source_of(provenance):
    """Return which recording embeddings are from, as name, size and modification time; None if unknown."""
    source = provenance.get("input")
    if not isinstance(source, dict) or not isinstance(source.get("name"), str):
        return None
    return os.path.basename(source["name"]), source.get("bytes"), source.get("mtime_ns")
