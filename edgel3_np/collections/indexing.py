"""Write the index of a collection of embeddings, and bring it up to date."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from .._version import __version__
from ..errors import EdgeL3Error, warn
from .atomic import atomic
from .find import clamped
from .gather import find_results, nothing_found
from .index import COLUMNS, FOLDER, FORMAT, OWNED, TABLE, directory_time, open_index
from .inverted import import_faiss, update_lists
from .locks import lock
from .matrices import Entry, append, copied
from .results import write_parts

SETTLED = 0.15  # seconds, more than the steps in which file systems count time
WASTE = 0.5  # rows of files that are gone, as a share of those that are not, from which on the matrices are copied


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


def update_index(
    root: str | os.PathLike[str],
    *,
    approximate: bool = False,
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
    approximate : bool
        Write inverted lists too, for approximate searches in collections whose index is larger than memory. That needs
        the package faiss, and `dim + 4` bytes more a window. Lists that are there already are kept until a tenth of
        the windows are in none of them; searches read those windows one by one.
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
        cannot be written; faiss is not installed and would be needed. The earlier index is still there then.
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
    if approximate:
        import_faiss()
    report = on_problem or (lambda problem: warn(str(problem)))
    folder = os.path.join(root, FOLDER)
    try:
        if os.path.islink(folder):
            raise EdgeL3Error(f"{folder}: expected a directory, found a link; remove it", kind="output")
        os.makedirs(folder, exist_ok=True)
        with lock(os.path.join(folder, "lock"), "another process is writing this index"):
            time.sleep(SETTLED)  # what was written before has an earlier time than what is written from now on
            done = _update(root, folder, report, progress or (lambda done, total: None))
            if approximate:
                update_lists(open_index(root))
            return done
    except EdgeL3Error as error:
        if error.kind == "invalid" and not os.path.exists(os.path.join(folder, TABLE)):
            shutil.rmtree(folder, ignore_errors=True)  # nothing is indexed
        raise
    except OSError as error:
        raise EdgeL3Error(f"{folder}: cannot be written: {error.strerror or error}", kind="output") from error


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
    before = {} if old is None else _entries_of(old)
    kept, new = {}, []
    named = [(path, os.fsencode(os.path.relpath(path, root))) for path in files]
    for path, name in named:
        with suppress(OSError):  # reading it tells what is wrong
            info = os.stat(path)
            if name in before and before[name][:2] == (info.st_size, clamped(info.st_mtime_ns)):
                kept[name] = before[name]
                continue
        new.append((path, name))
    gone = len(before) - len(kept) - sum(name in before for _, name in new)
    used = set() if old is None else {os.path.basename(old.windows), os.path.basename(old.means)}
    try:
        if old is not None and _is_wasteful(old, kept):
            old, kept = copied(old, kept, folder)
        added, failed, interrupt = append(old, kept, new, folder, report, progress)
    except BaseException:
        _tidy(folder, used)
        raise
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


def _entries_of(index):
    """Return the `Entry` of each file in an index, by name."""
    columns = [index.columns[key].tolist() for key in COLUMNS]
    ends = np.cumsum(index.columns["recordings"])
    spans = (index.spans[end - count : end] for end, count in zip(ends.tolist(), columns[-1]))
    return dict(zip(index.names, map(Entry, *columns, spans)))


def _list_directories(root):
    """Return the modification time of each directory that a search looks into, as it was before it was listed.

    Links may lead to files in other directories below the root, hidden ones too.
    """
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
                elif entry.is_symlink():
                    found.update(_behind(entry, base))
    recent = time.time_ns() - int(SETTLED * 1e9)
    return {name: stamp if stamp < recent else -1 for name, stamp in found.items()}


def _behind(link, base):
    """Return the directory to which a link leads, if it lies below the root, and its modification time."""
    target = os.path.dirname(os.path.realpath(link.path))
    below = os.path.relpath(target, os.path.realpath(base))
    return {} if below.split(b"/")[0] == b".." else {below: directory_time(target)}


def _is_wasteful(old, kept):
    live = sum(entry.rows for entry in kept.values())
    means = sum(entry.means for entry in kept.values())
    return old.rows[0] - live > WASTE * live or old.rows[1] - means > WASTE * means


def _write_table(folder, added, entries, directories, failed):
    said = {
        "format": FORMAT,
        "version": __version__,
        "space": list(added.space or ("", 0, 1)),
        "files": len(entries),
        "directories": len(directories),
        "parted": sum(entry.recordings for entry in entries.values()),
        "rows": added.rows,
        "windows": os.path.basename(added.windows),
        "means": os.path.basename(added.means),
        "failed": len(failed),
    }
    members = {"metadata": np.frombuffer(json.dumps(said).encode(), np.uint8)}
    spans = [np.zeros(0, np.int64), *(entry.spans for entry in entries.values() if entry.recordings)]
    members["spans"] = np.concatenate(spans).view(np.uint64)
    for key, column in zip(COLUMNS, zip(*entries.values()) if entries else [()] * len(COLUMNS)):
        members[key] = np.array(column, np.int64).view(np.uint64)
    for key, names in (("names", entries), ("directories", directories), ("failed", failed)):
        members[key] = np.frombuffer(b"".join(name + b"\0" for name in names), np.uint8)
    members["directory_times"] = np.array(list(directories.values()), np.int64).view(np.uint64)
    arrays = {key: (array.dtype.newbyteorder("<").str, array.shape, [array]) for key, array in members.items()}
    with atomic(os.path.join(folder, TABLE)) as file:
        write_parts(file, arrays)


def _tidy(folder, used):
    """Remove matrices that no table names: of earlier indexes, or of processes that were killed."""
    for name in os.listdir(folder):
        match = OWNED.fullmatch(name)
        if match and f"{match[1]}.f32" not in used:
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))
