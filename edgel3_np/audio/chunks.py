"""Survey files made of chunks (WAV, RF64, BW64, W64, AIFF, CAF), and AU: the samples that are there, and promised."""

import struct
from typing import NamedTuple

UNKNOWN = 0x7FFF0000  # 32-bit sizes from here on are what writers to pipes put for "unknown"
_MAX_CHUNKS = 1000
_TAIL = 32  # fewer bytes behind the samples are no sound, whatever they are
_TAGS = (b"TAG", b"ID3", b"APE", b"LYR")  # of music players, behind the chunks
_PLAIN = (b"NONE", b"sowt", b"twos", b"fl32", b"FL32", b"fl64", b"FL64", b"raw ", b"in24", b"in32")  # of AIFC
_W64 = bytes.fromhex("2e91cf11a5d628db04c10000")  # follows `riff`
_W64_OTHER = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # follows `wave`, `fmt `, `data`


class Extent(NamedTuple):
    """Where the samples of a file lie."""

    start: int  # first byte
    promised: int  # bytes that the header promises, -1 if it does not say
    there: int  # bytes that there are
    rate: float  # bytes a second, 0 if unknown
    head: bytes = b""  # a new header; empty if that of the file is right
    patches: dict = {}  # position in the file -> bytes that should stand there
    next: int = 0  # where another file begins behind this one, 0 if none does


def chunked_extent(read, size):
    """Return the `Extent` of a file made of chunks, or None if it is another one.

    Parameters
    ----------
    read : callable, (start, count) -> bytes
    size : int
        Bytes of the file.
    """
    head = read(0, 24)
    kind = _kind(head)
    if kind == "wav":
        return _wav(read, size, head[:4])
    if kind == "au":
        return _au(read, head, size)
    return {"w64": _w64, "aiff": _aiff, "caf": _caf}[kind](read, size) if kind else None


def _kind(head):
    """Return which container a file has that begins so, or None."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"riff" and head[4:16] == _W64:
        return "w64"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:5] == b"caff\0" and head[8:12] == b"desc":
        return "caf"
    return "au" if head[:4] in (b".snd", b"dns.") and len(head) == 24 else None


def _chunks(read, position, size, form, pad=2):
    """Yield (tag, first byte of the content, size that is promised) of each chunk."""
    for _ in range(_MAX_CHUNKS):
        head = read(position, form.size)
        if len(head) < form.size:
            return
        tag, length = form.unpack(head)
        length -= _counted(form)
        yield tag, position + form.size, length
        position += form.size + max(0, length) + -max(0, length) % pad
        if position >= size:
            return


def _counted(form):
    """Return the bytes of its own header that the size of a chunk counts: those of W64 do, and no others."""
    return form.size if form.size == 24 else 0


def _nothing_more(read, size, place):
    """Tell whether there is no sound from a place on: the end is near, or tags or zeros follow."""
    head = read(place, 512)
    return size - place < _TAIL or head[:3] in _TAGS or not any(head)


def _there(read, size, start, promised, form, pad=2):
    """Return the bytes of samples from `start` on, and where another file begins behind them, 0 if none does.

    There are those that are promised, if the end of the file, other chunks, another file, tags or zeros follow them;
    otherwise all that is there.
    """
    if promised <= 0 or promised > size - start:
        return size - start, 0
    position, length = start + promised + promised % pad, promised
    for _ in range(_MAX_CHUNKS):
        for place in (position, position - length % pad):  # many writers leave out the byte that pads odd sizes
            head = read(place, 24)
            if _kind(head):
                return promised, place
            if _nothing_more(read, size, place):
                return promised, 0
            tag, following = form.unpack(head[: form.size])
            following -= _counted(form)
            if min(tag[:4]) >= 32 and 0 <= following <= size - place - form.size:
                break
        else:  # a last chunk may be cut off; anything else is sound
            tag, following = form.unpack(read(position, form.size))
            cut = tag[:4].strip().isalnum() and 0 <= following <= size - position + (1 << 24)
            return (promised if cut else size - start), 0
        position, length = place + form.size + following + following % pad, following
    return promised, 0


def _wav(read, size, magic):
    form = struct.Struct(">4sI" if magic == b"RIFX" else "<4sI")
    fmt, long_size = b"", -1
    for tag, start, length in _chunks(read, 12, size, form):
        if tag == b"data":
            break
        if tag == b"ds64":
            long_size = struct.unpack("<q", read(start + 8, 8).ljust(8, b"\0"))[0]
        elif tag == b"fmt ":
            fmt = read(start, min(length, 1 << 16))
    else:
        return None
    if len(fmt) < 16:
        return None
    rate = _plain_rate(fmt, form.format[0])
    unknown = length >= UNKNOWN and length > size - start
    promised = -1 if unknown or (length == 0 and size > start) else length
    if magic in (b"RF64", b"BW64") and length == 0xFFFFFFFF:
        promised = long_size if long_size > 0 else -1
    there, following = _there(read, size, start, promised, form)
    head = _wav_head(magic, form, fmt, there) if there > promised or magic == b"BW64" else b""
    return Extent(start, promised, there, rate, head, {}, following)


def _plain_rate(fmt, order):
    """Return the bytes of a second, from the format chunk of a WAV; 0 for compressed sound, of which it says little."""
    tag, _, sr, _, block = struct.unpack_from(order + "HHIIH", fmt)
    return sr * block if tag in (1, 3, 6, 7, 0xFFFE) else 0


def _wav_head(magic, form, fmt, there):
    """Return a header for so many bytes of samples, RF64 where they are more than 32 bits can count."""
    small = there < 0xFFFFFF00
    chunks = form.pack(b"fmt ", len(fmt)) + fmt + bytes(len(fmt) % 2)
    if small:
        total = 4 + len(chunks) + 8 + there
        return form.pack(b"RIFX" if magic == b"RIFX" else b"RIFF", total) + b"WAVE" + chunks + form.pack(b"data", there)
    block = max(1, struct.unpack_from("<H", fmt, 12)[0])
    long = form.pack(b"ds64", 28) + struct.pack("<qqqI", there + 72 + len(chunks), there, there // block, 0)
    return form.pack(b"RF64", 0xFFFFFFFF) + b"WAVE" + long + chunks + form.pack(b"data", 0xFFFFFFFF)


def _w64(read, size):
    form, rate = struct.Struct("<16sq"), 0
    for tag, start, length in _chunks(read, 40, size, form, 8):
        if tag[:4] == b"fmt ":
            rate = _plain_rate(read(start, 16).ljust(16, b"\0"), "<")
        if tag[:4] == b"data" and tag[4:] == _W64_OTHER:
            break
        if length < 0:
            return None
    else:
        return None
    promised = length if 0 < length < 1 << 60 else -1
    there, following = _there(read, size, start, promised, form, 8)
    patches = {start - 8: struct.pack("<q", there + 24)} if there > promised else {}
    return Extent(start, promised, there, rate, b"", patches, following)


def _aiff(read, size):
    form, comm, block, rate = struct.Struct(">4sI"), None, 0, 0
    for tag, start, length in _chunks(read, 12, size, form):
        if tag == b"COMM":
            channels, _, bits = struct.unpack(">hIh", read(start, 8).ljust(8, b"\0"))
            plain = length < 22 or read(start + 18, 4) in _PLAIN
            comm, block, rate = start, channels * -(-bits // 8) if plain else 0, _extended_float(read(start + 8, 10))
        if tag == b"SSND":
            break
    else:
        return None
    samples = start + 8 + min(length, struct.unpack(">I", read(start, 4).ljust(4, b"\0"))[0])
    length -= samples - start - 8
    promised = length - 8 if 8 < length < UNKNOWN or 8 < length <= size - start else -1
    there, following = _there(read, size, samples, promised, form)
    if there <= promised or comm is None:
        return Extent(samples, promised, there, rate * block, next=following)
    there = min(there, 0xFFFFFF00)
    patches = {start - 4: struct.pack(">I", there + samples - start)}
    if block > 0:
        patches[comm + 2] = struct.pack(">I", there // block)
    return Extent(samples, promised, there, rate * block, b"", patches)


def _extended_float(number):
    """Return an 80-bit floating-point number, as AIFF holds its rate."""
    exponent, mantissa = struct.unpack(">HQ", number.ljust(10, b"\0"))
    return float(mantissa) * 2.0 ** ((exponent & 0x7FFF) - 16446) if exponent & 0x7FFF < 16500 else 0.0


def _caf(read, size):
    form, rate = struct.Struct(">4sq"), 0.0
    for tag, start, length in _chunks(read, 8, size, form, 1):
        if tag == b"desc":
            sr, _, _, packet, frames = struct.unpack(">d4sIII", read(start, 24).ljust(24, b"\0"))
            rate = sr * packet if frames == 1 and 0 < sr < 1e7 else 0.0
        if tag == b"data":
            promised = length if length > 4 else -1
            break
    else:
        return None
    there, following = _there(read, size, start, promised, form, 1)
    patches = {start - 8: struct.pack(">q", there)} if there != promised else {}
    return Extent(start + 4, promised - 4 if promised > 0 else -1, there - 4, rate, b"", patches, following)


def _au(read, head, size):
    order = ">" if head[:4] == b".snd" else "<"
    start, length, encoding, sr, channels = struct.unpack_from(order + "5I", head, 4)
    width = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(encoding, 0)
    there, promised, following = max(0, size - start), -1 if length >= UNKNOWN else length, 0
    if 0 < promised < there:
        following = start + promised if _kind(read(start + promised, 24)) else 0
        if following or _nothing_more(read, size, start + promised):
            there = promised
    patches = {8: b"\xff" * 4} if there > promised >= 0 else {}
    return Extent(start, promised, there, float(sr * width * channels), b"", patches, following)
