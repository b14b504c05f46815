"""The matrices of an index: append the embeddings of files, and copy those that stay."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from typing import NamedTuple

import numpy as np

from ..errors import EdgeL3Error
from .find import clamped, stat_file
from .gather import check_space, embedding_space
from .sources import is_part, read_results

COPY = 1 << 20  # numbers copied at a time


class Entry(NamedTuple):
    """A file in the index; the first fields are those of `COLUMNS`."""

    size: int
    time: int
    first: int
    rows: int
    slot: int
    recordings: int = 0  # in a part of a table
    spans: tuple = ()  # rows of each of them

    @property
    def means(self):
        """Rows of the matrix of means."""
        return max(1, self.recordings)


class Added(NamedTuple):
    """The matrices after `append`, and the entries that are new."""

    space: object
    windows: str
    means: str
    rows: tuple
    entries: dict


def new_names(folder):
    return [os.path.join(folder, f"{kind}-{os.urandom(8).hex()}.f32") for kind in ("windows", "means")]


def copied(old, kept, folder):
    """Copy what is kept to new matrices; return the `Index` that names them, and the entries."""
    names, dim, entries, rows, means = new_names(folder), old.space.dim, {}, 0, 0
    with open(old.windows, "rb") as source, open(names[0], "xb") as target:
        for name, entry in kept.items():
            _copy(source, target, 4 * dim * entry.first, 4 * dim * entry.rows)
            entries[name] = entry._replace(first=rows, slot=means)
            rows, means = rows + entry.rows, means + entry.means
    with open(old.means, "rb") as source, open(names[1], "xb") as target:
        for entry in kept.values():
            _copy(source, target, 4 * dim * entry.slot, 4 * dim * entry.means)
    return old._replace(windows=names[0], means=names[1], rows=(rows, means)), entries


def _copy(source, target, start, size):
    source.seek(start)
    while size:
        block = source.read(min(size, 4 * COPY))
        if not block:
            raise EdgeL3Error(f"{source.name}: expected {size} bytes more, found the end", kind="damaged")
        target.write(block)
        size -= len(block)


def append(old, kept, new, folder, report, progress):
    """Read files, and append their embeddings to the matrices.

    Returns
    -------
    added : Added
    failed : list of bytes
    interrupt : KeyboardInterrupt or None
    """
    space = old.space if kept else None
    names, rows = ([old.windows, old.means], list(old.rows)) if kept else (new_names(folder), [0, 0])
    entries, failed, interrupt = {}, [], None
    with ExitStack() as stack:
        windows, means = (stack.enter_context(open(name, "r+b" if kept else "xb")) for name in names)
        try:
            for done, (path, name) in enumerate(new, 1):
                space, entry, error = _try_file(path, windows, means, rows, space)
                if entry is None:
                    report(error)
                    failed.append(name)
                else:
                    entries[name], rows = entry, [rows[0] + entry.rows, rows[1] + entry.means]
                progress(done, len(new))
        except KeyboardInterrupt as error:
            interrupt = error
        for file, count in zip((windows, means), rows):
            file.truncate(4 * count * space.dim if space else 0)
            file.flush()
            os.fsync(file.fileno())
    return Added(space, *names, tuple(rows), entries), failed, interrupt


def _try_file(path, windows, means, rows, space):
    """Append one file; return its space and entry, and the error if it cannot be read."""
    for file, count in zip((windows, means), rows):  # over what an earlier file, or run, has left
        file.seek(4 * count * space.dim if space else 0)
    try:
        return (*_append_file(path, windows, means, rows, space), None)
    except EdgeL3Error as error:
        if error.kind == "invalid":  # of another model
            raise
        return space, None, error


def _append_file(path, windows, means, rows, wanted):
    """Append the embeddings of one file, and the mean of each recording; return its space and its entry."""
    info, spans, space = stat_file(path), [], wanted
    with closing(read_results(path)) as results:
        for _, result in results:
            space = embedding_space(result.provenance, path, result.dim)
            check_space(space, wanted or space, path)
            total, count = np.zeros(space.dim), 0
            for part in result.embedding:
                part = part.astype(np.float64)  # (b, dim)
                total += part.sum(axis=0)
                windows.write(_units(part).tobytes())
                count += len(part)
            result.timestamps()  # what a search would refuse is no part of the index
            means.write(_units(total[np.newaxis]).tobytes())
            spans.append(count)
    parted = np.array(spans, np.int64) if is_part(path) else ()
    return space, Entry(info.st_size, clamped(info.st_mtime_ns), rows[0], sum(spans), rows[1], len(parted), parted)


def _units(vectors):
    """Return vectors, shape (n, dim), scaled to length 1, as little-endian float32; zeros stay zeros."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return (vectors / np.where(lengths > 0, lengths, 1.0)[:, np.newaxis]).astype("<f4")
