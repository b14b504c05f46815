"""Write embeddings as npz files, each whole or not at all, and read such files without trusting them."""

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np

from .._checks import check_bool, check_seconds
from .._files import open_regular
from .._version import CONTRACT
from ..errors import EdgeL3Error
from ..pipeline import Embedding
from ..weights.npz import MAX_HEADER_BYTES, native, npz_member, parse_header
from .atomic import atomic

SPOOL_BYTES = 1 << 23  # embeddings held in memory until their number is known; more wait in a temporary file
CHUNK_FLOATS = 1 << 20  # numbers copied or read at a time
MAX_TIME = 1e9  # seconds
MAX_PROVENANCE_BYTES = 1 << 18
MAX_READ_BYTES = 1 << 20  # of a zip file, at a time
RESULT = "embeddings (npz) that edgel3_np wrote"


def fingerprint(model, hop_size, center):
    """Return what embeddings depend on besides the recording, as a part of their provenance.

    Parameters
    ----------
    model : Model
    hop_size : number > 0
        Seconds between windows.
    center : bool

    Returns
    -------
    fingerprint : dict
        `weights_sha256`, `contract` and `options` (dim, hop_size, center).
    """
    hop_size, center = check_seconds("hop_size", hop_size), check_bool("center", center)
    options = {"dim": model.dim, "hop_size": hop_size, "center": center}
    return {"weights_sha256": model.sha256, "contract": CONTRACT, "options": options}


def save_embedding(path, batches, timestamps, provenance):
    """Write embeddings, as they are computed, as an npz with the arrays `embedding`, `timestamps` and `provenance`.

    Parameters
    ----------
    path : str or Path
    batches : iterable of np.ndarray [shape=(b, dim), float32]
        At least one.
    timestamps : callable, (count, first) -> np.ndarray [shape=(count,), float64]
        Returns the times of `count` windows from number `first` on, in seconds.
    provenance : dict
        Where the embeddings come from: model, weights_sha256, version, contract, options, input; and remarks, if there
        are any, which may be added until `batches` ends. Stored as bytes of JSON, with `embedding_sha256`, the hash
        that `Embedding.sha256` returns.

    Returns
    -------
    count : int
        Embeddings written.

    Raises
    ------
    OSError
        The file cannot be written. A file that was at `path` before is still there.
    """
    import tempfile  # here: its import is slow

    dim, count, total = 0, 0, hashlib.sha256()
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES, dir=os.path.dirname(os.path.abspath(path))) as spool:
        for batch in batches:
            content = np.ascontiguousarray(batch, "<f4").tobytes()
            spool.write(content)
            total.update(content)
            dim, count = batch.shape[1], count + len(batch)
        spool.seek(0)
        step = max(1, CHUNK_FLOATS // dim)
        starts = range(0, count, step)
        embedding = (np.frombuffer(spool.read(4 * dim * step), "<f4") for _ in starts)
        seconds = (timestamps(min(step, count - start), start) for start in starts)
        with atomic(path) as file:
            write_parts(file, _arrays((count, dim), embedding, seconds, provenance, total.hexdigest()))
    return count


def _arrays(shape, embedding, seconds, provenance, sha256):
    provenance = {**provenance, "embedding_sha256": sha256}
    text = json.dumps(provenance, sort_keys=True).encode()  # ASCII: other letters, and bytes of names, are escaped
    return {
        "embedding": ("<f4", shape, embedding),
        "timestamps": ("<f8", shape[:1], seconds),
        "provenance": (f"|S{len(text)}", (), [np.array(text)]),
    }


def result_bytes(embedding, timestamps, provenance):
    """Return the bytes of the file that `save_embedding` would write.

    Parameters
    ----------
    embedding : np.ndarray [shape=(t, dim), float32]
    timestamps : np.ndarray [shape=(t,), float64]
    provenance : dict
    """
    content = io.BytesIO()
    sha256 = Embedding(embedding, timestamps).sha256()
    write_parts(content, _arrays(embedding.shape, [embedding], [timestamps], provenance, sha256))
    return content.getvalue()


def write_parts(file, arrays):
    """Write arrays that arrive in parts as an uncompressed npz, which can be mapped into memory.

    The bytes depend on the arrays only (members carry no date, and numbers are as `dtype` says).

    Parameters
    ----------
    file : binary file
    arrays : dict of str to (dtype, shape, iterable of np.ndarray)
        The parts of an array, one after the other, have the elements of that shape in C order.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for key, (dtype, shape, parts) in arrays.items():
            size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
            with archive.open(npz_member(key, zipfile.ZIP_STORED), "w", force_zip64=size >= 1 << 31) as out:
                header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(out, header)
                for part in parts:
                    out.write(np.ascontiguousarray(part, dtype).tobytes())


class Result(NamedTuple):
    """An open file of embeddings, of which only the provenance is in memory."""

    provenance: dict
    dim: int
    embedding: Iterator  # yields np.ndarray [shape=(b, dim), float32], finite
    timestamps: Callable  # () -> np.ndarray [shape=(count,), float64], seconds, finite
    file: tuple  # device and inode: equal for all names of one file


@contextmanager
def open_result(path):
    """Open a file of embeddings, as `save_embedding` writes it, without trusting it.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    result : Result
        Valid inside the block only; `embedding` can be iterated once.

    Raises
    ------
    EdgeL3Error
        The file is missing, forbidden or not regular (kind `unreadable`), or it is damaged or not written by
        `save_embedding` (kind `damaged`). Raised on opening, or while the arrays are read. Errors of the caller's
        block pass unchanged.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open_regular(path, RESULT))
        with read_errors(path):
            info = os.fstat(file.fileno())
            archive = stack.enter_context(zipfile.ZipFile(_CappedReads(_buffered(file, info.st_size))))
            embedding, dtype, shape = _open_array(archive, "embedding.npy", "<f4", 2)
            provenance = _read_provenance(archive)

        def timestamps():
            with read_errors(path):
                member, order, found = _open_array(archive, "timestamps.npy", "<f8", 1)
                if found != shape[:1]:
                    raise ValueError(f"{found[0]} timestamps for {shape[0]} embeddings")
            times = np.concatenate(list(_read_parts(path, member, order, found)))
            with read_errors(path):
                if np.abs(times).max() > MAX_TIME:
                    raise ValueError(f"a time of {np.abs(times).max():g} s")
            return times

        parts = _read_parts(path, embedding, dtype, shape)
        yield Result(provenance, shape[1], parts, timestamps, (info.st_dev, info.st_ino))


def read_provenance(path):
    """Return the `provenance` of a file of embeddings; None if the file is missing, damaged or not such a file."""
    try:
        with open_regular(path, RESULT) as file, read_errors(path), zipfile.ZipFile(_CappedReads(file)) as archive:
            return _read_provenance(archive)
    except EdgeL3Error:
        return None


def recording_of(provenance):
    """Return the path of the recording that embeddings are of, as their provenance tells; None if it does not.

    It is below the directory that was named when the recording was embedded, and may have moved since.
    """
    source = provenance.get("input")
    if not isinstance(source, dict) or not isinstance(source.get("name"), str):
        return None
    root = source.get("root")
    return os.path.join(root, source["name"]) if isinstance(root, str) else source["name"]


@contextmanager
def read_errors(path, expected=RESULT):
    """Turn errors of reading a file of embeddings into `EdgeL3Error`; only code that reads may run inside."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises a dozen kinds on hostile input
        found = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise EdgeL3Error(f"{path}: expected {expected}; found: {found}", kind="damaged") from error


def _read_provenance(archive):
    with archive.open("provenance.npy") as member:
        content = member.read(MAX_PROVENANCE_BYTES)  # a hostile member may claim any size
    start = 10 + int.from_bytes(content[8:10], "little")  # of the text, which follows the npy header
    kinds = {b"'<U": "utf-32-le", b"'>U": "utf-32-be"}  # arrays of text, as versions before 0.1 wrote them
    coding = next((coding for kind, coding in kinds.items() if kind in content[:start]), "utf-8")
    provenance = json.loads(content[start:].decode(coding))
    if not isinstance(provenance, dict):
        raise ValueError("a provenance that is not a JSON object")
    return provenance


def _open_array(archive, name, dtype, ndim):
    """Return an open member, positioned after the npy header, and the array's dtype and shape.

    Raises `ValueError` unless the member is stored uncompressed, has this dtype in any byte order and this number of
    dimensions, is not empty and is as long as its header says.
    """
    member = archive.getinfo(name)
    file = archive.open(member)
    start = file.read(10)
    found, shape, header = parse_header(start + file.read(min(int.from_bytes(start[8:], "little"), MAX_HEADER_BYTES)))
    size = header + np.dtype(found).itemsize * math.prod(shape)
    kind = found.replace(">", "<"), len(shape), member.compress_type
    if kind != (dtype, ndim, zipfile.ZIP_STORED) or member.file_size != size:
        raise ValueError(f"{name} of dtype {found}, shape {shape}, {member.file_size} bytes, or compressed")
    if 0 in shape:
        raise ValueError(f"{name} of shape {shape}")
    return file, found, shape


def _read_parts(path, file, dtype, shape):
    """Yield an array, some rows at a time. Reading to the end verifies the checksum."""
    rows = max(1, CHUNK_FLOATS // math.prod(shape[1:]))
    for first in range(0, shape[0], rows):
        part = (min(rows, shape[0] - first), *shape[1:])
        with read_errors(path):
            array = native(np.frombuffer(file.read(np.dtype(dtype).itemsize * math.prod(part)), dtype).reshape(part))
            if not np.isfinite(array).all():
                raise ValueError("NaN or infinity")
        yield array


def _buffered(file, size):
    """Return the file, read into memory if it is small: zipfile seeks a lot."""
    return io.BytesIO(file.read()) if size <= MAX_READ_BYTES else file


class _CappedReads:
    """A file whose reads return at most `MAX_READ_BYTES`: the directory of a hostile zip file may claim any size."""

    def __init__(self, file):
        self.file, self.seek, self.tell, self.seekable = file, file.seek, file.tell, file.seekable

    def read(self, size=-1):
        return self.file.read(MAX_READ_BYTES if size is None or size < 0 else min(size, MAX_READ_BYTES))
