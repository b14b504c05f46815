"""Write the index of a collection of embeddings, and bring it up to date."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import numpy as np

from .._version import __version__
from ..errors import EdgeL3Error, warn
from .atomic import atomic
from .find import stat_file
from .gather import check_space, embedding_space, find_results, nothing_found
from .index import COLUMNS, FOLDER, FORMAT, MATRIX, TABLE, directory_time, open_index
from .results import open_result, write_parts

SETTLED = 0.15  # seconds, more than the steps in which file systems count time
WASTE = 0.5  # rows of files that are gone, as a share of those that are not, from which on the matrices are copied
COPY = 1 << 20  # numbers copied at a time


class Indexed(NamedTuple):
    """What `update_index` has done.

    Parameters
    ----------
    files, windows : int
        In the index now.
    read, kept, gone : int
        Files that were read, that were in the index already, and that are in it no more.
    failed : int
        Files that cannot be read.
    """

    files: int
    windows: int
    read: int
    kept: int
    gone: int
    failed: int


class _Entry(NamedTuple):
    """A file in the index; the fields are those of `COLUMNS`."""

    size: int
    time: int
    first: int
    rows: int
    slot: int


def update_index(
    root: str | os.PathLike[str],
    *,
    on_problem: Callable[[EdgeL3Error], object] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Indexed:
    """Write the index of a collection of embeddings, or bring it up to date: only what has changed is read.

    `similar` uses an index that it finds. It lies in a hidden folder of the collection, and takes `4 * dim` bytes a
    window. It can be deleted at any time.

    Parameters
    ----------
    root : str or Path
        Directory of embeddings, as `embed_files` writes it.
    on_problem : callable, EdgeL3Error -> None, optional
        Called for each file that cannot be read. By default each is an `EdgeL3Warning`.
    progress : callable, (done, total) -> None, optional
        Called after each file that is read.

    Returns
    -------
    done : Indexed

    Raises
    ------
    EdgeL3Error
        `root` is no directory, or another process is writing its index; embeddings come from several models; the index
        cannot be written. The earlier index is still there then.
    KeyboardInterrupt
        What was read until then is in the index.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> from edgel3_np import embed_files
    >>> folder, rng = tempfile.mkdtemp(), np.random.default_rng(0)
    >>> for name in "abc":
    ...     soundfile.write(os.path.join(folder, f"{name}.wav"), rng.standard_normal(16000) / 9, 8000)
    >>> summary = embed_files(folder, os.path.join(folder, "embeddings"), hop_size=0.5)
    >>> update_index(os.path.join(folder, "embeddings"))
    Indexed(files=3, windows=12, read=3, kept=0, gone=0, failed=0)
    """
    root = os.path.abspath(os.fsdecode(root))
    if not os.path.isdir(root):
        raise EdgeL3Error(f"{root}: expected a directory of embeddings, found none")
    report = on_problem or (lambda problem: warn(str(problem)))
    folder = os.path.join(root, FOLDER)
    try:
        if os.path.islink(folder):
            raise EdgeL3Error(f"{folder}: expected a directory, found a link; remove it", kind="output")
        os.makedirs(folder, exist_ok=True)
        with _lock(folder):
            time.sleep(SETTLED)  # what was written before has an earlier time than what is written from now on
            return _update(root, folder, report, progress or (lambda done, total: None))
    except EdgeL3Error as error:
        if error.kind == "invalid" and not os.path.exists(os.path.join(folder, TABLE)):
            shutil.rmtree(folder, ignore_errors=True)  # nothing is indexed
        raise
    except OSError as error:
        raise EdgeL3Error(f"{folder}: cannot be written: {error.strerror or error}", kind="output") from error


@contextmanager
def _lock(folder):
    """Keep other processes from writing this index; the system ends the lock with the process, however that ends."""
    with open(os.path.join(folder, "lock"), "a") as file:
        try:
            try:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:  # Windows
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise EdgeL3Error(f"{folder}: another process is writing this index; try again later", "output") from error
        yield


def _update(root, folder, report, progress):
    try:
        old = open_index(root)
    except EdgeL3Error:
        old = None  # damaged: everything is read again
    directories = _list_directories(root)
    files, problems = find_results([root])
    if not files and old is None:
        raise nothing_found([root], [])
    for problem in problems:
        report(problem)
    before = {} if old is None else dict(zip(old.names, map(_Entry, *(getattr(old, key).tolist() for key in COLUMNS))))
    kept, new = {}, []
    named = [(path, os.fsencode(os.path.relpath(path, root))) for path in files]
    for path, name in named:
        with suppress(OSError):  # reading it tells what is wrong
            info = os.stat(path)
            if name in before and before[name][:2] == (info.st_size, info.st_mtime_ns):
                kept[name] = before[name]
                continue
        new.append((path, name))
    gone = len(before) - len(kept) - sum(name in before for _, name in new)
    if old is not None and _is_wasteful(old, kept):
        old, kept = _copied(old, kept, folder)
    added, failed, interrupt = _append(old, kept, new, folder, report, progress)
    known = {**kept, **added.entries}
    entries = {name: known[name] for _, name in named if name in known}  # in the order in which a search meets them
    if interrupt is not None or problems:  # never taken for fresh
        directories = dict.fromkeys(directories, -1)
    _write_table(folder, added, entries, directories, failed)
    _tidy(folder, {os.path.basename(added.windows), os.path.basename(added.means)})
    if interrupt is not None:
        raise interrupt
    windows = sum(entry.rows for entry in entries.values())
    return Indexed(len(entries), windows, len(added.entries), len(kept), gone, len(failed))


def _list_directories(root):
    """Return the modification time of each directory below a root, as it was before the directory was listed."""
    found, left = {}, [b"."]
    base = os.fsencode(root)
    while left:
        name = left.pop()
        path = os.path.normpath(os.path.join(base, name))
        found[name] = directory_time(path)
        with suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                if not entry.name.startswith(b".") and entry.is_dir(follow_symlinks=False):
                    left.append(os.path.normpath(os.path.join(name, entry.name)))
    recent = time.time_ns() - int(SETTLED * 1e9)
    return {name: stamp if stamp < recent else -1 for name, stamp in found.items()}


def _is_wasteful(old, kept):
    live = sum(entry.rows for entry in kept.values())
    return old.rows[0] - live > WASTE * live or old.rows[1] - len(kept) > WASTE * len(kept)


class _Added(NamedTuple):
    """The matrices after `_append`, and the entries that are new."""

    space: object
    windows: str
    means: str
    rows: tuple
    entries: dict


def _new_names(folder):
    return [os.path.join(folder, f"{kind}-{os.urandom(8).hex()}.f32") for kind in ("windows", "means")]


def _copied(old, kept, folder):
    """Copy what is kept to new matrices; return the `Index` that names them, and the entries."""
    names, dim, entries, rows = _new_names(folder), old.space.dim, {}, 0
    with open(old.windows, "rb") as source, open(names[0], "xb") as target:
        for slot, (name, entry) in enumerate(kept.items()):
            _copy(source, target, 4 * dim * entry.first, 4 * dim * entry.rows)
            entries[name] = entry._replace(first=rows, slot=slot)
            rows += entry.rows
    with open(old.means, "rb") as source, open(names[1], "xb") as target:
        for entry in kept.values():
            _copy(source, target, 4 * dim * entry.slot, 4 * dim)
    return old._replace(windows=names[0], means=names[1], rows=(rows, len(entries))), entries


def _copy(source, target, start, size):
    source.seek(start)
    while size:
        block = source.read(min(size, 4 * COPY))
        if not block:
            raise EdgeL3Error(f"{source.name}: expected {size} bytes more, found the end", kind="damaged")
        target.write(block)
        size -= len(block)


def _append(old, kept, new, folder, report, progress):
    """Read files, and append their embeddings to the matrices.

    Returns
    -------
    added : _Added
    failed : list of bytes
    interrupt : KeyboardInterrupt or None
    """
    space = old.space if kept else None
    names, rows = ([old.windows, old.means], list(old.rows)) if kept else (_new_names(folder), [0, 0])
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
                    entries[name], rows = entry, [rows[0] + entry.rows, rows[1] + 1]
                progress(done, len(new))
        except KeyboardInterrupt as error:
            interrupt = error
        for file, count in zip((windows, means), rows):
            file.truncate(4 * count * space.dim if space else 0)
            file.flush()
            os.fsync(file.fileno())
    return _Added(space, *names, tuple(rows), entries), failed, interrupt


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
    """Append the embeddings of one file, and their mean; return its space and its entry."""
    info, count = stat_file(path), 0
    with open_result(path) as result:
        space = embedding_space(result.provenance, path, result.dim)
        check_space(space, wanted or space, path)
        total = np.zeros(space.dim)
        for part in result.embedding:
            part = part.astype(np.float64)  # (b, dim)
            total += part.sum(axis=0)
            windows.write(_units(part).tobytes())
            count += len(part)
        result.timestamps()  # what a search would refuse is no part of the index
    means.write(_units(total[np.newaxis]).tobytes())
    return space, _Entry(info.st_size, info.st_mtime_ns, rows[0], count, rows[1])


def _units(vectors):
    """Return vectors, shape (n, dim), scaled to length 1, as little-endian float32; zeros stay zeros."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return (vectors / np.where(lengths > 0, lengths, 1.0)[:, np.newaxis]).astype("<f4")


def _write_table(folder, added, entries, directories, failed):
    said = {
        "format": FORMAT,
        "version": __version__,
        "space": list(added.space or ("", 0, 1)),
        "files": len(entries),
        "directories": len(directories),
        "rows": added.rows,
        "windows": os.path.basename(added.windows),
        "means": os.path.basename(added.means),
        "problems": list(map(os.fsdecode, failed)),
    }
    members = {"metadata": np.frombuffer(json.dumps(said).encode(), np.uint8)}
    for key, column in zip(COLUMNS, zip(*entries.values()) if entries else [()] * len(COLUMNS)):
        members[key] = np.array(column, np.int64).view(np.uint64)
    for key, names in (("names", entries), ("directories", directories)):
        members[key] = np.frombuffer(b"".join(name + b"\0" for name in names), np.uint8)
    members["directory_times"] = np.array(list(directories.values()), np.int64).view(np.uint64)
    arrays = {key: (array.dtype.newbyteorder("<").str, array.shape, [array]) for key, array in members.items()}
    with atomic(os.path.join(folder, TABLE)) as file:
        write_parts(file, arrays)


def _tidy(folder, used):
    """Remove matrices that no table names: of earlier indexes, or of processes that were killed."""
    for name in os.listdir(folder):
        if MATRIX.fullmatch(name) and name not in used:
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))
