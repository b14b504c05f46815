"""Read sound from a binary stream, such as standard input: WAV, or samples without a header."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..audio.chunks import UNKNOWN
from ..audio.samples import MAX_CHANNELS, check_sr, to_mono
from ..audio.wav import WavFile
from ..errors import EdgeL3Error
from .moments import Block

FORMATS = {"s16": "<i2", "s32": "<i4", "f32": "<f4"}  # names of sample formats, all little-endian
READ_BYTES = 1 << 16  # at a time, at most
ENDLESS = -1
_CONTAINERS = {  # four bytes at the start, which samples without a header have by a rare chance only
    b"RIFX": "big-endian WAV",
    b"RF64": "RF64",
    b"BW64": "BW64",
    b"FORM": "AIFF",
    b".snd": "AU",
    b"Crea": "VOC",
    b"caff": "CAF",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3\3": "MP3",
    b"ID3\4": "MP3",
}


class Raw(NamedTuple):
    """What samples without a header are."""

    sr: int = 16000  # Hz
    channels: int = 1
    form: str = "s16"  # one of `FORMATS`


class Source(NamedTuple):
    """Sound that can be read as it arrives."""

    sr: int  # Hz
    blocks: Iterator  # of `Block`


def open_stream(file, name, raw, notice):
    """Begin to read a stream, and tell by its first bytes whether it is WAV or samples alone.

    A WAV header may give no size, as the headers of programs that write to a pipe: then all that comes is sound.

    Parameters
    ----------
    file : binary file
        It is read only, never positioned.
    name : str
        What messages call it.
    raw : Raw or None
        What the samples are if there is no header. None: there must be one.
    notice : callable, str -> None
        Called at the end, if the stream ends within a frame, or before the size that its header gives.

    Returns
    -------
    source : Source

    Raises
    ------
    EdgeL3Error
        The stream is neither, or its header is cut off or has an impossible rate or number of channels. While blocks
        are read: there are no samples, or samples that are not finite.
    """
    head = read_whole(file, 12)
    pipe = _Pipe(head, file)
    if raw is None or head[:4] == b"RIFF":
        if head[:4] == b"RIFF" and len(head) < 12:
            raise EdgeL3Error(f"{name}: expected a WAV header, found {len(head)} bytes of one alone", kind="not audio")
        hint = "use arecord -f S16_LE" if raw else "convert it, for example: ffmpeg -i X Y.wav"
        wav = WavFile(_Header(pipe), name, hint)
        sr, channels, step, decode = wav.samplerate, wav.channels, wav.step, wav.decode
        promised = ENDLESS if wav.promised == 0 or wav.promised >= UNKNOWN else wav.promised
    else:
        if head[:4] in _CONTAINERS:
            found = f"{_CONTAINERS[head[:4]]}; use arecord -t raw, or convert it: ffmpeg -i X -f wav -"
            raise EdgeL3Error(f"{name}: expected WAV or samples without a header, found {found}", kind="not audio")
        sr, channels, promised, dtype = raw.sr, raw.channels, ENDLESS, np.dtype(FORMATS[raw.form])
        step = dtype.itemsize * channels

        def decode(content):
            return np.frombuffer(content, dtype).reshape(-1, channels)

    sr = check_sr(sr, name)
    if channels > MAX_CHANNELS:
        raise EdgeL3Error(f"{name}: expected 1 to {MAX_CHANNELS} channels, found {channels}", kind="not audio")
    contents = _frames(pipe, name, step, promised, notice)
    return Source(sr, _blocks(contents, name, sr, decode))


def _blocks(contents, name, sr, decode):
    """Yield a `Block` for each piece of content."""
    position = 0
    for content in contents:
        mono = to_mono(decode(content), position, sr, name)
        position += len(mono)
        yield Block(mono)
    if not position:
        found = "found the end of the stream; does the program that records work?"
        raise EdgeL3Error(f"{name}: expected at least one sample, {found}", kind="empty")


def _frames(pipe, name, step, promised, notice):
    """Yield bytes as they come, each time a whole number of frames of `step` bytes."""
    rest, left = b"", promised
    while left:
        content = pipe.read(READ_BYTES if left == ENDLESS else min(left, READ_BYTES))
        if not content:
            break
        left -= 0 if left == ENDLESS else len(content)
        content = rest + content
        whole = len(content) - len(content) % step
        rest = content[whole:]
        if whole:
            yield content[:whole]
    if left > 0:
        found = f"found {promised - left}: the end is missing"
        notice(f"{name}: expected {promised} bytes of samples, as the header says, {found}")
    if rest:
        notice(f"{name}: expected whole frames of {step} bytes, found {len(rest)} of the last one; it is left out")


def read_whole(file, size):
    """Return `size` bytes, or as many as there are, though one call may return fewer."""
    content = file.read(size)
    while 0 < len(content) < size:
        more = file.read(size - len(content))
        if not more:
            break
        content += more
    return content


class _Header:
    """A stream whose header is read: each read returns all that is asked for."""

    def __init__(self, pipe):
        self._pipe, self.seek = pipe, pipe.seek

    def read(self, size):
        """Return `size` bytes, or as many as there are."""
        return read_whole(self._pipe, size)


class _Pipe:
    """A stream some of whose bytes were read already; a seek forward reads on."""

    def __init__(self, head, file):
        self._head, self._read = head, getattr(file, "read1", file.read)  # read1 waits for one byte, not for all

    def read(self, size):
        """Return up to `size` bytes, those that are there; none at the end."""
        content, self._head = self._head[:size], self._head[size:]
        return content or self._read(size)

    def seek(self, offset, _):
        """Go forward."""
        while offset > 0:
            content = self.read(min(offset, READ_BYTES))
            offset = offset - len(content) if content else 0
