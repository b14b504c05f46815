"""Write pages of HTML: their options, their progress, and what is said of them."""

from __future__ import annotations

import os
import sys

from ..collections.names import printable
from ..collections.summary import plural
from ..pages.hits import write_hits
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


def make_page(program, path, candidates, **options):
    """Write a page of hits, show the progress, and say how large it is.

    Parameters
    ----------
    program : str
    path : str
    candidates : list of Candidate
    options : as for `write_hits`

    Returns
    -------
    problems : list of EdgeL3Error
        Recordings that cannot be heard.
    """
    problems = []

    def report(problem):
        problems.append(problem)
        tell(program, f"cannot be heard: {describe(problem)}")

    with steps(os.path.basename(path), len(candidates), sys.stderr.isatty()) as step:
        size = write_hits(path, candidates, on_problem=report, on_item=step, **options)
    tell(program, f"{printable(path)}: {plural(len(candidates), 'hit')}, {size / 1e6:.1f} MB; open it in a browser")
    return problems
