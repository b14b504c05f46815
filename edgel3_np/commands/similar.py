"""`edgel3-np similar`: search a collection of embeddings for what is most similar to a recording."""

from __future__ import annotations

import argparse
import json
import warnings

from .._files import printable
from ..collections.search import similar
from ..errors import EdgeL3Warning
from .ending import FAILED, OK, describe, finish, tell, wrong_usage
from .options import time_span, whole_number

PROGRAM = "edgel3-np similar"


def main(arguments: list[str] | None = None) -> int:
    """Run the similar command; return its exit code."""
    return finish(PROGRAM, lambda: _run_similar(arguments))


def _run_similar(arguments):
    options = build_parser().parse_args(arguments)
    problems = []

    def report(problem):
        problems.append(problem)
        tell(PROGRAM, f"passed over: {describe(problem)}")

    with wrong_usage("invalid"), warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeL3Warning)  # a query may be short or silent
        hits = similar(
            options.query,
            options.paths,
            top=options.top,
            at=options.at,
            moments=options.moments,
            model=options.model,
            on_problem=report,
        )
    print_hits(hits, options.json)
    return FAILED if problems else OK


def build_parser():
    """Build the parser of the similar command's options."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Find the recordings of a collection of embeddings that are most similar to one. Prints the score "
        "(cosine of the mean embeddings), moment (cosine at the most similar moment), the time of that moment in "
        "seconds, and the file.",
        epilog="Exit codes: 0 done, 1 the query or a file of the collection cannot be read, 2 wrong usage or no such "
        "model, 130 interrupted.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("query", metavar="QUERY", help="audio file, or npz of embeddings")
    add("paths", nargs="+", metavar="DIR", help="directory of embeddings (npz), with its subdirectories; or an npz")
    add("--top", type=whole_number(), default=10, metavar="N", help="number of hits (default: %(default)s)")
    add("--at", type=time_span, metavar="S[-E]", help="take only second S of the query, or seconds S to E")
    add("--moments", action="store_true", help="rank moments, at least a second apart, instead of recordings")
    add("-m", "--model", metavar="NAME|PATH", help="model to embed the query with (default: the collection's)")
    add("--json", action="store_true", help="print a line of JSON for each hit")
    return parser


def print_hits(hits, as_json):
    """Print a table of hits, or a line of JSON for each."""
    if not as_json:
        print("  score  moment      time  file")
    for hit in hits:
        line = f"{hit.score:7.4f} {hit.moment:7.4f} {hit.time:7.2f} s  {printable(hit.path)}"
        print(json.dumps(hit._asdict()) if as_json else line)
