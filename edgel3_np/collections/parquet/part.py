"""Read a part of a table: a Parquet file of the embeddings of many recordings, and what a second run must know.

A part has the columns `path`, `time` and `embedding`, and a row for each window, recording after recording. It has one
row group, unless it holds a single recording that is larger than a row group. Its metadata have, under `edgel3_np`,
what all its embeddings have in common, as JSON; and, under `edgel3_np.recordings`, its recordings, as an npz in base64.
What a reader refuses as too much, `pack_entries` refuses to write.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ..._files import open_regular
from ...errors import EdgeL3Error
from ...weights.npz import Archive, write_npz
from ..results import CHUNK_FLOATS, MAX_TIME, Result, read_errors
from .format import Column, read_footer

NAME = re.compile(r"part-([0-9]{1,9})-of-([0-9]{1,9})-([0-9]{5,9})\.parquet")
MAX_NUMBER = 10**9 - 1  # in such a name
PART = "a part of a table (parquet) that edgel3_np wrote"
ABOUT, RECORDINGS = b"edgel3_np", b"edgel3_np.recordings"  # keys of the metadata
FORMAT = 1
MAX_ABOUT_BYTES = 1 << 18
MAX_GROUPS = 1 << 10  # row groups; a footer says about a hundred values of each
MAX_RECORDINGS = 1 << 17
MAX_NAMES_BYTES = 1 << 23  # of the names of recordings, with a byte 0 behind each
MAX_SAID_BYTES = 1 << 20  # of the JSON of roots and notes: the objects in it may take 24 times as much memory
MAX_PACKED_BYTES = 20 << 20  # of all that is said of recordings, as base64
MAX_DIM = 1 << 16
COLUMNS = ("root", "bytes", "mtime_ns", "windows", "note")


class Entry(NamedTuple):
    """What a part says of a recording.

    Parameters
    ----------
    name, root : str
        As in `Job.name` and `Job.source`.
    bytes, mtime_ns : int
        Its size and modification time, as `find.clamped`, when it was embedded.
    windows : int
        Its rows.
    remarks : tuple of str
    incomplete : bool
    """

    name: str
    root: str
    bytes: int
    mtime_ns: int
    windows: int
    remarks: tuple = ()
    incomplete: bool = False

    @property
    def key(self):
        """What tells a recording from others: root and name."""
        return self.root, self.name

    def provenance(self, about):
        """Return its provenance as an npz has it; `about` is what the part says of all its recordings."""
        source = {"name": self.name, "root": self.root, "bytes": self.bytes, "mtime_ns": self.mtime_ns}
        remarks = {"remarks": list(self.remarks), "incomplete": self.incomplete} if self.remarks else {}
        return {**about, "input": source, **remarks}


class Held(NamedTuple):
    """The embeddings of a recording, or some of them, in memory.

    Parameters
    ----------
    entry : Entry
    time : np.ndarray [shape=(n,), float64]
    embedding : np.ndarray [shape=(n, dim), float32]
    """

    entry: Entry
    time: np.ndarray
    embedding: np.ndarray


def pack_entries(entries):
    """Return a list of `Entry` as bytes of base64, which `Entries` reads; raise `EdgeL3Error` if that would refuse."""
    roots, notes = {}, {}
    rows = [
        (
            roots.setdefault(entry.root, len(roots)),
            *entry[2:5],
            notes.setdefault((entry.incomplete, entry.remarks), len(notes)),
        )
        for entry in entries
    ]
    said = json.dumps({"format": FORMAT, "roots": list(roots), "notes": list(notes)}).encode()
    names = b"".join(os.fsencode(entry.name) + b"\0" for entry in entries)
    for what, most, count in (
        ("recordings", MAX_RECORDINGS, len(entries)),
        ("bytes of names", MAX_NAMES_BYTES, len(names)),
        ("bytes of folders and remarks", MAX_SAID_BYTES, len(said)),
    ):
        if count > most:
            raise EdgeL3Error(f"a part of a table: expected at most {most} {what}, found {count}", kind="output")
    arrays = {"said": np.frombuffer(said, np.uint8), "names": np.frombuffer(names, np.uint8)}
    for key, column in zip(COLUMNS, zip(*rows)):
        arrays[key] = np.array(column, np.int64).view(np.uint64)
    content = io.BytesIO()
    write_npz(content, arrays)
    return base64.b64encode(content.getvalue())


class Entries:
    """The recordings of a part, as `pack_entries` wrote them, read without trust.

    Parameters
    ----------
    content : bytes
    path : str
        Of the part, for messages.
    rows : int
        Of the part.

    Raises
    ------
    ValueError, EdgeL3Error
        It is damaged, or does not fit the number of rows.
    """

    def __init__(self, content, path, rows):
        if len(content) > MAX_PACKED_BYTES:
            raise ValueError(f"{len(content)} bytes about recordings")
        archive = Archive(base64.b64decode(content, validate=True), path)
        said = json.loads(archive.read("said", "|u1", (None,), MAX_SAID_BYTES).tobytes())
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise ValueError("recordings in another format")
        names = archive.read("names", "|u1", (None,), MAX_NAMES_BYTES)
        count = len(names) - np.count_nonzero(names)
        if not 0 < count <= min(rows, MAX_RECORDINGS) or names[-1] != 0:
            raise ValueError(f"{count} recordings in {rows} rows")
        self._names, self._ends = names.tobytes(), np.flatnonzero(names == 0)
        columns = {key: archive.read(key, "<u8", (count,)).view(np.int64) for key in COLUMNS}
        self.bytes, self.mtime_ns, self.windows = (columns[key] for key in COLUMNS[1:4])
        if (self.windows < 1).any() or (self.windows > rows).any() or self.windows.sum() != rows:
            raise ValueError("recordings with other numbers of windows than there are rows")
        self._root, self._note = columns["root"], columns["note"]
        self._roots, self._notes = said["roots"], said["notes"]
        for texts, column in ((self._roots, self._root), (self._notes, self._note)):
            if not isinstance(texts, list) or column.min() < 0 or column.max() >= len(texts):
                raise ValueError("recordings without a root or a note")
        if not all(isinstance(root, str) for root in self._roots) or not all(map(_is_note, self._notes)):
            raise ValueError("a root that is no text, or a note that is no remarks")

    def __len__(self):
        return len(self._ends)

    def names(self):
        """Yield the name of each recording."""
        return map(os.fsdecode, self._names[:-1].split(b"\0"))

    def __getitem__(self, number):
        """Return the `Entry` of a recording."""
        start = self._ends[number - 1] + 1 if number else 0
        name = os.fsdecode(self._names[start : self._ends[number]])
        incomplete, remarks = self._notes[self._note[number]]
        state = (int(column[number]) for column in (self.bytes, self.mtime_ns, self.windows))
        return Entry(name, self._roots[self._root[number]], *state, tuple(remarks), incomplete)


def _is_note(note):
    if not isinstance(note, list) or len(note) != 2 or not isinstance(note[0], bool) or not isinstance(note[1], list):
        return False
    return all(isinstance(remark, str) for remark in note[1])


class Part:
    """An open part, of which only the metadata are in memory.

    Parameters
    ----------
    path : str
    file : binary file

    Attributes
    ----------
    about : dict
        What all embeddings have in common: model, version, weights_sha256, contract, options.
    dim : int
        Length of an embedding.
    entries : Entries
        Its recordings.
    """

    def __init__(self, path, file):
        info = os.fstat(file.fileno())
        self.path, self._file, self._size = path, file, info.st_size
        self._inode = info.st_dev, info.st_ino
        footer = read_footer(file, self._size)
        self.about = parse_about(footer)
        self.dim = self.about["options"]["dim"]
        self.entries = Entries(footer.metadata.get(RECORDINGS, b""), path, footer.rows)
        if len(footer.groups) > (MAX_GROUPS if len(self.entries) == 1 else 1):
            raise ValueError("too many row groups, or several recordings in several of them")
        self._groups, self._open = footer.groups, (-1, None)
        self._group_firsts = np.cumsum([0, *(rows for rows, _ in footer.groups)])
        self._firsts = np.cumsum(self.entries.windows) - self.entries.windows

    def check(self):
        """Read all pages; raise `EdgeL3Error` if one is damaged."""
        with _part_errors(self.path):
            for number in range(len(self._groups)):
                for column in self._columns(number):
                    column.check()

    def result(self, number):
        """Return a recording as the `Result` of an npz of its own would be."""
        first, count = int(self._firsts[number]), int(self.entries.windows[number])
        step = max(1, CHUNK_FLOATS // self.dim)
        parts = (self._rows(1, first + place, min(step, count - place)) for place in range(0, count, step))

        def timestamps():
            found = []
            for place in range(0, count, step):
                found.append(self._rows(0, first + place, min(step, count - place)))
            return np.concatenate(found)

        provenance = self.entries[number].provenance(self.about)
        return Result(provenance, self.dim, parts, timestamps, (*self._inode, number))

    def held(self):
        """Yield the recordings, each in memory."""
        for number in range(len(self.entries)):
            result = self.result(number)
            yield Held(self.entries[number], result.timestamps(), np.concatenate(list(result.embedding)))

    def _rows(self, which, start, count):
        """Return rows of the columns `time` (which is 0) or `embedding` (1)."""
        with _part_errors(self.path):
            width, parts, end = (1, self.dim)[which], [], start + count
            group = int(np.searchsorted(self._group_firsts, start, "right")) - 1
            while start < end:
                first, after = self._group_firsts[group : group + 2]
                stop = min(end, after)
                parts.append(self._columns(group)[which].read((start - first) * width, (stop - start) * width))
                start, group = stop, group + 1
            found = parts[0] if len(parts) == 1 else np.concatenate(parts)
            if which == 0 and np.abs(found).max() > MAX_TIME:
                raise ValueError(f"a time of {np.abs(found).max():g} s")
            return found.reshape(count, width) if which else found

    def _columns(self, group):
        """Return the `Column`s `time` and `embedding` of a row group."""
        if self._open[0] != group:
            rows, chunks = self._groups[group]
            time, embedding = (chunks.get(name, {}) for name in (b"time", b"embedding"))
            time = Column(self._file, self._size, time, "<f8", rows)
            self._open = group, (time, Column(self._file, self._size, embedding, "<f4", rows * self.dim))
        return self._open[1]


def parse_about(footer):
    """Return what a `Footer` says of all embeddings; raise `ValueError` if it is not of a part."""
    content = footer.metadata.get(ABOUT)
    if content is None or RECORDINGS not in footer.metadata or len(content) > MAX_ABOUT_BYTES:
        raise ValueError("Parquet without recordings, such as an exported table")
    about = json.loads(content)
    options = about.get("options") if isinstance(about, dict) else None
    dim = options.get("dim") if isinstance(options, dict) else None
    if type(dim) is not int or not 0 < dim <= MAX_DIM or "input" in about:
        raise ValueError("metadata without options.dim")
    return about


@contextmanager
def _part_errors(path):
    """Turn errors of reading into `EdgeL3Error`, as `read_errors`, which says what to do if the name is a part's."""
    try:
        with read_errors(path, PART):
            yield
    except EdgeL3Error as error:
        if NAME.fullmatch(os.path.basename(os.fsdecode(path))) is None:
            raise
        raise EdgeL3Error(f"{error}; remove it, and embed its recordings again", error.kind) from error


@contextmanager
def open_part(path):
    """Open a part of a table, as `write_part` writes it, without trusting it.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    part : Part
        Valid inside the block only.

    Raises
    ------
    EdgeL3Error
        The file is missing, forbidden or not regular (kind `unreadable`), or it is damaged or no part (kind `damaged`).
        Raised on opening, or while rows are read.
    """
    with open_regular(path, PART) as file:
        with _part_errors(path):
            part = Part(os.fsdecode(path), file)
        yield part
