"""Tests of reading sound from a binary stream: WAV and samples alone, in pieces, whole and broken."""

import io
import struct

import numpy as np
import pytest
import soundfile

from edgel3_np import EdgeL3Error
from edgel3_np.live.sources import FORMATS, Raw, open_stream


class Pieces:
    """A pipe: each read returns what is there, at most so many bytes, and nothing can be read again."""

    def __init__(self, content, size):
        self._content, self._size = io.BytesIO(content), size

    def read(self, size):
        assert 0 < size <= 1 << 16
        return self._content.read(min(size, self._size))


def heard(content, raw=None, size=1000, name="standard input"):
    """Return rate, samples and notices of a stream."""
    notices = []
    sr, blocks = open_stream(Pieces(content, size), name, raw, notices.append)
    parts = list(blocks)
    assert all(block.lost == 0 and len(block.samples) for block in parts)
    return sr, np.concatenate([block.samples for block in parts]), notices


def wav(samples, sr=16000, subtype="PCM_16", **options):
    file = io.BytesIO()
    soundfile.write(file, samples, sr, format="WAV", subtype=subtype, **options)
    return file.getvalue()


def with_size(content, size):
    """Give a WAV of 44 bytes of header another size of its samples."""
    assert content[36:40] == b"data"
    return content[:40] + struct.pack("<I", size) + content[44:]


@pytest.fixture(scope="module")
def sound():
    return np.round(np.random.default_rng(0).uniform(-1, 1, (5000, 2)) * 32767).astype(np.int16)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 1 << 20])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_without_a_header(sound, size, form, channels):
    x = sound[:, :channels] / 32768
    full = {"s16": 2.0**15, "s32": 2.0**31, "f32": 1.0}[form]
    content = (x * full).astype(FORMATS[form]).tobytes()
    sr, found, notices = heard(content, Raw(22050, channels, form), size)
    assert sr == 22050 and notices == []
    assert np.array_equal(found, x.mean(axis=1))


@pytest.mark.parametrize("size", [1, 5, 1000, 1 << 20])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_the_header_of_a_wav_tells_what_it_is(sound, size, subtype):
    content = wav(sound / 32768, 44100, subtype)
    sr, found, notices = heard(content, Raw(8000, 1, "f32"), size)
    expected, _ = soundfile.read(io.BytesIO(content), always_2d=True)
    assert sr == 44100 and notices == [] and np.array_equal(found, expected.mean(axis=1))


@pytest.mark.parametrize("unknown", [0, 0x7FFF0000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_header_of_unknown_size(sound, unknown):
    """arecord writes 0x80000000, ffmpeg 0xFFFFFFFF."""
    content = with_size(wav(sound), unknown)
    _, found, notices = heard(content, Raw())
    assert np.array_equal(found, sound.mean(axis=1) / 32768) and notices == []


def test_chunks_before_and_behind_the_samples(sound):
    content = wav(sound)
    extra = b"LIST" + struct.pack("<I", 100_001) + bytes(100_002)
    _, found, notices = heard(content[:36] + extra + content[36:] + extra, Raw())
    assert np.array_equal(found, sound.mean(axis=1) / 32768) and notices == []


def test_a_stream_that_ends_within_a_frame(sound):
    content = sound[:, :1].tobytes()
    _, found, notices = heard(content + b"x", Raw())
    assert len(found) == 5000
    assert notices == ["standard input: expected whole frames of 2 bytes, found 1 of the last one; it is left out"]
    _, found, notices = heard(content[:-3], Raw(channels=2))
    assert len(found) == 2499 and "whole frames of 4 bytes, found 1 of" in notices[0]


def test_a_wav_that_is_cut_off(sound):
    _, found, notices = heard(wav(sound)[:-401], Raw())
    assert len(found) == 4899
    assert "expected 20000 bytes of samples, as the header says, found 19599" in notices[0]
    assert "found 3 of the last one" in notices[1]


@pytest.mark.parametrize("count", range(44))
def test_a_header_that_is_cut_off(sound, count):
    content = wav(sound)[:count]
    with pytest.raises(EdgeL3Error, match="standard input: expected") as caught:
        heard(content, Raw() if count >= 4 else None)
    assert caught.value.kind == "not audio"


def test_no_samples(sound):
    for content in (b"", wav(sound)[:44], b"x"):
        with pytest.raises(EdgeL3Error, match="standard input: expected at least one sample, found the end") as caught:
            heard(content, Raw())
        assert caught.value.kind == "empty"


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "AIFF", "AU", "CAF", "RF64"])
def test_other_formats_are_named(sound, kind):
    file = io.BytesIO()
    soundfile.write(file, sound, 16000, format=kind)
    with pytest.raises(EdgeL3Error, match=f"(?i)expected WAV or samples without a header, found {kind}; use arecord"):
        heard(file.getvalue(), Raw())
    with pytest.raises(EdgeL3Error, match="a: expected a WAV file, found .* convert it, for example: ffmpeg"):
        heard(file.getvalue(), None, name="a")


def test_wrong_headers(sound):
    good = wav(sound)
    ulaw = wav(sound, subtype="ULAW")
    slow = good[:24] + struct.pack("<I", 50) + good[28:]
    wide = good[:22] + struct.pack("<H", 2000) + good[24:32] + struct.pack("<H", 4000) + good[34:]
    for content, expected in (
        (ulaw, "expected PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64, found format 7, 8 bits; use arecord -f"),
        (slow, "expected a sampling rate from 100 to 1000000 Hz, found 50"),
        (wide, "expected 1 to 1024 channels, found 2000"),
        (good[:8] + b"AVI " + good[12:], "expected a WAV file"),
    ):
        with pytest.raises(EdgeL3Error, match=f"standard input: {expected}"):
            heard(content, Raw())


def test_samples_that_are_not_finite(sound):
    x = sound[:, 0].astype("<f4") / 32768
    x[3000] = np.nan
    with pytest.raises(EdgeL3Error, match=r"standard input: expected finite samples .* at 0\.187500 s \(sample 3000\)"):
        heard(x.tobytes(), Raw(form="f32"))


def test_a_stream_is_read_as_it_comes(sound):
    """A block is there before the next byte is asked for."""
    content, asked = sound[:, 0].tobytes(), []

    class Slow:
        def read1(self, size):
            asked.append(size)
            return content[100 * len(asked) - 100 : 100 * len(asked)]

        def read(self, size):
            return content[:size]  # the head

    _, blocks = open_stream(Slow(), "standard input", Raw(), print)
    assert len(next(blocks).samples) == 6 and len(asked) == 0
    assert len(next(blocks).samples) == 50 and len(asked) == 1


def test_broken_headers_end_in_samples_or_an_error(sound):
    rng, good = np.random.default_rng(1), wav(sound)
    for _ in range(400):
        content = bytearray(good)
        for place in rng.integers(0, 44, rng.integers(1, 6)):
            content[place] = rng.integers(0, 256)
        try:
            _, found, _ = heard(bytes(content), Raw(), size=1 << 20)
        except EdgeL3Error as error:
            assert str(error).startswith("standard input: expected")
        else:
            assert np.isfinite(found).all()
