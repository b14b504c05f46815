"""The index of a collection of embeddings: all windows in one matrix, which tells where to look.

A search with the index reads the matrix instead of all files. For each recording it gives an upper bound of the score;
then the recordings themselves are searched, the largest bound first, until no other can be better. So the hits are
those of a search without the index, to the bit, while the index is whole. A damaged matrix cannot make a wrong hit, but
it can hide one.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from .._files import open_regular, read_file
from ..errors import EdgeL3Error
from ..network.threads import one_blas_thread
from ..weights.npz import Archive
from .find import clamped
from .gather import EmbeddingSpace

FOLDER = ".edgel3_np-index"  # in the folder of the collection; searches for files of embeddings pass it over
TABLE = "table.idx"  # an npz, named so that no pattern for embeddings matches it
FORMAT = 2
MATRIX = re.compile(r"(windows|means)-[0-9a-f]{16}\.f32")
OWNED = re.compile(r"((windows|means)-[0-9a-f]{16})(\.f32|\.lists|-[0-9a-f]{16}\.rows)")  # by a matrix
OUTSIDE = (b"\0/", b"\0../", b"/../", b"/..\0", b"\0..\0")  # names that lead out of the collection
MAX_TABLE_BYTES = 1 << 30  # some million files of embeddings; nothing is larger in memory than in the file
BLOCK = 1 << 18  # numbers of the matrix that a thread reads at a time: they stay in its cache
THREADS = 2  # reading memory is what takes time, and two threads saturate it on small machines
COLUMNS = ("sizes", "times", "firsts", "counts", "slots", "recordings")
ATTEMPTS = 3  # to open files that another process may be replacing


class Index(NamedTuple):
    """An index, of which the table is in memory.

    Parameters
    ----------
    root : str
        Absolute path of the collection.
    space : EmbeddingSpace
    names : list of bytes
        Files of embeddings, as paths below `root`.
    sizes, times : np.ndarray [shape=(files,), int64]
        Bytes and modification time (nanoseconds) of each file when it was read.
    firsts, counts : np.ndarray [shape=(n,), int64]
        Rows of `windows` that are the embeddings of each recording, scaled to length 1.
    slots : np.ndarray [shape=(n,), int64]
        Row of `means` that is the mean embedding of each recording, scaled to length 1.
    windows, means : str
        Absolute paths of the matrices: little-endian float32, row after row.
    rows : tuple of int
        Rows of `windows` and of `means`; some may belong to no file any more.
    directories : dict of bytes to int
        Modification time of each directory below `root`, and of `root` (b'.'), when it was listed; -1: unknown.
    failed : list of str
        Files that cannot be read, as paths below `root`.
    owners : np.ndarray [shape=(n,), int64]
        The file of each recording.
    columns : dict of str to np.ndarray [shape=(files,), int64]
        As they are stored, by `COLUMNS`: the first row and the number of rows of each file in `windows`, its first row
        in `means`, and how many recordings a part of a table holds (an npz: 0).
    spans : np.ndarray [shape=(m,), int64]
        Rows of each recording in the parts, part after part.
    """

    root: str
    space: EmbeddingSpace
    names: list
    sizes: np.ndarray
    times: np.ndarray
    firsts: np.ndarray
    counts: np.ndarray
    slots: np.ndarray
    windows: str
    means: str
    rows: tuple
    directories: dict
    failed: list
    owners: np.ndarray = np.zeros(0, np.int64)
    columns: dict | None = None
    spans: np.ndarray = np.zeros(0, np.int64)

    def place_of(self, recording):
        """Return the number of its file, and that of the recording in it; None for an npz."""
        file = int(self.owners[recording])
        if not self.columns["recordings"][file]:
            return file, None
        return file, int(self.slots[recording] - self.columns["slots"][file])


def open_index(root):
    """Read the index of a collection, without trusting it.

    Parameters
    ----------
    root : str or Path

    Returns
    -------
    index : Index or None
        None: there is none.

    Raises
    ------
    EdgeL3Error
        It is damaged, or of another version (kind `damaged`).
    """
    root = os.path.abspath(os.fsdecode(root))
    path = os.path.join(root, FOLDER, TABLE)
    if not os.path.lexists(path):
        return None
    try:
        for attempt in range(ATTEMPTS):
            index = _parse(root, path, read_file(path, MAX_TABLE_BYTES))
            sizes = [os.path.getsize(name) if os.path.isfile(name) else -1 for name in (index.windows, index.means)]
            if min(sizes) >= 0 or attempt == ATTEMPTS - 1:
                break
        needed = [rows * 4 * index.space.dim for rows in index.rows]
        if any(size < need for size, need in zip(sizes, needed)):
            raise EdgeL3Error(f"{path}: expected matrices of at least {needed} bytes, found {sizes}")
    except EdgeL3Error as error:
        raise EdgeL3Error(f"{error}; write the index again: edgel3-np index {root}", kind="damaged") from error
    return index


def _parse(root, path, content):
    archive = Archive(content, path, methods=(zipfile.ZIP_STORED,))
    try:
        said = json.loads(archive.read("metadata", "|u1", (None,), 1 << 16).tobytes())
        if said["format"] != FORMAT:
            raise EdgeL3Error(f"{path}: expected an index of format {FORMAT}, found {said['format']!r:.40}")
        space = EmbeddingSpace(*said["space"])
        count, directories, parted, failed = (said[key] for key in ("files", "directories", "parted", "failed"))
        rows = tuple(said["rows"])
        matrices = [said["windows"], said["means"]]
        sizes = count, directories, parted, failed, *rows, space.dim
        valid = all(type(number) is int and 0 <= number < 1 << 40 for number in sizes)
        valid = valid and type(space.sha256) is str and type(space.contract) is int and 0 < space.dim <= 1 << 16
        valid = valid and len(rows) == 2 and all(MATRIX.fullmatch(name) for name in matrices)
        if not valid:
            raise ValueError("numbers or names out of their ranges")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise EdgeL3Error(f"{path}: expected the metadata of an index, found: {error!r:.200}") from error
    columns = {key: archive.read(key, "<u8", (count,)).view(np.int64) for key in COLUMNS}
    spans = archive.read("spans", "<u8", (parted,)).view(np.int64)
    names, folders, failed = (
        _split(archive, key, number)
        for key, number in (("names", count), ("directories", directories), ("failed", failed))
    )
    times = archive.read("directory_times", "<u8", (directories,)).view(np.int64)
    recordings = _expand(columns, spans, rows)
    if recordings is None:
        raise EdgeL3Error(f"{path}: expected rows of the matrices, found others")
    firsts, counts, slots, owners = recordings
    paths = [os.path.join(root, FOLDER, name) for name in matrices]
    directories = dict(zip(folders, times.tolist()))
    files = columns["sizes"], columns["times"], firsts, counts, slots
    failed = list(map(os.fsdecode, failed))
    return Index(root, space, names, *files, *paths, rows, directories, failed, owners, columns, spans)


def _expand(columns, spans, rows):
    """Return `firsts`, `counts`, `slots` and `owners` of all recordings; None if they are no rows of the matrices."""
    firsts, counts, slots, held = (columns[key] for key in COLUMNS[2:])
    if (held < 0).any() or (held > len(spans)).any() or held.sum() != len(spans):
        return None
    means = np.maximum(held, 1)
    inside = (firsts >= 0) & (counts > 0) & (firsts <= rows[0] - counts) & (slots >= 0) & (slots <= rows[1] - means)
    if not inside.all() or (spans < 1).any() or (spans > rows[0]).any():
        return None
    starts = np.cumsum(means) - means  # number of the first recording of each file
    owners = np.repeat(np.arange(len(held)), means)
    lengths = counts[owners]
    lengths[held[owners] > 0] = spans
    before = np.cumsum(lengths) - lengths
    if len(held) and (np.add.reduceat(lengths, starts) != counts).any():
        return None
    place = np.arange(len(owners)) - starts[owners]
    return (firsts - before[starts])[owners] + before, lengths, slots[owners] + place, owners


def _split(archive, key, count):
    """Return `count` names, as bytes, of a member in which a zero byte ends each."""
    content = archive.read(key, "|u1", (None,), MAX_TABLE_BYTES).tobytes()
    names = content.split(b"\0")
    if len(names) != count + 1 or names.pop():
        raise archive.error(key, f"{count} names", f"{len(names)}")
    if not _are_inside(names):
        raise archive.error(key, "paths below the collection", "others")
    return names


def _are_inside(names):
    """Tell whether names, as bytes, are paths below the collection."""
    text = b"\0".join([b"", *names, b""])
    return not any(part in text for part in OUTSIDE)


def is_fresh(index):
    """Tell whether no directory of the collection has changed since the index was written.

    Files are written by renaming, which changes their directory. A file that another program overwrites in place is
    noticed by `update_index` only.
    """
    return all(
        directory_time(os.path.join(os.fsencode(index.root), name)) == time for name, time in index.directories.items()
    )


def directory_time(path):
    """Return the modification time of a directory in nanoseconds; -2 if there is none."""
    try:
        return clamped(os.stat(path).st_mtime_ns)
    except OSError:
        return -2


def bounds(index, unit, moments):
    """Return upper bounds of the scores of all recordings.

    Parameters
    ----------
    index : Index
    unit : np.ndarray [shape=(dim,), float64]
        Of length 1 at most.
    moments : bool
        Bound the best moment of each recording; otherwise the score of its mean.

    Returns
    -------
    bounds : np.ndarray [shape=(n,), float64]

    Raises
    ------
    EdgeL3Error
        A matrix cannot be read (kind `damaged`).

    Notes
    -----
    A row and the query are rounded to float32 once, each by at most a relative 2**-24 of a number, and a sum of `dim`
    products errs by at most dim * 2**-24 of the sum of their sizes, in any order (Higham, Accuracy and Stability of
    Numerical Algorithms, 2002, section 3.1), which is 1 at most. So a cosine is at most (dim + 2) * 2**-24 larger than
    what is computed; the third is for float64, and for products too small to count.
    """
    path, rows = (index.windows, index.rows[0]) if moments else (index.means, index.rows[1])
    cosines = cosines_of(path, rows, unit.astype("<f4"))
    found = _maxima(cosines, index.firsts, index.counts) if moments else cosines[index.slots]
    found = found.astype(np.float64) + margin(index.space.dim)
    return np.where(np.isnan(found), np.inf, found)  # a damaged row


def margin(dim):
    """Return by how much a cosine may be larger than a product of a row with a query: see the notes on `bounds`."""
    return (dim + 3) * 2.0**-24


def _maxima(values, firsts, counts):
    """Return the largest of `counts[i]` values from number `firsts[i]` on, for each i: shape (n,)."""
    order = np.argsort(firsts, kind="stable")  # so that what `reduceat` finds between two parts costs little
    padded = np.append(values, np.float32(-np.inf))  # an end may be the end of all
    pairs = np.stack([firsts[order], firsts[order] + counts[order]], axis=1).ravel()
    found = np.empty(len(firsts), np.float32)
    if len(pairs):
        found[order] = np.maximum.reduceat(padded, pairs)[::2]
    return found


def cosines_of(path, rows, query, begin=0):
    """Return the products of the rows of a matrix, from one on, with a query: shape (rows - begin,), float32."""
    dim = len(query)
    step = max(1, BLOCK // dim)
    try:
        found = np.empty(rows - begin, np.float32)
    except MemoryError as error:
        raise EdgeL3Error(f"{path}: expected rows that fit into memory, found {rows}", kind="damaged") from error

    def work(starts):
        buffer = np.empty((step, dim), "<f4")
        with open_regular(path, "a matrix of an index", kind="damaged") as file:
            file = file.raw  # blocks are large: a buffer would copy them
            for start in starts:
                block = buffer[: min(step, rows - start)]
                file.seek(4 * dim * start)
                if file.readinto(memoryview(block).cast("B")) != block.nbytes:
                    raise EdgeL3Error(f"{path}: expected {rows} rows, found fewer", kind="damaged")
                with np.errstate(all="ignore"):  # of a damaged matrix
                    np.dot(block, query, out=found[start - begin : start - begin + len(block)])

    starts = range(begin, rows, step)
    with one_blas_thread(), ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(work, [starts[number::THREADS] for number in range(THREADS)]):
            pass
    return found
