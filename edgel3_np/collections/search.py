"""Search a collection of embeddings for the recordings, or the moments, that are most similar to a query."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable
from typing import Callable

import numpy as np

from .._checks import check_whole
from ..errors import EdgeL3Error, warn
from ..model import Model
from .gather import check_space, list_paths, nothing_found
from .index import bounds
from .parts import list_parts
from .query import embed_query, read_query
from .scan import Hit, search_file

__all__ = ["Hit", "similar"]


def similar(
    query: str | os.PathLike[str],
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    top: int = 10,
    at: float | tuple[float, float] | None = None,
    moments: bool = False,
    model: str | os.PathLike[str] | Model | None = None,
    index: bool = True,
    on_problem: Callable[[EdgeL3Error], object] | None = None,
) -> list[Hit]:
    """Find the recordings of a collection that are most similar to a recording, or to a part of it.

    Query and recordings are represented by the means of their embeddings, and scored by the cosine of the two. A score
    does not depend on the rest of the collection. Files are read one after the other, in parts, so memory is bounded. A
    directory that has an index (see `edgel3_np.index.update_index`) is searched with it, which is faster and finds the
    same.

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
    index : bool
        Use the indexes of directories, where there are any.
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
        A file is skipped (see `on_problem`), an index is stale or damaged, or a query that is a recording is silent or
        shorter than a window.

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
    parts, remarks = list_parts(paths, index, report)
    known = (path for part in parts for path in part.all_files())
    wanted = read_query(query, at) if query.lower().endswith(".npz") else embed_query(query, at, known, paths, model)
    best, searched = _search(parts, wanted, top, moments, report)
    for text in [*remarks, *map(str, skipped)]:
        warn(text)
    if not searched:
        raise nothing_found(paths, [path for part in parts for path in part.files])
    return best


def _search(parts, wanted, top, moments, report):
    """Return the best hits, and how many files were searched: all that are in an index, and all that could be read."""
    best: list[Hit] = []
    searched = 0

    def take(path):
        try:
            space, found = search_file(path, wanted, top, moments)
        except EdgeL3Error as error:
            report(error)
            return 0
        check_space(space, wanted.space, path)
        best[:] = heapq.nsmallest(top, [*best, *found], key=lambda hit: (-hit.score, hit.path, hit.time))
        return 1

    for path in (path for part in parts for path in part.files):
        searched += take(path)
    limits, places = [np.zeros(0)], []
    for part in (part for part in parts if part.known and len(part.numbers)):
        check_space(part.known.space, wanted.space, part.path_of(0))
        limits.append(bounds(part.known, wanted.unit, moments)[part.numbers])
        places.append(part)
    limits, firsts = np.concatenate(limits), np.cumsum([0, *(len(part.numbers) for part in places)])
    for number in np.argsort(-limits, kind="stable"):
        if len(best) == top and limits[number] < best[-1].score:
            break
        place = int(np.searchsorted(firsts, number, "right")) - 1
        take(places[place].path_of(number - firsts[place]))
    return best, searched + len(limits)


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
