"""Survey Ogg files: chained streams, holes, and an end that is missing (RFC 3533)."""

import struct
import zlib
from collections import namedtuple

from .kinds import ends
from .pieces import Part, Window

_HEADER = struct.Struct("<4sBBqIIIB")  # magic, version, flags, granule position, serial, sequence, checksum, segments
_FIRST, _LAST = 2, 4  # flags
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
MAX_GAPS = 10_000  # places where no page begins although it should; what follows is not read


_Page = namedtuple("_Page", "stop flags granule serial sequence body content")


def ogg_parts(read, size, start):
    """Return ([Part], where it stops) of the stream that begins at a place; no parts if it holds no sound.

    Pages that are damaged, missing or not in order break a stream behind the last whole one. Others may begin with it,
    side by side; where one begins later, or another kind of file, it stops.
    """
    serial, skip, sequence, granule, stop = None, 0, 0, 0, start
    begun = ended = gap = broken = False
    gaps = 0
    for page, place in _pages(read, size, start):
        if page is None:  # bytes that belong to no page: a hole, if another page of this stream follows
            gaps += 1
            if gaps > MAX_GAPS or not gap and ends(read, size, place):
                break
            gap = True
        elif page.flags & _FIRST:
            if begun:
                break
            found = _skip_of(page.body)
            if found is not None and serial is None:
                serial, skip, sequence = page.serial, found, page.sequence
            stop = page.stop
        else:
            begun = True
            if page.serial == serial:
                whole = _checksum(page.content) == struct.unpack_from("<I", page.content, 22)[0]
                broken = gap or not whole or page.sequence != sequence + 1 or 0 <= page.granule < granule
                if broken:
                    break
                sequence, granule, ended = page.sequence, max(granule, page.granule), page.flags & _LAST
            stop = page.stop
    if serial is None:
        return [], max(stop, place)
    remark = "" if ended or broken else "the file is cut off: its stream has no end"
    return [Part(((start, stop),), None, broken, remark, 0.05, (granule, skip))], size if broken else stop


def _skip_of(body):
    """Return the granules before the sound that the first packet of a stream tells, None if it holds no sound."""
    if body[:8] == b"OpusHead" and len(body) >= 12:
        return struct.unpack_from("<H", body, 10)[0]
    known = body[:7] == b"\x01vorbis" or body[:8] == b"Speex   " or body[:5] == b"\x7fFLAC"
    return 0 if known and len(body) >= 16 else None


def _pages(read, size, start):
    """Yield (page, its place) of each page, or (None, place) for bytes between pages."""
    window = Window(read, size)
    while start < size:
        buffer, offset = window.at(start)
        page = _page(buffer, offset, start)
        yield page, start
        found = buffer.find(b"OggS", offset + 1) if page is None else 0
        start = page.stop if page else start - offset + (found if found >= 0 else max(offset + 1, len(buffer) - 3))


def _page(buffer, offset, start):
    """Return the page at `offset` in a buffer, or None if there is no whole one."""
    if buffer[offset : offset + 5] != b"OggS\0" or offset + _HEADER.size > len(buffer):
        return None
    _, _, flags, granule, serial, sequence, _, segments = _HEADER.unpack_from(buffer, offset)
    table = buffer[offset + _HEADER.size : offset + _HEADER.size + segments]
    body = _HEADER.size + segments
    content = buffer[offset : offset + body + sum(table)]
    if len(content) < body + sum(table) or len(table) < segments:
        return None
    return _Page(start + len(content), flags, granule, serial, sequence, content[body:], content)


def _checksum(page):
    """Return the checksum of a page, whose own field counts as zero: zlib's CRC with all bits in reverse."""
    content = page[:22] + bytes(4) + page[26:]
    crc = zlib.crc32(content.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)
