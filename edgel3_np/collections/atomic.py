"""Write files safely: each whole, or not at all."""

import os
from contextlib import contextmanager, suppress

from ..errors import EdgeL3Error


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
    path = os.path.abspath(path)
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name[:80]}.{os.urandom(8).hex()}.part")
    nameless = _open_nameless(directory)
    file = nameless or open(temporary, "xb")  # noqa: SIM115 closed below; only its owner could read one of tempfile's
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            is_there = nameless and _link(file, path)
            if nameless and not is_there:
                _link(file, temporary)
        if not is_there:
            os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    with suppress(OSError), _directory(directory) as descriptor:  # some systems cannot sync a directory
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
