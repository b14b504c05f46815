"""Survey a sound file before it is decoded: which bytes hold sound, how much is promised, and what is broken.

Decoders stop in silence where a header says so or a stream ends, although more sound lies behind; and behind a hole
they go on in silence, with wrong times. So the container is read here first. `survey` divides a file into parts that
are decoded one after the other, with sizes that are right. A container that is not known here is one part.
"""

import re
from itertools import islice

from .._foreign import describe
from .chunks import chunked_parts
from .flac import flac_parts
from .kinds import TAIL, kind_at, skip, tag_length
from .mpeg import mpeg_parts
from .ogg import ogg_parts
from .pieces import Part

MAX_PARTS, MAX_GAPS = 10_000, 100  # of a file; real ones have a handful, and hardly a byte of no kind between them
_JUNK = 1 << 16  # bytes in which another file is looked for
WHOLE = Part(known=False)
_SURVEYS = {"ogg": ogg_parts, "flac": flac_parts, "mpeg": mpeg_parts}  # the others are made of chunks
_BEGINNING = re.compile(rb"RIF[FX]|RF64|BW64|riff|FORM|caff|OggS|fLaC|\xff[\xe2-\xff]")


def survey(read, size):
    """Divide a sound file into parts.

    Parameters
    ----------
    read : callable, (start, count) -> bytes
        Reads from a position of the file, whose content does not change.
    size : int
        Bytes of the file.

    Returns
    -------
    parts : list of Part
        One or more, in order.
    """
    parts, stop, gaps = [], 0, 0
    head = read(0, 10)
    first = tag_length(head) if head[:3] == b"ID3" and head[5:6] < b"\x10" else 0
    while stop < size and len(parts) < MAX_PARTS:
        begin = place = skip(read, size, stop)
        kind = kind_at(read, begin)
        if not kind and gaps < MAX_GAPS:
            gaps += 1
            begin, kind = _behind_junk(read, place)
        if kind == "mpeg" and begin == first:  # decoders know one tag before it, without a footer
            begin = 0
        found, behind = _SURVEYS.get(kind, chunked_parts)(read, size, begin) if kind else ([], begin)
        if behind == begin:
            break
        number = max(0, len(parts) - 1)  # of the part before bytes of no kind, or else behind them
        parts += found
        parts[number : number + 1] = [_with_rest(part, begin - place) for part in parts[number : number + 1]]
        stop = behind
    if not parts:
        return [WHOLE]
    rest = size - skip(read, size, stop)
    if len(parts) == MAX_PARTS and rest:
        parts[-1] = parts[-1]._replace(remark=f"it has more than {MAX_PARTS} parts, and the rest was not read")
    parts[-1] = _with_rest(parts[-1], rest)
    greedy = read(0, 4) in (b"fLaC", b"riff")  # their decoders take what is behind their ends
    if len(parts) == 1 and parts[0].pieces == ((0, stop),) and (stop == size or rest < TAIL and not greedy):
        return [parts[0]._replace(pieces=None)]  # decoders read the file as it is
    return parts


def _with_rest(part, count):
    """Return a part with a remark on so many bytes behind it, or before it, if it has none."""
    text = f"{count} bytes beside its sound are of no kind that is known, and were not read"
    return part if count < TAIL or part.remark else part._replace(remark=text)


def _behind_junk(read, place):
    """Return where a sound file begins within some kilobytes, and its kind, "" if none does."""
    head = read(place, _JUNK)
    for found in islice(() if describe(head[:64].ljust(64, b"\0")) else _BEGINNING.finditer(head), _JUNK >> 5):
        kind = kind_at(read, place + found.start())
        if kind:
            return place + found.start(), kind
    return place, ""
