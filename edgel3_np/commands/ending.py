"""How a command ends: its messages on stderr, and its exit code."""

import os
import sys
from contextlib import contextmanager

from ..collections.interrupts import keep_interrupts
from ..collections.names import as_text, printable
from ..errors import EdgeL3Error

OK, FAILED, USAGE, NO_INPUTS, INTERRUPTED, NO_READER = 0, 1, 2, 255, 130, 141


class UsageError(EdgeL3Error):
    """The command line asks for something that does not exist or makes no sense: the exit code is 2."""


def finish(program, work, interrupted="interrupted"):
    """Do a command's work and turn whatever ends it into a message and an exit code.

    Parameters
    ----------
    program : str
        The command's name, which begins its messages.
    work : callable, () -> int
        Returns the exit code if nothing is raised.
    interrupted : str
        The message after an interrupt, unless the `KeyboardInterrupt` brings its own.

    Returns
    -------
    code : int
        What `work` returns; 1 after an `EdgeL3Error` or `OSError`, 2 after a `UsageError`, 130 after an interrupt, 141
        if nobody reads the output any more. All other exceptions pass through.
    """
    try:
        try:
            return _exit_code(program, work, interrupted)
        finally:
            sys.stdout.flush()  # here, because Python reports a failure of its own flush at exit as an exception
    except BrokenPipeError:
        _redirect_broken_pipes()
        return NO_READER


def _exit_code(program, work, interrupted):
    try:
        with keep_interrupts():
            return work()
    except KeyboardInterrupt as interrupt:
        tell(program, str(interrupt) or interrupted)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (EdgeL3Error, OSError) as error:
        tell(program, describe(error))
        return USAGE if isinstance(error, UsageError) else FAILED


def _redirect_broken_pipes():
    """Let the null device take what is left in the buffers, which Python flushes when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


@contextmanager
def wrong_usage(kind=None):
    """Turn each `EdgeL3Error` and `OSError` of a block into a `UsageError`.

    Parameters
    ----------
    kind : str, optional
        Only `EdgeL3Error`s of this kind; all other errors pass through.
    """
    try:
        yield
    except (EdgeL3Error, OSError) as error:
        if kind is not None and getattr(error, "kind", None) != kind:
            raise
        raise UsageError(describe(error)) from error


def describe(error):
    """The text of an error on one line, without characters that a terminal obeys."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return printable(f"{os.fsdecode(error.filename)}: {error.strerror}")
    return printable(str(error))


def escape_names(record, keys):
    """Return a record for JSON: names that are no text have backslash escapes, and `escaped` says so.

    In such a name a backslash of its own stands twice, so no two names become equal.
    """
    for key in keys:
        name = record[key]
        if name is not None and as_text(name) != name:
            record = {**record, key: as_text(name.replace("\\", "\\\\")), "escaped": True}
    return record


def tell(program, text):
    """Print a message on stderr."""
    print(f"{program}: {text}", file=sys.stderr, flush=True)
