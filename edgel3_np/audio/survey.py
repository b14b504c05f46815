"""Survey a sound file before it is decoded: which bytes hold sound, how much is promised, and what is broken.

Decoders stop in silence where a header says so or a stream ends, although more sound lies behind; and behind a hole
they go on in silence, with wrong times. So the container is read here first. `survey` divides a file into parts that
are decoded one after the other, with sizes that are right. A container that is not known here is one part.
"""

from typing import NamedTuple, Optional

from .chunks import chunked_extent
from .flac import flac_streams
from .mpeg import mpeg_stretches, tag_length, xing_frame
from .ogg import ogg_links
from .pieces import end_of, read_whole

MAX_PARTS = 10_000  # of a file; real ones have a handful
_PROMISE = "the header promises {} of sound, and {} are there: {}"


class Part(NamedTuple):
    """A part of a file that a decoder reads by itself."""

    pieces: Optional[tuple] = None  # for `Pieces`: bytes, and (start, stop) of the file; None: the file as it is
    promised: Optional[float] = None  # seconds that headers promise, None if they do not say
    sound_until: Optional[float] = None  # seconds up to which the file is whole, None if nothing is broken
    remark: str = ""  # what is unusual about it
    slack: float = 0.0  # seconds by which decoders of this format fall short of what headers promise
    known: bool = True  # whether the container was surveyed


WHOLE = Part(known=False)


def survey(file):
    """Divide a sound file into parts.

    Parameters
    ----------
    file : binary file
        It holds the sound from its position on, which does not change.

    Returns
    -------
    parts : list of Part
        One or more, in order.
    """
    origin, size = file.tell(), end_of(file)

    def read(start, count):
        file.seek(origin + start)
        return read_whole(file, count)

    try:
        parts = _survey(read, size - origin)
    finally:
        file.seek(origin)
    if len(parts) == MAX_PARTS:
        parts[-1] = parts[-1]._replace(remark=f"it has more than {MAX_PARTS} parts, and the rest was not read")
    if origin:
        parts = [part._replace(pieces=_moved(part.pieces or ((0, size - origin),), origin)) for part in parts]
    return parts


def _moved(pieces, origin):
    return tuple(piece if isinstance(piece, bytes) else (piece[0] + origin, piece[1] + origin) for piece in pieces)


def _survey(read, size):
    head = read(0, 10)
    if head[:4] == b"OggS":
        return _ogg(read, size) or [WHOLE]
    start = tag_length(head, 0) if head[:3] == b"ID3" else 0
    if read(start, 4) == b"fLaC":
        return _flac(read, size) or [WHOLE]
    return _chunked(read, size) or _mpeg(read, size) or [WHOLE]


def _chunked(read, size):
    """Return the parts of a file made of chunks, behind which others may lie; [] if it is no such file."""
    parts, begin = [], 0
    while len(parts) < MAX_PARTS:
        extent = chunked_extent(lambda start, count: read(begin + start, count), size - begin)  # noqa: B023 used at once
        if extent is None:
            break
        parts.append(_part_of(extent, begin, size))
        begin += extent.next
        if not extent.next:
            break
    return parts


def _part_of(extent, begin, size):
    """Return the part for an `Extent` that begins at a place of the file."""
    start, promised, there, rate, head, patches, following = extent
    stop, remark = following or size - begin, ""
    if promised >= 0 and there != promised:
        told = [f"{count / rate:.3f} s" if rate else f"{count} bytes" for count in (promised, there)]
        more = "all of it was read" if there > promised else "the file is cut off"
        remark = _PROMISE.format(*told, more)
    pieces = [(0, stop)] if begin or following else None
    if head:
        pieces = [head, (start, start + there)]
    elif patches:
        pieces, last = [], 0
        for position, content in sorted(patches.items()):
            pieces += [(last, position), content]
            last = position + len(content)
        pieces.append((last, stop))
    return Part(pieces and _moved(pieces, begin), there / rate if rate else None, None, remark, 0.001)


def _ogg(read, size):
    links = [link for link in ogg_links(read, size, MAX_PARTS) if link.is_audio]
    parts = []
    for number, link in enumerate(links):
        remark = "" if link.ended or link.broken_at >= 0 else "the file is cut off: its stream has no end"
        alone = len(links) == 1 and link.start == 0 and link.ended and link.broken_at < 0
        pieces = None if alone else ((link.start, link.stop),)
        seconds, broken = (value if value >= 0 else None for value in (link.seconds, link.broken_at))
        parts.append(Part(pieces, seconds, broken, remark if number == len(links) - 1 else "", 0.05))
    return parts


def _flac(read, size):
    streams = flac_streams(read, size, MAX_PARTS)
    return [
        Part(None if len(streams) == 1 else ((start, stop),), samples / sr if samples else None)
        for start, stop, samples, sr in streams
    ]


def _mpeg(read, size):
    stretches = [stretch for stretch in mpeg_stretches(read, size, MAX_PARTS) if stretch.frames]
    if not stretches or stretches[0].frames < 2:
        return []
    parts = []
    for stretch in stretches:
        length, missing = stretch.samples / stretch.sr, stretch.promised is None or stretch.promised <= 0
        pieces = None if len(stretches) == 1 else ((stretch.start, stretch.stop),)
        if missing and stretch.varies and stretch.is_layer_3:
            pieces = xing_frame(stretch), (stretch.start, stretch.stop)
        broken = None if stretch.broken_at is None else stretch.broken_at * length
        promised, remark = stretch.frames if missing else stretch.promised, ""
        if stretch.frames < promised:
            told = [f"{count * length:.3f} s" for count in (promised, stretch.frames)]
            remark = _PROMISE.format(*told, "the file is cut off")
        parts.append(Part(pieces, promised * length, broken, remark, 3 * 1152 / stretch.sr))  # encoders add some
    return parts
