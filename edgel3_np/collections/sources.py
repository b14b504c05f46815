"""Where embeddings lie: in npz files of one recording each, or in the parts of a table, which hold many."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

from .._files import open_regular
from ..errors import EdgeL3Error
from .parquet.format import read_footer
from .parquet.part import PART, open_part, parse_about
from .results import open_result, read_errors, read_provenance

ENDINGS = (".npz", ".parquet")
MAX_OPEN = 8  # parts that `Opened` keeps open


class Place(NamedTuple):
    """Where the embeddings of a recording lie.

    Parameters
    ----------
    path : str
        An npz, or a part of a table.
    number : int or None
        Of the recording in the part; None for an npz.
    """

    path: str
    number: int | None = None


def is_part(path):
    """Tell whether a file of embeddings is a part of a table, by its name."""
    return os.fsdecode(path).lower().endswith(".parquet")


def is_source(path):
    """Tell whether the name of a file is one that embeddings may have."""
    return os.fsdecode(path).lower().endswith(ENDINGS)


@contextmanager
def open_place(place):
    """Open the embeddings of a recording, without trusting their file; yield their `Result`, valid in the block only.

    Raises
    ------
    EdgeL3Error
        As `open_result`.
    """
    with open_file(place.path) as result_of:
        yield result_of(place.number)


@contextmanager
def open_file(path):
    """Open a file of embeddings; yield a function that returns the `Result` of a recording in it, by its number.

    A part is checked to its end first.
    """
    if not is_part(path):
        with open_result(path) as result:
            yield lambda number: result
        return
    with open_part(path) as part:
        part.check()

        def result_of(number):
            if not 0 <= number < len(part.entries):
                what = f"at least {number + 1} recordings"
                raise EdgeL3Error(f"{path}: expected {what}, found {len(part.entries)}", kind="damaged")
            return part.result(number)

        yield result_of


def read_results(path):
    """Yield the `Place` and the `Result` of each recording in a file of embeddings.

    A part is checked to its end before the first is yielded. (An npz is checked while it is read.)

    Raises
    ------
    EdgeL3Error
        As `open_result`.
    """
    if not is_part(path):
        with open_result(path) as result:
            yield Place(path), result
        return
    with open_part(path) as part:
        part.check()
        for number in range(len(part.entries)):
            yield Place(path, number), part.result(number)


def provenance_of(path):
    """Return the provenance of an npz, or what those of all recordings of a part share; None if there is none."""
    if not is_part(path):
        return read_provenance(path)
    try:
        with open_regular(path, PART) as file, read_errors(path, PART):
            return parse_about(read_footer(file, os.fstat(file.fileno()).st_size))
    except EdgeL3Error:
        return None


class Opened:
    """Files of embeddings that stay open while recordings in them are read in any order; a few at a time."""

    def __init__(self):
        self._files: dict[str, tuple[object, Callable]] = {}

    def result(self, place):
        """Return the `Result` of a recording; raise `EdgeL3Error` as `open_result`."""
        if place.path not in self._files:
            while len(self._files) >= MAX_OPEN:
                self._close(next(iter(self._files)))
            opened = open_file(place.path)
            self._files[place.path] = opened, opened.__enter__()
        self._files[place.path] = self._files.pop(place.path)  # the last one used is closed last
        return self._files[place.path][1](place.number)

    def close(self):
        """Close all files."""
        for path in list(self._files):
            self._close(path)

    def _close(self, path):
        self._files.pop(path)[0].__exit__(None, None, None)
