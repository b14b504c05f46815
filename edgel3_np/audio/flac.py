"""Survey FLAC: the frames of a stream must count on, and more may lie behind the last one (RFC 9639)."""

import re
from collections import deque
from itertools import islice

from .kinds import ends
from .pieces import PROMISE, Part

_CHUNK, _LONGEST = 1 << 17, 1 << 20  # bytes that are read at a time; bytes of a frame
_FRAME, _STREAM = re.compile(rb"\xff[\xf8\xf9][\x10-\xff][\x00-\xaf]"), re.compile(b"fLaC")
_MAX_BLOCKS, _MAX_ODD, _MAX_ENDS = 10_000, 4, 16  # of metadata; frames that do not follow; places that may be an end


def _table(polynomial, bits):
    """Return the remainders of all bytes, for a checksum of so many bits."""
    table = [value << bits - 8 for value in range(256)]
    for _ in range(8):
        table = [(value << 1 ^ (polynomial if value >> bits - 1 else 0)) & (1 << bits) - 1 for value in table]
    return table


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)


def flac_parts(read, size, start):
    """Return ([Part], where it stops) of the FLAC stream that begins at a place; no parts if none does.

    Frames have numbers. One that does not follow the last one, although that is whole, means that frames are missing,
    swapped or repeated, which decoders do not tell. Where several do not follow, the last one is damaged.
    """
    promised, sr = _stream_info(read(start, 42)) or (0, 0)
    if not sr:
        return [], start
    last, stop, expected, samples, odd, misses, broken = 0, size, 0 if promised else None, 0, 0, 0, False
    for place, head in _places(read, size, _behind_metadata(read, size, start)):
        frame = _frame(head)
        if head[:4] == b"fLaC" and _stream_info(head):
            stop = place
            break
        if frame and expected in (None, frame[0]):
            last, odd, expected = place, 0, frame[0] + (frame[1] if head[1] & 1 else 1)
            samples += frame[1]
        elif frame:
            whole = last and place - last <= _LONGEST and _checksum(read(last, place - last)) == 0
            odd, broken = odd + 1, whole or not last or odd == _MAX_ODD
            if broken:
                stop = place if whole or not last else last
                break
        misses += not frame
        if misses > 1000 + (place - start) // 1000:  # this is something else
            break
    end, ended = _end(read, size, stop, last) if last and not broken and samples >= promised else (stop, True)
    pieces, remark = ((start, end),), "" if ended else "the file is cut off: its last frame has no end"
    if broken or 0 < promised < samples:
        remark = "" if broken else PROMISE.format(f"{promised / sr:.3f} s", f"{samples / sr:.3f} s")
        unknown = bytes([read(start + 21, 1)[0] & 0xF0]) + bytes(4)  # else a decoder stops, or misses what is not there
        pieces, promised = ((start, start + 21), unknown, (start + 26, end)), 0 if broken else samples
    return [Part(pieces, promised / sr if promised else None, broken, remark)], size if broken else end


def _stream_info(head):
    """Return (samples, rate) of the STREAMINFO block that begins a stream, or None."""
    if len(head) < 42 or head[4] & 0x7F or head[5:8] != b"\0\0\x22":
        return None
    shortest, longest = int.from_bytes(head[8:10], "big"), int.from_bytes(head[10:12], "big")
    word = int.from_bytes(head[18:26], "big")
    sr, samples = word >> 44, word & (1 << 36) - 1
    return (samples, sr) if 16 <= shortest <= longest and 0 < sr <= 655350 else None


def _behind_metadata(read, size, start):
    """Return where the metadata of a stream ends."""
    place, head = start + 4, b"\0"
    for _ in range(_MAX_BLOCKS):
        if head[0] & 0x80 or place >= size:
            break
        head = read(place, 4)
        place += 4 + int.from_bytes(head[1:], "big")
    return place


def _places(read, size, start):
    """Yield (place, the bytes there) wherever a stream or a frame may begin."""
    for begin in range(start, size, _CHUNK):
        content = read(begin, _CHUNK + 42)
        for place in sorted(match.start() for form in (_FRAME, _STREAM) for match in form.finditer(content)):
            if place < _CHUNK:
                yield begin + place, content[place : place + 42]


def _frame(head):
    """Return (number, samples) of the frame that begins so, or None. Its header has a checksum."""
    if head[:1] != b"\xff" or len(head) < 6 or 0x80 <= head[4] < 0xC0 or head[4] == 0xFF:
        return None
    longer = max(0, 7 - (head[4] ^ 0xFF).bit_length())  # bytes of the number behind the first
    number = head[4] & 0x7F >> (longer + 1 if longer else 0)
    for byte in head[5 : 5 + longer]:
        number = number << 6 | byte & 0x3F
    stop, code, rate = 5 + longer, head[2] >> 4, head[2] & 15
    samples = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << max(0, code - 8)
    if code in (6, 7):
        samples = int.from_bytes(head[stop : stop + code - 5], "big") + 1
        stop += code - 5
    stop += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    return (number, samples) if stop < len(head) and _checksum(head[:stop], _CRC8, 8) == head[stop] else None


def _remainders(content, table=_CRC16, bits=16):
    """Yield (count, remainder) of the first bytes; it is 0 for a whole frame, which ends in a checksum."""
    crc = 0
    for count, byte in enumerate(content, 1):
        crc = table[crc >> bits - 8 ^ byte] ^ crc << 8 & (1 << bits) - 1
        yield count, crc


def _checksum(content, *options):
    return deque(_remainders(content, *options), 1)[0][1]


def _end(read, size, stop, last):
    """Return where the last frame ends (its checksum is right, and best nothing else follows), and whether it does."""
    content = read(last, min(_LONGEST, stop - last))
    whole = (last + count for count, crc in _remainders(content) if crc == 0 and count > 6)
    found = list(islice(whole, _MAX_ENDS))
    end = next((end for end in found if end == stop or ends(read, size, end)), found[-1] if found else stop)
    return end, bool(found)
