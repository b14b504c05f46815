"""Open and read files safely."""

import os
import stat
from contextlib import contextmanager, suppress

from .errors import EdgeL3Error

_SPECIAL = "a device, pipe or socket; write it to a file first"


@contextmanager
def open_regular(path, expected="a file", kind="unreadable"):
    """Open a regular file for reading. Nothing else is read, and nothing blocks: not even a FIFO without a writer.

    Parameters
    ----------
    path : str, bytes or Path
    expected : str
        What the file should be, for the message.
    kind : str
        `EdgeL3Error.kind` of the error.

    Yields
    ------
    file : binary file

    Raises
    ------
    EdgeL3Error
        There is no such file, it may not be read, or it is a directory, a device, a pipe or a socket.
    """
    name = os.fsdecode(path)
    try:
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 closed below
    except (OSError, ValueError) as error:
        found = _irregular(path)
        if found is not None:
            raise EdgeL3Error(f"{name}: expected {expected}, found {found}", kind) from error
        reason = getattr(error, "strerror", None) or error
        raise EdgeL3Error(f"{name}: cannot be read: {reason}", kind) from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise EdgeL3Error(f"{name}: expected {expected}, found {_SPECIAL}", kind)
        yield file


def _open_without_waiting(path, flags):
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a FIFO would otherwise wait for a writer


def _irregular(path):
    """Return what is at a path, in words; None if it is a regular file or cannot be told."""
    with suppress(OSError, ValueError):
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return "a directory"
        if not stat.S_ISREG(mode):
            return _SPECIAL
    return None


def read_file(path, max_bytes):
    """Return the content of a weight file.

    Parameters
    ----------
    path : str, bytes, Path or Traversable
        A Traversable (of `importlib.resources`) stands for a file inside a zip file.
    max_bytes : int > 0

    Returns
    -------
    content : bytes

    Raises
    ------
    EdgeL3Error
        The file is missing, unreadable, not regular, or larger than `max_bytes`.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        return _read_resource(path, max_bytes)
    with open_regular(path, "a weight file", kind="invalid") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise EdgeL3Error(f"{path}: expected at most {max_bytes} bytes, found {size}; not a weight file")
        try:
            return file.read(size + 1)
        except OSError as error:
            raise EdgeL3Error(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_resource(resource, max_bytes):
    try:
        with resource.open("rb") as file:
            content = file.read(max_bytes + 1)
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises a dozen kinds
        raise EdgeL3Error(f"{resource}: cannot be read: {error or type(error).__name__}") from error
    if len(content) > max_bytes:
        raise EdgeL3Error(f"{resource}: expected at most {max_bytes} bytes, found more; not a weight file")
    return content
