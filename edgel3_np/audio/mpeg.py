"""Survey MPEG audio (MP3, MP2): its frames one after the other, as their headers tell (ISO 11172-3 and 13818-3)."""

import struct
from collections import namedtuple

from .kinds import ALIKE, confirmed_frame, ends, frame_at, tag_length
from .pieces import PROMISE, Part, Window

MAX_JUNK = 100_000  # places at which no frame begins

# A header that counts frames: their number (0: it does not say), where it stands, and whether that of bytes follows.
_Count = namedtuple("_Count", "frames place with_bytes")


def mpeg_parts(read, size, start):
    """Return ([Part], where it stops) of the MPEG audio that begins at a place; no parts if there is none.

    It stops where another file begins: a header that counts frames, frames of another rate, or another kind.
    """
    window, position, stop, first, begin = Window(read, size), start, start, None, start
    frames, junk, hole, broken, cut, varies, count = 0, 0, False, False, False, False, None
    while position < size and junk < MAX_JUNK:
        buffer, offset = window.at(position)
        tag = tag_length(buffer[offset : offset + 32])
        frame = frame_at(buffer, offset) if first and not hole else confirmed_frame(buffer, offset)
        if tag or frame is None or first and not hole and (first.header ^ frame.header) & ALIKE:
            if not (tag or hole) and ends(read, size, position):
                break
            hole, junk = hole or not tag, junk + (not tag)
            found = buffer.find(b"\xff", offset + 1)  # the next place where a frame may begin
            position += tag or (found if found >= 0 else max(offset + 1, len(buffer))) - offset
            continue
        counted, cut, broken = _count(buffer, offset, position, frame), position + frame.length > size, hole
        if first and counted or cut or broken:
            break
        first, count, stop = first or frame, count or counted, position + frame.length
        if counted and not counted.place:
            begin = stop
        varies = varies or (first.header ^ frame.header) & 0xF000 != 0
        frames, position = frames + (not counted), stop
    if frames < 2:
        return [], start
    return [_part(first, frames, count, (begin, stop), varies, broken, cut)], size if broken or cut else stop


def _part(first, frames, count, extent, varies, broken, cut):
    """Return the part for so many frames. Decoders take their number from a header, or guess it."""
    begin, stop = extent
    told, length, pieces, remark = count.frames if count else 0, first.samples / first.sr, (extent,), ""
    if count and count.place and told < frames:
        numbers = struct.pack(">II", frames, stop - begin)[: 8 if count.with_bytes else 4]
        pieces = (begin, count.place), numbers, (count.place + len(numbers), stop)
    elif not told and varies and first.header >> 17 & 3 == 1:  # layer 3 alone has such headers
        pieces = _xing_frame(first.header, frames, stop - begin), extent
    if told and told != frames and not broken:
        remark = PROMISE.format(f"{told * length:.3f} s", f"{frames * length:.3f} s")
        remark += ": the file is cut off" if frames < told else ""
    elif cut and not told:
        remark = "the file is cut off in the middle of a frame"
    return Part(pieces, max(frames, told) * length, broken, remark, 3 * 1152 / first.sr)  # encoders add some


def _xing_frame(header, frames, length):
    """Return a frame that counts the frames and bytes behind it.

    It has the header of the first frame, but the largest bit rate, so that it has room.
    """
    head = (header & ~(0xF << 12) | 9 << 12 | 1 << 16).to_bytes(4, "big")  # no checksum
    size = frame_at(head, 0).length
    numbers = b"Xing" + struct.pack(">III", 3, frames, size + length)
    return (head + bytes(_side(header)) + numbers).ljust(size, b"\0")


def _side(header):
    """Return the bytes between the header of a frame and a Xing header."""
    version, mono = header >> 19 & 3, header >> 6 & 3 == 3
    return (17 if mono else 32) if version == 3 else (9 if mono else 17)


def _count(buffer, offset, position, frame):
    """Return the `_Count` of a Xing, Info or VBRI header that a frame holds, or None."""
    place = 4 + _side(frame.header)
    content = buffer[offset : offset + 64].ljust(64, b"\0")
    if content[place : place + 4] in (b"Xing", b"Info"):
        flags, frames = struct.unpack_from(">II", content, place + 4)
        return _Count(frames, position + place + 8, flags & 2) if flags & 1 else _Count(0, 0, False)
    if content[36:40] == b"VBRI":
        return _Count(int.from_bytes(content[50:54], "big"), position + 50, False)
    return None
