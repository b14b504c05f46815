"""Search a collection of embeddings for the recordings, or the moments, that are most similar to a query."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from typing import Callable

import numpy as np

from .._checks import check_whole
from ..errors import EdgeL3Error, warn
from ..model import Model
from .gather import check_space, list_paths, nothing_found
from .index import bounds
from .inverted import approximate_bounds, open_lists
from .listing import list_files
from .query import embed_query, read_query
from .scan import Hit, best_of, search_file, search_result
from .sources import Opened, is_part, is_source

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
    approximate: bool = False,
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
        Files of embeddings (npz, or parts of a table), and directories, which are searched for such files recursively
        (links that lead out of them and names with a leading dot are ignored). All must come from one model.
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
    approximate : bool
        In a search for moments, read only a few of the inverted lists of an index (see `update_index`). This is for
        collections whose index is larger than memory. It may miss a hit; the hits that it finds have the same scores
        as in an exact search. It needs `moments`: a search for recordings is fast, and always exact.
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
        A file is skipped (see `on_problem`), an index is stale, damaged or without inverted lists, or a query that is a
        recording is silent or shorter than a window.

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
    if approximate and not moments:
        raise EdgeL3Error("approximate: expected a search for moments, found one for recordings, which is always exact")
    listings, remarks = list_files(paths, index, report)
    known = (path for listing in listings for path in listing.all_files())
    wanted = read_query(query, at) if query.lower().endswith(".npz") else embed_query(query, at, known, paths, model)
    limits_of = partial(_approximate_limits, top=top, remarks=remarks) if approximate else bounds
    best, searched = _search(listings, wanted, top, moments, report, limits_of)
    for text in [*remarks, *map(str, skipped)]:
        warn(text)
    if not searched:
        raise nothing_found(paths, [path for listing in listings for path in listing.files])
    return best


def _search(listings, wanted, top, moments, report, limits_of):
    """Return the best hits, and how many recordings of indexes, and other files, were searched."""
    best: list[Hit] = []
    searched, damaged = 0, set()

    def take(path, search):
        try:
            space, found = search()
        except EdgeL3Error as error:
            report(error)
            return 0
        check_space(space, wanted.space, path)
        best[:] = best_of([*best, *found], top)
        return 1

    for path in (path for listing in listings for path in listing.files):
        searched += take(path, partial(search_file, path, wanted, top, moments))
    limits, indexed = [np.zeros(0)], []
    for listing in (each for each in listings if each.known and len(each.numbers)):
        check_space(listing.known.space, wanted.space, listing.place_of(0).path)
        limits.append(limits_of(listing.known, wanted.unit, moments)[listing.numbers])
        indexed.append(listing)
    limits, firsts = np.concatenate(limits), np.cumsum([0, *(len(listing.numbers) for listing in indexed)])
    with closing(Opened()) as opened:
        for number in np.argsort(-limits, kind="stable"):
            if limits[number] == -np.inf or (len(best) == top and limits[number] < best[-1].score):
                break
            which = int(np.searchsorted(firsts, number, "right")) - 1
            place = indexed[which].place_of(number - firsts[which])
            search = partial(_search_place, place, opened, wanted, top, moments)
            if place.path not in damaged and not take(place.path, search):
                damaged.add(place.path)
    return best, searched + len(limits)


def _approximate_limits(index, unit, moments, top, remarks):
    """Return bounds as `bounds` does, -inf where there is no reason to look; note what keeps the lists from use."""
    try:
        lists = open_lists(index)
        if lists is not None:
            return approximate_bounds(index, lists, unit, top)
        why = f"{index.root}: its index has no inverted lists; write them: edgel3-np index --approximate {index.root}"
    except EdgeL3Error as error:
        why = str(error)
    remarks.append(f"{why} (all windows are searched)")
    return bounds(index, unit, moments)


def _search_place(place, opened, wanted, top, moments):
    """Search one recording that an index knows: return its `EmbeddingSpace` and its hits."""
    if place.number is None:
        return search_file(place.path, wanted, top, moments)
    return search_result(place.path, opened.result(place), wanted, top, moments)


def _check_arguments(query, paths):
    """Raise `EdgeL3Error` if the query is a directory, or what is to be searched is missing or a recording."""
    if is_part(query):
        raise EdgeL3Error(f"{query}: expected a recording or its embeddings (npz), found a table of many recordings")
    if os.path.isdir(query):
        what = "expected a recording or its embeddings (npz), found a directory; the query comes first"
        raise EdgeL3Error(f"{query}: {what}")
    for path in map(os.fsdecode, paths):
        what = "expected a directory of embeddings, an npz, or a part of a table"
        if not os.path.lexists(path):
            raise EdgeL3Error(f"{path}: {what}; found nothing of that name")
        if not os.path.isdir(path) and not is_source(path):
            raise EdgeL3Error(f"{path}: {what}; found another file (the query comes first)")
