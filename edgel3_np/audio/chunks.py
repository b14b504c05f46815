"""Survey files made of chunks (WAV, RF64, BW64, W64, AIFF, CAF), and AU: the samples that are there, and promised."""

import struct
from collections import namedtuple

from ..errors import EdgeL3Error
from .kinds import ends, kind_at
from .pieces import PROMISE, Part

UNKNOWN = 0x7FFF0000  # 32-bit sizes from here on are what writers to pipes put for "unknown"
_MAX_CHUNKS = 1000
_PLAIN = (b"NONE", b"sowt", b"twos", b"fl32", b"FL32", b"fl64", b"FL64", b"raw ", b"in24", b"in32")  # of AIFC
_W64_OTHER = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # follows `wave`, `fmt `, `data`


# Where the samples of a file lie: first byte, bytes that the header promises (-1: it does not say) and those that there
# are, bytes a second (0: unknown), where the file ends, a new header, {position: bytes that should stand there}, gain.
_Extent = namedtuple("_Extent", "start promised there rate stop head patches gain", defaults=(b"", {}, 1.0))


def chunked_parts(read, size, begin):
    """Return ([Part], where it stops) of the file made of chunks that begins at a place; no parts if none does."""

    def read_from(start, count):
        return read(begin + start, count)

    survey = {"wav": _wav, "w64": _w64, "aiff": _aiff, "caf": _caf, "au": _au}[kind_at(read, begin)]
    extent = survey(read_from, size - begin)
    if extent is None:
        return [], begin
    start, promised, there, rate, stop, head, patches, gain = extent
    remark = ""
    if promised >= 0 and there != promised:
        told = [f"{count / rate:.3f} s" if rate else f"{count} bytes" for count in (promised, there)]
        remark = PROMISE.format(*told) + ("" if there > promised else ": the file is cut off")
    pieces, last = [head] if head else [], start if head else 0
    for position, content in sorted(patches.items()):
        pieces += [(begin + last, begin + position), content]
        last = position + len(content)
    pieces.append((begin + last, begin + (start + there if head or there <= 0 else stop)))
    return [Part(tuple(pieces), there / rate if rate else None, False, remark, 0.001, None, gain)], begin + stop


def _chunks(read, position, size, form, last, pad=2):
    """Return {tag: (first byte of the content, size that is promised)} of the chunks up to the last; {} if it lacks."""
    found = {}
    for _ in range(_MAX_CHUNKS):
        head = read(position, form.size)
        if len(head) < form.size:
            break
        tag, length = form.unpack(head)
        length -= 24 * (form.size == 24)  # that of W64 counts its header
        found[tag] = position + form.size, length
        if tag == last:
            return found
        position += form.size + max(0, length)
        if position % pad and read(position, 4) not in (b"data", b"fmt ", b"LIST", b"fact"):  # else it lacks its pad
            position += -position % pad
    return {}


def _there(read, size, start, promised, form, pad=2):
    """Return the bytes of samples from `start` on, and where the chunks behind them end.

    There are those that are promised, if the end of the file, other chunks, another file or tags follow them, or zeros
    alone; otherwise all that is there.
    """
    place, length = start + promised, promised
    if promised < 0 or promised > size - start:
        return size - start, size
    for _ in range(_MAX_CHUNKS):
        for padded in (place + -length % pad, place):  # many writers leave out the byte that pads odd sizes
            if ends(read, size, padded):
                return promised, min(padded, size)
            tag, following = form.unpack(read(padded, form.size))
            following -= 24 * (form.size == 24)
            if min(tag[:4]) >= 32 and 0 <= following <= size - padded - form.size:
                break
        else:  # a last chunk may be cut off; anything else is sound
            tag, following = form.unpack(read(place + -length % pad, form.size))
            cut = tag[:4].strip().isalnum() and 0 <= following <= size - place + (1 << 24)
            return (promised if cut else size - start), size
        place, length = padded + form.size + following, following
    return promised, place


def _wav(read, size):
    magic = read(0, 4)
    form = struct.Struct(">4sI" if magic == b"RIFX" else "<4sI")
    found = _chunks(read, 12, size, form, b"data")
    place, count = found.get(b"fmt ", (0, 0))
    fmt = read(place, min(count, 1 << 16))
    if len(fmt) < 16:
        return None
    start, length = found[b"data"]
    promised = -1 if length >= UNKNOWN and length > size - start else length
    if length == 0xFFFFFFFF and b"ds64" in found:
        promised = max(-1, *struct.unpack("<q", read(found[b"ds64"][0] + 8, 8)))
    there, stop = _there(read, size, start, promised, form)
    wide, gain = _in_containers(read, start, fmt, form.format[0])
    new = there > promised or magic == b"BW64" or wide != fmt or start % 2
    head = _wav_head(magic, form, wide, there) if new else b""
    return _Extent(start, promised, there, _plain_rate(fmt, form.format[0]), stop, head, gain=gain)


def _in_containers(read, start, fmt, order):
    """Return a format chunk whose samples are as wide as what holds them, and the gain that makes their scale right.

    They should lie in the upper bits, with zeros below; some writers put them into the lower ones.
    """
    tag, channels, _, _, block, bits = struct.unpack_from(order + "HHIIHH", fmt)
    if tag == 0xFFFE and len(fmt) >= 26:
        (tag,) = struct.unpack_from(order + "H", fmt, 24)
    used, width = -(-bits // 8), block // max(1, channels)
    if tag not in (1, 3) or bits <= 8 or not used < width <= 8 or width * channels != block:
        return fmt, 1.0
    samples, order = read(start, width << 14), "little" if order == "<" else "big"
    words = [int.from_bytes(samples[i : i + width], order, signed=True) for i in range(0, len(samples), width)]
    gain = 2.0 ** (8 * width - bits) if any(word & (1 << 8 * (width - used)) - 1 for word in words) else 1.0
    if tag == 3 or width > 4 or gain > 1 and max(map(abs, words)) > 1 << bits - 1:
        expected = f"expected {bits} bits in the upper or lower part of {width} bytes, found them elsewhere"
        raise EdgeL3Error(f"{expected}; convert it, for example: ffmpeg -i X Y.wav", kind="not audio")
    return fmt[:14] + (8 * width).to_bytes(2, order) + fmt[16:], gain


def _plain_rate(fmt, order):
    """Return the bytes of a second, from the format chunk of a WAV; 0 for compressed sound, of which it says little."""
    tag, _, sr, _, block = struct.unpack_from(order + "HHIIH", fmt)
    return sr * block if tag in (1, 3, 6, 7, 0xFFFE) else 0


def _wav_head(magic, form, fmt, there):
    """Return a header for so many bytes of samples, RF64 where they are more than 32 bits can count."""
    chunks = form.pack(b"fmt ", len(fmt)) + fmt + bytes(len(fmt) % 2)
    if there < 0xFFFFFF00:
        total = 4 + len(chunks) + 8 + there
        return form.pack(b"RIFX" if magic == b"RIFX" else b"RIFF", total) + b"WAVE" + chunks + form.pack(b"data", there)
    block = max(1, struct.unpack_from("<H", fmt, 12)[0])
    long = form.pack(b"ds64", 28) + struct.pack("<qqqI", there + 72 + len(chunks), there, there // block, 0)
    return form.pack(b"RF64", 0xFFFFFFFF) + b"WAVE" + long + chunks + form.pack(b"data", 0xFFFFFFFF)


def _w64(read, size):
    form = struct.Struct("<16sq")
    found = _chunks(read, 40, size, form, b"data" + _W64_OTHER, 8)
    if not found:
        return None
    start, length = found[b"data" + _W64_OTHER]
    rate = _plain_rate(read(found.get(b"fmt " + _W64_OTHER, (0, 0))[0], 16), "<")
    promised = length if 0 <= length < 1 << 60 else -1
    there, stop = _there(read, size, start, promised, form, 8)
    patches = {start - 8: struct.pack("<q", there + 24)} if there > promised else {}
    return _Extent(start, promised, there, rate, stop, b"", patches)


def _aiff(read, size):
    form, comm, block, rate = struct.Struct(">4sI"), None, 0, 0
    found = _chunks(read, 12, size, form, b"SSND")
    if not found:
        return None
    start, length = found[b"SSND"]
    if b"COMM" in found:
        comm, known = found[b"COMM"]
        channels, _, bits = struct.unpack(">hIh", read(comm, 8))
        plain = known < 22 or read(comm + 18, 4) in _PLAIN
        block, rate = channels * -(-bits // 8) if plain else 0, _extended_float(read(comm + 8, 10))
    samples = start + 8 + min(length, struct.unpack(">I", read(start, 4).ljust(4, b"\0"))[0])
    length -= samples - start - 8
    promised = length - 8 if 8 <= length < UNKNOWN or 8 <= length <= size - start else -1
    there, stop = _there(read, size, samples, promised, form)
    if there <= promised or comm is None:
        return _Extent(samples, promised, there, rate * block, stop)
    there = min(there, 0xFFFFFF00)
    patches = {start - 4: struct.pack(">I", there + samples - start)}
    if block > 0:
        patches[comm + 2] = struct.pack(">I", there // block)
    return _Extent(samples, promised, there, rate * block, stop, b"", patches)


def _extended_float(number):
    """Return an 80-bit floating-point number, as AIFF holds its rate."""
    exponent, mantissa = struct.unpack(">HQ", number.ljust(10, b"\0"))
    return float(mantissa) * 2.0 ** ((exponent & 0x7FFF) - 16446) if exponent & 0x7FFF < 16500 else 0.0


def _caf(read, size):
    form = struct.Struct(">4sq")
    found = _chunks(read, 8, size, form, b"data", 1)
    if not found:
        return None
    start, length = found[b"data"]
    sr, _, _, packet, frames = struct.unpack(">d4sIII", read(20, 24))
    rate = sr * packet if frames == 1 and 0 < sr < 1e7 else 0.0
    promised = length if length >= 4 else -1
    there, stop = _there(read, size, start, promised, form, 1)
    patches = {start - 8: struct.pack(">q", there)} if there != promised else {}
    return _Extent(start + 4, promised - 4 if promised > 0 else -1, there - 4, rate, stop, b"", patches)


def _au(read, size):
    head = read(0, 24)
    order = ">" if head[:4] == b".snd" else "<"
    start, length, encoding, sr, channels = struct.unpack_from(order + "5I", head, 4)
    width = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}.get(encoding, 0)
    there, promised, stop = max(0, size - start), -1 if length >= UNKNOWN else length, size
    if 0 <= promised < there and ends(read, size, start + promised):
        there, stop = promised, start + promised
    patches = {8: b"\xff" * 4} if there > promised >= 0 else {}
    return _Extent(start, promised, there, float(sr * width * channels), stop, b"", patches)
