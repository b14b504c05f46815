"""Nothing is lost in silence: everything that a file holds is read, or it is said what is missing; times are right."""

import io
import re
import struct

import numpy as np
import pytest
import recordings
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error
from edgel3_np.audio import ogg
from edgel3_np.audio.flac import flac_streams
from edgel3_np.audio.mpeg import mpeg_stretches
from edgel3_np.audio.ogg import ogg_links
from edgel3_np.audio.reading import open_audio
from edgel3_np.audio.survey import survey

SR, FILES, EACH = recordings.SR, 20, 100


def reader(content):
    return lambda start, count: content[start : start + count]


def has(container, subtype):
    return pytest.mark.skipif(
        (container, subtype) not in recordings.sound_files(), reason=f"no {container} {subtype} here"
    )


@pytest.mark.parametrize("number", range(FILES))
def test_odd_recordings(number):
    """2,000 recordings, cut off, put together, with holes and with wrong sizes, in every container."""
    rng = np.random.default_rng(number)
    cases = [recordings.make(rng) for _ in range(EACH)]
    wrong = [(case.name, found) for case in cases for found in [recordings.judge(case)] if found]
    lengthless = tuple(recordings.LENGTHLESS)
    assert [pair for pair in wrong if not (pair[0].startswith(lengthless) and " hole " not in pair[0])] == []


def test_the_judge_sees_wrong_times_and_losses():
    content = recordings.sound_files()["WAV", "PCM_16"]
    expected, _ = recordings.read(content)
    good = recordings.Case("good", content, expected, 0, -1.0)
    assert recordings.judge(good) is None
    assert "nothing is said" in recordings.judge(good._replace(expected=np.concatenate([expected, expected])))
    assert "other sound" in recordings.judge(good._replace(expected=np.roll(expected, 500)))
    assert "other sound" in recordings.judge(good._replace(expected=np.roll(expected, 500), hole=0.0))


@pytest.mark.parametrize("container, subtype", list(recordings.sound_files()), ids=str)
def test_whole_files_are_read_as_they_are(container, subtype):
    """A survey finds nothing wrong in them, and libsndfile reads the file itself."""
    content = recordings.sound_files()[container, subtype]
    (part,) = survey(io.BytesIO(content))
    assert part.pieces is None and not part.remark and part.sound_until is None
    samples, said = recordings.read(content)
    assert said == [] and len(samples) >= recordings.SECONDS * SR


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF", "CAF", "AU"])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, np.inf])
def test_sizes_that_are_too_small(container, share):
    """Everything is read; it is said unless the header says "unknown"."""
    content = recordings.sound_files()[container, "PCM_16"]
    expected, _ = recordings.read(content)
    samples, said = recordings.read(recordings.with_size(content, container, share))
    assert samples.tobytes() == expected.tobytes()
    assert bool(said) == (0 < share < 1 or (share == 0.0 and container == "AU")), said
    assert not said or "all of it was read" in said[0]


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF", "CAF", "AU"])
def test_sizes_that_are_too_large(container):
    content = recordings.sound_files()[container, "PCM_16"]
    expected, _ = recordings.read(content)
    samples, said = recordings.read(recordings.with_size(content, container, 2.0))
    assert samples.tobytes() == expected.tobytes()
    assert said and "cut off" in said[0] and "3.000 s" in said[0] and "1.500 s" in said[0]


def test_chunks_behind_the_samples_are_no_sound():
    content = recordings.sound_files()["WAV", "PCM_16"]
    expected, _ = recordings.read(content)
    tails = [
        b"LIST" + struct.pack("<I", 10) + b"INFOISFT\0\0",
        b"id3 " + struct.pack("<I", 3) + b"abc\0",
        b"LIST" + struct.pack("<I", 5000) + b"INFO",  # this chunk is cut off
        b"TAG" + bytes(125),
        bytes(3000),
        b"\0",
        b"cue " + struct.pack("<I", 4) + bytes(4) + b"smpl" + struct.pack("<I", 4) + b"\xff" * 4,
    ]
    for tail in tails:
        samples, said = recordings.read(content + tail)
        assert len(samples) == len(expected) and not said, tail[:4]


def test_wav_of_more_than_four_gibibytes(tmp_path):
    """Sizes have wrapped; on disk most of the file is a hole, so it takes no space."""
    path, size = tmp_path / "long.wav", (1 << 32) + 800_000
    with open(path, "wb") as file:
        soundfile.write(file, np.zeros(8), SR, "PCM_16", format="WAV")
    with open(path, "r+b") as file:
        file.seek(40)
        file.write(struct.pack("<I", size % (1 << 32)))
        file.truncate(44 + size)
        file.seek(44 + size % (1 << 32))
        file.write(b"\1" * 1000)
    with open(path, "rb") as file:
        (part,) = survey(file)
    assert part.promised == pytest.approx(size / 2 / SR)
    with open_audio(path) as (sr, blocks):
        assert sr == SR and len(next(blocks)) > 0


@has("OGG", "VORBIS")
def test_chained_streams_and_holes_in_ogg():
    content = recordings.encode("OGG", "VORBIS", 0)
    once, said = recordings.read(content)
    other, _ = recordings.read(recordings.encode("OGG", "VORBIS", 1))
    both, said = recordings.read(content + recordings.encode("OGG", "VORBIS", 1))
    assert both.tobytes() == np.concatenate([once, other]).tobytes() and not said
    (link,) = ogg_links(reader(content), len(content), 9)
    assert link.is_audio and link.ended and link.broken_at < 0 and link.seconds == pytest.approx(1.5, abs=0.01)
    for place in range(4000, len(content) - 300, 500):
        broken = bytearray(content)
        broken[place : place + 20] = bytes(20)
        (link,) = ogg_links(reader(bytes(broken)), len(content), 9)
        assert link.broken_at >= 0 or not link.ended
    swapped = content[: len(content) // 2] + content[len(content) // 2 + 50 :]
    with pytest.raises(EdgeL3Error, match="damaged at") as caught, open_audio(swapped) as (_, blocks):
        list(blocks)
    assert caught.value.kind == "damaged"


@has("OGG", "VORBIS")
def test_ogg_that_is_cut_before_its_first_sound_says_so():
    from edgel3_np import embed

    content = recordings.encode("OGG", "VORBIS", 0)
    with pytest.raises(EdgeL3Error, match="found none.*cut off") as caught:
        embed(content[: len(content) // 2])
    assert caught.value.kind == "empty"


@has("FLAC", "PCM_16")
def test_flac_of_unknown_length_and_two_flacs():
    content = bytearray(recordings.encode("FLAC", "PCM_16", 0))
    once, _ = recordings.read(bytes(content))
    both, said = recordings.read(bytes(content) * 2)
    assert both.tobytes() == np.concatenate([once, once]).tobytes() and not said
    assert len(flac_streams(reader(bytes(content) * 2), 2 * len(content), 9)) == 2
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    samples, said = recordings.read(bytes(content))
    assert samples.tobytes() == once.tobytes() and not said


@has("FLAC", "PCM_16")
def test_flac_that_is_cut_off_is_read_up_to_there():
    """libsndfile gives nothing of the block in which it fails; the frames before are sound."""
    content = recordings.encode("FLAC", "PCM_16", 0)
    once, _ = recordings.read(content)
    for cut in range(200, len(content), len(content) // 7):
        samples, said = recordings.read(content[:cut])
        assert samples.tobytes() == once[: len(samples)].tobytes() and len(samples) < len(once)
        assert len(samples) % 4096 == 0 and len(samples) / len(once) > cut / len(content) - 0.35  # whole frames
        assert len(said) == 1 and "cut off" in said[0]
    unknown = bytearray(content)
    unknown[21] &= 0xF0
    unknown[22:26] = bytes(4)
    samples, said = recordings.read(bytes(unknown[: len(content) // 2]))
    assert len(samples) and len(said) == 1 and "cut off" in said[0]
    both, said = recordings.read(content[: len(content) // 2] + content)
    assert both.tobytes() == np.concatenate([samples, once]).tobytes() and len(said) == 1


@has("FLAC", "PCM_16")
@pytest.mark.parametrize("as_path", [False, True])
def test_damage_in_flac_is_reported_where_it_is(tmp_path, as_path):
    sound = 0.1 * np.random.default_rng(0).standard_normal(20 * 8000)
    soundfile.write(tmp_path / "x.flac", sound, 8000)
    content = bytearray((tmp_path / "x.flac").read_bytes())
    place = len(content) * 3 // 4
    content[place : place + 100] = bytes(100)
    (tmp_path / "x.flac").write_bytes(content)
    read = []
    source = tmp_path / "x.flac" if as_path else bytes(content)
    with pytest.raises(EdgeL3Error, match="reading failed at") as caught, open_audio(source) as (_, blocks):
        for block in blocks:
            read.append(block)
    assert caught.value.kind == "damaged"
    seconds = float(re.search(r"at (\d+\.\d+) s", str(caught.value))[1])
    assert len(np.concatenate(read)) / 8000 == pytest.approx(seconds, abs=1e-3) and 15 - 4096 / 8000 <= seconds <= 15.1


@has("MP3", "MPEG_LAYER_III")
def test_mp3_without_a_header_and_with_a_variable_bit_rate():
    """Its length can only be counted. libsndfile guesses it from the first frame."""
    content = encode_mp3(0)
    (stretch,) = mpeg_stretches(reader(content), len(content), 9)
    bare = content[stretch.start :] if stretch.promised is None else content[first_frame_end(content) :]
    (found,) = mpeg_stretches(reader(bare), len(bare), 9)
    assert found.promised is None and found.broken_at is None
    samples, said = recordings.read(bare)
    assert not said and abs(len(samples) / SR - found.frames * found.samples / found.sr) < 0.2
    both, said = recordings.read(content + content)
    once, _ = recordings.read(content)
    assert not said and len(both) == 2 * len(once)


def encode_mp3(seed):
    return recordings.encode("MP3", "MPEG_LAYER_III", seed)


def first_frame_end(content):
    """Return where the second frame of an MP3 begins: the first holds a header of LAME."""
    (stretch,) = mpeg_stretches(reader(content), len(content), 9)
    place = stretch.start + 4
    while not (content[place] == 0xFF and content[place + 1] == content[stretch.start + 1]):
        place += 1
    return place


@pytest.mark.parametrize(
    "magic",
    [
        b"OggS",
        b"fLaC\0\0\0\x22",
        b"\xff\xfb\x90\x00",
        b"RIFF\xff\xff\xff\xffWAVE",
        b"FORM\0\0\0\0AIFF",
        b"caff\0\1\0\0desc",
        b".snd",
        b"ID3",
    ],
)
@given(content=st.binary(max_size=300), repeat=st.integers(1, 40))
def test_any_bytes_are_surveyed(magic, content, repeat):
    """Hostile files end in parts, or in an error of ours; they never hang."""
    parts = survey(io.BytesIO(magic + content * repeat))
    assert parts and all(part.pieces is None or len(part.pieces) for part in parts)


@pytest.mark.parametrize(
    "unit", [b"\xff", b"OggS", b"OggS\0", b"fLaC", b"\xff\xfb", b"RIFF\0\0\0\0WAVE", b"data\0\0\0\0"]
)
def test_long_files_of_nothing_are_surveyed_in_a_moment(unit):
    content = io.BytesIO(unit * (20_000_000 // len(unit)))
    assert len(survey(content)) <= 10_000


CASES = {  # file -> (seconds that are read, part of what is said or "", kind of the error or None)
    "vbr_no_header.mp3": (12.06, "", None),
    "wrapped.wav": (4.0, "all of it was read", None),
    "cut_half.wav": (4.0, "all of it was read", None),
    "cut_sizes_zero.wav": (4.0, "", None),
    "trunc_half.wav": (2.0, "the file is cut off", None),
    "trunc_m.mp3": (2.847, "the file is cut off", None),
    "trunc_v.ogg": (0.0, "its stream has no end", None),
    "chained_v.ogg": (8.0, "", None),
    "concat.flac": (8.0, "", None),
    "hole_v.ogg": (0.0, "damaged at 0.000 s", "damaged"),
    "shift.opus": (3.97, "damaged at 3.97", "damaged"),
    "unknown_length.flac": (4.0, "", None),
    "caf_unknown.caf": (4.0, "", None),
    "bw64.wav": (4.0, "", None),
    "pcm_24_block4.wav": (4.0, "", None),
}


@pytest.mark.parametrize("name", CASES)
def test_cases_that_people_reported(shared, name):
    seconds, words, kind = CASES[name]
    said, frames, found = [], 0, None
    try:
        with open_audio(shared / "cases" / name, None, lambda text, incomplete: said.append(text)) as (sr, blocks):
            for block in blocks:
                frames += len(block)
    except EdgeL3Error as error:
        said.append(str(error))
        found = error.kind
    assert frames / sr == pytest.approx(seconds, abs=0.02) and found == kind
    assert words in "; ".join(said) and bool(said) == bool(words)


def sound(container, subtype, frames=8001, sr=8000):
    """Return the content of a sound file of noise."""
    file = io.BytesIO()
    x = 0.3 * np.random.default_rng(frames).standard_normal(frames).clip(-3, 3)
    with soundfile.SoundFile(file, "w", sr, 1, subtype, format=container) as opened:
        opened.write(x)
    return file.getvalue()


def at(content, letters, distance, value):
    place = content.index(letters) + distance
    return content[:place] + value + content[place + len(value) :]


def riff_chunk(tag, content, form="<4sI", pad=True):
    return struct.pack(form, tag, len(content)) + content + b"\0" * (len(content) % 2 * pad)


def shifted_ogg(shift):
    """Return an Ogg file cut out of a longer stream: its pages count from another time on."""
    content, place, pages = bytearray(sound("OGG", "VORBIS", 16000)), 0, 0
    while place >= 0:
        granule = struct.unpack_from("<q", content, place + 6)[0]
        if granule > 0:
            struct.pack_into("<q", content, place + 6, granule + shift)
        count = content[place + 26]
        stop = place + 27 + count + sum(content[place + 27 : place + 27 + count])
        struct.pack_into("<I", content, place + 22, ogg._checksum(bytes(content[place:stop])))
        place, pages = content.find(b"OggS", stop), pages + 1
    assert pages > 2
    return bytes(content)


GOOD = {
    "FLAC and ID3v1": lambda: sound("FLAC", "PCM_16") + b"TAG" + b"q" * 125,
    "FLAC and zeros": lambda: sound("FLAC", "PCM_16") + bytes(500),
    "GSM for a minute": lambda: sound("WAV", "GSM610", 11025 * 60, 11025),
    "ADPCM for a minute": lambda: sound("W64", "IMA_ADPCM", 22050 * 60, 22050),
    "wrong bytes a second": lambda: at(sound("WAV", "PCM_16"), b"fmt ", 16, struct.pack("<I", 8000)),
    "copyright behind AIFF": lambda: sound("AIFF", "PCM_16", 8000) + riff_chunk(b"(c) ", b"q" * 101, ">4sI"),
    "XMP": lambda: sound("WAV", "PCM_16") + riff_chunk(b"_PMX", b"Q" * 101),
    "a name in MacRoman": lambda: sound("WAV", "PCM_16") + riff_chunk(b"\xa9nam", b"Q" * 101),
    "no padding": lambda: (
        sound("WAV", "PCM_16") + riff_chunk(b"LIST", b"q" * 61, pad=False) + riff_chunk(b"id3 ", b"x" * 99)
    ),
    "odd samples, no padding": lambda: sound("WAV", "PCM_U8")[:-1] + riff_chunk(b"LIST", b"q" * 60),
    "markers behind W64": lambda: (
        sound("W64", "PCM_16", 8000) + struct.pack("<16sq", bytes(range(40, 56)), 64) + b"m" * 40
    ),
    "bytes behind AU": lambda: sound("AU", "PCM_16") + bytes(8),
    "SDS of any length": lambda: sound("SDS", "PCM_16"),
    "Ogg out of a longer stream": lambda: shifted_ogg(1_000_000),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_files_are_read_without_a_word(name):
    """As libsndfile reads them, and nothing is said."""
    content = GOOD[name]()
    expected, _ = soundfile.read(io.BytesIO(content))
    samples, said = recordings.read(content)
    assert said == [] and samples.tobytes() == expected.tobytes()


def test_a_file_whose_seek_returns_nothing():
    """As those of some libraries."""

    class Silent(io.BytesIO):
        def seek(self, offset, whence=0):
            super().seek(offset, whence)

    for container in ("WAV", "FLAC"):
        content = sound(container, "PCM_16")
        samples, said = recordings.read(Silent(content))
        assert said == [] and samples.tobytes() == recordings.read(content)[0].tobytes()


def test_samples_of_aiff_may_begin_later():
    content = sound("AIFF", "PCM_16", 8000)
    expected, _ = recordings.read(content)
    place = content.index(b"SSND")
    size = struct.unpack_from(">I", content, place + 4)[0]
    head = struct.pack(">4sIII", b"SSND", size + 512, 512, 512)
    samples, said = recordings.read(content[:place] + head + bytes(512) + content[place + 16 :])
    assert said == [] and len(samples) == len(expected)


@pytest.mark.parametrize("exponent", [b"\x48\0", b"\x6f\xff", b"\x7f\xff", b"\xff\xff"])
def test_rates_of_aiff_may_be_absurd(exponent):
    content = at(sound("AIFF", "PCM_16"), b"COMM", 16, exponent)
    samples, said = recordings.read(content)  # another error than ours is raised
    assert len(samples) == 8001 or said


def test_mp2_of_a_variable_bit_rate_is_not_given_a_header():
    """Decoders know Xing headers in layer 3 only; in layer 2 it would be a frame of silence."""
    frames = [b"\xff\xfd" + bytes([index << 4 | 4]) + b"\xc0" for index in (10, 12)]
    content = b"".join(frames[number % 2] + bytes((192, 256)[number % 2] * 144 // 48 - 4) for number in range(50))
    (stretch,) = mpeg_stretches(reader(content), len(content), 9)
    assert stretch.frames == 50 and stretch.varies and not stretch.is_layer_3
    (part,) = survey(io.BytesIO(content))
    assert part.pieces is None
