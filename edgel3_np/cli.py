"""The command line: `python -m edgel3_np` and the script `edgel3-np`."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from contextlib import ExitStack, closing
from importlib import import_module
from importlib.util import find_spec

from . import __version__
from .collection import check_executor, find_jobs, reports
from .errors import EdgeL3Error
from .locate import DEFAULT, PATH_VARIABLE
from .metadata import CONTRACT, edgel3_name
from .progress import Totals, display

OK, SOME_FAILED, USAGE, NO_INPUTS, INTERRUPTED, NO_READER = 0, 1, 2, 255, 130, 141
COMMANDS = {  # first words that are not files: a module with a function main(arguments), and what it does
    "info": "show versions, hardware and installed models",
    "install": "fetch released models and convert them",
    "plot": "draw a recording and its embeddings",
    "similar": "find the recordings and moments of a collection that are most like one",
    "verify": "check that the installed models compute what they should",
}
OPENL3 = {"input_repr": "mel256", "content_type": "music"}
UPSTREAM = {"model_type": "sparse", "emb_dim": 512, "retrain_type": "ft", "model_sparsity": "95.45"}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Instead of `sys.argv[1:]`.

    Returns
    -------
    code : int
        0: every file embedded; 1: some failed; 2: wrong usage, or no such model; 255: nothing to do; 130: interrupted;
        141: whoever read the output has gone.
    """
    try:
        code = _main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # as `head` does, when it has seen enough; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    return code


def _main(arguments):
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        if find_spec(f".{arguments[0]}", __package__) is None:  # a vendored copy has not all of them
            print(f"edgel3-np: the command {arguments[0]} is not in this copy; install edgel3_np", file=sys.stderr)
            return USAGE
        return import_module(f".{arguments[0]}", __package__).main(arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list_models:
        return _print_models()
    if not options.inputs:
        parser.error("expected at least one INPUT: an audio file or a directory of them")
    try:
        check_executor(None, options.jobs, 1)
        count, jobs, problems = find_jobs(
            options.inputs,
            options.output_dir,
            model=_model_name(options),
            dim=options.dim,
            hop_size=options.hop_size,
            center=not options.no_centering,
            recursive=options.recursive,
            suffix=options.suffix,
            shard=options.shard,
            threads=options.threads or (1 if options.jobs > 1 else None),
            resume=options.resume,
        )
        manifest = open(options.manifest, "a", encoding="utf-8") if options.manifest else None  # noqa: SIM115
    except (EdgeL3Error, OSError) as error:
        print(f"edgel3-np: {error}", file=sys.stderr)
        return USAGE
    with manifest or ExitStack():
        if not count and not problems:
            print(f"edgel3-np: no audio files in {', '.join(options.inputs)}", file=sys.stderr)
            return NO_INPUTS
        return _run(options, count + len(problems), jobs, problems, manifest)


def _run(options, count, jobs, problems, manifest):
    """Do the jobs, show how far they are, and return the exit code."""
    totals, interrupted = Totals(), False
    shown = not options.quiet and (sys.stderr.isatty() if options.progress is None else options.progress)
    with display(count, shown) as (update, say):
        try:
            with closing(reports(jobs, problems, jobs=options.jobs)) as done:
                for report in done:
                    totals.add(report)
                    line = json.dumps(report._asdict())
                    if manifest:
                        print(line, file=manifest, flush=True)
                    if options.json:
                        print(line, flush=True)
                    if report.status == "failed":
                        say(f"failed: {report.reason}")
                    elif not options.quiet:
                        for remark in report.remarks:
                            say(f"{report.input}: warning: {remark}")
                    update(totals)
                    if options.strict and report.status == "failed":
                        break
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        print(f"edgel3-np: interrupted; what is done is whole: {totals.summary()}", file=sys.stderr)
        return INTERRUPTED
    if not options.quiet or totals.kinds:
        print(f"edgel3-np: {totals.summary()}", file=sys.stderr)
    return SOME_FAILED if totals.kinds else OK


def _parser():
    parser = argparse.ArgumentParser(
        prog="edgel3-np",
        description="Embed audio files: one npz each, with arrays embedding (t, dim) and timestamps (t,) in seconds.",
        epilog="Other commands, each with a --help of its own, are "
        + "; ".join(f"`edgel3-np {name}`: {what}" for name, what in COMMANDS.items())
        + ". (A file of such a name is ./plot.) Exit codes: 0 all files embedded, 1 some failed, 2 wrong usage or no "
        "such model, 255 no audio files, 130 interrupted, 141 nobody reads the output. Models are looked for in the "
        f"directories of {PATH_VARIABLE}, then in the package, then where `edgel3-np install` puts them.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("inputs", nargs="*", metavar="INPUT", help="audio file, or directory whose audio files are taken")
    add("-r", "--recursive", action="store_true", help="look into the directories of directories too")
    add(
        "-o",
        "--output-dir",
        metavar="DIR",
        help="where to write, in a tree like that of the inputs (default: next to each); made if missing",
    )
    add("-x", "--suffix", metavar="TEXT", help="write <name>_TEXT.npz instead of <name>.npz")
    add("-m", "--model", metavar="NAME|PATH", help=f"model to use: a name or an npz file (default: {DEFAULT})")
    add(
        "-as",
        "--dim",
        "--audio-embedding-size",
        type=_positive,
        metavar="N",
        help="length of an embedding, for models that have several",
    )
    add(
        "-t",
        "--hop-size",
        "--audio-hop-size",
        type=_seconds,
        default=0.1,
        metavar="S",
        help="seconds between windows (default: 0.1)",
    )
    add(
        "-n",
        "--no-centering",
        "--no-audio-centering",
        action="store_true",
        help="start window i at i * hop instead of centring it there",
    )
    add("--version", action="version", version=f"edgel3-np {__version__} (numeric contract {CONTRACT})")
    add("--list-models", action="store_true", help="print the installed models and exit")
    add = parser.add_argument_group("collections").add_argument
    add("-j", "--jobs", type=_positive, default=1, metavar="N", help="processes, each with a file of its own")
    add("--threads", type=_positive, metavar="N", help="threads a file (default: one a core; with --jobs, one)")
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="leave alone what was made with the same weights and options from the same files (default: do)",
    )
    add("--shard", type=_shard, default=(1, 1), metavar="K/N", help="do part K of N, for N machines that share it")
    add("--manifest", metavar="FILE", help="append a line of JSON for each file (input, output, status, reason, ...)")
    add("--json", action="store_true", help="print those lines to stdout")
    add("--strict", action="store_true", help="stop at the first file that fails")
    add(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show how far it is (default: if stderr is a terminal); a bar with tqdm, otherwise lines",
    )
    add("-q", "--quiet", action="store_true", help="say nothing but errors")
    add = parser.add_argument_group("OpenL3's way of naming a model, instead of --model").add_argument
    add("-i", "--input-repr", choices=["linear", "mel128", "mel256"], help="spectrogram (default: mel256)")
    add("-c", "--content-type", choices=["music", "env"], help="what it was trained on (default: music)")
    upstream = parser.add_argument_group(
        "edgel3's way of naming a released model",
        "any of these replaces --model; the others then have these defaults",
    )
    add = upstream.add_argument
    add("-mtype", "--model-type", choices=["sea", "sparse"], help="(default: sparse)")
    add("-e", "--emb-dim", type=int, choices=[512, 256, 128, 64], help="of a sea model (default: 512)")
    add("-retrain", "--retrain-type", choices=["ft", "kd"], help="of a sparse model (default: ft)")
    add("-sp", "--model-sparsity", choices=["95.45", "53.5", "63.5", "72.3", "87.0"], help="likewise (default: 95.45)")
    return parser


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return int(text)


def _shard(text):
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"expected K/N with 1 <= K <= N, such as 2/8, found {text!r}")
    return int(part), int(parts)


def _seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds, found {text!r}")
    return value


def _model_name(options):
    """The model asked for, in our way or in upstream's."""
    named, openl3 = (
        {key: getattr(options, key) for key in keys if getattr(options, key) is not None} for keys in (UPSTREAM, OPENL3)
    )
    if (options.model is not None) + bool(named) + bool(openl3) > 1:
        found = ", ".join(f"--{key.replace('_', '-')}" for key in sorted({**named, **openl3}))
        raise EdgeL3Error(
            f"expected one way of naming a model: --model, OpenL3's or edgel3's; found {found}; drop some"
        )
    if options.model is not None:
        return options.model
    if openl3:
        chosen = {**OPENL3, **openl3}
        return f"openl3-{chosen['input_repr']}-{chosen['content_type']}"
    if not named:
        return DEFAULT
    chosen = {**UPSTREAM, **named}
    return edgel3_name(chosen["model_type"], chosen["emb_dim"], chosen["retrain_type"], float(chosen["model_sparsity"]))


def _print_models():
    from .info import models

    for model in models():
        if "error" in model:
            facts = f"not usable: {model['error']}"
        else:
            facts = f"{model['sr']:6} Hz {'/'.join(map(str, model['dims'])):>8}-d {model['bytes']:9} bytes"
        print(f"{model['name']:18} {facts}  {model['path']}")
    return OK
