"""`edgel3-np similar`: search a collection of embeddings for what is most similar to a recording."""

from __future__ import annotations

import json
import math
import os
import warnings

from ..collections.clips import span_of, write_clip
from ..collections.names import printable
from ..collections.results import read_provenance, recording_of
from ..collections.search import similar
from ..errors import EdgeL3Error, EdgeL3Warning
from .ending import FAILED, OK, describe, escape_names, finish, tell, wrong_usage
from .options import make_parser, time_span, whole_number
from .pages import add_page_options, check_page_options, make_page

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

    with wrong_usage():
        check_page_options(options)
    with wrong_usage("invalid"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EdgeL3Warning)
        hits = similar(
            options.query,
            options.paths,
            top=options.top,
            at=options.at,
            moments=options.moments,
            approximate=options.approximate,
            model=options.model,
            on_problem=report,
        )
    for warning in caught:  # a query may be short, silent, or above what the model hears
        tell(PROGRAM, f"warning: {printable(str(warning.message))}")
    if not hits:
        tell(PROGRAM, f"found no other recording in {', '.join(map(printable, options.paths))}")
    clips = [None] * len(hits)
    if options.clips is not None:
        for number, hit in enumerate(hits):
            try:
                clips[number] = write_clip(hit, options.clips, number + 1)
            except EdgeL3Error as error:
                problems.append(error)
                tell(PROGRAM, f"no clip: {describe(error)}")
    print_hits(hits, options.json, options.moments, clips)
    if options.html:
        problems += _write_page(hits, options)
    return FAILED if problems else OK


def _write_page(hits, options):
    """Write the page of hits; return the problems."""
    found = [(hit.recording, *span_of(hit), "", hit.score) for hit in hits]
    title = f"{'Moments' if options.moments else 'Recordings'} like {os.path.basename(options.query)}"
    query = _query_of(options.query, options.at)
    return make_page(PROGRAM, options.html, found, query, title=title, link=options.link)


def _query_of(path, at):
    """Return the recording, start and end of what is asked about, for the page; None if the recording is unknown."""
    if path.lower().endswith(".npz"):
        path = recording_of(read_provenance(path) or {})
    if not path:
        return None
    first, last = at if isinstance(at, tuple) else (at, at)
    span = (0.0, math.inf) if at is None else (max(0.0, first - 0.5), last + 0.5)
    return os.path.abspath(path), *span


def build_parser():
    """Build the parser of the similar command's options."""
    parser = make_parser(
        PROGRAM,
        "Find the recordings of a collection of embeddings that are most similar to one. Prints the score "
        "(cosine of the mean embeddings), moment (largest cosine of the query's mean and a single embedding), the time "
        "of that embedding in seconds, and the recording. The query itself is left out.",
        [
            "edgel3-np similar bark.wav embeddings/              # recordings like bark.wav",
            "edgel3-np similar walk.npz embeddings/ --at 7-9 --moments   # moments like seconds 7 to 9",
            "edgel3-np similar bark.wav embeddings/ --moments --top 50 --html page.html   # listen, and label them",
        ],
        "Exit codes: 0 done, 1 the query or a file of the collection cannot be read, 2 wrong usage or no such "
        "model, 130 interrupted.",
    )
    add = parser.add_argument
    add("query", metavar="QUERY", help="audio file, or npz of embeddings")
    add(
        "paths",
        nargs="+",
        metavar="DIR",
        help="directory of embeddings (npz, or parts of a table), with its subdirectories; or such a file",
    )
    add("--top", type=whole_number(), default=10, metavar="N", help="number of hits (default: %(default)s)")
    add("--at", type=time_span, metavar="S[-E]", help="take only second S of the query, or seconds S to E")
    add("--moments", action="store_true", help="rank moments, at least a second apart, instead of recordings")
    add(
        "--approximate",
        action="store_true",
        help="with --moments: read a few of the inverted lists that `edgel3-np index --approximate` wrote; may miss a "
        "hit",
    )
    add("-m", "--model", metavar="NAME|PATH", help="model to embed the query with (default: the collection's)")
    add("--clips", metavar="DIR", help="write the second of each hit as a WAV file into this directory")
    add_page_options(add)
    add("--json", action="store_true", help="print a line of JSON for each hit")
    return parser


def print_hits(hits, as_json, moments, clips):
    """Print a table of hits, or a line of JSON for each."""
    if not as_json:
        print("  score      time  recording" if moments else "  score  moment      time  recording")
    for hit, clip in zip(hits, clips):
        moment = "" if moments else f"{hit.moment:7.4f} "
        line = f"{hit.score:7.4f} {moment}{hit.time:7.2f} s  {printable(_shown(hit.recording or hit.path))}"
        print(json.dumps(_as_json(hit, clip)) if as_json else line)


def _shown(path):
    """Return a path relative to the working directory, if it lies inside."""
    below = os.path.relpath(path) if os.path.isabs(path) else path
    return path if below.startswith(os.pardir) else below


def _as_json(hit, clip):
    """Return a hit for JSON, without digits that mean nothing; with the path of its clip, if there is one."""
    numbers = {key: round(getattr(hit, key), 6) for key in ("score", "moment", "time")}
    record = {**hit._asdict(), **numbers, **({} if clip is None else {"clip": clip})}
    return escape_names(record, ("path", "recording", *(["clip"] if clip else [])))
