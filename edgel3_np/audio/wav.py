"""Read WAV files without soundfile: the samples are the same, bit for bit.

The reader takes PCM of 8, 16, 24 and 32 bits and floats of 32 and 64 bits, little-endian, plain or
WAVE_FORMAT_EXTENSIBLE, with any number of channels. (The standard library's `wave` reads neither floats nor, before
Python 3.12, the extensible form.) It reads a file that is cut short, or was never closed, as far as it goes, as
libsndfile does.
"""

import struct

import numpy as np

from ..errors import EdgeL3Error

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_DTYPES = {
    (_PCM, 8): "u1",
    (_PCM, 16): "<i2",
    (_PCM, 24): "<i4",  # the sample is in the upper three bytes
    (_PCM, 32): "<i4",
    (_FLOAT, 32): "<f4",
    (_FLOAT, 64): "<f8",
}
_GUID = bytes.fromhex("000000001000800000aa00389b71")  # follows the number of a subformat
_MAX_CHUNKS = 1000  # before the samples; real files have a handful


class WavFile:
    """A WAV file open for reading: the part of `soundfile.SoundFile` that `reading` needs.

    Parameters
    ----------
    file : Pieces
        Its `read` returns all that is asked for, or all there is.
    name : str
        What messages call it.
    hint : str
        What the message adds if the file has another format.

    Raises
    ------
    EdgeL3Error
        The file is not WAV, or its samples are of another kind.
    """

    def __init__(self, file, name, hint):
        self._file, self._name, self._hint = file, name, hint
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise self._error("a WAV file", f"{head[:4]!r} at its start; {hint}")
        form = b""
        for _ in range(_MAX_CHUNKS):
            chunk = file.read(8)
            if len(chunk) < 8:
                raise self._error("a chunk of samples ('data')", "the end of the file")
            tag, size = struct.unpack("<4sI", chunk)
            if tag == b"data":
                break
            taken = b""
            if tag == b"fmt ":
                form = taken = file.read(min(size, 40))
            file.seek(size + size % 2 - len(taken), 1)
        else:
            raise self._error(f"samples within {_MAX_CHUNKS} chunks", "more of other chunks")
        self.samplerate, self.channels, self._dtype, self._bytes = self._parse(form)
        self.step = self._bytes * self.channels  # bytes of a frame
        self.promised = size  # bytes of samples, as the header says
        self.frames = size // self.step
        self._left = self.frames  # frames that the header promises and are not read yet

    def _parse(self, form):
        """Return rate, channels, dtype and bytes of a sample, from the format chunk."""
        if len(form) < 16:
            raise self._error("a format chunk ('fmt ') of 16 bytes or more before the samples", f"{len(form)}")
        tag, channels, rate, _, step, bits = struct.unpack_from("<HHIIHH", form)
        if tag == _EXTENSIBLE and form[26:40] == _GUID:
            (tag,) = struct.unpack_from("<H", form, 24)
        if (tag, bits) not in _DTYPES:
            raise self._error(
                "PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64", f"format {tag}, {bits} bits; {self._hint}"
            )
        if channels == 0 or step != channels * bits // 8:
            raise self._error(f"frames of {channels} x {bits} bits", f"{step} bytes a frame; {self._hint}")
        return rate, channels, _DTYPES[tag, bits], bits // 8

    def _error(self, expected, found):
        return EdgeL3Error(f"{self._name}: expected {expected}, found {found}", kind="not audio")

    extra_info = ""

    def close(self):
        """Do nothing: the file stays open."""

    def read(self, frames, **_):
        """Return the next `frames` frames, or those that are left: (m, channels), integers or floats as stored."""
        content = self._file.read(min(frames, self._left) * self.step)
        count = len(content) // self.step  # an incomplete last frame is dropped
        self._left = self._left - count if count == min(frames, self._left) else 0
        return self.decode(content[: count * self.step])

    def decode(self, content):
        """Return the frames in bytes of the file, a whole number of frames: (m, channels), integers or floats."""
        content = np.frombuffer(content, np.uint8)
        if self._bytes == 3:
            wide = np.zeros((len(content) // 3, 4), np.uint8)
            wide[:, 1:] = content.reshape(-1, 3)
            content = wide.reshape(-1)
        return content.view(self._dtype).reshape(-1, self.channels)
