"""Write the parts of a table, with pyarrow. What they hold is in `part`."""

from __future__ import annotations

import json
import os

import numpy as np

from ..atomic import atomic
from ..export import import_parquet, parquet_schema
from ..names import as_text
from .part import ABOUT, MAX_NAMES_BYTES, MAX_SAID_BYTES, RECORDINGS, open_part, pack_entries

GROUP_ROWS = 100_000  # of a row group, at most
GROUP_BYTES = 1 << 25  # of embeddings, and of paths, in a row group: writing them takes about five times as much memory


def rows_of_group(dim, entry=None):
    """Return how many rows a row group has, at most; `entry` is that of its only recording."""
    widest = max(4 * dim, 0 if entry is None else len(_path_of(entry).encode()))
    return max(1, min(GROUP_ROWS, GROUP_BYTES // widest))


class Room:
    """What the recordings of a part take of what it may hold.

    Parameters
    ----------
    dim : int
        Length of an embedding.
    """

    def __init__(self, dim):
        self._most = rows_of_group(dim), GROUP_BYTES, MAX_NAMES_BYTES
        self._taken = [0, 0, 0]  # rows, bytes of their paths, bytes of names
        self._texts: set = set()  # roots and notes, which a part has once each
        self._said = 100  # bytes of JSON, with what is around them

    def fits(self, entry):
        """Tell whether there is room for one more recording."""
        taken = map(sum, zip(self._taken, _needs(entry)))
        room = all(count <= most for count, most in zip(taken, self._most))
        return room and self._said + self._new_said(entry) <= MAX_SAID_BYTES

    def add(self, entry):
        """Take the room of a recording."""
        self._said += self._new_said(entry)
        self._texts |= _texts_of(entry)
        self._taken = [*map(sum, zip(self._taken, _needs(entry)))]

    def _new_said(self, entry):
        """Return the bytes of JSON of the texts that no other recording has."""
        return sum(len(json.dumps(text)) + 2 for text in _texts_of(entry) - self._texts)

    def remove(self, entry):
        """Give back the room of a recording, except that of texts, which others may share."""
        self._taken = [taken - count for taken, count in zip(self._taken, _needs(entry))]


def _needs(entry):
    return entry.windows, entry.windows * len(_path_of(entry).encode()), len(os.fsencode(entry.name)) + 1


def _texts_of(entry):
    return {entry.root, (entry.incomplete, entry.remarks)}


def write_part(file, about, dim, entries, groups):
    """Write a part of a table.

    Parameters
    ----------
    file : binary file
    about : dict
        What all embeddings have in common, as in the provenance of an npz: model, version, weights_sha256, contract,
        options.
    dim : int
        Length of an embedding.
    entries : list of Entry
        The recordings, in the order of their rows.
    groups : iterable of list of Held
        The row groups.

    Raises
    ------
    EdgeL3Error
        The recordings are more than a part may hold (kind `output`).
    """
    arrow = import_parquet()
    said = {ABOUT: json.dumps(about, sort_keys=True), RECORDINGS: pack_entries(entries)}
    apart = hasattr(arrow.parquet.ParquetWriter, "add_key_value_metadata")  # else the file holds a copy in its schema
    schema = parquet_schema(arrow, dim, False, {ABOUT: said[ABOUT]} if apart else said)
    packed = "zstd" if arrow.Codec.is_available("zstd") else "none"
    options = {"compression": {"path": packed}, "use_dictionary": ["path"], "write_statistics": ["path", "time"]}
    if "write_page_checksum" in arrow.parquet.write_table.__code__.co_varnames:  # not so in pyarrow 14
        options["write_page_checksum"] = True
    writer = arrow.parquet.ParquetWriter(file, schema, **options)
    try:
        for group in groups:
            writer.write_table(_arrow_table(arrow, schema, group, dim), row_group_size=1 << 30)
            del group  # before the next one is put together
        if apart:
            writer.add_key_value_metadata({RECORDINGS: said[RECORDINGS]})
        writer.close()
    finally:
        writer.is_open = False  # when it is deleted, it would write to a file that is closed, and print that it fails


def _arrow_table(arrow, schema, group, dim):
    names = arrow.array([_path_of(held.entry) for held in group], arrow.string())
    numbers = np.repeat(np.arange(len(group), dtype=np.int32), [len(held.time) for held in group])
    embedding = group[0].embedding if len(group) == 1 else np.concatenate([held.embedding for held in group])
    values = arrow.array(embedding.reshape(-1))
    columns = [
        arrow.DictionaryArray.from_arrays(arrow.array(numbers), names).cast(arrow.string()),
        arrow.array(np.concatenate([held.time for held in group])),
        arrow.FixedSizeListArray.from_arrays(values, dim),
    ]
    return arrow.Table.from_arrays(columns, schema=schema)


def _path_of(entry):
    return as_text(os.path.join(entry.root, entry.name))


def drop_entries(path, gone):
    """Write a part again without some recordings, or remove it if none is left.

    Parameters
    ----------
    path : str
    gone : set of (str, str)
        Root and name of each of these recordings.

    Raises
    ------
    EdgeL3Error
        The part cannot be read.
    OSError
        The part cannot be written. It is as before.
    """
    with open_part(path) as part:
        left = [number for number in range(len(part.entries)) if part.entries[number].key not in gone]
        if len(left) == len(part.entries):
            return
        kept = [held for held in part.held() if held.entry.key not in gone] if left else []
        about, dim = part.about, part.dim
    if kept:
        with atomic(path) as file:
            write_part(file, about, dim, [held.entry for held in kept], [kept])
    else:
        os.unlink(path)
