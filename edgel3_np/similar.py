"""Search: the recordings and moments of a collection of embeddings that are most like one."""

import heapq
import json
import os
import re
import sys
import warnings
from numbers import Integral
from typing import NamedTuple

import numpy as np

from .errors import EdgeL3Error, EdgeL3Warning
from .files import find_files, printable
from .output import open_result
from .query import APART, embed_query, file_of, made_with, nothing_in, read_query, source_of, words


class Hit(NamedTuple):
    """A recording, or a moment of one, that is like the query.

    Parameters
    ----------
    score : float
        By which hits are ranked, from -1 to 1: the cosine of the mean of the recording's embeddings and the query's; of
        a search for moments, `moment`.
    moment : float
        The same for the one embedding of the recording that is most like the query.
    time : float
        Its time in the recording, seconds.
    path : str
        The file of embeddings.
    """

    score: float
    moment: float
    time: float
    path: str


def similar(query, paths, *, top=10, at=None, moments=False, model=None, on_problem=None):
    """Find the recordings of a collection that are most like a recording, or like a moment of it.

    The query is the mean of its embeddings, and so is each recording; the score is the cosine of the two. It does not
    depend on what else is in the collection. Files are read one after the other, a piece at a time.

    The query's own recording (same name, size and time of modification, or the same file of embeddings) is no hit. Of a
    search for moments in time, moments of it are that are a second or more from those asked about.

    Parameters
    ----------
    query : str or Path
        A file of embeddings (`.npz`), as `edgel3-np` and `embed_files` write it; or a recording, which is embedded as
        the collection's first file says that it was: the same model, length of embedding, hop and centring.
    paths : str or Path, or iterable of them
        Files of embeddings, and directories, in which those are looked for however deep (not through links that lead
        out of them, nor under names with a leading dot). All must be of one model.
    top : int > 0
        Hits wanted.
    at : number or (number, number), optional
        Ask about this second of the query, or about those from the first to the last, instead of all of it.
    moments : bool
        Rank moments, at least a second apart, rather than recordings.
    model : str, Path or Model, optional
        To embed a query with; needed where the collection's model is not installed under its name.
    on_problem : callable, EdgeL3Error -> None, optional
        Told of each file that is passed over because it cannot be read or is not of `edgel3_np`; otherwise each is an
        `EdgeL3Warning`.

    Returns
    -------
    hits : list of Hit
        The best first; equal ones by path and time. Fewer than `top` if there are no more.

    Raises
    ------
    EdgeL3Error
        An option is not as described; the query cannot be read; there are no embeddings, or embeddings of several
        models; the collection's model is not installed, or is another here.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> from edgel3_np import embed_files
    >>> folder, rng = tempfile.mkdtemp(), np.random.default_rng(0)
    >>> for name, level in (("loud", 0.1), ("soft", 0.01), ("silence", 0.0)):
    ...     soundfile.write(os.path.join(folder, f"{name}.wav"), level * rng.standard_normal(16000), 8000)
    >>> reports = list(embed_files(folder, os.path.join(folder, "embeddings")))
    >>> for hit in similar(os.path.join(folder, "loud.wav"), os.path.join(folder, "embeddings")):
    ...     print(f"{hit.score:.1f}", os.path.basename(hit.path))
    1.0 soft.npz
    0.7 silence.npz
    """
    if isinstance(top, bool) or not isinstance(top, Integral) or top < 1:
        raise EdgeL3Error(f"top: expected a whole number above 0, found {top!r}")
    passed_over = []
    report = on_problem or passed_over.append
    query, paths = os.fsdecode(query), [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files, problems = _find(paths)
    asked = read_query(query, at) if query.lower().endswith(".npz") else embed_query(query, at, files, model)
    count = 0

    def hits():
        nonlocal count
        for problem in problems:
            report(problem)
        for path in files:
            try:
                with open_result(path) as result:
                    made = made_with(result.provenance, path, result.dim)
                    found = list(_hits(path, result, asked, top, moments)) if made == asked.made else None
            except EdgeL3Error as error:
                report(error)
                continue
            if found is None:
                raise EdgeL3Error(
                    f"{path}: expected embeddings of one model, {words(asked.made)}, found {words(made)}; "
                    "search folders of one model at a time"
                )
            count += 1
            yield from found

    best = heapq.nsmallest(top, hits(), key=lambda hit: (-hit.score, hit.path, hit.time))
    for problem in passed_over:
        warnings.warn(str(problem), EdgeL3Warning, stacklevel=2)
    if not count:
        raise nothing_in(paths)
    return best


def _find(paths):
    """Files of embeddings as they are to be shown, in order; and what is passed over."""
    files, problems = {}, []
    for entry in map(os.fsdecode, paths):
        found, unreadable = find_files([entry], suffixes={".npz"})
        folder = os.path.join(os.path.realpath(entry), "") if os.path.isdir(entry) else None
        for absolute, below in found.items():
            shown = os.path.join(entry, below) if folder else entry
            if folder and os.path.islink(absolute) and not os.path.realpath(absolute).startswith(folder):
                problems.append(EdgeL3Error(f"{shown}: expected a file of this folder, found a link that leads out"))
            else:
                files.setdefault(absolute, shown)
        problems += [EdgeL3Error(f"{path}: cannot be listed: {reason}") for path, reason in unreadable.items()]
    return list(files.values()), problems


def _hits(path, result, query, top, moments):
    """The hits in one file: the recording, or its best moments."""
    own = query.source is not None and query.source == source_of(result.provenance)
    own = own or file_of(path) == query.file
    cosines, total = [], np.zeros(result.dim)
    for piece in result.embedding:
        piece = piece.astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", piece, piece))
        cosines.append(piece @ query.unit / np.where(lengths > 0, lengths, 1.0))
        total += piece.sum(axis=0)
    cosines, times = np.concatenate(cosines), result.timestamps()
    if not moments:
        best = int(cosines.argmax())
        score = float(total @ query.unit / (np.linalg.norm(total) or 1.0))
        if not own:
            yield Hit(score, float(cosines[best]), float(times[best]), path)
        return
    left = cosines.copy()
    if own:
        left[(times > query.span[0] - APART) & (times < query.span[1] + APART)] = -np.inf
    for _ in range(top):
        best = int(left.argmax())
        if left[best] == -np.inf:
            return
        yield Hit(float(cosines[best]), float(cosines[best]), float(times[best]), path)
        left[np.abs(times - times[best]) < APART] = -np.inf


def _seconds(text):
    """`9` or `9-11`: a time, or the first and the last."""
    found = re.fullmatch(r"(\d+\.?\d*)(?:-(\d+\.?\d*))?", text)
    if not found:
        raise ValueError(text)
    return float(found[1]) if found[2] is None else (float(found[1]), float(found[2]))


def main(arguments=None):
    """Run `edgel3-np similar`; return its exit code: 0 done, 1 files passed over, 2 wrong usage, 130 interrupted."""
    import argparse  # here: it takes a while to import

    parser = argparse.ArgumentParser(
        prog="edgel3-np similar",
        description="Find the recordings of a collection of embeddings that are most like one. Prints score (cosine of "
        "the mean embeddings), moment (the same, of the most similar moment), its time in seconds, and file.",
        epilog="Exit codes: 0 done, 1 files could not be read, 2 wrong usage or no such model, 130 interrupted.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("query", metavar="QUERY", help="audio file, or npz of embeddings")
    add("paths", nargs="+", metavar="DIR", help="folder of embeddings (npz), searched however deep, or npz")
    add("--top", type=int, default=10, metavar="N", help="hits (default: %(default)s)")
    add("--at", type=_seconds, metavar="S[-E]", help="only this second of the query, or those from S to E")
    add("--moments", action="store_true", help="rank moments, a second apart, rather than recordings")
    add("-m", "--model", metavar="NAME|PATH", help="to embed the query with (default: what the collection names)")
    add("--json", action="store_true", help="print a line of JSON for each hit")
    options = parser.parse_args(arguments)
    problems = []

    def report(problem):
        problems.append(problem)
        print(f"edgel3-np similar: passed over: {printable(str(problem))}", file=sys.stderr)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EdgeL3Warning)  # that the query is short or silent
            hits = similar(
                options.query,
                options.paths,
                top=options.top,
                at=options.at,
                moments=options.moments,
                model=options.model,
                on_problem=report,
            )
    except KeyboardInterrupt:
        print("edgel3-np similar: interrupted", file=sys.stderr)
        return 130
    except EdgeL3Error as error:
        print(f"edgel3-np similar: {printable(str(error))}", file=sys.stderr)
        return 2 if error.kind == "invalid" else 1
    if not options.json:
        print("  score  moment      time  file")
    for hit in hits:
        line = f"{hit.score:7.4f} {hit.moment:7.4f} {hit.time:7.2f} s  {printable(hit.path)}"
        print(json.dumps(hit._asdict()) if options.json else line)
    return 1 if problems else 0
