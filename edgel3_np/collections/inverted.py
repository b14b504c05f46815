"""Inverted lists: windows of an index in groups of similar ones, of which an approximate search reads a few.

This is for collections whose matrix of windows is larger than memory. A window is stored in the list of the centroid
that is most similar to it, as one byte a dimension (Jegou, Douze, Schmid, Product quantization for nearest neighbor
search, IEEE PAMI 2011, section IV; faiss calls it IVF, SQ8). faiss, an optional package, finds the centroids and the
lists. A search needs NumPy alone: it reads the lists of the centroids that are most similar to the query, looks up the
best windows in the matrix, and bounds the recordings that have them. Those are searched exactly, as with any index.
"""

from __future__ import annotations

import json
import math
import os
import re
import zipfile
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from .._files import open_regular, read_file
from ..errors import EdgeL3Error
from ..network.threads import one_blas_thread
from ..weights.npz import Archive
from .atomic import atomic
from .index import BLOCK, cosines_of, margin
from .results import write_parts

ROWS = re.compile(r"windows-[0-9a-f]{16}-[0-9a-f]{16}\.rows")
FORMAT = 1
MAX_LISTS = 1 << 16
MAX_HEAD_BYTES = 1 << 30
SAMPLE = 64  # windows a list from which the centroids are found
ROUNDS = 10  # of finding them
SHARE = 1 / 32  # of the lists that a search reads
LEAST = 32  # lists that it reads at least
LOOKED_UP = 2000  # windows that it looks up in the matrix, at least
FEW = 1 << 14  # windows below which there are no lists: all of them are read
STALE = 0.1  # windows that are in no list, as a share of those that are, from which on lists are made again


class Lists(NamedTuple):
    """Inverted lists, of which the centroids are in memory.

    Parameters
    ----------
    data : str
        Path of the file of rows: of each, its number in the matrix and its bytes, list after list.
    rows : int
        Rows of the matrix that are in the lists: the first ones.
    centroids : np.ndarray [shape=(lists, dim), float32]
    firsts, sizes : np.ndarray [shape=(lists,), int64]
        The first row of each list in the file, and its number of rows.
    low, step : np.ndarray [shape=(dim,), float32]
        A byte b of dimension d stands for `low[d] + step[d] * b`.
    """

    data: str
    rows: int
    centroids: np.ndarray
    firsts: np.ndarray
    sizes: np.ndarray
    low: np.ndarray
    step: np.ndarray


def row_type(dim):
    """Return the type of a row in the file of rows."""
    return np.dtype([("number", "<u4"), ("code", "u1", (dim,))])


def open_lists(index):
    """Read the inverted lists of an index, without trusting them.

    Parameters
    ----------
    index : Index

    Returns
    -------
    lists : Lists or None
        None: there are none of its matrix.

    Raises
    ------
    EdgeL3Error
        They are damaged, or of another version (kind `damaged`).
    """
    path = _head_of(index)
    if not os.path.lexists(path):
        return None
    try:
        return _parse(index, Archive(read_file(path, MAX_HEAD_BYTES), path, methods=(zipfile.ZIP_STORED,)))
    except EdgeL3Error as error:
        text = f"{error}; write them again: edgel3-np index --approximate {index.root}"
        raise EdgeL3Error(text, kind="damaged") from error


def _head_of(index):
    return f"{os.path.splitext(index.windows)[0]}.lists"  # an npz, named so that no pattern for embeddings matches it


def _parse(index, archive):
    try:
        said = json.loads(archive.read("metadata", "|u1", (None,), 1 << 16).tobytes())
        count, rows, name, dim = said["lists"], said["rows"], said["data"], index.space.dim
        valid = said["format"] == FORMAT and all(type(number) is int for number in (count, rows))
        if not valid or not ROWS.fullmatch(name) or not 0 < count <= MAX_LISTS or not 0 <= rows < 1 << 32:
            raise ValueError("a format, numbers or a name out of their ranges")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise EdgeL3Error(f"{archive.name}: expected the metadata of lists, found: {error!r:.200}") from error
    centroids = archive.read("centroids", "<f4", (count, dim))
    sizes = archive.read("sizes", "<u8", (count,)).view(np.int64)
    low, step = (archive.read(key, "<f4", (dim,)) for key in ("low", "step"))
    data = os.path.join(os.path.dirname(index.windows), name)
    size = os.path.getsize(data) if os.path.isfile(data) else -1
    fits = (sizes >= 0).all() and (sizes <= rows).all() and sizes.sum() == rows <= index.rows[0]
    if not fits or size != rows * row_type(dim).itemsize:
        raise EdgeL3Error(f"{archive.name}: expected lists of {rows} rows of the matrix, found others")
    return Lists(data, rows, centroids, np.cumsum(sizes) - sizes, sizes, low, step)


def approximate_bounds(index, lists, unit, top):
    """Return upper bounds of the best moments that the lists lead to, by recording.

    Parameters
    ----------
    index : Index
    lists : Lists
    unit : np.ndarray [shape=(dim,), float64]
    top : int
        Hits wanted.

    Returns
    -------
    bounds : np.ndarray [shape=(n,), float64]
        -inf of recordings to which they do not lead.

    Raises
    ------
    EdgeL3Error
        The lists, or the matrix, cannot be read (kind `damaged`).
    """
    wanted = max(LOOKED_UP, 50 * top)
    listed = _look_up(index, _candidates(index, lists, unit.astype("<f4"), wanted), unit)
    found, order = np.full(len(index.firsts), -np.inf), np.argsort(index.firsts, kind="stable")
    for numbers, cosines in (listed, _not_listed(index, lists, unit, wanted)):
        owners = order[np.maximum(np.searchsorted(index.firsts[order], numbers, "right") - 1, 0)]
        inside = numbers - index.firsts[owners]
        held = (inside >= 0) & (inside < index.counts[owners])  # others belong to files that are gone
        np.maximum.at(found, owners[held], cosines[held])
    return found + margin(index.space.dim)


def _candidates(index, lists, query, wanted):
    """Return the numbers, in order, of rows in the lists next to a query that seem to be the best."""
    dim, kind = index.space.dim, row_type(index.space.dim)
    scaled, base = lists.step * query, float(lists.low @ query)
    near = np.argsort(-(lists.centroids @ query), kind="stable")[: max(LEAST, math.ceil(SHARE * len(lists.sizes)))]
    numbers, cosines = np.zeros(0, np.int64), np.zeros(0, np.float32)
    with open_regular(lists.data, "the rows of inverted lists", kind="damaged") as file, one_blas_thread():
        for which in near:
            for first in range(0, int(lists.sizes[which]), BLOCK // dim):
                count = min(BLOCK // dim, int(lists.sizes[which]) - first)
                file.seek(kind.itemsize * (int(lists.firsts[which]) + first))
                content = file.read(kind.itemsize * count)
                if len(content) != kind.itemsize * count:
                    raise EdgeL3Error(f"{lists.data}: expected {lists.rows} rows, found fewer", kind="damaged")
                rows = np.frombuffer(content, kind)
                if rows["number"].max() >= lists.rows:
                    raise EdgeL3Error(f"{lists.data}: expected rows of the matrix, found others", kind="damaged")
                numbers = np.append(numbers, rows["number"].astype(np.int64))
                cosines = np.append(cosines, rows["code"].astype(np.float32) @ scaled + base)
                if len(numbers) > 8 * wanted:
                    numbers, cosines = _best(numbers, cosines, wanted)
    return np.sort(_best(numbers, cosines, wanted)[0])


def _best(numbers, cosines, wanted):
    if len(numbers) <= wanted:
        return numbers, cosines
    best = np.argpartition(-cosines, wanted - 1)[:wanted]
    return numbers[best], cosines[best]


def _look_up(index, numbers, unit):
    """Return the numbers, and the products of these rows of the matrix with a query."""
    dim, found = index.space.dim, np.empty((len(numbers), index.space.dim), "<f4")
    with open_regular(index.windows, "a matrix of an index", kind="damaged") as file:
        for row, number in zip(found, numbers.tolist()):
            file.seek(4 * dim * number)
            if file.readinto(memoryview(row).cast("B")) != 4 * dim:
                raise EdgeL3Error(f"{index.windows}: expected {index.rows[0]} rows, found fewer", kind="damaged")
    with np.errstate(all="ignore"):  # of a damaged matrix
        return numbers, np.nan_to_num(found.astype(np.float64) @ unit, nan=np.inf)


def _not_listed(index, lists, unit, wanted):
    """Return number and product of the best rows that are in no list, because they are newer."""
    cosines = cosines_of(index.windows, index.rows[0], unit.astype("<f4"), lists.rows)
    return _best(lists.rows + np.arange(len(cosines)), np.nan_to_num(cosines, nan=np.inf).astype(np.float64), wanted)


def update_lists(index):
    """Write the inverted lists of an index, unless nearly all of its windows are in such lists.

    Parameters
    ----------
    index : Index
        Its lock is held.

    Raises
    ------
    EdgeL3Error
        faiss is not installed, or there are too many windows (2**32).
    OSError
        They cannot be written. The earlier ones are there still.
    """
    faiss, folder = import_faiss(), os.path.dirname(index.windows)
    with suppress(EdgeL3Error):
        before = open_lists(index)
        if before is not None and index.rows[0] - before.rows <= STALE * before.rows:
            return
    rows, dim = index.rows[0], index.space.dim
    if rows >= 1 << 32:
        raise EdgeL3Error(f"{index.windows}: expected fewer than 2**32 windows for inverted lists, found {rows}")
    windows = np.memmap(index.windows, "<f4", "r", shape=(rows, dim)) if rows else np.zeros((0, dim), "<f4")
    centroids = _centroids(faiss, windows)
    owners, low, step = _assign(faiss, windows, centroids)
    sizes = np.bincount(owners, minlength=len(centroids))
    head = _head_of(index)
    name = f"{os.path.basename(os.path.splitext(head)[0])}-{os.urandom(8).hex()}.rows"
    try:
        _write_rows(os.path.join(folder, name), windows, owners, sizes, low, step)
    except BaseException:
        os.unlink(os.path.join(folder, name))
        raise
    said = {"format": FORMAT, "rows": rows, "lists": len(centroids), "data": name}
    members = {
        "metadata": np.frombuffer(json.dumps(said).encode(), np.uint8),
        "centroids": centroids,
        "sizes": sizes.astype("<u8"),
        "low": low,
        "step": step,
    }
    with atomic(head) as file:
        write_parts(file, {key: (array.dtype.str, array.shape, [array]) for key, array in members.items()})
    for other in os.listdir(folder):
        if ROWS.fullmatch(other) and other != name:
            os.unlink(os.path.join(folder, other))


def import_faiss():
    """Return the package faiss; raise `EdgeL3Error` if it is not installed."""
    try:
        import faiss
    except ImportError as error:
        what = f"inverted lists: expected faiss, but it cannot be imported ({error})"
        raise EdgeL3Error(f'{what}; pip install "edgel3_np[ann]"') from error
    return faiss


def _centroids(faiss, windows):
    """Find the centroids: shape (lists, dim), float32. With n windows there are about sqrt(n) of them."""
    rows, dim = windows.shape
    if rows < FEW:
        return np.zeros((1, dim), np.float32)
    lists = min(MAX_LISTS, 1 << round(math.log2(math.sqrt(rows))))
    sample = np.array(windows[:: max(1, rows // (SAMPLE * lists))], np.float32)
    search = faiss.Kmeans(dim, lists, niter=ROUNDS, spherical=True, seed=0, max_points_per_centroid=2 * SAMPLE)
    search.train(sample)
    return np.ascontiguousarray(search.centroids, "<f4")


def _assign(faiss, windows, centroids):
    """Return the list of each window, shape (rows,), int32, and the `low` and `step` of its bytes."""
    rows, dim = windows.shape
    nearest, owners = faiss.IndexFlatIP(dim), np.zeros(rows, np.int32)
    nearest.add(centroids)
    low, high = np.full(dim, np.inf, np.float32), np.full(dim, -np.inf, np.float32)
    for first in range(0, rows, BLOCK):
        block = np.array(windows[first : first + BLOCK], np.float32)
        owners[first : first + len(block)] = nearest.search(block, 1)[1][:, 0]
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    low, high = (low, high) if rows else (np.zeros(dim, np.float32), np.zeros(dim, np.float32))
    return owners, low.astype("<f4"), ((high - low) / 255).astype("<f4")


def _write_rows(path, windows, owners, sizes, low, step):
    """Write the file of rows, list after list; within a list, in the order of the matrix."""
    rows, dim = windows.shape
    places = np.cumsum(sizes) - sizes
    with open(path, "xb") as file:  # zeros first: a full disk is an error here, and would end the process below
        for first in range(0, rows, BLOCK):
            file.write(bytes(row_type(dim).itemsize * min(BLOCK, rows - first)))
        file.flush()
        os.fsync(file.fileno())
    if not rows:
        return
    target = np.memmap(path, row_type(dim), "r+", shape=(rows,))
    for first in range(0, rows, BLOCK):
        block, which = windows[first : first + BLOCK], owners[first : first + BLOCK]
        order = np.argsort(which, kind="stable")
        counts = np.bincount(which, minlength=len(sizes))
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = places[which[order]] + within
        codes = np.rint((block[order] - low) / np.where(step > 0, step, 1)).clip(0, 255)
        target["number"][place], target["code"][place] = first + order, codes.astype(np.uint8)
        places += counts
    target.flush()
