"""`edgel3-np train`: train a classifier with labelled recordings."""

from __future__ import annotations

import sys

from ..classify.page import format_page
from ..classify.report import format_report
from ..classify.train import train
from ..collections.atomic import atomic
from ..collections.executors import MAX_PROCESSES
from ..collections.html import check_page
from ..collections.names import printable
from ..collections.summary import plural
from ..weights.registry import DEFAULT
from .ending import OK, describe, finish, tell, wrong_usage
from .options import make_parser, seconds, whole_number

PROGRAM = "edgel3-np train"


def main(arguments: list[str] | None = None) -> int:
    """Run the train command; return its exit code."""
    return finish(PROGRAM, lambda: _run_train(arguments), "interrupted; no classifier is written")


def _run_train(arguments):
    options = build_parser().parse_args(arguments)
    with wrong_usage():
        if options.report:
            check_page(options.report)
    with wrong_usage("invalid"):
        classifier = train(
            options.labels,
            options.output,
            model=options.model or DEFAULT,
            dim=options.dim,
            embeddings=options.embeddings,
            hop_size=options.hop_size,
            jobs=options.jobs,
            on_problem=lambda problem: tell(PROGRAM, describe(problem)),
        )
    sys.stdout.write("".join(f"{line}\n" for line in format_report(classifier.report)))
    if options.report:
        with atomic(options.report) as file:
            file.write(format_page(classifier).encode())
    report = classifier.report
    counts = [plural(report[key], key[:-1]) for key in ("windows", "recordings", "folds")]
    classes = plural(len(classifier.classes), "class", "classes")
    tell(PROGRAM, f"{printable(options.output)}: {classes}, {counts[0]} of {counts[1]}; tested in {counts[2]}")
    return OK


def build_parser():
    """Build the parser of the train command's options."""
    parser = make_parser(
        PROGRAM,
        "Train a classifier with labelled recordings, and test it on recordings that are held out. Prints precision, "
        "recall, average precision (with their standard deviation over folds) and the threshold of each class, and "
        "what is taken for what. Needs scikit-learn; what it writes is used without it.",
        [
            "edgel3-np train sounds/ -o dogs.npz             # sounds/dog/1.wav is an example of dog",
            "edgel3-np train labels.csv -o dogs.npz --report report.html --embeddings embeddings/",
            "edgel3-np train sounds/ corrections.csv -o dogs.npz   # with what was answered on a page of hits",
        ],
        "LABELS is a folder with a subfolder for each class; or a CSV or TSV with the columns path (relative to the "
        "file), start, end (seconds; empty: the whole recording) and label; or a folder of recordings with label "
        "tracks of Audacity or selection tables of Raven (.txt) beside them. A table with the column answer (yes, no, "
        "unsure), which pages of `similar --html` and `detect --html` save, says what is heard in its rows and nothing "
        "of other sound. The column group names what belongs together, such as a day or a place; the test holds out "
        "whole groups. The label `background` stands for sound without any class; if nothing in LABELS has it, sound "
        "without labels in its recordings is background. Exit codes: "
        "0 done, 1 the labels cannot be read or the classifier cannot be written, 2 wrong usage, wrong labels, no such "
        "model or no scikit-learn, 130 interrupted.",
    )
    add = parser.add_argument
    add("labels", nargs="+", metavar="LABELS", help="labelled recordings: folders, or tables; all are taken together")
    add("-o", "--output", required=True, metavar="FILE", help="classifier to write, such as dogs.npz")
    add("-m", "--model", metavar="NAME|PATH", help=f"name of a model, or path of a weight file (default: {DEFAULT})")
    add("-as", "--dim", type=whole_number(), metavar="N", help="length of an embedding, for models that have several")
    add(
        "--embeddings",
        metavar="DIR",
        help="folder of embeddings: those of the same recordings and model are used, what is missing is added, and "
        "those of another model are replaced "
        "(default: nothing is kept)",
    )
    add(
        "-t",
        "--hop-size",
        type=seconds,
        default=0.1,
        metavar="S",
        help="seconds between windows of recordings that are embedded (default: %(default)s)",
    )
    add(
        "-j",
        "--jobs",
        type=whole_number(high=MAX_PROCESSES),
        default=1,
        metavar="N",
        help="processes, each of which embeds one file",
    )
    add("--report", metavar="FILE", help="also write what is printed as a page of HTML")
    return parser
