"""`edgel3-np export`: write a collection of embeddings into one table."""

from __future__ import annotations

import os
import sys

from ..collections.export import check_output, export
from ..collections.names import printable
from ..collections.summary import plural
from .ending import FAILED, OK, describe, finish, tell, wrong_usage
from .options import make_parser
from .progress import transfer

PROGRAM = "edgel3-np export"


def main(arguments: list[str] | None = None) -> int:
    """Run the export command; return its exit code."""
    return finish(PROGRAM, lambda: _run_export(arguments), "interrupted; nothing is written")


def _run_export(arguments):
    options = build_parser().parse_args(arguments)
    problems = []

    def report(problem):
        problems.append(problem)
        tell(PROGRAM, f"passed over: {describe(problem)}")

    with wrong_usage("invalid"):
        check_output(options.output)
        with transfer(printable(os.path.basename(options.output)), sys.stderr.isatty()) as progress:
            written = export(options.paths, options.output, labels=options.labels, on_problem=report, progress=progress)
    for path in written.files:
        print(printable(path))
    tell(PROGRAM, f"{plural(written.recordings, 'recording')}, {plural(written.windows, 'embedding')}")
    return FAILED if problems else OK


def build_parser():
    """Build the parser of the export command's options."""
    parser = make_parser(
        PROGRAM,
        "Write a collection of embeddings into one table, with a row for each window. Its columns are path "
        "(of the recording), time (seconds), label (with --labels) and the embedding. Prints the path of each file "
        "that it writes.",
        [
            "edgel3-np export embeddings/ -o table.csv --labels folder",
            "edgel3-np export embeddings/ -o table.parquet       # needs pyarrow",
        ],
        "Exit codes: 0 done, 1 a file of the collection cannot be read or the table cannot be written, 2 wrong "
        "usage, no embeddings, embeddings of several models or no pyarrow, 130 interrupted.",
    )
    add = parser.add_argument
    add(
        "paths",
        nargs="+",
        metavar="PATH",
        help="directory of embeddings (npz, or parts of a table), with its subdirectories; or such a file",
    )
    add(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="table to write; its ending chooses the format: all.parquet (needs pyarrow, the extra `parquet`) has the "
        "embedding as a list in one column; all.csv has a column e0, e1, ... for each dimension; all.npy has the "
        "embeddings alone, as an array (n, dim) of float32, and a second file, all.index.csv, has path, time and label "
        "of each row",
    )
    add("--labels", choices=["folder"], help="label each recording with the name of the folder that holds it")
    return parser
