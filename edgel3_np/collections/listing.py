"""What a search goes through: files of embeddings that an index knows, and files that it does not."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from ..errors import EdgeL3Error
from .find import clamped
from .gather import find_results
from .index import Index, is_fresh, open_index
from .sources import Place


class Listing(NamedTuple):
    """The files of one of the paths that are searched.

    Parameters
    ----------
    files : list of str
        Files that must be read.
    known : Index or None
        The index that knows some of them.
    numbers : np.ndarray [shape=(n,), int64]
        Recordings that the index knows, by their place in it.
    entry : str
        The path, as it was given.
    """

    files: list
    known: Index | None = None
    numbers: np.ndarray = np.zeros(0, np.int64)
    entry: str = ""

    def place_of(self, which):
        """Return the `Place` of the recording that is `numbers[which]`, with the path as it is to be shown."""
        file, number = self.known.place_of(self.numbers[which])
        return Place(os.path.join(self.entry, os.fsdecode(self.known.names[file])), number)

    def all_files(self):
        """Yield all files, those of the index first."""
        if self.known is not None:
            for file in np.unique(self.known.owners[self.numbers]):
                yield os.path.join(self.entry, os.fsdecode(self.known.names[file]))
        yield from self.files


def list_files(paths, use_index, report):
    """List the files of embeddings among paths, and below those that are directories.

    Parameters
    ----------
    paths : list of (str or Path)
    use_index : bool
    report : callable, EdgeL3Error -> None
        Called for each link that leads out of its directory, and each directory that cannot be listed.

    Returns
    -------
    listings : list of Listing
    remarks : list of str
        On indexes that are stale or damaged.
    """
    paths, listings, plain, remarks = list(map(os.fsdecode, paths)), [], [], []
    use_index = use_index and not _overlap(paths)
    for path in paths:
        try:
            index = open_index(path) if use_index and os.path.isdir(path) else None
        except EdgeL3Error as error:
            index = None
            remarks.append(f"{error}; all files are searched one by one")
        if index is None:
            plain.append(path)
        elif is_fresh(index):
            failed = [os.path.join(path, name) for name in index.failed]
            listings.append(Listing(failed, index, np.arange(len(index.owners)), path))
        else:
            listings.append(_stale_listing(path, index, report, remarks))
    files, problems = find_results(plain)
    for problem in problems:
        report(problem)
    return [*listings, Listing(files)], remarks


def _overlap(paths):
    """Tell whether one of some paths is another one, or lies inside it."""
    ends = sorted(os.path.join(os.path.realpath(path), "") for path in paths)
    return any(after.startswith(before) for before, after in zip(ends, ends[1:]))


def _stale_listing(path, index, report, remarks):
    """Return the listing of a directory in which something has changed since its index was written."""
    files, problems = find_results([path])
    for problem in problems:
        report(problem)
    known, numbers, others = {name: number for number, name in enumerate(index.names)}, [], []
    for file in files:
        number = known.pop(os.fsencode(os.path.relpath(file, path)), None)
        (numbers if number is not None and _is_same(file, index, number) else others).append((number, file))
    failed = {os.path.join(path, name) for name in index.failed}
    new = sum(file not in failed for _, file in others)
    if new or known:
        remarks.append(
            f"{path}: its index is stale (new or changed files: {new}, gone: {len(known)}), which takes longer "
            f"and finds the same; bring it up to date: edgel3-np index {path}"
        )
    same = np.array([number for number, _ in numbers], np.int64)
    return Listing([file for _, file in others], index, np.flatnonzero(np.isin(index.owners, same)), path)


def _is_same(file, index, number):
    try:
        info = os.stat(file)
    except OSError:
        return False
    return (info.st_size, clamped(info.st_mtime_ns)) == (index.sizes[number], index.times[number])
