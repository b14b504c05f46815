"""Run a command over a collection: its options, its progress, and how it ends."""

import argparse
import json
import sys
from contextlib import closing, nullcontext

from ..collections.executors import MAX_PROCESSES
from ..collections.find import count_files
from ..collections.interrupts import keep_interrupts
from ..collections.names import printable
from ..collections.summary import Summary, plural
from .ending import FAILED, NO_INPUTS, OK, escape_names
from .options import shard, whole_number
from .progress import display


def add_run_options(add):
    """Add the options that say how a run over a collection goes; `add` is a parser's `add_argument`."""
    add(
        "-j",
        "--jobs",
        type=whole_number(high=MAX_PROCESSES),
        default=1,
        metavar="N",
        help="processes, each of which takes one file",
    )
    add("--threads", type=whole_number(), metavar="N", help="threads per file (default: one per core; with --jobs, 1)")
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="skip an input whose output was made from the same file with the same weights and options (the default)",
    )
    add("--shard", type=shard, default=(1, 1), metavar="K/N", help="do part K of N: one part on each of N machines")
    add(
        "--strict",
        action="store_true",
        help="stop at the first file that fails, and let a file fail of which something is missing",
    )
    add(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show progress (default: if stderr is a terminal): a bar if tqdm is installed, otherwise lines",
    )
    add("-q", "--quiet", action="store_true", help="print nothing but errors")


def add_report_options(add, note=""):
    """Add the options that say where reports go as lines of JSON; `add` is a parser's `add_argument`."""
    add("--manifest", metavar="FILE", help="append a line of JSON for each file (input, output, status, reason, ...)")
    add("--json", action="store_true", help=f"print the same lines on stdout{note}")


def open_manifest(options):
    """Return the manifest that the options name, open for appending; a context without a file, if they name none."""
    return open(options.manifest, "a", encoding="utf-8") if options.manifest else nullcontext()


def print_report(report, options, manifest, say):
    """Say what is wrong with a recording, and print its report as a line of JSON where the options want it.

    Parameters
    ----------
    report : Report
    options : argparse.Namespace
        With `json` and `quiet`.
    manifest : text file or None
    say : callable, str -> None
        As for `display`.
    """
    line = json.dumps(escape_names(report._asdict(), ("input", "output", "reason")))
    if manifest:
        print(line, file=manifest, flush=True)
    if options.json:
        print(line, flush=True)
    if report.status == "failed":
        say(f"failed: {printable(report.reason)}")
    elif not options.quiet and (report.status == "done" or report.incomplete):
        for remark in report.remarks:
            say(f"{printable(report.input)}: warning: {remark}")


def nothing_to_do(options):
    """Say that there are no audio files, and what there is instead."""
    counts = count_files(options.inputs)
    found = [f"{count} {printable(ending)}" for ending, count in counts.most_common(5) if ending != "directory"]
    folders = [plural(counts["directory"], "folder")] if counts["directory"] else []
    where, instead = ", ".join(map(printable, options.inputs)), ", ".join(found + folders) or "nothing"
    text = f"no audio files in {where}: found {instead}"
    if folders and not options.recursive:
        text += "; leave out --no-recursive to look into the folders"
    return text if options.shard == (1, 1) else f"{text}, or none in this shard"


def follow(work, count, options, on_report):
    """Take the reports of a run as they come, and show how far it is.

    Parameters
    ----------
    work : generator of Report
        It is closed at the end.
    count : int
        Reports to expect.
    options : argparse.Namespace
        With `quiet`, `progress` and `strict`: the run ends with the first failure.
    on_report : callable, (Report, say) -> None
        `say` is as for `display`.

    Returns
    -------
    totals : Summary

    Raises
    ------
    KeyboardInterrupt
        With the totals as its text.
    """
    totals = Summary()
    shown = not options.quiet and (sys.stderr.isatty() if options.progress is None else options.progress)
    try:
        with keep_interrupts(), display(count, shown) as (update, say), closing(work) as done:
            for report in done:
                on_report(report, say)
                totals.add(report)  # what an interrupt counts as done is in the manifest
                update(totals)
                if options.strict and report.status == "failed":
                    break
    except KeyboardInterrupt as interrupt:
        text = f"interrupted; every file that is done is whole: {totals}"
        raise KeyboardInterrupt(text) from interrupt
    return totals


def code_of(totals):
    """Return the exit code of a run: whether all files are done, some failed, or there was nothing to do."""
    if totals.kinds:
        return FAILED
    return OK if totals.statuses["done"] + totals.statuses["skipped"] else NO_INPUTS
