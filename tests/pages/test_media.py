import io
import struct
import zlib

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error
from edgel3_np.pages import media
from edgel3_np.pages.media import COLOURS, HEIGHT, WIDTH, draw_spectrogram, encode_clip


def decode_png(content):
    """Return the indices and the palette of a PNG with a palette and no filters."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        name, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack(">I", content[place + 8 + length : place + 12 + length])
        assert checksum == zlib.crc32(name + data)
        chunks[name], place = data, place + 12 + length
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">2I5B", chunks[b"IHDR"])
    assert rest == [8, 3, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:], np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(256, 3)


@pytest.mark.parametrize("sr", [8000, 44100])
def test_a_tone_is_a_line_at_its_place_and_its_time(sr):
    hertz, t = 1500.0, np.arange(2 * sr) / sr
    image, palette = decode_png(draw_spectrogram(np.where(t < 1, np.sin(2 * np.pi * hertz * t), 0.0), sr))
    assert image.shape == (HEIGHT, WIDTH) and image.max() == 255
    assert palette[0].tolist() == list(COLOURS[0]) and palette[255].tolist() == list(COLOURS[-1])
    share = np.log1p(hertz / 700) / np.log1p(sr / 2 / 700)
    brightest = HEIGHT - 1 - image[:, 10 : WIDTH // 2 - 10].argmax(axis=0)
    assert np.abs(brightest - share * (HEIGHT - 1)).max() <= 1
    assert image[:, WIDTH // 2 + 10 :].max() == 0


@given(st.integers(1, 500), st.sampled_from([1, 100, 8000, 384000]), st.sampled_from([0.0, 1e-12, 1.0, 1e30]))
def test_any_sound_has_a_picture(length, sr, level):
    image, _ = decode_png(draw_spectrogram(level * np.cos(np.arange(length)), sr))
    assert image.shape == (HEIGHT, WIDTH)
    assert level or not image.any()


@pytest.mark.parametrize("sr, rate", [(1000, 8000), (8000, 8000), (11025, 11025), (48000, 16000), (384000, 16000)])
def test_a_clip_is_flac_of_at_most_the_highest_rate(sr, rate):
    t = np.arange(sr) / sr
    sound, found = soundfile.read(io.BytesIO(encode_clip(0.5 * np.sin(2 * np.pi * 200 * t), sr, 16000)))
    assert found == rate and len(sound) == rate
    middle = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(sound[middle], 0.5 * np.sin(2 * np.pi * 200 * np.arange(rate) / rate)[middle], atol=0.01)


def test_loud_sound_is_clipped_and_not_wrapped():
    sound, _ = soundfile.read(io.BytesIO(encode_clip(np.array([3.0, -3.0, 0.25]), 8000, 16000)))
    np.testing.assert_allclose(sound, [1.0, -1.0, 0.25], atol=1e-4)


def test_without_soundfile_there_is_no_clip(monkeypatch):
    monkeypatch.setattr(media, "find_soundfile", lambda: None)
    with pytest.raises(EdgeL3Error, match="expected soundfile to write clips, found none; install it"):
        encode_clip(np.zeros(9), 8000, 16000)
