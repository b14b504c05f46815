"""Write files safely: each whole, or not at all."""

import os
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple

from ..errors import EdgeL3Error

SYNCS = 8  # files that wait for the disk at once: it writes them together


@contextmanager
def atomic(path):
    """Open a new file that replaces `path` when the block ends without an error, and leaves no trace otherwise.

    Where the system has files without a name (Linux), a killed process leaves none either: a new file gets its name in
    one step. To replace a file takes two, and a process that is killed between them leaves a hidden `.part` file.

    Parameters
    ----------
    path : str or Path
        In an existing directory.

    Yields
    ------
    file : binary file
        Temporary, in the same directory.
    """
    new = _new_file(path)
    try:
        with new.file:
            yield new.file
            new.file.flush()
            os.fsync(new.file.fileno())
            _give_name(new)
    except BaseException:
        _remove_trace(new)
        raise
    _sync_directory(os.path.dirname(new.path))


def write_together(contents):
    """Write small files, each as `atomic` does, and wait once until all of them are on the disk.

    Parameters
    ----------
    contents : dict of str to bytes
        By absolute path, in existing directories.

    Returns
    -------
    failures : dict of str to OSError
        Of files that cannot be written.
    """
    from concurrent.futures import ThreadPoolExecutor  # here: its import is slow

    failures, written = {}, []

    def attempt(path, step, *given):
        try:
            return path not in failures and step(*given)
        except OSError as error:
            failures[path] = error

    def fill(path, content):
        new = _new_file(path)
        written.append(new)
        new.file.write(content)
        new.file.flush()

    try:
        for path, content in contents.items():
            attempt(path, fill, path, content)
        with ThreadPoolExecutor(SYNCS) as pool:
            synced = [(new, pool.submit(os.fsync, new.file.fileno())) for new in written]
        for new, future in synced:
            attempt(new.path, future.result)
            attempt(new.path, _give_name, new)
        for directory in {os.path.dirname(new.path) for new in written}:
            _sync_directory(directory)
    finally:
        for new in written:
            new.file.close()
            _remove_trace(new)
    return failures


class _New(NamedTuple):
    """A file that is being written: `path` is its name in the end, `temporary` one until then, if it needs one."""

    path: str
    temporary: str
    file: BinaryIO
    nameless: bool


def _new_file(path):
    path = os.path.abspath(path)
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name[:80]}.{os.urandom(8).hex()}.part")
    nameless = _open_nameless(directory)
    file = nameless or open(temporary, "xb")  # noqa: SIM115 only its owner could read one of tempfile's
    return _New(path, temporary, file, nameless is not None)


def _give_name(new):
    is_there = new.nameless and _link(new.file, new.path)
    if new.nameless and not is_there:
        _link(new.file, new.temporary)
    if not is_there:
        os.replace(new.temporary, new.path)


def _remove_trace(new):
    with suppress(FileNotFoundError):
        os.unlink(new.temporary)


def _sync_directory(path):
    with suppress(OSError), _directory(path) as descriptor:  # some systems cannot sync a directory
        os.fsync(descriptor)


def check_directory(path):
    """Raise `EdgeL3Error` unless a file can be written at `path`: it is no directory, and lies in one that is there."""
    path = os.fsdecode(path)
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise EdgeL3Error(f"{path}: expected the name of a file, found a directory")
    if not os.path.isdir(folder):
        raise EdgeL3Error(f"{path}: expected a name in an existing directory, found no such directory")
    if not os.access(folder, os.W_OK):
        raise EdgeL3Error(f"{path}: expected a name in a directory that may be written, found one that may not")


def _link(file, path):
    """Give a nameless file a name, an absolute path; return False if there is a file of that name already."""
    with _directory(os.path.dirname(path)) as descriptor:  # with a descriptor link() follows the link in /proc
        try:
            os.link(f"/proc/self/fd/{file.fileno()}", path, src_dir_fd=descriptor)
        except FileExistsError:
            return False
    return True


def _open_nameless(directory):
    """Return a new file without a name, or None where the system has none."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.fdopen(os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except OSError:  # the file system has none; or open() says better what is wrong
        return None


@contextmanager
def _directory(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
