"""Write pages of HTML: their options, their progress, and what is said of them."""

from __future__ import annotations

import os
import sys

from ..collections.names import printable
from ..collections.summary import plural
from .ending import describe, tell
from .progress import steps


def add_page_options(add):
    """Add the options of a page of hits; `add` is a parser's `add_argument`."""
    add(
        "--html",
        metavar="FILE",
        help="write a page to listen to the hits, to answer yes, no or unsure, and to save labels for "
        "`edgel3-np train`; it needs no network and no server",
    )
    add(
        "--link",
        action="store_true",
        help="let the page play the recordings where they are, instead of holding a copy of each hit: it is small, and "
        "the browser must know their format",
    )


def check_page(path):
    """Raise `EdgeL3Error` unless a page of this name can be written; do nothing if it is None."""
    if path is not None:
        from ..pages.assemble import check_page as check  # here: a copy may have no `pages`

        check(path)


def make_page(program, path, found, query=None, **options):
    """Write a page of hits, show the progress, and say how large it is.

    Parameters
    ----------
    program : str
    path : str
    found : list of tuple
        The fields of a `Candidate`.
    query : tuple, optional
        The same, of what was searched for.
    options : as for `write_hits`

    Returns
    -------
    problems : list of EdgeL3Error
        Recordings that cannot be heard.
    """
    from ..pages.hits import Candidate, write_hits

    candidates, problems = [Candidate(*item) for item in found], []
    query = None if query is None else Candidate(*query)

    def report(problem):
        problems.append(problem)
        tell(program, f"cannot be heard: {describe(problem)}")

    with steps(os.path.basename(path), len(candidates), sys.stderr.isatty()) as step:
        size = write_hits(path, candidates, query=query, on_problem=report, on_item=step, **options)
    tell(program, f"{printable(path)}: {plural(len(candidates), 'hit')}, {size / 1e6:.1f} MB; open it in a browser")
    return problems
