"""What can be typed: the commands, the argparse types of their options, and the options that several commands share."""

import argparse
import re
import sys
import textwrap
from difflib import get_close_matches

from .._checks import check_seconds, check_whole
from ..errors import EdgeL3Error
from ..weights.registry import DEFAULT

COMMANDS = {  # first words that name a command; with any other first word, `edgel3-np` embeds
    "embed": "embed recordings: each becomes an npz file of embeddings",
    "bench": "time models on this machine, step by step and layer by layer",
    "detect": "find the sounds of a classifier in recordings, with their times",
    "export": "write a collection of embeddings into one table: Parquet, CSV or npy",
    "index": "index a collection of embeddings, so that a search takes moments",
    "info": "show versions, hardware and installed models",
    "install": "download released models and convert them",
    "listen": "embed sound while it arrives, and name the nearest example",
    "map": "draw a collection as a page in which similar sounds lie near each other",
    "models": "list all models: rate, length, size, accuracy, what they are good for",
    "plot": "draw a recording and its embeddings",
    "similar": "find the recordings and moments of a collection that are most similar to one",
    "train": "train a classifier with labelled recordings",
    "verify": "check that the installed models compute the right numbers",
}
TIME_SPAN = re.compile(r"(\d+\.?\d*)(?:-(\d+\.?\d*))?")
WIDTH = 100  # characters of a line of help


class Parser(argparse.ArgumentParser):
    """A parser whose errors come before the usage, with the option that is meant, if one is close."""

    def parse_known_args(self, args=None, namespace=None):
        """Parse; refuse a long option with one dash, of which the letters would be taken for options."""
        for word in sys.argv[1:] if args is None else args:
            name = word.partition("=")[0]
            known = self._option_string_actions
            if name.startswith("-") and name not in known and f"-{name}" in known:
                self.error(f'unrecognized arguments: {name}; did you mean "-{name}"?')
        return super().parse_known_args(args, namespace)

    def error(self, message):
        """Print the error and the usage, and exit with 2."""
        unknown = message.startswith("unrecognized") and "did you" not in message
        for word in re.findall(r"(?<=\s)--?\w[\w-]*", message) if unknown else ():
            message += self._meant(word)
        sys.stderr.write(f"{self.prog}: error: {message}\n{self.format_usage()}")
        sys.exit(2)

    def _meant(self, word):
        names = list(self._option_string_actions)
        close = [name for name in names if name.startswith(word)] or get_close_matches(word, names, 1)
        return f'; did you mean "{close[0]}"?' if close else ""


def make_parser(program, description, examples, notes):
    """Return the parser of a command: it has no abbreviations, and its help ends with examples and notes.

    Parameters
    ----------
    program, description : str
    examples : list of str
        Command lines, with what they do behind two spaces and `#`.
    notes : str
        Exit codes, and what else there is to know.
    """
    epilog = "\n".join(["examples:", *(f"  {line}" for line in examples), "", textwrap.fill(notes, WIDTH)])
    return Parser(
        prog=program,
        description=textwrap.fill(description, WIDTH),
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def whole_number(low=1, high=None):
    """An argparse type: a whole number from `low` to `high`, both included."""

    def parse(text):
        return _checked(check_whole, text, _decimal, low, high)

    return parse


def whole_numbers(low=1, high=None):
    """An argparse type: whole numbers from `low` to `high`, separated by commas, as a list."""
    parse_one = whole_number(low, high)
    return lambda text: [parse_one(part) for part in text.split(",")]


def seconds(text):
    """An argparse type: a positive number of seconds."""
    return _checked(check_seconds, text, float)


def length(text):
    """An argparse type: a number of seconds, 0 or more."""
    return 0.0 if re.fullmatch(r"0+\.?0*", text) else seconds(text)


def share(text):
    """An argparse type: a number above 0, up to 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:  # false of NaN as well
        raise argparse.ArgumentTypeError(f"expected a number above 0, up to 1, found {text!r}")
    return value


def shard(text):
    """An argparse type: `K/N`, part K of N, as a tuple of two ints."""
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"expected K/N with 1 <= K <= N, such as 2/8, found {text!r}")
    return int(part), int(parts)


def time_span(text):
    """An argparse type: a time in seconds, `9`, as a float; or the first and the last, `7-9`, as a tuple of floats."""
    found = TIME_SPAN.fullmatch(text)
    ends = tuple(float(end) for end in found.groups() if end is not None) if found else ()
    if not ends or ends[0] > ends[-1]:
        raise argparse.ArgumentTypeError(
            f"expected a time in seconds such as 9, or the first and the last such as 7-9, found {text!r}"
        )
    return ends if len(ends) == 2 else ends[0]


def _decimal(text):
    """Convert digits to an int; `int` takes signs, spaces and underscores too."""
    if not text.isdecimal():
        raise ValueError
    return int(text)


def _checked(check, text, convert, *bounds):
    """Convert and check a text. An error says what is expected and what is typed; argparse names the option."""
    try:
        value = convert(text)
    except ValueError:
        value = text  # not a number: the check refuses it
    try:
        return check("option", value, *bounds)
    except EdgeL3Error as error:
        expected = str(error).partition(": ")[2].rpartition(", found ")[0]
        raise argparse.ArgumentTypeError(f"{expected}, found {text!r}") from error


def add_embedding_options(add):
    """Add the options that say how to embed: model, length of an embedding, hop and centring.

    Parameters
    ----------
    add : callable
        The method `add_argument` of a parser or of a group.
    """
    add("-m", "--model", metavar="NAME|PATH", help=f"name of a model, or path of a weight file (default: {DEFAULT})")
    add(
        "-as",
        "--dim",
        "--audio-embedding-size",
        type=whole_number(),
        metavar="N",
        help="length of an embedding, for models that have several",
    )
    add(
        "-t",
        "--hop-size",
        "--audio-hop-size",
        type=seconds,
        default=0.1,
        metavar="S",
        help="seconds between windows (default: %(default)s)",
    )
    add(
        "-n",
        "--no-centering",
        "--no-audio-centering",
        action="store_true",
        help="start window i at the time i * hop, instead of centring it there",
    )
