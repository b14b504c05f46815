"""`edgel3-np map`: draw a collection of embeddings as a page in which similar sounds lie near each other."""

from __future__ import annotations

import os
import sys

import numpy as np

from ..classify.labels import read_labels
from ..collections.gather import find_results, nothing_found
from ..collections.html import check_page
from ..collections.names import printable
from ..collections.summary import plural
from ..pages.map import METHODS, SECOND, check_method, gather_points, place, write_map
from .ending import FAILED, OK, describe, finish, tell, wrong_usage
from .options import make_parser, whole_number
from .progress import steps

PROGRAM = "edgel3-np map"


def main(arguments: list[str] | None = None) -> int:
    """Run the map command; return its exit code."""
    return finish(PROGRAM, lambda: _run_map(arguments), "interrupted; nothing is written")


def _run_map(arguments):
    options = build_parser().parse_args(arguments)
    problems = []

    def report(problem):
        problems.append(problem)
        tell(PROGRAM, f"passed over: {describe(problem)}")

    with wrong_usage("invalid"):
        check_page(options.output)
        check_method(options.method)
        files, unreadable = find_results(options.paths)
        for problem in unreadable:
            report(problem)
        points, count = gather_points(files, moments=options.moments, most=options.points, report=report)
        if not points:
            raise nothing_found(options.paths, files)
        if options.labels:
            points = _label(points, read_labels(options.labels, report).spans)
        places, share = place(np.stack([point.vector for point in points]), options.method)
    _write(points, count, places, share, options, report)
    return FAILED if problems else OK


def _label(points, spans):
    """Return points whose groups are the labels that are heard in their seconds."""
    groups = []
    for point in points:
        here = spans.get(os.path.abspath(point.recording), ())
        end = point.time + SECOND
        labels = {span.label for span in here if span.heard and span.start < end and span.end > point.time}
        groups.append(" + ".join(sorted(labels)))
    return [point._replace(group=group) for point, group in zip(points, groups)]


def _write(points, count, places, share, options, report):
    what = "moment" if options.moments else "recording"
    notes = [
        f"{len(points)} of {plural(count, what)}; two points lie near each other if they sound alike to the model."
    ]
    if share is not None:
        notes.append(f"The directions are those of the two principal components, with {share:.0%} of the variance.")
    others = f" and {len(options.paths) - 2} more" if len(options.paths) > 2 else ""
    title = f"Map of {', '.join(options.paths[:2])}{others}"
    with steps(os.path.basename(options.output), len(points), sys.stderr.isatty()) as step:
        size = write_map(
            options.output,
            points,
            places,
            title=title,
            notes=notes,
            link=options.link,
            on_problem=report,
            on_point=step,
        )
    shown = printable(options.output)
    tell(PROGRAM, f"{shown}: {len(points)} of {plural(count, what)}, {size / 1e6:.1f} MB; open it in a browser")


def build_parser():
    """Build the parser of the map command's options."""
    parser = make_parser(
        PROGRAM,
        "Draw a collection of embeddings as a page of HTML, which needs no network and no server. Each recording is a "
        "point, and similar ones lie near each other. The page names the point under the mouse, and a click plays its "
        "most typical second.",
        [
            "edgel3-np map embeddings/ -o map.html",
            "edgel3-np map embeddings/ -o map.html --moments --points 3000 --labels labels.csv",
        ],
        "Exit codes: 0 done, 1 a file of the collection or a recording cannot be read, 2 wrong usage, no embeddings, "
        "wrong labels or embeddings of several models, 130 interrupted.",
    )
    add = parser.add_argument
    add(
        "paths",
        nargs="+",
        metavar="DIR",
        help="directory of embeddings (npz, or parts of a table), with its subdirectories; or such a file",
    )
    add("-o", "--output", required=True, metavar="FILE", help="page to write, such as map.html")
    add("--moments", action="store_true", help="draw windows of one second instead of recordings")
    add(
        "--points",
        type=whole_number(2),
        default=1000,
        metavar="N",
        help="at most N points, evenly spaced among all (default: %(default)s)",
    )
    add(
        "--method",
        choices=METHODS,
        default="pca",
        help="pca: principal components; umap: needs umap-learn (default: %(default)s)",
    )
    add(
        "--labels",
        action="append",
        metavar="LABELS",
        help="colour by these labels, as `edgel3-np train` reads them, instead of by folder; may come several times",
    )
    add("--link", action="store_true", help="play the recordings where they are, instead of copying a second of each")
    return parser
