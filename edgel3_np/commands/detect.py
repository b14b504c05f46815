"""`edgel3-np detect`: find the sounds of a classifier in recordings, with their times."""

from __future__ import annotations

import argparse
import heapq
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager

from ..classify.classifier import load_classifier
from ..classify.detect import find_detect_jobs, gather_rows, write_table
from ..classify.jobs import detect_file, read_events
from ..classify.tables import FORMATS, TABLES, format_of
from ..collections.embed import reports
from ..collections.summary import plural
from ..errors import EdgeL3Error
from .ending import FAILED, NO_INPUTS, OK, finish, tell, wrong_usage
from .options import length, make_parser, seconds, share, whole_number
from .pages import add_page_options, check_page_options, make_page
from .runs import add_report_options, add_run_options, code_of, follow, nothing_to_do, open_manifest, print_report

PROGRAM = "edgel3-np detect"
STDOUT = "-"
LONG, MUCH = 60.0, 0.5  # seconds of sound, and the share of it, from which on so much of a class is said
HITS = 30  # events of each class on a page


def main(arguments: list[str] | None = None) -> int:
    """Run the detect command.

    Parameters
    ----------
    arguments : list of str, optional
        By default `sys.argv[1:]`.

    Returns
    -------
    code : int
        0: every file is done; 1: some fail; 2: wrong usage, or no such classifier; 255: there are no audio files; 130:
        interrupted; 141: nobody reads the output.
    """
    return finish(PROGRAM, lambda: _run_detect(arguments))


def _run_detect(arguments):
    options = build_parser().parse_intermixed_args(arguments)
    options.all = options.all or (None if options.output_dir or options.html else STDOUT)
    with _folder_of(options.output_dir) as folder:
        with wrong_usage():
            if options.all not in (None, STDOUT):
                format_of(options.all)
            check_page_options(options)
            if options.form not in TABLES[:2] and not options.output_dir:
                raise EdgeL3Error(f"--format {options.form}: expected -o DIR with it, for files of its own, found none")
            if options.json and options.all == STDOUT:
                raise EdgeL3Error(
                    "--json: expected -o DIR or --all FILE with it, for reports and events would both be printed; "
                    "--format jsonl prints the events as JSON"
                )
            count, jobs, problems = _find_jobs(options, folder)
            manifest = open_manifest(options)
        with manifest as lines:
            if not count and not problems:
                tell(PROGRAM, nothing_to_do(options))
                return NO_INPUTS
            totals, outputs = _detect(options, count + len(problems), jobs, problems, lines)
        if options.all == STDOUT:
            _print_events(outputs, options)
        elif options.all:
            write_table(outputs, options.all)
        if not options.quiet or totals.kinds:
            tell(PROGRAM, str(totals))
        if not options.quiet:
            _tell_events(outputs, load_classifier(options.classifier).classes, totals.seconds)
        code = code_of(totals)
        if options.html and _make_page(outputs, options) and code == OK:
            code = FAILED
    return code


def _make_page(outputs, options):
    """Write the page; return the problems. If it cannot be written, print what would be lost."""
    try:
        return _write_page(outputs, options)
    except (EdgeL3Error, KeyboardInterrupt):
        if not options.output_dir and not options.all:
            _print_events(outputs, options)
        raise


def _print_events(outputs, options):
    FORMATS[options.form][1](_Stdout(), gather_rows(outputs), 0.0)


def _write_page(outputs, options):
    """Write the page of the best events of each class; return the problems."""
    heaps, count, most = {}, 0, options.hits or HITS
    for output in outputs.values():
        recording, found = read_events(output)
        for event in found:
            count += 1
            heap = heaps.setdefault(event.label, [])
            item = (event.score, -count, recording, event)
            (heapq.heappush if len(heap) < most else heapq.heappushpop)(heap, item)
    chosen = sorted((item for heap in heaps.values() for item in heap), reverse=True)
    if len(chosen) < count and not options.quiet:
        best = f"the best {most} of each class (--hits)"
        tell(PROGRAM, f"the page has {len(chosen)} of {count} events: {best}")
    found = [(recording, *event) for _, _, recording, event in chosen]
    shown = {"quiet": options.quiet, "progress": options.progress}
    return make_page(PROGRAM, options.html, found, title=f"Sounds of {options.classifier}", link=options.link, **shown)


@contextmanager
def _folder_of(output_dir):
    """Yield the directory of the outputs; without one they are temporary."""
    if output_dir:
        yield output_dir
        return
    with tempfile.TemporaryDirectory() as folder:
        yield folder


def _find_jobs(options, folder):
    return find_detect_jobs(
        options.inputs,
        folder,
        options.classifier,
        model=options.model,
        form=options.form if options.output_dir else "csv",
        threshold=options.threshold,
        merge_gap=options.merge_gap,
        min_length=options.min_length,
        embeddings=options.keep_embeddings,
        scores=options.scores,
        hop_size=options.hop_size,
        recursive=options.recursive,
        shard=options.shard,
        threads=options.threads or (1 if options.jobs > 1 else None),
        resume=options.resume,
        strict=options.strict,
    )


def _detect(options, count, jobs, problems, manifest):
    """Do the jobs; return the `Summary`, and the outputs by recording."""
    outputs = {}

    def take(report, say):
        shown = report if options.output_dir else report._replace(output=None)  # a temporary file is no output
        print_report(shown, options, manifest, say)
        if report.status in ("done", "skipped"):
            outputs[report.input] = report.output

    work = reports(jobs, problems, jobs=options.jobs, function=detect_file)
    return follow(work, count, options, take), outputs


def _tell_events(outputs, classes, seconds):
    """Say how many events of each class there are, and how long they are together."""
    counts, lengths = Counter(), Counter()
    for output in outputs.values():
        for event in read_events(output)[1]:
            counts[event.label] += 1
            lengths[event.label] += event.end - event.start
    found = ", ".join(f"{label}: {plural(counts[label], 'event')}, {lengths[label]:.1f} s" for label in classes)
    tell(PROGRAM, found)
    for label in classes:
        if seconds > LONG and lengths[label] > MUCH * seconds:
            what = (
                f"{label} is heard in {lengths[label] / seconds:.0%} of the time: if that is too much, answer the hits"
            )
            tell(PROGRAM, f"{what} of a page (--html), and train with the answers as well")


class _Stdout:
    """Standard output as a binary file, also where it takes text alone."""

    def write(self, content):
        sys.stdout.write(bytes(content).decode())
        return len(content)

    def writelines(self, lines):
        for line in lines:
            self.write(line)


def build_parser():
    """Build the parser of the detect command's options."""
    parser = make_parser(
        PROGRAM,
        "Find the sounds of a classifier in recordings. An event is the time in which windows of one second have a "
        "score of at least the threshold. Each recording gets a file of its events; without -o, and without a page, "
        "all events are printed as CSV: path, start, end (seconds), label, score.",
        [
            "edgel3-np detect walk.wav -c dogs.npz             # prints a table",
            "edgel3-np detect archive/ -c dogs.npz -o found/ --format audacity -j 8   # a second run does the rest",
            "edgel3-np detect archive/ -c dogs.npz -o found/ --html page.html   # listen, and correct",
        ],
        "A hidden file beside each output says how it was made; what detect did not write is never replaced. Exit "
        "codes: 0 all files are done, 1 some fail, 2 wrong usage, no such classifier or model, 255 no audio files, 130 "
        "interrupted, 141 nobody reads the output.",
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="audio file, or directory of audio files")
    add("-c", "--classifier", required=True, metavar="FILE", help="classifier that `edgel3-np train` wrote")
    add("-o", "--output-dir", "--output", metavar="DIR", help="directory of the outputs, in a tree like the inputs'")
    add("--format", dest="form", choices=list(FORMATS), default="csv", help="of the outputs (default: %(default)s)")
    add(
        "--all",
        metavar="FILE",
        help="write all events into one table: a name that ends in .csv, .jsonl or .parquet; - is standard output",
    )
    _add_events(parser.add_argument_group("events").add_argument)
    _add_page(parser.add_argument_group("page").add_argument)
    _add_collections(parser.add_argument_group("collections").add_argument)
    return parser


def _add_events(add):
    add(
        "--threshold",
        type=share,
        metavar="P",
        help="score from which on a class counts as present (default: the best of each class in training)",
    )
    add("--merge-gap", type=length, default=0.0, metavar="S", help="join events that lie S seconds apart, or less")
    add("--min-length", type=length, default=0.0, metavar="S", help="leave out events shorter than S seconds")
    add("--scores", metavar="DIR", help="also write the scores of all windows into this directory, as CSV")
    add(
        "-t",
        "--hop-size",
        type=seconds,
        default=0.1,
        metavar="S",
        help="seconds between windows (default: %(default)s)",
    )


def _add_page(add):
    add_page_options(add)
    add(
        "--hits",
        type=whole_number(),
        metavar="N",
        help=f"events of each class on the page, those with the best scores (default: {HITS})",
    )


def _add_collections(add):
    add("-m", "--model", metavar="NAME|PATH", help="the classifier's model, if it is not installed under its name")
    add(
        "--keep-embeddings",
        "--embeddings",
        metavar="DIR",
        help="keep embeddings in this directory, as `edgel3-np embed -o DIR` does; those of this model that are there "
        "are used, those of another are replaced",
    )
    add("-r", "--recursive", action=argparse.BooleanOptionalAction, default=True, help="search subdirectories as well")
    add_run_options(add)
    add_report_options(add, "; with -o, --all FILE or --html")
