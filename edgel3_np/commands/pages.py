"""Write pages of HTML: their options, their progress, and what is said of them."""

from __future__ import annotations

import os
import sys

from ..collections.html import check_page
from ..collections.names import printable
from ..collections.summary import plural
from ..errors import EdgeL3Error
from .ending import describe, tell
from .progress import steps

MOST = 1000  # hits on a page


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


def check_page_options(options):
    """Raise `EdgeL3Error` unless the page can be written, or if options of a page come without one."""
    if options.html is None:
        if options.link or getattr(options, "hits", None) is not None:
            raise EdgeL3Error("--link and --hits: expected --html with them, found none")
        return
    check_page(options.html)


def make_page(program, path, found, query=None, quiet=False, progress=None, **options):
    """Write a page of hits, show the progress, and say how large it is.

    Parameters
    ----------
    program : str
    path : str
    found : list of tuple
        The fields of a `Candidate`.
    query : tuple, optional
        The same, of what was searched for.
    quiet : bool
        Say nothing but what is wrong.
    progress : bool, optional
        Show the progress; by default if stderr is a terminal.
    options : as for `write_hits`

    Returns
    -------
    problems : list of EdgeL3Error
        Recordings that cannot be heard.
    """
    from ..pages.hits import Candidate, write_hits  # here: a copy may have no `pages`

    candidates, problems = [Candidate(*item) for item in found[:MOST]], []
    if len(found) > MOST:
        tell(program, f"the page has the first {MOST} of {len(found)} hits, for a browser shows no more with ease")
    query = None if query is None else Candidate(*query)

    def report(problem):
        problems.append(problem)
        tell(program, f"cannot be heard: {describe(problem)}")

    shown = not quiet and (sys.stderr.isatty() if progress is None else progress)
    with steps(os.path.basename(path), len(candidates), shown) as step:
        size = write_hits(path, candidates, query=query, on_problem=report, on_item=step, **options)
    if not quiet:
        tell(program, f"{printable(path)}: {plural(len(candidates), 'hit')}, {size / 1e6:.1f} MB; open it in a browser")
    return problems
