"""Find the FLAC streams of a file: several may lie one behind the other (format: xiph.org/flac, RFC 9639)."""

from typing import NamedTuple

_CHUNK, MAX_MISSES = 1 << 22, 100_000  # bytes that are read at a time; places that only look like a beginning


class FlacStream(NamedTuple):
    """A FLAC stream."""

    start: int  # first byte
    stop: int  # byte behind the last one
    samples: int  # that its header promises, 0 if it does not say
    sr: int  # Hz


def flac_streams(read, size, most):
    """Return the FLAC streams of a file, in order.

    Parameters
    ----------
    read : callable, (start, count) -> bytes
    size : int
        Bytes of the file.
    most : int > 0
        Streams to return at most.

    Returns
    -------
    streams : list of FlacStream
        A stream begins where a valid STREAMINFO block follows its four letters.
    """
    starts, begin, overlap, misses = [], 0, 42, 0
    while begin < size and len(starts) <= most:
        content = read(begin, _CHUNK + overlap)
        found = content.find(b"fLaC")
        while 0 <= found < _CHUNK:
            described = _stream_info(content[found : found + overlap])
            if described:
                starts.append((begin + found, *described))
            misses += not described
            if misses > MAX_MISSES:
                return []
            found = content.find(b"fLaC", found + 1)
        begin += _CHUNK
    stops = [start for start, _, _ in starts[1:]] + [size]
    streams = [FlacStream(start, stop, samples, sr) for (start, samples, sr), stop in zip(starts, stops)]
    return streams[:most]


def _stream_info(head):
    """Return (samples, rate) of the STREAMINFO block that begins a stream, or None."""
    if len(head) < 42 or head[4] & 0x7F or head[5:8] != b"\0\0\x22":
        return None
    shortest, longest = int.from_bytes(head[8:10], "big"), int.from_bytes(head[10:12], "big")
    word = int.from_bytes(head[18:26], "big")
    sr, samples = word >> 44, word & (1 << 36) - 1
    return (samples, sr) if 16 <= shortest <= longest and 0 < sr <= 655350 else None
