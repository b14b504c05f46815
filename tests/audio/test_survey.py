"""Nothing is lost in silence: everything that a file holds is read, or it is said what is missing; times are right."""

import io
import re
import struct
import zipfile

import numpy as np
import pytest
import recordings
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error
from edgel3_np.audio import ogg
from edgel3_np.audio.kinds import frame_at
from edgel3_np.audio.pieces import Source
from edgel3_np.audio.reading import open_audio
from edgel3_np.audio.survey import survey

SR, FILES, EACH = recordings.SR, 20, 100


def surveyed(content):
    """Return the parts of a file, given as bytes or as a file object."""
    source = Source(io.BytesIO(content) if isinstance(content, bytes) else content, "x")
    return survey(source.read, source.size)


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
    (part,) = surveyed(content)
    assert part.pieces is None and not part.remark and not part.broken
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
    assert bool(said) == (share < 1), said
    assert not said or re.match(r"the header promises .* of sound, and 1.500 s are there$", said[0])


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
        (part,) = surveyed(file)
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
    (part,) = surveyed(content)
    assert not part.remark and not part.broken and part.clock == (int(1.5 * SR), 0)
    for place in range(4000, len(content) - 300, 500):
        broken = bytearray(content)
        broken[place : place + 20] = bytes(20)
        (part,) = surveyed(bytes(broken))
        assert part.broken or "no end" in part.remark
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
    assert len(surveyed(bytes(content) * 2)) == 2
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
        assert len(said) in (1, 2) and "cut off" in said[-1]  # the frame may seem to end
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
    with pytest.raises(EdgeL3Error, match="(reading failed|damaged) at") as caught, open_audio(source) as (_, blocks):
        for block in blocks:
            read.append(block)
    assert caught.value.kind == "damaged"
    seconds = float(re.search(r"at (\d+\.\d+) s", str(caught.value))[1])
    assert len(np.concatenate(read)) / 8000 == pytest.approx(seconds, abs=1e-3) and 15 - 4096 / 8000 <= seconds <= 15.1


@has("MP3", "MPEG_LAYER_III")
def test_mp3_without_a_header_and_with_a_variable_bit_rate():
    """Its length can only be counted. libsndfile guesses it from the first frame."""
    content = encode_mp3(0)
    bare = content[frame_at(content, 0).length :]
    samples, said = recordings.read(bare)
    assert not said and 1.5 <= len(samples) / SR < 1.8
    both, said = recordings.read(content + content)
    once, _ = recordings.read(content)
    assert not said and len(both) == 2 * len(once)


def encode_mp3(seed):
    return recordings.encode("MP3", "MPEG_LAYER_III", seed)


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
    parts = surveyed(magic + content * repeat)
    assert parts and all(part.pieces is None or len(part.pieces) for part in parts)


@pytest.mark.parametrize(
    "unit", [b"\xff", b"OggS", b"OggS\0", b"fLaC", b"\xff\xfb", b"RIFF\0\0\0\0WAVE", b"data\0\0\0\0"]
)
def test_long_files_of_nothing_are_surveyed_in_a_moment(unit):
    content = io.BytesIO(unit * (20_000_000 // len(unit)))
    assert len(surveyed(content)) <= 10_000


CASES = {  # file -> (seconds that are read, part of what is said or "", kind of the error or None)
    "vbr_no_header.mp3": (12.06, "", None),
    "wrapped.wav": (4.0, "s are there", None),
    "cut_half.wav": (4.0, "s are there", None),
    "cut_sizes_zero.wav": (4.0, "promises 0.000 s of sound, and 4.000 s are there", None),
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
    (part,) = surveyed(content)
    assert part.pieces is None and part.promised == pytest.approx(50 * 1152 / 48000)


def told(content):
    """Return (seconds that are read at 8 kHz, all that is said)."""
    samples, said = recordings.read(content)
    return len(samples) / 8000, "; ".join(said)


def wav(bits, width, samples):
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000 * width, width, bits)
    content = riff_chunk(b"fmt ", form) + riff_chunk(b"data", samples)
    return riff_chunk(b"RIFF", b"WAVE" + content)


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF", "CAF"])
def test_silence_behind_a_size_that_is_too_small_is_no_end(container):
    rng = np.random.default_rng(0)
    expected = recordings.sound_files()[container, "PCM_16"]
    content, whole = recordings.with_silence(expected, container, recordings.read(expected)[0], rng)
    samples, said = recordings.read(content)
    assert samples.tobytes() == whole.tobytes() and "0.600 s of sound, and 1.500 s are there" in said[0]


FRAMES = {
    "missing": [0, 1, 3, 4],
    "swapped": [0, 1, 3, 2, 4],
    "repeated": [0, 1, 2, 2, 3, 4],
    "begins late": [0, 2, 3, 4],
}


@has("FLAC", "PCM_16")
@pytest.mark.parametrize("name", FRAMES)
def test_frames_of_flac_must_count_on(name):
    parts = recordings.units(sound("FLAC", "PCM_16", 16000), "FLAC")
    assert len(parts) == 5  # header and four frames
    seconds, said = told(b"".join(parts[number] for number in FRAMES[name]))
    good = {"missing": 1, "swapped": 1, "repeated": 2, "begins late": 0}[name]
    assert seconds == good * 4096 / 8000 and f"damaged at {seconds:.3f} s" in said
    assert ("cut it there" in said) == (good > 0) and ("whole up to 0.000 s" in said) == (good == 0)


@has("FLAC", "PCM_16")
def test_flac_whose_header_counts_too_few_samples():
    content = sound("FLAC", "PCM_16", 16000)
    expected, _ = recordings.read(content)
    for share in (0.01, 0.5, 0.99):
        samples, said = recordings.read(recordings.with_count(content, "FLAC", share))
        assert samples.tobytes() == expected.tobytes() and re.match(
            r"the header promises .* 2.000 s are there$", said[0]
        )
    unknown = recordings.with_count(content, "FLAC", 0)
    for tail in (b"TAG" + b"q" * 125, bytes(20_000), recordings.APE):
        samples, said = recordings.read(unknown + tail)
        assert samples.tobytes() == expected.tobytes() and not said
    assert (
        told(unknown + b"junk" * 50) == (2.0, told(content + b"junk" * 50)[1])
        and "200 bytes" in told(unknown + b"junk" * 50)[1]
    )


@has("MP3", "MPEG_LAYER_III")
def test_mp3_whose_header_counts_wrong_and_mp3_that_ends_within_a_frame():
    content = encode_mp3(0)
    once, bare = told(content)[0], content[frame_at(content, 0).length :]
    for share in (0.1, 0.5, 0.9):
        seconds, said = told(recordings.with_count(content, "MP3", share))
        assert seconds == once and "the header promises" in said
    assert told(recordings.with_count(content, "MP3", 0)) == (once, "")
    seconds, said = told(content + bare)
    assert seconds > 2 * once and "the header promises" in said
    assert "cut off in the middle of a frame" in told(bare[:-50])[1]


KINDS = [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("W64", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16")]
KINDS += [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AU", "PCM_16")]


@pytest.mark.parametrize("first", KINDS, ids=str)
@pytest.mark.parametrize("second", KINDS, ids=str)
def test_another_kind_of_file_behind_is_read(first, second):
    files = recordings.sound_files()
    if first not in files or second not in files:
        pytest.skip("this libsndfile lacks one of them")
    a, b = recordings.read(files[first])[0], recordings.read(files[second])[0]
    for between in (b"", recordings.ID3, bytes(700)):
        samples, said = recordings.read(files[first] + between + files[second])
        assert samples.tobytes() == np.concatenate([a, b]).tobytes() and not said


@pytest.mark.parametrize("pair", KINDS, ids=str)
def test_tags_and_junk_around_a_file(tmp_path, pair):
    if pair not in recordings.sound_files():
        pytest.skip("this libsndfile lacks it")
    content = recordings.sound_files()[pair]
    expected, _ = recordings.read(content)
    for before in (*recordings.TAGS, recordings.ID3 + bytes(20_000), b"\r\njunk that is no sound"):
        (tmp_path / "x").write_bytes(before + content + recordings.TAGS[0])
        for source in (before + content + recordings.TAGS[0], tmp_path / "x"):
            if not (pair[0] == "AU" and before.endswith(b"sound")):
                samples, said = recordings.read(source)
                assert samples.tobytes() == expected.tobytes() and not said
    if pair[0] != "AU":
        assert "400 bytes beside its sound" in "".join(recordings.read(b"junk" * 100 + content)[1])
    if pair[0] not in ("WAV", "AIFF", "W64", "CAF", "AU"):  # there it is sound
        assert "400 bytes beside its sound" in "".join(recordings.read(content + b"junk" * 100)[1])


def test_a_chunk_before_the_samples_may_lack_its_padding():
    content = sound("WAV", "PCM_16", 8000)
    place = content.index(b"data")
    samples, said = recordings.read(content[:place] + riff_chunk(b"LIST", b"q" * 61, pad=False) + content[place:])
    assert samples.tobytes() == recordings.read(content)[0].tobytes() and not said


@pytest.mark.parametrize("bits, width", [(16, 4), (20, 4), (24, 4), (16, 3)])
def test_samples_in_wider_containers(bits, width):
    """In the upper bits, as they should be, or in the lower ones, sign and all."""
    values = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 8000)
    for shift in (8 * width - bits, 0):
        content = b"".join((int(value) << shift).to_bytes(width, "little", signed=True) for value in values)
        samples, said = recordings.read(wav(bits, width, content))
        assert not said and np.array_equal(samples, values / 2.0 ** (bits - 1))
    _, said = recordings.read(wav(bits, width, np.random.default_rng(0).bytes(width * 8000)))
    assert "ffmpeg" in said[0]


@has("OGG", "OPUS")
@has("OGG", "VORBIS")
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("late", [1000, 40_000, 4_800_000])
def test_ogg_whose_time_begins_late(subtype, late):
    """It is a piece of a stream: its sound begins with its first page, behind what Opus needs to begin."""
    content = sound("OGG", subtype, 240_000)
    shifted, _ = recordings.read(content)
    samples, said = recordings.read(with_granules(content, lambda granule: granule + late))
    assert not said and np.array_equal(samples, shifted[: len(samples)]) and len(shifted) - len(samples) < 100
    pages = recordings.units(with_granules(content, lambda granule: granule + late), "OGG")
    samples, said = recordings.read(b"".join(pages[:9] + pages[12:]))
    assert np.array_equal(samples, shifted[: len(samples)]) and f"damaged at {len(samples) / 8000:.3f} s" in said[0]


def with_granules(content, change):
    """Return an Ogg file with other times of its pages."""
    pages = [bytearray(page) for page in recordings.units(content, "OGG")]
    for page in pages:
        granule = struct.unpack_from("<q", page, 6)[0]
        struct.pack_into("<q", page, 6, change(granule) if granule > 0 else granule)
        struct.pack_into("<I", page, 22, ogg._checksum(bytes(page)))
    return b"".join(map(bytes, pages))


@has("OGG", "VORBIS")
def test_ogg_whose_time_runs_backwards_and_links_that_are_cut_off():
    content = sound("OGG", "VORBIS", 80_000)
    assert "damaged at" in told(with_granules(content, lambda granule: 90_000 - granule))[1]
    cut = b"".join(recordings.units(content, "OGG")[:-2])
    once = told(cut)[0]
    samples, said = recordings.read(cut * 2 + content)
    assert len(said) == 2 and len(samples) / 8000 == 2 * once + 10
    assert said[0].startswith("the file is cut off") and said[1].startswith(
        f"from {once:.3f} s on: the file is cut off"
    )
    said = recordings.read(cut * 100)[1]
    assert len(said) == 21 and said[-1] == "there are 80 more remarks like these"


@pytest.mark.parametrize("container", ["WAV", "AIFF", "CAF", "W64", "AU"])
def test_what_lies_behind_no_samples_is_no_sound(container):
    form = {"AIFF": ">4sI", "CAF": ">4sq"}.get(container, "<4sI")
    for tail in (
        b"",
        recordings.ID3,
        *([riff_chunk(b"ANNO", b"q" * 100, form)] * (container in ("WAV", "AIFF", "CAF"))),
    ):
        assert told(sound(container, "PCM_16", 0) + tail) == (0.0, "")


class Failing(io.BytesIO):
    """A file object of which a method fails from some call on."""

    def __init__(self, content, method, calls, failure):
        super().__init__(content)
        self.method, self.calls, self.failure = method, calls, failure

    def attempt(self, method):
        self.calls -= method == self.method
        if self.calls < 0:
            raise self.failure

    def read(self, size=-1):
        self.attempt("read")
        return super().read(size)

    def seek(self, *where):
        self.attempt("seek")
        return super().seek(*where)

    def tell(self):
        self.attempt("tell")
        return super().tell()


@pytest.mark.parametrize("method", ["read", "seek", "tell"])
@pytest.mark.parametrize(
    "failure", [OSError(5, "I/O"), ValueError("x"), EOFError(), zipfile.BadZipFile("CRC"), ConnectionResetError("x")]
)
def test_every_failure_of_a_file_object_makes_it_unreadable(method, failure):
    for container, subtype in KINDS:
        if (container, subtype) in recordings.sound_files():
            content = recordings.sound_files()[container, subtype]
            for calls in range(0, 20, 3):
                file = Failing(content, method, calls, failure)
                try:
                    with open_audio(file) as (_, blocks):
                        list(blocks)
                except EdgeL3Error as error:
                    assert error.kind == "unreadable" and error.__cause__ is failure and "cannot be read" in str(error)
                else:
                    assert file.calls >= 0


def test_file_objects_that_return_something_else():
    content = sound("WAV", "PCM_16")
    for result, found in ((None, "NoneType"), (content, f"{len(content)} bytes"), ("text", "str")):
        file = io.BytesIO(content)
        file = type("Odd", (io.BytesIO,), {"read": lambda self, size=-1, result=result: result})(content)
        with pytest.raises(EdgeL3Error, match=f"cannot be read: expected .*found {found}") as caught, open_audio(file):
            pass
        assert caught.value.kind == "unreadable"
    file = io.BytesIO(content)
    file.close()
    with pytest.raises(EdgeL3Error, match="found one that is closed"), open_audio(file):
        pass
    twice = memoryview(np.frombuffer(content, np.uint8).repeat(2))[::2]
    assert recordings.read(twice)[0].tobytes() == recordings.read(content)[0].tobytes()
