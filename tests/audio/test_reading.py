import contextlib
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error
from edgel3_np.audio import reading
from edgel3_np.audio.reading import BLOCK_SAMPLES, open_audio
from edgel3_np.audio.samples import MAX_SR, check_sr


def read(audio, sr=None):
    with open_audio(audio, sr) as (rate, blocks):
        parts = list(blocks)
    assert all(part.dtype == np.float64 and part.ndim == 1 for part in parts)
    return rate, np.concatenate(parts) if parts else np.zeros(0)


@pytest.fixture(scope="module")
def stereo_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "stereo.wav"
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (30000, 2)).astype(np.int16)
    soundfile.write(path, samples, 22050, subtype="PCM_16")
    return path, samples.astype(np.float64).mean(axis=1) / 2**15


GIVEN = ["str", "path", "file", "bytes", "bytearray", "memoryview", "BytesIO", "bytes path", "np.str_"]


@pytest.mark.parametrize("give", GIVEN)
def test_every_way_to_give_a_file(stereo_file, give):
    path, expected = stereo_file
    content = path.read_bytes()
    with open(path, "rb") as file:
        audio = {
            "str": str(path),
            "np.str_": np.str_(path),
            "path": path,
            "file": file,
            "bytes": content,
            "bytearray": bytearray(content),
            "memoryview": memoryview(content),
            "BytesIO": io.BytesIO(content),
            "bytes path": None,
        }[give]
        if give == "bytes path":  # os.PathLike whose path is bytes

            class BytesPath:
                def __fspath__(self):
                    return os.fsencode(path)

            audio = BytesPath()
        sr, mono = read(audio)
    assert sr == 22050
    np.testing.assert_array_equal(mono, expected)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "AIFF", "AU", "CAF", "W64", "RF64", "OGG", "MP3"])
def test_containers(tmp_path, kind):
    if kind not in soundfile.available_formats():
        pytest.skip(f"this libsndfile has no {kind}")
    path = tmp_path / f"sound.{kind.lower()}"
    sound = 0.5 * np.sin(np.arange(44100) / 20)
    soundfile.write(path, sound, 44100, format=kind)
    sr, mono = read(path)
    assert sr == 44100
    assert abs(len(mono) - len(sound)) < 3000  # MP3 pads the signal
    n = min(len(mono), len(sound))
    if kind != "MP3":
        assert np.abs(mono[:n] - sound[:n]).max() < 0.02  # OGG is lossy, PCM rounds


@pytest.mark.skipif(os.name != "posix", reason="elsewhere libsndfile opens the path itself")
def test_files_are_read_without_callbacks(stereo_file, monkeypatch):
    """If a callback raises, for example after Ctrl-C, the exception is lost and the file seems to end there."""
    monkeypatch.delattr(soundfile.SoundFile, "_init_virtual_io")
    descriptors = len(os.listdir("/dev/fd"))
    path, expected = stereo_file
    np.testing.assert_array_equal(read(path)[1], expected)
    assert len(os.listdir("/dev/fd")) == descriptors


def test_a_file_of_many_blocks_is_whole(tmp_path):
    path = tmp_path / "long.wav"
    sound = np.random.default_rng(0).standard_normal((BLOCK_SAMPLES, 3)) * 0.1
    soundfile.write(path, sound, 48000, subtype="DOUBLE")
    with open_audio(path) as (_, blocks):
        parts = list(blocks)
    assert len(parts) > 2
    np.testing.assert_allclose(np.concatenate(parts), sound.mean(axis=1), rtol=0, atol=1e-16)


@pytest.mark.parametrize(
    "dtype, low, high", [("i1", -128, 127), ("i2", -(2**15), 2**15 - 1), ("i4", -(2**31), 2**31 - 1)]
)
def test_signed_integers_are_scaled_by_full_scale(dtype, low, high):
    _, mono = read(np.array([low, 0, high], dtype), 8000)
    np.testing.assert_array_equal(mono, [-1.0, 0.0, high / -low])


def test_unsigned_integers_are_centred():
    _, mono = read(np.array([0, 128, 255], np.uint8), 8000)
    np.testing.assert_array_equal(mono, [-1.0, 0.0, 127 / 128])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "g"])
def test_floats_are_taken_as_they_are(dtype):
    samples = np.array([[0.5, -1.0], [2.0, 4.0]], dtype)
    _, mono = read(samples, 8000)
    np.testing.assert_array_equal(mono, [-0.25, 3.0])


def test_int16_array_equals_the_file_it_came_from(stereo_file):
    path, expected = stereo_file
    samples, sr = soundfile.read(path, dtype="int16")
    np.testing.assert_array_equal(read(samples, sr)[1], expected)


@given(st.integers(1, 5), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_down_mix_is_the_mean(channels, n, seed):
    samples = np.random.default_rng(seed).standard_normal((n, channels))
    _, mono = read(samples, 8000)
    np.testing.assert_allclose(mono, samples.mean(axis=1), rtol=0, atol=1e-15)


def test_views_and_other_layouts_give_the_same_samples():
    samples = np.random.default_rng(0).standard_normal((100, 2))
    expected = read(samples, 8000)[1]
    for other in (np.asfortranarray(samples), np.repeat(samples, 2, axis=0)[::2], samples[::-1][::-1]):
        np.testing.assert_array_equal(read(other, 8000)[1], expected)


@pytest.mark.parametrize(
    "audio, message",
    [
        (np.zeros((2, 3, 4)), "shape"),
        (np.zeros(()), "shape"),
        (np.zeros((5, 0)), "channels"),
        (np.zeros((2, 5000)), "transpose"),
        (np.zeros(5, bool), "bool"),
        (np.zeros(5, complex), "complex"),
        (np.array(["a"]), "dtype"),
        (np.array([None]), "object"),
        ([0.0, 1.0], "list"),
        (None, "NoneType"),
        (3, "int"),
    ],
)
def test_wrong_arrays(audio, message):
    with pytest.raises(EdgeL3Error, match=message):
        read(audio, 8000)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_the_error_about_a_bad_sample_gives_its_time(bad):
    samples = np.zeros((BLOCK_SAMPLES, 2))
    samples[200000, 1] = bad
    with pytest.raises(EdgeL3Error, match=r"at 25\.000000 s \(sample 200000\)"):
        read(samples, 8000)


def test_the_error_about_a_bad_sample_names_the_file(tmp_path):
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0.0, np.nan, 0.0]), 8000, subtype="FLOAT")
    with pytest.raises(EdgeL3Error, match=r"nan\.wav: expected finite samples.*0\.000125 s"):
        read(path)


def test_an_overflow_in_the_down_mix_is_an_error():
    with pytest.raises(EdgeL3Error, match="finite"):
        read(np.full((3, 2), 1.7e308), 8000)


@pytest.mark.parametrize("sr", [0, -1, 1, 99, MAX_SR + 1, 4e9, 44100.5, np.nan, np.inf, "44100", None, True, 1j])
def test_wrong_rates(sr):
    with pytest.raises(EdgeL3Error, match="sr|rate"):
        read(np.zeros(10), sr)


@pytest.mark.parametrize("sr", [44100, 44100.0, np.int32(44100), np.float32(44100)])
def test_right_rates(sr):
    checked = check_sr(sr)
    assert type(checked) is int and checked == 44100


def test_rate_of_a_file_must_agree(stereo_file):
    path, _ = stereo_file
    assert read(path, 22050)[0] == 22050
    with pytest.raises(EdgeL3Error, match="22050"):
        read(path, 44100)


def test_missing_file(tmp_path):
    with pytest.raises(EdgeL3Error, match=r"none\.wav.*No such file"):
        read(tmp_path / "none.wav")


def test_directory(tmp_path):
    with pytest.raises(EdgeL3Error, match="directory"):
        read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_fifo_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo.wav")
    with pytest.raises(EdgeL3Error, match="pipe"):
        read(tmp_path / "fifo.wav")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices here")
def test_device_is_refused():
    with pytest.raises(EdgeL3Error, match="device"):
        read("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no users here")
def test_unreadable_file(tmp_path):
    path = tmp_path / "secret.wav"
    path.write_bytes(b"")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything, so the test reads as the user nobody
        try:
            os.seteuid(65534)
        except OSError:
            pytest.skip("there is no other user in this namespace")
    try:
        with pytest.raises(EdgeL3Error, match="Permission"):
            read(path)
    finally:
        os.seteuid(user)


def test_name_with_a_zero_byte():
    with pytest.raises(EdgeL3Error, match="cannot be read"):
        read("a\0b.wav")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_name_that_is_not_utf8(tmp_path, stereo_file):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.wav"
    with open(path, "wb") as file:
        file.write(stereo_file[0].read_bytes())
    np.testing.assert_array_equal(read(os.fsdecode(path))[1], stereo_file[1])


@pytest.mark.parametrize(
    "content",
    [b"hello\n" * 100, b"RIFF\xff\xff\xff\xffWAVEfmt ", bytes(4096), b"fLaC" * 9],
    ids=["text", "half a header", "zeros", "half a FLAC"],
)
def test_files_that_are_not_audio(tmp_path, content):
    path = tmp_path / "not.wav"
    path.write_bytes(content)
    for audio in (path, content):
        with pytest.raises(EdgeL3Error, match="libsndfile"):
            read(audio)


def test_a_file_of_no_bytes_is_empty(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"")
    for audio in (tmp_path / "x.wav", b"", io.BytesIO()):
        with pytest.raises(EdgeL3Error, match="the file has 0 bytes") as caught:
            read(audio)
        assert caught.value.kind == "empty"


def test_broken_files_print_nothing(capfd):
    """A seek to a negative position in soundfile's callback would print a traceback that nothing can catch."""
    content = io.BytesIO()
    soundfile.write(content, np.zeros((3000, 2)), 22050, format="AIFF")
    for place in range(31, 40):
        broken = bytearray(content.getvalue())
        broken[place : place + 8] = b"\xff" * 8
        with contextlib.suppress(EdgeL3Error):
            read(bytes(broken))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_text_file_object_is_an_error():
    with pytest.raises(EdgeL3Error, match="mode 'rb'"):
        read(io.StringIO("hello"))


def test_empty_recording_has_no_samples(tmp_path):
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), 48000)
    assert len(read(path)[1]) == 0


@pytest.mark.parametrize("when", ["SoundFile", "read"])
def test_a_lack_of_memory_is_not_a_damaged_recording(stereo_file, monkeypatch, when):
    def fail(*_, **__):
        raise MemoryError

    if when == "SoundFile":
        monkeypatch.setattr(reading, "_sequential", lambda soundfile: fail)
    else:
        monkeypatch.setattr(soundfile.SoundFile, when, fail)
    with pytest.raises(MemoryError), open_audio(stereo_file[0]) as (_, blocks):
        list(blocks)


@pytest.mark.parametrize("dtype, bits", [(np.int32, 31), (np.int64, 63)])
def test_wide_integers_that_look_like_16_bits(dtype, bits):
    said = []
    for peak in (1, 32768, 32769, 2**bits - 1):
        with open_audio(np.array([0, -peak, peak - 1], dtype), 8000, lambda text, incomplete: said.append(text)):
            pass
    assert len(said) == 2 and f"2**{bits}" in said[1] and "32768" in said[1] and "astype(np.int16)" in said[1]


@pytest.mark.parametrize("shape", [(1, 960), (2, 100), (33, 70)])
def test_arrays_with_the_channels_first(shape):
    from edgel3_np import Stream

    with pytest.raises(EdgeL3Error, match="transpose it: pass samples.T"):
        read(np.zeros(shape), 8000)
    with pytest.raises(EdgeL3Error, match="transpose it"), Stream("pico-64", 8000) as stream:
        stream.feed(np.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 1), (1, 32), (3, 8), (100, 64), (0, 2)])
def test_arrays_of_few_samples_of_many_channels(shape):
    assert len(read(np.zeros(shape), 8000)[1]) == shape[0]


def test_pipes_are_refused_with_what_to_do():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    with pytest.raises(EdgeL3Error, match="read it to its end and pass the bytes"):
        read(Pipe(b"RIFF"))


def test_a_file_that_is_not_at_its_start(stereo_file):
    content = stereo_file[0].read_bytes()
    file = io.BytesIO(b"junk" + content)
    file.seek(4)
    np.testing.assert_array_equal(read(file)[1], stereo_file[1])
    file = io.BytesIO(content)
    file.seek(7)
    with pytest.raises(EdgeL3Error, match="the file is open at byte 7, not at its start"):
        read(file)


def test_an_interrupt_while_libsndfile_reads_through_us_is_not_lost(stereo_file):
    """Otherwise the recording would seem to end there."""

    class Interrupted(io.BytesIO):
        reads = 0

        def read(self, size=-1):
            self.reads += size > 1000
            if self.reads > 3:
                raise KeyboardInterrupt
            return super().read(size)

    with pytest.raises(KeyboardInterrupt):
        read(Interrupted(stereo_file[0].read_bytes()))
