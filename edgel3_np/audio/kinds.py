"""Tell what begins at a place of a file: a container, frames of MPEG audio, a tag of music players, or nothing."""

import re
import struct
from collections import namedtuple

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
_KINDS = re.compile(  # of Ogg, the first page of a stream; of AU, with a small number of encoding and channels
    rb"(?s)(?P<wav>(?:RIF[FX]|RF64|BW64).{4}WAVE)|(?P<w64>riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0)|"
    rb"(?P<aiff>FORM.{4}AIF[FC])|(?P<caf>caff\0.{3}desc)|(?P<ogg>OggS\0[\2\3\6\7])|(?P<flac>fLaC[\0\x80]\0\0\x22)|"
    rb"(?P<au>\.snd\0\0.{6}\0\0\0.{5}\0\0..|dns\...\0\0.{5}\0\0\0.{6}\0\0)"
)
ALIKE = 0xFFFE0C00  # bits of a header that are the same in all frames: version, layer, rate
HEAD, TAIL = 1 << 13, 32  # bytes that tell what begins; fewer bytes behind the sound are nothing, whatever they are


Frame = namedtuple("Frame", "length samples sr header")  # bytes, samples, Hz, 32 bits


def kind_at(read, place):
    """Return which kind of sound file begins at a place, "" if none does."""
    head = read(place, 40)
    if head[:1] == b"\xff":  # any two bytes may look like the beginning of a frame
        return "mpeg" if confirmed_frame(read(place, HEAD), 0) else ""
    found = _KINDS.match(head)
    return found.lastgroup if found else ""


def skip(read, size, place):
    """Return the first place, from one on, where neither a tag nor zeros begin."""
    while place < size:
        head = read(place, 32)
        length = tag_length(read(place, 1 << 16) if head[:3] == b"LYR" else head)
        if not length:
            content = read(place, 1 << 16) if head[:1] == b"\0" else b""
            length = len(content) - len(content.lstrip(b"\0"))
        if not length:
            break
        place += length
    return min(place, size)


def ends(read, size, place):
    """Tell whether no sound goes on at a place: the end is near, zeros or tags reach it, or another file begins."""
    behind = skip(read, size, place)
    return size - behind < TAIL or kind_at(read, behind) != ""


def tag_length(head):
    """Return the bytes of the tag (ID3, APE, Lyrics3) that begins so, 0 if none does."""
    if head[:3] == b"ID3" and len(head) >= 10 and head[3] < 255 and max(head[6:10]) < 128:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 16 else 0)
    if head[:3] == b"TAG":
        return 227 if head[3:4] == b"+" else 128
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        size, flags = struct.unpack_from("<I", head, 12)[0], struct.unpack_from("<I", head, 20)[0]
        return size + 32 if flags >> 29 & 1 else 32
    return head.find(b"LYRICS200") + 9 if head[:11] == b"LYRICSBEGIN" and b"LYRICS200" in head else 0


def frame_at(buffer, offset):
    """Return the MPEG `Frame` whose header lies at a place, or None."""
    if offset + 4 > len(buffer) or buffer[offset] != 0xFF or buffer[offset + 1] < 0xE0:
        return None
    word = int.from_bytes(buffer[offset : offset + 4], "big")
    version, layer, index, rate = word >> 19 & 3, 4 - (word >> 17 & 3), word >> 12 & 15, word >> 10 & 3
    if version == 1 or layer == 4 or not 1 <= index <= 14 or rate == 3:
        return None
    sr, bitrate, padding = _RATES[version][rate], 1000 * _BITRATES[version == 3, layer][index - 1], word >> 9 & 1
    samples = {1: 384, 2: 1152, 3: 1152 if version == 3 else 576}[layer]
    length = (12 * bitrate // sr + padding) * 4 if layer == 1 else samples // 8 * bitrate // sr + padding
    return Frame(length, samples, sr, word)


def confirmed_frame(buffer, offset):
    """Return the frame at a place if one or two like it follow, as many as there is room for; or None."""
    frame = first = frame_at(buffer, offset)
    for number in range(2):
        if frame is None:
            return None
        offset += frame.length
        if offset + 4 > len(buffer):
            return first if number else None
        frame = frame_at(buffer, offset)
        if frame is None or (first.header ^ frame.header) & ALIKE:
            return None
    return first
