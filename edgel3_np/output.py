"""Write results: as they come, whole or not at all; and tell what a result was made from."""

import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import numpy as np

from .errors import EdgeL3Error
from .npz import MAX_HEADER_BYTES, open_regular, parse_header, write_parts

SPOOL_BYTES = 1 << 23  # of embeddings held in memory while their number is not known yet; more wait in a file
CHUNK_FLOATS = 1 << 20  # of embeddings that are copied from there at a time
MAX_PROVENANCE_BYTES = 1 << 18
MAX_SIP = 1 << 20  # bytes of a zip file read at a time


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
        with open_regular(path) as file, zipfile.ZipFile(_Sips(file)) as archive:
            return _provenance(archive)
    except Exception:  # zipfile raises a dozen kinds on what it does not expect; all mean that it must be made anew
        return None


class Result(NamedTuple):
    """An open file of embeddings, of which nothing but its provenance is in memory."""

    provenance: dict
    dim: int
    embedding: Iterator  # of np.ndarray (b, dim), float32, finite
    timestamps: Callable  # () -> np.ndarray (count,), float64, finite


@contextmanager
def open_result(path):
    """Open a file of embeddings, as `save_embedding` writes it, that nobody vouches for.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    result : Result
        To be read before the block ends; the embeddings once.

    Raises
    ------
    EdgeL3Error
        The file is missing, damaged or none of ours: found when it is opened, or when its arrays are read.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(_Sips(_near(file))) as archive:
            member, shape = _open_array(archive, "embedding.npy", "<f4", 2)

            def timestamps():
                member, found = _open_array(archive, "timestamps.npy", "<f8", 1)
                if found != shape[:1]:
                    raise ValueError(f"{found[0]} timestamps of {shape[0]} embeddings")
                return np.concatenate(list(_parts(member, np.float64, found)))

            yield Result(_provenance(archive), shape[1], _parts(member, np.float32, shape), timestamps)
    except EdgeL3Error:
        raise
    except Exception as error:  # zipfile raises a dozen kinds
        found = getattr(error, "strerror", None) or error or type(error).__name__
        raise EdgeL3Error(f"{path}: expected embeddings (npz) that edgel3_np wrote; found: {found}") from error


def _provenance(archive):
    with archive.open("provenance.npy") as member:
        content = member.read(MAX_PROVENANCE_BYTES)  # a hostile member may claim to be of any size
    start = 10 + int.from_bytes(content[8:10], "little")  # of what follows the npy header
    provenance = json.loads(content[start:].decode("utf-32-le"))
    if not isinstance(provenance, dict):
        raise ValueError("a provenance that is no JSON object")
    return provenance


def _open_array(archive, name, dtype, ndim):
    """An array's file, after its header, and its shape; if it is of that kind, not compressed, as long as it says."""
    member = archive.getinfo(name)
    file = archive.open(member)
    start = file.read(10)
    found, shape, header = parse_header(start + file.read(min(int.from_bytes(start[8:], "little"), MAX_HEADER_BYTES)))
    size = header + np.dtype(found).itemsize * math.prod(shape)
    if (found, len(shape), member.compress_type) != (dtype, ndim, zipfile.ZIP_STORED) or member.file_size != size:
        raise ValueError(f"{name} of dtype {found}, shape {shape}, {member.file_size} bytes, or compressed")
    if 0 in shape:
        raise ValueError(f"{name} of shape {shape}")
    return file, shape


def _parts(file, dtype, shape):
    """An array, some rows at a time; reading to its end compares the checksum."""
    rows = max(1, CHUNK_FLOATS // math.prod(shape[1:]))
    for first in range(0, shape[0], rows):
        part = (min(rows, shape[0] - first), *shape[1:])
        array = np.frombuffer(file.read(np.dtype(dtype).itemsize * math.prod(part)), dtype).reshape(part)
        if not np.isfinite(array).all():
            raise ValueError("NaN or infinity")
        yield array


def _near(file):
    """The file, in memory if it is small: a zip file is read in many places."""
    return io.BytesIO(file.read()) if os.fstat(file.fileno()).st_size <= MAX_SIP else file


class _Sips:
    """A file that is read in sips: the directory of a hostile zip file may be of any size."""

    def __init__(self, file):
        self.file, self.seek, self.tell, self.seekable = file, file.seek, file.tell, file.seekable

    def read(self, size=-1):
        return self.file.read(MAX_SIP if size is None or size < 0 else min(size, MAX_SIP))
