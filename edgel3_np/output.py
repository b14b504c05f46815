"""Write results: as they come, whole or not at all; and tell what a result was made from."""

import json
import os
import zipfile
from contextlib import contextmanager, suppress

import numpy as np

from .npz import open_regular, write_parts

SPOOL_BYTES = 1 << 23  # of embeddings held in memory while their number is not known yet; more wait in a file
CHUNK_FLOATS = 1 << 20  # of embeddings that are copied from there at a time
MAX_PROVENANCE_BYTES = 1 << 18


@contextmanager
def atomic(path):
    """Open a new file that takes the place of `path` when the block ends well, and leaves no trace when it does not.

    Where the system has files without a name (Linux), not even a process that is killed leaves one.

    Parameters
    ----------
    path : str or Path
        In an existing directory.

    Yields
    ------
    file : binary file
        Temporary, in the same directory.
    """
    directory, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(directory, f".{name[:80]}.{os.urandom(8).hex()}.part")
    nameless = _nameless(directory)
    file = nameless or open(temporary, "xb")  # noqa: SIM115 closed below; not tempfile, whose files nobody else can read
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if nameless:  # a directory's descriptor makes link() follow /proc's link; both paths are absolute
                with _directory(directory) as descriptor:
                    os.link(f"/proc/self/fd/{file.fileno()}", temporary, src_dir_fd=descriptor)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    with suppress(OSError), _directory(directory) as descriptor:  # not everywhere possible
        os.fsync(descriptor)


def _nameless(directory):
    """A new file without a name, or None where that cannot be."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.fdopen(os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except OSError:  # not this kind of file system; or open() will say better what is wrong
        return None


@contextmanager
def _directory(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def save_embedding(path, pieces, timestamps, provenance):
    """Write embeddings, as they come, as an npz with the arrays `embedding`, `timestamps` and `provenance` (JSON).

    Parameters
    ----------
    path : str or Path
    pieces : iterable of np.ndarray [shape=(b, dim), float32]
        At least one.
    timestamps : callable, (count, first) -> np.ndarray [shape=(count,), float64]
    provenance : dict
        What made it: model, weights_sha256, version, contract, options, input.

    Returns
    -------
    count : int
        Embeddings written.

    Raises
    ------
    OSError
        It cannot be written. What was at `path` before is still there.
    """
    import tempfile  # here: it takes a while to import

    dim, count = 0, 0
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=os.path.dirname(os.path.abspath(path))) as spool:
        for piece in pieces:
            spool.write(piece.tobytes())
            dim, count = piece.shape[1], count + len(piece)
        spool.seek(0)
        step = max(1, CHUNK_FLOATS // dim)
        starts = range(0, count, step)
        text = json.dumps(provenance, sort_keys=True)
        arrays = {
            "embedding": (
                np.float32,
                (count, dim),
                (np.frombuffer(spool.read(4 * dim * step), np.float32) for _ in starts),
            ),
            "timestamps": (np.float64, (count,), (timestamps(min(step, count - start), start) for start in starts)),
            "provenance": (f"<U{len(text)}", (), [np.array(text)]),
        }
        with atomic(path) as file:
            write_parts(file, arrays)
    return count


def read_provenance(path):
    """The `provenance` of a result; None if there is no such file, or it is none of ours or damaged."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive, archive.open("provenance.npy") as member:
            content = member.read(MAX_PROVENANCE_BYTES)  # a hostile member may claim to be of any size
        start = 10 + int.from_bytes(content[8:10], "little")  # of what follows the npy header
        provenance = json.loads(content[start:].decode("utf-32-le"))
    except Exception:  # zipfile raises a dozen kinds on what it does not expect; all mean that it must be made anew
        return None
    return provenance if isinstance(provenance, dict) else None
