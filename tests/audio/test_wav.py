"""Reading WAV without soundfile gives the samples that soundfile gives, or an `EdgeL3Error`."""

import io
import os
import struct
import sys
import warnings

import mutants
import numpy as np
import pytest
import soundfile

from edgel3_np import EdgeL3Error, embed
from edgel3_np.audio import reading
from edgel3_np.audio.reading import BLOCK_SAMPLES, open_audio

SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")


def read(source):
    with open_audio(source) as (rate, blocks):
        return rate, np.concatenate([np.zeros(0), *blocks])


def without(monkeypatch, source):
    """Read a recording as if soundfile were not installed: (rate, samples)."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "soundfile", None)
        return read(source)


def write(subtype="PCM_16", channels=1, frames=300, format="WAV", rate=22050):
    """Write a WAV file with libsndfile, with the extreme values among its samples; return its bytes."""
    sound = np.random.default_rng(channels).uniform(-1, 1, (frames, channels))
    sound[:3] = np.array([-1, 1, 0])[: min(3, frames), np.newaxis]
    soundfile.write(file := io.BytesIO(), sound, rate, format=format, subtype=subtype)
    return file.getvalue()


def chunk(mark, content):
    return mark + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def riff(*chunks):
    content = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def form(tag=1, channels=1, rate=8000, bits=16, step=None, more=b""):
    step = channels * bits // 8 if step is None else step
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * step % 2**32, step, bits) + more)


SAMPLES = chunk(b"data", struct.pack("<4h", 0, 16384, -32768, 32767))
GUID = bytes.fromhex("000000001000800000aa00389b71")
VALUES = [0, 0.5, -1, 32767 / 32768]


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 255])
@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_the_samples_equal_those_of_soundfile(monkeypatch, subtype, format, channels):
    content = write(subtype, channels, BLOCK_SAMPLES // channels + 1001, format)  # more than a block
    rate, mono = read(content)
    found_rate, found = without(monkeypatch, content)
    assert found_rate == rate == 22050 and len(found) == BLOCK_SAMPLES // channels + 1001
    assert found.tobytes() == mono.tobytes()
    if channels == 1:
        assert found.tobytes() == soundfile.read(io.BytesIO(content))[0].tobytes()


@pytest.mark.filterwarnings("ignore::edgel3_np.EdgeL3Warning")  # most of the noise is above the model's band
def test_the_embedding_equals_that_with_soundfile(monkeypatch, tmp_path, small_model):
    path = tmp_path / "a.wav"
    path.write_bytes(write("PCM_24", 2, 50000))
    expected = embed(path, model=small_model).embedding.tobytes()
    monkeypatch.setattr(reading, "WAV_ONLY", True)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert embed(path, model=small_model).embedding.tobytes() == expected


class Slow(io.BytesIO):
    """A file that returns few bytes at a time, and records the largest number that is asked for."""

    most = 0

    def read(self, size=-1):
        self.most = max(self.most, size)
        return super().read(min(size, 1013))


@pytest.mark.parametrize("give", [bytes, bytearray, memoryview, io.BytesIO, Slow])
def test_every_way_to_give_a_file(monkeypatch, tmp_path, give):
    content = write("PCM_24", 2, 5000)
    (tmp_path / "a.wav").write_bytes(content)
    expected = without(monkeypatch, str(tmp_path / "a.wav"))[1]
    assert len(expected) == 5000 and without(monkeypatch, give(content))[1].tobytes() == expected.tobytes()
    with open(tmp_path / "a.wav", "rb", buffering=0) as file:
        assert without(monkeypatch, file)[1].tobytes() == expected.tobytes()
        assert not file.closed


@pytest.mark.parametrize(
    "chunks",
    [
        (chunk(b"LIST", b"abc"), form(), chunk(b"junk", b"d"), SAMPLES, chunk(b"LIST", b"efgh")),
        (form(), chunk(b"fact", bytes(4)), SAMPLES + b"trailing"),
        (form(more=b"\0\0"), SAMPLES),
        (form(0xFFFE, more=struct.pack("<HHIH", 22, 16, 4, 1) + GUID), SAMPLES),
        (form(), b"data" + struct.pack("<I", 2**32 - 1) + SAMPLES[8:]),
        (form(), b"data" + struct.pack("<I", 8) + SAMPLES[8:] + b"\1"),
        (form(bits=16, more=bytes(1000)), SAMPLES),
    ],
    ids=["odd chunks", "trailing", "empty extension", "extensible", "size unknown", "half a frame", "long format"],
)
def test_other_chunks_and_unusual_headers(monkeypatch, chunks):
    content = riff(*chunks)
    assert without(monkeypatch, content)[1].tolist() == VALUES
    assert read(content)[1].tolist() == VALUES


def test_a_file_that_was_never_closed(monkeypatch):
    """The sizes in its header are still those of an empty file."""
    content = b"RIFF" + struct.pack("<I", 8) + b"WAVE" + form() + b"data" + bytes(4) + 10 * SAMPLES[8:]
    assert without(monkeypatch, content)[1].tolist() == read(content)[1].tolist() == 10 * VALUES
    assert len(without(monkeypatch, riff(form(), chunk(b"data", b"")))[1]) == 0


def test_a_file_that_is_cut_short_gives_its_whole_frames(monkeypatch):
    content = write("PCM_24", 2, 20)
    whole, lengths = without(monkeypatch, content)[1], []
    for end in range(len(content)):
        try:
            found = without(monkeypatch, content[:end])[1]
        except EdgeL3Error as error:
            assert error.kind == ("not audio" if end else "empty") and end < 44
        else:
            assert found.tobytes() == whole[: len(found)].tobytes()
            lengths.append(len(found))
    assert lengths == [max(0, end - 44) // 6 for end in range(44, len(content))]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the file has 0 bytes"),
        (b"\1", "expected a WAV file.*pip install soundfile"),
        (b"fLaC" + bytes(100), "found b'fLaC'.*soundfile is not installed: only WAV can be read"),
        (b"RIFX" + riff(form(), SAMPLES)[4:], "expected a WAV file"),
        (b"RIFF", "expected a WAV file"),
        (riff(), "the end of the file"),
        (riff(form()), "expected a chunk of samples.*the end"),
        (riff(form()) + b"data", "the end"),
        (riff(SAMPLES, form()), "format chunk.*found 0"),
        (riff(chunk(b"fmt ", bytes(15)), SAMPLES), "format chunk.*found 15"),
        (riff(chunk(b"fmt ", bytes(16)), SAMPLES), "format 0, 0 bits"),
        (riff(form(channels=0), SAMPLES), "frames of 0 x 16"),
        (riff(form(channels=1025), SAMPLES), "1 to 1024 channels, found 1025"),
        (riff(form(step=3), SAMPLES), "expected 16 bits in .* of 3 bytes, found .*ffmpeg"),
        (riff(form(step=1), SAMPLES), "frames of 1 x 16 bits, found 1 bytes a frame; soundfile is not installed"),
        (riff(form(rate=0), SAMPLES), "sampling rate"),
        (riff(form(rate=2**32 - 1), SAMPLES), "sampling rate"),
        (riff(form(bits=12, step=2), SAMPLES), "format 1, 12 bits; soundfile"),
        (riff(form(tag=3), SAMPLES), "format 3, 16 bits"),
        (riff(form(tag=7, bits=8), SAMPLES), "format 7, 8 bits; soundfile is not installed"),
        (riff(form(0xFFFE, more=struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)), SAMPLES), "format 65534"),
        (riff(form(0xFFFE), SAMPLES), "format 65534"),
        (riff(form(), b"junk" + b"\xff" * 4 + SAMPLES), "the end of the file"),
        (riff(*[chunk(b"junk", b"")] * 2000, form(), SAMPLES), "within 1000 chunks"),
        (riff(form(tag=3, bits=32), chunk(b"data", struct.pack("<2f", 0, np.nan))), "finite samples.*0.000125 s"),
        (riff(form(tag=3, bits=32), chunk(b"data", b"\1\0\xa0\x7f")), "finite samples"),  # a signalling NaN
    ],
)
def test_files_that_are_refused(monkeypatch, content, message):
    with pytest.raises(EdgeL3Error, match=message):
        without(monkeypatch, content)


def test_wav_only_never_asks_for_soundfile(monkeypatch):
    monkeypatch.setattr(reading, "WAV_ONLY", True)
    assert read(riff(form(), SAMPLES))[1].tolist() == VALUES
    with pytest.raises(EdgeL3Error, match="this copy of edgel3_np reads WAV only") as caught:
        read(b"fLaC")
    assert "pip" not in str(caught.value)


def test_soundfile_without_its_library(monkeypatch, tmp_path):
    (tmp_path / "soundfile.py").write_text("raise OSError('sndfile library not found')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "soundfile")
    assert read(riff(form(), SAMPLES))[1].tolist() == VALUES


@pytest.mark.parametrize("size", [2**31, 2**32 - 1])
def test_memory_is_bounded_whatever_a_header_says(monkeypatch, size):
    file = Slow(riff(form(tag=3, bits=64, channels=1024), b"data" + struct.pack("<I", size) + bytes(3 * 8192)))
    assert len(without(monkeypatch, file)[1]) == 3
    assert 0 < file.most <= 8 * BLOCK_SAMPLES
    file = Slow(riff(b"fmt " + struct.pack("<I", size), SAMPLES))
    with pytest.raises(EdgeL3Error):
        without(monkeypatch, file)
    assert file.most <= 1 << 20  # a survey looks for frames of MPEG in it


@pytest.mark.parametrize("when", [0, 20, 68], ids=["start", "format", "samples"])
def test_a_file_that_cannot_be_read(monkeypatch, when):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if size and self.tell() <= when < self.tell() + size:
                raise OSError("bad sector")
            return super().read(size)

    content = riff(form(more=bytes(24)), b"data" + b"\xff" * 4 + SAMPLES)
    assert content.index(SAMPLES) == 68
    with pytest.raises(EdgeL3Error, match="bad sector"):
        without(monkeypatch, Broken(content))


def test_mutants(monkeypatch):
    """Samples of mutants that soundfile also reads are the same; only `EdgeL3Error` is raised, and nothing warns."""
    both = ours = refused = 0
    monkeypatch.setattr(reading, "WAV_ONLY", True)
    for number in range(600):
        content = mutants.mutant(1, "WAV", number)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                rate, found = read(content)
        except EdgeL3Error:
            refused += 1
            continue
        with monkeypatch.context() as patch:
            patch.setattr(reading, "WAV_ONLY", False)
            try:
                expected_rate, expected = read(content)
            except EdgeL3Error:  # for example, libsndfile also reads chunks after the samples
                ours += 1
                continue
        assert (rate, found.tobytes()) == (expected_rate, expected.tobytes()), number
        both += 1
    assert both > 60 and refused > 200 and ours < both / 5


def test_no_descriptor_is_left_open(monkeypatch, tmp_path):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("descriptors cannot be counted here")
    (tmp_path / "a.wav").write_bytes(riff(form(), SAMPLES))
    (tmp_path / "b.wav").write_bytes(riff(form(tag=2), SAMPLES))
    before = len(os.listdir("/proc/self/fd"))
    without(monkeypatch, tmp_path / "a.wav")
    with pytest.raises(EdgeL3Error):
        without(monkeypatch, tmp_path / "b.wav")
    assert len(os.listdir("/proc/self/fd")) == before
