"""Read the numbers of a Parquet file without trusting it, with NumPy alone.

Only what `writer` writes is read: columns of float32 or float64 without a missing value, encoded as PLAIN and not
compressed. So nothing is larger in memory than in the file, any rows can be read without those before them, and each
page's checksum is compared. The rest of the format is in https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

MAGIC = b"PAR1"
MAX_FOOTER_BYTES = 1 << 26
MAX_VALUES = 1 << 17  # numbers, truth values, texts, lists and structures in a footer
MAX_DEPTH = 12  # of structures in a footer
MAX_HEADER_BYTES = 1 << 12  # of a page
MAX_PAGE_BYTES = 1 << 24
MAX_PAGES = 1 << 16  # of a column of a row group
KINDS = {4: "<f4", 5: "<f8"}  # Parquet's numbers of FLOAT and DOUBLE
PLAIN, UNCOMPRESSED, DATA_PAGE = 0, 0, 0
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 7, 8, 9, 10, 12  # types of Thrift's compact protocol


class Footer(NamedTuple):
    """What the end of a file says.

    Parameters
    ----------
    rows : int
    groups : list of (int, dict)
        Rows of each row group, and its columns, as Thrift's structures, by name.
    metadata : dict of bytes to bytes
    """

    rows: int
    groups: list
    metadata: dict


def read_footer(file, size):
    """Return the `Footer` of a file of `size` bytes; raise `ValueError` unless that is a whole Parquet file."""
    file.seek(max(0, size - 8))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if size < 12 or end[4:] != MAGIC:
        raise ValueError("no end of a Parquet file")
    if length > min(size - 12, MAX_FOOTER_BYTES):
        raise ValueError(f"a footer of {length} bytes")
    file.seek(size - 8 - length)
    said = _Thrift(file.read(length)).structure()
    pairs = [(_get(pair, 1, bytes), pair.get(2, b"")) for pair in _get(said, 5, list, [])]
    groups = []
    for group in _get(said, 4, list, []):
        columns = {}
        for chunk in _get(group, 1, list):
            about = _get(chunk, 3, dict)
            name = _get(about, 3, list)[:1]
            if 1 in chunk or not name or name[0] in columns:  # in another file, without a name, or twice
                raise ValueError("a column that is in another file, or twice")
            columns[name[0]] = about
        groups.append((_count(group, 3), columns))
    if sum(_count(about, 7) for _, columns in groups for about in columns.values()) > size:
        raise ValueError("columns that are larger than the file")  # the same bytes may stand for several
    if sum(rows for rows, _ in groups) != _count(said, 3):
        raise ValueError("row groups of other numbers of rows than the file")
    return Footer(_count(said, 3), groups, dict(pairs))


class Column:
    """The numbers of a column of one row group, of which those asked for are read.

    Parameters
    ----------
    file : binary file
    size : int
        Its bytes.
    about : dict
        From `Footer.groups`.
    dtype : str
        The one expected.
    count : int
        Numbers expected.

    Raises
    ------
    ValueError
        The column has another type, encoding, compression or count; or, while it is read, a page is damaged, or has
        numbers that are not finite.
    """

    def __init__(self, file, size, about, dtype, count):
        kind, codec, place = (_get(about, field, int) for field in (1, 4, 9))
        if KINDS.get(kind) != dtype or codec != UNCOMPRESSED or 11 in about:  # 11: values are in a dictionary
            raise ValueError(f"a column of type {kind}, codec {codec}, or with a dictionary")
        end = place + _count(about, 7)
        if not 0 <= place < end <= size or _count(about, 5) != count:
            raise ValueError("a column of another number of values, or outside the file")
        self._file, self._dtype, self._count = file, np.dtype(dtype), count
        self._pages = _list_pages(file, place, end, self._dtype.itemsize, count)
        self._firsts = np.cumsum([0, *(page.numbers for page in self._pages)])
        self._last = -1, None  # the page that was read last, which is often needed again

    def read(self, start, count):
        """Return `count` numbers from number `start` on; read-only."""
        parts, end = [], start + count
        if not 0 <= start <= end <= self._count:
            raise ValueError("numbers outside a column")
        number = int(np.searchsorted(self._firsts, start, "right")) - 1
        while start < end:
            first = self._firsts[number]
            part = self._page(number)[start - first : end - first]
            parts.append(part)
            start, number = start + len(part), number + 1
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, self._dtype), *parts])

    def check(self):
        """Read all pages: what is wrong with one is raised now."""
        for number in range(len(self._pages)):
            self._page(number)

    def _page(self, number):
        if self._last[0] != number:
            self._last = number, _read_page(self._file, self._pages[number], self._dtype)
        return self._last[1]


class _Page(NamedTuple):
    place: int  # of its content, behind its header
    size: int
    numbers: int
    checksum: int | None


def _list_pages(file, place, end, itemsize, count):
    """Return the `_Page`s of a column between two places of a file; together they must hold `count` numbers."""
    pages, found = [], 0
    while place < end:
        file.seek(place)
        thrift = _Thrift(file.read(min(MAX_HEADER_BYTES, end - place)))
        header = thrift.structure()
        about, size = _get(header, 5, dict, {}), _count(header, 3)
        if _count(header, 1) != DATA_PAGE or _count(about, 2) != PLAIN or _count(header, 2) != size:
            raise ValueError("a page of another kind, encoding or compression")
        page = _Page(place + thrift.place, size, _count(about, 1), header.get(4))
        place, found = page.place + size, found + page.numbers
        if size > MAX_PAGE_BYTES or place > end or not 0 < page.numbers * itemsize <= size or len(pages) == MAX_PAGES:
            raise ValueError("a page of an impossible size, or too many of them")
        pages.append(page)
    if found != count:
        raise ValueError(f"pages with {found} numbers, instead of {count}")
    return pages


def _read_page(file, page, dtype):
    """Return the numbers of a page. Before them stand levels, which say in length which numbers are missing: none."""
    file.seek(page.place)
    content = file.read(page.size)
    if page.checksum is not None and zlib.crc32(content) != page.checksum & 0xFFFFFFFF:
        raise ValueError("a page whose checksum is wrong")
    start, place = page.size - page.numbers * dtype.itemsize, 0
    while place + 4 <= start:
        place += 4 + int.from_bytes(content[place : place + 4], "little")
    if place != start or len(content) != page.size:
        raise ValueError("a page with missing values, or cut off")
    numbers = np.frombuffer(content, dtype, page.numbers, start)
    if not np.isfinite(numbers).all():
        raise ValueError("NaN or infinity")
    return numbers.astype(dtype.newbyteorder("="), copy=False)


def _get(structure, field, kind, default=None):
    value = structure.get(field, default) if isinstance(structure, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"no {kind.__name__} in field {field} of a structure")
    return value


def _count(structure, field):
    """Return a number that is not negative and below 2**62; raise `ValueError` if a field has none."""
    value = _get(structure, field, int)
    if not 0 <= value < 1 << 62:
        raise ValueError(f"the number {value}")
    return value


class _Thrift:
    """A reader of Thrift's compact protocol: structures become dictionaries from the numbers of fields to values."""

    def __init__(self, content):
        self.content, self.place, self.left = content, 0, MAX_VALUES

    def structure(self, depth=0):
        found, field = {}, 0
        while True:
            head = self._byte()
            if head == 0:
                return found
            field = field + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            self._spend(depth + 1)
            found[field] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth + 1)

    def _spend(self, depth):
        """Count a value at its depth; raise `ValueError` at one too many."""
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH:
            raise ValueError("a structure that is too large or too deep")

    def _value(self, kind, depth):
        if kind in (TRUE, FALSE, BYTE):
            return self._byte()
        if BYTE < kind < DOUBLE:
            return self._integer()
        if kind == DOUBLE:
            return self._bytes(8)
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind in (LIST, SET):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            values = []
            for _ in range(count):
                self._spend(depth + 1)
                values.append(self._value(head & 15, depth + 1))
            return values
        if kind == STRUCT:
            return self.structure(depth)
        raise ValueError(f"a value of the unknown type {kind}")

    def _byte(self):
        return self._bytes(1)[0]

    def _bytes(self, count):
        part = self.content[self.place : self.place + count]
        if len(part) != count:
            raise ValueError("a structure that is cut off")
        self.place += count
        return part

    def _varint(self):
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number that is too long")

    def _integer(self):
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
