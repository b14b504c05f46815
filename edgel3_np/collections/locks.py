"""Keep other processes out of a directory's files. The system ends a lock with its process, however that ends."""

import errno
import os
import stat
from contextlib import contextmanager, suppress
from itertools import count

from ..errors import EdgeL3Error

ATTEMPTS = 1000  # to open a file whose directory others remove


@contextmanager
def lock(path, what, wait=False, remove=False):
    """Hold a lock for the length of a block.

    Parameters
    ----------
    path : str
        A file, which is made; its directory too.
    what : str
        What another process does that holds it, for the message.
    wait : bool
        Wait for that process.
    remove : bool
        Remove the file, and its directory if that is empty, at the end.

    Raises
    ------
    EdgeL3Error
        Another process holds the lock, or the file cannot be made (kind `output`).
    """
    folder = os.path.dirname(path)
    for attempt in count():
        try:
            os.makedirs(folder, exist_ok=True)
            file = open(path, "a", opener=_open_plain)  # noqa: SIM115 closed below
        except OSError as error:
            raced = isinstance(error, (FileNotFoundError, FileExistsError)) and attempt < ATTEMPTS
            if raced and os.path.isdir(os.path.dirname(folder)):  # another owner has removed the directory in between
                continue
            raise EdgeL3Error(f"{path}: cannot be written: {error.strerror or error}", "output") from error
        try:
            _lock(file, wait)
        except OSError as error:
            file.close()
            raise EdgeL3Error(f"{folder}: {what}; try again later", "output") from error
        if not remove or _is_open(file, path):
            break
        file.close()  # its last owner has removed it
    with file:
        try:
            yield
        finally:
            if remove:
                with suppress(OSError):
                    os.unlink(path)
                    os.rmdir(folder)


def _open_plain(path, flags):
    """Open a file that is neither a link nor a pipe, which would wait for a reader."""
    number = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "expected a file, found a device, pipe or socket; remove it")
    return number


def _lock(file, wait):
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _is_open(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        return False
