"""`edgel3-np listen`: embed sound while it arrives, and name the nearest example, or the classes that are heard."""

from __future__ import annotations

import json
import math
import sys
import warnings
from contextlib import contextmanager, nullcontext

from .._files import open_regular
from ..audio.samples import MAX_CHANNELS, MAX_SR, MIN_SR
from ..collections.names import printable
from ..errors import EdgeL3Error, EdgeL3Warning
from ..live.examples import load_examples, nearest
from ..live.heard import Heard
from ..live.microphone import import_sounddevice, open_microphone
from ..live.moments import first_seconds, moments
from ..live.runs import Runs, parse_command
from ..live.sources import FORMATS, Raw, open_stream
from ..model import load_model
from ..pipeline import framing_for
from ..weights.registry import DEFAULT
from .ending import OK, describe, finish, tell, wrong_usage
from .options import make_parser, seconds, share, whole_number

PROGRAM = "edgel3-np listen"
HOP_SIZE = 1.0  # seconds, the length of a window: each line tells of sound that no other line tells of


def main(arguments: list[str] | None = None) -> int:
    """Run the listen command; return its exit code."""
    return finish(PROGRAM, lambda: _run_listen(arguments))


def _run_listen(arguments):
    options = build_parser().parse_args(arguments)
    with _shown_warnings():
        with wrong_usage("invalid"):
            model, heard = _load(options)
            framing_for(model.network, options.hop_size, False)
            examples = options.examples and load_examples(options.examples, model, _pass_over)
            command = parse_command(options.run) if options.run is not None else None
        runs = nullcontext() if command is None else Runs(command, _tell_warning)
        with runs, _open_source(options) as (sr, blocks):
            if options.seconds:
                blocks = first_seconds(blocks, sr, options.seconds)
            for moment in moments(model, blocks, sr, hop_size=options.hop_size):
                found = heard and heard.take(moment)
                print_moment(moment, examples, options.json, found)
                if command is not None:
                    _run_started(runs, found)
    return OK


def _load(options):
    """Return the model, and what tells the classes that are heard, if a classifier is given."""
    if options.classifier is None:
        if options.run is not None or options.threshold is not None:
            raise EdgeL3Error("--run and --threshold: expected a classifier (-c) with them, found none")
        return load_model(options.model or DEFAULT), None
    from ..classify.classifier import load_classifier  # here: a copy may have no `classify`
    from ..classify.detect import find_classifiers_model

    if options.examples is not None:
        raise EdgeL3Error("expected --examples or --classifier, found both")
    classifier = load_classifier(options.classifier)
    model = load_model(find_classifiers_model(classifier, options.model), classifier.dim)
    return model, Heard(classifier, options.threshold)


def _run_started(runs, found):
    runs.poll()
    scores, _, started = found
    for label in started:
        runs.start(label, scores[label])


@contextmanager
def _shown_warnings():
    """Show each warning of this package as a message, at once."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def tell_ours(message, category, *where):
            if issubclass(category, EdgeL3Warning):
                _tell_warning(message)
            else:
                show(message, category, *where)

        warnings.simplefilter("always", EdgeL3Warning)
        warnings.showwarning = tell_ours
        yield


def _tell_warning(text):
    tell(PROGRAM, f"warning: {printable(str(text))}")


def _pass_over(problem):
    tell(PROGRAM, f"passed over: {describe(problem)}")


@contextmanager
def _open_source(options):
    """Open the microphone, standard input or a WAV file: yields a `Source`."""
    raw = Raw(options.rate or Raw().sr, options.channels, options.format)
    if options.source is None:
        with wrong_usage():
            import_sounddevice()
        with open_microphone(options.device, options.rate, options.channels, _tell_warning) as source:
            yield source
    elif options.source == "-":
        yield open_stream(_standard_input(), "standard input", raw, _tell_warning)
    else:
        with open_regular(options.source, "a WAV file") as file:
            yield open_stream(file, options.source, None, _tell_warning)


def _standard_input():
    with wrong_usage():
        if sys.stdin is None or sys.stdin.isatty():
            found = "a terminal" if sys.stdin else "none that is open"
            example = "arecord -f S16_LE -r 16000 -t raw | edgel3-np listen -"
            raise EdgeL3Error(f"standard input: expected a stream of sound, found {found}; for example: {example}")
    return sys.stdin.buffer


def build_parser():
    """Build the parser of the listen command's options."""
    parser = make_parser(
        PROGRAM,
        "Embed sound while it arrives. Prints a line for each window of one second, as soon as it is complete "
        "(of pico-64-stream 0.36 s later): its start in seconds since the sound began, the level of the sound that is "
        "new since the line before in dBFS, and with --examples the cosine and the label of the nearest example; with "
        "--classifier the scores and labels of the classes that are heard.",
        [
            "edgel3-np listen --examples sounds/            # the microphone; sounds/bark/a.wav is an example of bark",
            "arecord -f S16_LE -r 16000 -t raw | edgel3-np listen -",
            "edgel3-np listen -c dogs.npz --run 'lamp --on --why {label}'",
        ],
        "Exit codes: 0 the sound has ended, 1 it cannot be read, 2 wrong usage, no such model, no examples, no "
        "classifier or no sounddevice, 130 interrupted, 141 nobody reads the output.",
    )
    add = parser.add_argument
    add(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="- for standard input (WAV, or samples without a header), or a WAV file (default: the microphone)",
    )
    add("-m", "--model", metavar="NAME|PATH", help=f"name of a model, or path of a weight file (default: {DEFAULT})")
    add(
        "-t",
        "--hop-size",
        type=seconds,
        default=HOP_SIZE,
        metavar="S",
        help="seconds between windows (default: %(default)s, so that windows lie side by side)",
    )
    add("--examples", metavar="DIR", help="recordings, or embeddings of them (npz); subfolders are labels")
    add("-c", "--classifier", metavar="FILE", help="classifier that `edgel3-np train` wrote; it knows its model")
    add(
        "--threshold",
        type=share,
        metavar="P",
        help="score from which on a class is heard (default: the best of each class in training)",
    )
    add(
        "--run",
        metavar="COMMAND",
        help="run this when a class begins to be heard, with {label} and {score} in its arguments; without a shell, "
        "one at a time, and its output goes to stderr",
    )
    add("--seconds", type=seconds, metavar="N", help="stop after N seconds of sound")
    add("--json", action="store_true", help="print a line of JSON for each window")
    add("--device", type=_device, metavar="NAME|N", help="microphone, as `python -m sounddevice` lists them")
    _add_format(parser.add_argument_group("samples of the microphone, or without a header").add_argument)
    return parser


def _add_format(add):
    add(
        "--rate",
        type=whole_number(MIN_SR, MAX_SR),
        metavar="HZ",
        help=f"sampling rate (default: {Raw().sr}; for the microphone, its own)",
    )
    add(
        "--channels",
        type=whole_number(1, MAX_CHANNELS),
        default=Raw().channels,
        metavar="N",
        help="channels, which are averaged (default: %(default)s)",
    )
    add(
        "--format",
        choices=list(FORMATS),
        default=Raw().form,
        help="little-endian integers of 16 or 32 bits, or floats; standard input only (default: %(default)s)",
    )


def _device(text):
    """An argparse type: the number of a device, or a part of its name."""
    return int(text) if text.isdecimal() else text


def print_moment(moment, examples, as_json, heard=None):
    """Print a line for a moment, at once; with the nearest of the examples, or with what is heard, if there are any.

    `heard` is what `Heard.take` returns.
    """
    label, cosine = nearest(examples, moment.embedding) if examples else (None, None)
    if as_json:
        level = round(moment.level, 2) if math.isfinite(moment.level) else None  # JSON has no infinity
        found = {"label": label, "cosine": cosine} if examples else {}
        if heard:
            found = {"labels": heard[1], "scores": {name: round(score, 6) for name, score in heard[0].items()}}
        line = json.dumps({"time": moment.time, "level": level, **found})
    else:
        line = f"{moment.time:9.2f} s {moment.level:7.1f} dBFS"
        line += f"  {cosine:7.4f}  {label}" if examples else ""
        line += "".join(f"  {heard[0][name]:.2f} {name}" for name in heard[1]) if heard else ""
    print(line, flush=True)
