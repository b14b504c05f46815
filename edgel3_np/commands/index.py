"""`edgel3-np index`: write the index of a collection of embeddings, with which a search is fast."""

from __future__ import annotations

import sys

from ..collections.indexing import update_index
from ..collections.names import printable
from ..collections.summary import plural
from .ending import FAILED, OK, describe, finish, tell, wrong_usage
from .options import make_parser
from .progress import steps

PROGRAM = "edgel3-np index"


def main(arguments: list[str] | None = None) -> int:
    """Run the index command; return its exit code."""
    return finish(PROGRAM, lambda: _run_index(arguments), "interrupted; what was read until then is in the index")


def _run_index(arguments):
    options = build_parser().parse_args(arguments)
    failed = 0
    for path in options.paths:
        with wrong_usage("invalid"):
            failed += index_directory(PROGRAM, path, approximate=options.approximate)
    return FAILED if failed else OK


def index_directory(program, path, quiet=False, approximate=False):
    """Bring the index of a directory up to date, show the progress, and say what was done.

    Returns
    -------
    failed : int
        Files that cannot be read.
    """
    with steps(printable(path), None, not quiet and sys.stderr.isatty()) as step:
        done = update_index(
            path,
            approximate=approximate,
            on_problem=lambda problem: tell(program, f"passed over: {describe(problem)}"),
            progress=lambda number, count: step(),
        )
    if not quiet:
        tell(program, _summary(path, done) + (", with inverted lists" if approximate else ""))
    return done.failed


def _summary(path, done):
    return (
        f"{printable(path)}: {plural(done.files, 'file')}, {plural(done.windows, 'embedding')}; {done.read} read, "
        f"{done.kept} as before, {done.gone} gone, {done.failed} failed"
    )


def build_parser():
    """Build the parser of the index command's options."""
    parser = make_parser(
        PROGRAM,
        "Write the index of a collection of embeddings, or bring it up to date: only new and changed files are read. "
        "`edgel3-np similar` then searches the directory with it: the hits are the same, and found sooner. It is the "
        "hidden folder .edgel3_np-index in the directory, about as large as the embeddings; it can be deleted at "
        "any time.",
        [
            "edgel3-np index embeddings/                      # after each run that has added something",
            "edgel3-np recordings/ -o embeddings/ --index     # embed, and index what is new",
            "edgel3-np index --approximate embeddings/        # for an index that is larger than memory",
        ],
        "Exit codes: 0 done, 1 a file cannot be read or the index cannot be written (or another run is writing it), 2 "
        "wrong usage, or embeddings of several models, 130 interrupted.",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="DIR", help="directory of embeddings, as `edgel3-np -o DIR` writes it"
    )
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="write inverted lists too (a quarter more of disk), for `edgel3-np similar --moments --approximate` in a "
        "collection whose index is larger than memory; needs the package faiss-cpu; ask for them again after each run",
    )
    return parser
