"""Survey MPEG audio (MP3, MP2): its frames one after the other, as their headers tell (ISO 11172-3 and 13818-3)."""

import struct
from collections import namedtuple
from typing import NamedTuple, Optional

_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BITRATES = {  # (version 1, layer) -> kbit/s by index
    (True, 1): range(32, 449, 32),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _LOW,
    (False, 3): _LOW,
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version bits
_CHUNK, MARGIN = 1 << 20, 1 << 13  # bytes that are read at a time; more than a frame has
MAX_JUNK = 100_000  # places at which no frame begins
ALIKE = 0xFFFE0C00  # bits of a header that are the same in all frames: version, layer, rate


_Frame = namedtuple("_Frame", "length samples sr header")  # bytes, samples, Hz, 32 bits


class Stretch(NamedTuple):
    """Frames that belong together: a file, of which several may lie one behind the other."""

    start: int  # first byte of the first frame
    stop: int  # byte behind the last whole frame
    frames: int  # whole frames that hold sound
    promised: Optional[int]  # frames that a Xing or Info header counts
    samples: int  # of a frame
    sr: int  # Hz
    broken_at: Optional[int]  # frames before the first hole
    header: bytes  # the first four bytes
    varies: bool = False  # frames have different bit rates

    @property
    def is_layer_3(self):
        """Whether it is MP3, whose decoders know Xing headers."""
        return self.header[1] >> 1 & 3 == 1


def mpeg_stretches(read, size, most):
    """Return the files of MPEG audio that lie one behind the other.

    Parameters
    ----------
    read : callable, (start, count) -> bytes
    size : int
        Bytes of the file.
    most : int > 0
        Stretches to return at most.

    Returns
    -------
    stretches : list of Stretch
        Empty if there are no frames, or frames of unknown length (free format).
    """
    stretches, window, position, hole, junk = [], _Window(read, size), 0, False, 0
    while position < size and len(stretches) <= most:
        buffer, offset = window.at(position)
        tag = tag_length(buffer, offset)
        frame = None if tag else _confirmed(buffer, offset, stretches)
        if frame is None:
            junk += not tag
            if junk > MAX_JUNK or not (tag or stretches):  # this is something else, or nothing is right in it
                return []
            hole = hole or bool(stretches and not tag)
            position += tag or _next_sync(buffer, offset)
        elif position + frame.length > size:
            break
        else:
            _take(stretches, buffer, offset, position, frame, hole)
            position, hole = position + frame.length, False
    return stretches[:most]


class _Window:
    """The bytes around a place of a file, of which the next ones are asked for again and again."""

    def __init__(self, read, size):
        self._read, self._size, self._begin, self._buffer = read, size, 0, b""

    def at(self, position):
        """Return a buffer with some kilobytes from `position` on, if there are so many, and where it is in there."""
        end = self._begin + len(self._buffer)
        if not self._begin <= position <= end - MARGIN and (end < self._size or position < self._begin):
            self._begin, self._buffer = position, self._read(position, _CHUNK)
        return self._buffer, position - self._begin


def _take(stretches, buffer, offset, position, frame, hole):
    """Add a frame to the last stretch, or begin one."""
    promised = _promised(buffer, offset, frame)
    if not stretches or promised is not None or frame.sr != stretches[-1].sr:
        header = buffer[offset : offset + 4]
        stretches.append(Stretch(position, position, 0, promised, frame.samples, frame.sr, None, header))
    last = stretches[-1]
    stretches[-1] = last._replace(
        stop=position + frame.length,
        frames=last.frames + (promised is None),
        broken_at=last.frames if hole and last.broken_at is None and last.frames else last.broken_at,
        varies=last.varies or (int.from_bytes(last.header, "big") ^ frame.header) & 0xF000 != 0,
    )


def xing_frame(stretch):
    """Return a frame that counts the frames of a stretch, to stand before them: decoders take their number from it.

    It has the first frame's header but the largest bit rate, so that it has room.
    """
    word = int.from_bytes(stretch.header, "big")
    version, channels = word >> 19 & 3, 1 if word >> 6 & 3 == 3 else 2
    word = word & ~(0xF << 12) | 9 << 12 | 1 << 16  # no checksum
    header = word.to_bytes(4, "big")
    frame = _frame(header + bytes(4), 0)
    side = {(True, 2): 32, (True, 1): 17, (False, 2): 17, (False, 1): 9}[version == 3, channels]
    numbers = struct.pack(">III", 3, stretch.frames, frame.length + stretch.stop - stretch.start)  # frames and bytes
    return (header + bytes(side) + b"Xing" + numbers).ljust(frame.length, b"\0")


def tag_length(buffer, offset):
    """Return the bytes of a tag (ID3, APE) at a place, 0 if there is none."""
    head = buffer[offset : offset + 32]
    if head[:3] == b"ID3" and len(head) >= 10:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 16 else 0)
    if head[:3] == b"TAG":
        return 128
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        size, flags = struct.unpack_from("<I", head, 12)[0], struct.unpack_from("<I", head, 20)[0]
        return (size if flags >> 29 & 1 else 0) + 32 if flags >> 29 & 1 else 32
    return 0


def _frame(buffer, offset):
    """Return the frame whose header lies at a place, or None."""
    if offset + 4 > len(buffer) or buffer[offset] != 0xFF or buffer[offset + 1] < 0xE0:
        return None
    word = int.from_bytes(buffer[offset : offset + 4], "big")
    version, layer, index, rate = word >> 19 & 3, 4 - (word >> 17 & 3), word >> 12 & 15, word >> 10 & 3
    if version == 1 or layer == 4 or not 1 <= index <= 14 or rate == 3:
        return None
    sr, bitrate, padding = _RATES[version][rate], 1000 * _BITRATES[version == 3, layer][index - 1], word >> 9 & 1
    samples = {1: 384, 2: 1152, 3: 1152 if version == 3 else 576}[layer]
    length = (12 * bitrate // sr + padding) * 4 if layer == 1 else samples // 8 * bitrate // sr + padding
    return _Frame(length, samples, sr, word)


def _confirmed(buffer, offset, stretches):
    """Return the frame at a place if it is like those before it, or else if one or two like it follow; or None.

    Any two bytes may look like the beginning of a frame.
    """
    frame = first = _frame(buffer, offset)
    if frame is None or stretches and not (int.from_bytes(stretches[-1].header, "big") ^ frame.header) & ALIKE:
        return frame
    for _ in range(2):
        offset += frame.length
        if offset + 4 > len(buffer):
            return first
        frame = _frame(buffer, offset)
        if frame is None or (first.header ^ frame.header) & ALIKE:
            return None
    return first


def _promised(buffer, offset, frame):
    """Return the number of frames that a Xing, Info or VBRI header counts, -1 if it does not; None if it is none."""
    version, mono = frame.header >> 19 & 3, frame.header >> 6 & 3 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    place = offset + 4 + side
    if buffer[place : place + 4] in (b"Xing", b"Info"):
        flags, count = struct.unpack_from(">II", buffer[place + 4 : place + 12].ljust(8, b"\0"))
        return count if flags & 1 else -1
    if buffer[offset + 36 : offset + 40] == b"VBRI":
        return int.from_bytes(buffer[offset + 50 : offset + 54], "big")
    return None


def _next_sync(buffer, offset):
    """Return how many bytes lie before the next place where a frame may begin."""
    found = buffer.find(b"\xff", offset + 1)
    return (found if found >= 0 else max(offset + 1, len(buffer))) - offset


def begins_with_mpeg(head):
    """Tell whether a file begins with two frames of MPEG audio; `head` has 8 kB of it, or all there are."""
    first = _frame(head, 0)
    return first is not None and _frame(head, first.length) is not None
