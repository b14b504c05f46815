"""Survey Ogg files: chained streams, holes, and an end that is missing (RFC 3533)."""

import struct
import zlib
from collections import namedtuple
from typing import NamedTuple

_HEADER = struct.Struct("<4sBBqIIIB")  # magic, version, flags, granule position, serial, sequence, checksum, segments
_FIRST, _LAST = 2, 4  # flags
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_CHUNK, LATE = 1 << 20, 20  # bytes read at a time; seconds that the first page of a stream holds at most
MAX_GAPS = 10_000  # places where no page begins although it should; what follows is not read


_Page = namedtuple("_Page", "start stop flags granule serial sequence body")


class Link(NamedTuple):
    """One of the streams that are chained in a file."""

    start: int  # first byte
    stop: int  # byte behind its last whole page
    ended: bool  # its last page is there
    seconds: float  # length, as far as its pages tell, -1 if they count from some other time on
    broken_at: float  # seconds up to which the pages are whole, -1 if all are
    is_audio: bool


def ogg_links(read, size, most):
    """Return the streams of an Ogg file, in order.

    Parameters
    ----------
    read : callable, (start, count) -> bytes
    size : int
        Bytes of the file.
    most : int > 0
        Streams to return at most.

    Returns
    -------
    links : list of Link
        Pages that are damaged, missing or not in order break a stream from the time of the last whole one on.
    """
    links, link, gaps = [], None, 0
    for page, whole in _pages(read, size):
        if page is None:  # bytes that belong to no page
            gaps += 1
            if gaps > MAX_GAPS:
                break
            if link is not None:
                link.damage()
            continue
        if page.flags & _FIRST and (link is None or link.begun):
            if link is not None:
                links.append(link.close())
            if len(links) == most:
                return links
            link = _Open(page.start)
        if link is not None:
            link.take(page, whole)
    return links if link is None else [*links, link.close()]


class _Open:
    """A stream whose pages are being read."""

    def __init__(self, start):
        self.start = self.stop = start
        self.begun = self.ended = False
        self.serial = self.rate = self.sequence = None
        self.skip, self.granule, self.first, self.broken, self.pending = 0, 0, 0, None, False

    def take(self, page, whole):
        """Take the next page of the file."""
        if page.flags & _FIRST:
            rate = _rate_of(page.body)
            if rate and self.serial is None:
                (self.rate, self.skip), self.serial, self.sequence = rate, page.serial, page.sequence
            self.stop = page.stop
            return
        self.begun = True
        if page.serial != self.serial:
            return
        if not whole or page.sequence != self.sequence + 1 or self.pending:
            self.broken = self.granule if self.broken is None else self.broken
        self.sequence, self.stop = page.sequence, page.stop
        if page.granule >= 0 and whole:
            self.granule = page.granule
            self.first = self.first or self.granule  # headers have 0
        self.ended = self.ended or bool(page.flags & _LAST)

    def damage(self):
        """Note that bytes belong to no page: a hole, if another page of this stream follows."""
        self.pending = True

    def close(self):
        """Return the `Link`."""
        rate = self.rate or 1
        late = self.first > LATE * rate  # cut out of a longer stream: times count from its first page on
        begin = self.first if late else self.skip
        seconds = -1.0 if late else max(0, self.granule - begin) / rate
        broken = -1.0 if self.broken is None else max(0, self.broken - begin) / rate
        return Link(self.start, self.stop, self.ended, seconds, broken, self.rate is not None)


def _rate_of(body):
    """Return (granules a second, granules before the sound) that the first packet of a stream tells, or None."""
    if body[:7] == b"\x01vorbis" and len(body) >= 16:
        return struct.unpack_from("<I", body, 12)[0] or 1, 0
    if body[:8] == b"OpusHead" and len(body) >= 12:
        return 48000, struct.unpack_from("<H", body, 10)[0]
    if body[:8] == b"Speex   " and len(body) >= 40:
        return struct.unpack_from("<I", body, 36)[0] or 1, 0
    if body[:5] == b"\x7fFLAC" and len(body) >= 34:
        return int.from_bytes(body[27:30], "big") >> 4 or 1, 0
    return None


def _pages(read, size):
    """Yield (page, whether its checksum is right), or (None, False) for bytes between pages."""
    start, buffer, begin = 0, b"", 0
    while start < size:
        if start < begin or start + _HEADER.size + 255 + 255 * 255 > begin + len(buffer) < size:
            buffer, begin = read(start, _CHUNK), start
        page = _page(buffer, start - begin, start)
        if page is None:
            found = buffer.find(b"OggS", start - begin + 1)
            yield None, False
            start = begin + found if found >= 0 else max(start + 1, begin + len(buffer) - 3)
            if found < 0 and begin + len(buffer) >= size:
                return
            continue
        content = buffer[page.start - begin : page.stop - begin]
        yield page, _checksum(content) == struct.unpack_from("<I", content, 22)[0]
        start = page.stop


def _page(buffer, offset, start):
    """Return the page at `offset` in a buffer, or None if there is no whole one."""
    if buffer[offset : offset + 5] != b"OggS\0" or offset + _HEADER.size > len(buffer):
        return None
    _, _, flags, granule, serial, sequence, _, segments = _HEADER.unpack_from(buffer, offset)
    table = buffer[offset + _HEADER.size : offset + _HEADER.size + segments]
    body, stop = offset + _HEADER.size + segments, offset + _HEADER.size + segments + sum(table)
    if len(table) < segments or stop > len(buffer):
        return None
    return _Page(start, start + stop - offset, flags, granule, serial, sequence, buffer[body:stop])


def _checksum(page):
    """Return the checksum of a page, whose own field counts as zero: zlib's CRC with all bits in reverse."""
    content = page[:22] + bytes(4) + page[26:]
    crc = zlib.crc32(content.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)
