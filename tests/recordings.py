"""Make recordings that are cut off, put together, full of holes or wrong about their size, in every container there is.

A recording holds noise, so sound at a wrong time is seen: it has nothing in common with what belongs there.

    python tests/recordings.py --count 20000 --seed 1
"""

import argparse
import io
import re
import struct
import sys
from functools import cache
from typing import NamedTuple

import numpy as np
import soundfile

from edgel3_np import EdgeL3Error
from edgel3_np.audio import flac
from edgel3_np.audio.kinds import frame_at
from edgel3_np.audio.reading import open_audio

SR, SECONDS, PIECE = 8000, 1.5, 400  # Hz, s, samples that are compared at a time
HOLE = 120  # bytes
SUBTYPES = ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "GSM610", "ALAC_16", "VORBIS", "OPUS", "MPEG_LAYER_III")
# How far the sound is wrong around a hole, in samples: a packet of the codec, and what leans on it.
REACH = {
    "ALAC_16": 2 * 4096,
    "MPEG_LAYER_III": 6 * 576,
    "IMA_ADPCM": 1024,
    "GSM610": 640,
    "FLAC": 4096,
    "DPCM_16": 1 << 20,
}
# Their headers tell no length, or libsndfile hides it, or what follows: a shorter file is as good as any.
LENGTHLESS = {"IRCAM", "PAF", "PVF", "XI", "NIST", "VOC", "MAT5", "SVX", "HTK", "WVE", "MAT4"}
SIZES = {  # container -> (letters before the size of the samples, distance, form, bytes that it counts besides them)
    "WAV": (b"data", 4, "<I", 0),
    "WAVEX": (b"data", 4, "<I", 0),
    "RF64": (b"ds64", 16, "<q", 0),
    "W64": (b"data\xf3\xac\xd3\x11", 16, "<q", 24),
    "AIFF": (b"SSND", 4, ">I", 8),
    "CAF": (b"data", 4, ">q", 4),
    "AU": (b".snd", 8, ">I", 0),
}


ID3 = b"ID3\3\0\0\0\0\2\0" + bytes(256)
APE = struct.pack("<8sIIII8s", b"APETAGEX", 2000, 72, 1, 0xA0000000, b"")
APE += struct.pack("<II8s32s", 32, 0, b"abcdefg", b"x" * 32)[:40]
APE += struct.pack("<8sIIII8s", b"APETAGEX", 2000, 72, 1, 1 << 31, b"")
TAGS = [ID3, ID3[:5] + b"\x10" + ID3[6:] + b"3DI" + ID3[3:10], APE, ID3 + bytes(3000), b"TAG" + b"q" * 125, APE + ID3]


class Case(NamedTuple):
    """A recording that is not as it should be."""

    name: str
    content: bytes
    expected: np.ndarray  # samples that a reader should give, if it gives all
    reach: int  # samples that may be wrong around a hole
    hole: float  # where the hole is, as a share of the recording; -1 without one


@cache
def noise(seed):
    """Return the sound of a recording: (samples,), float64."""
    x = np.random.default_rng(seed).standard_normal(int(SR * SECONDS))
    return np.clip(0.3 * np.convolve(x, np.ones(4) / 4, "same"), -0.99, 0.99)


@cache
def sound_files():
    """Return {(container, subtype): content} of all that this libsndfile writes and reads again, and a WAV of each."""
    files = {}
    for container in sorted(set(soundfile.available_formats()) - {"RAW", "SD2"}):  # SD2 writes a second file
        for subtype in dict.fromkeys([soundfile.default_subtype(container), *SUBTYPES]):
            if subtype in soundfile.available_subtypes(container):
                try:
                    files[container, subtype] = encode(container, subtype, 0)
                    read(files[container, subtype])
                except (soundfile.LibsndfileError, EdgeL3Error):
                    files.pop((container, subtype), None)
    return files


def encode(container, subtype, seed):
    """Return the content of a sound file with one second and a half of noise."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", SR, 1, subtype, format=container) as sound:
        sound.write(noise(seed))
    return file.getvalue()


def read(content):
    """Return (samples, what is said to be missing) of a sound file; the samples are those before an error."""
    said, blocks = [], []
    try:
        with open_audio(content, None, lambda text, incomplete: said.append(text)) as (_, arriving):
            blocks.extend(arriving)
    except EdgeL3Error as error:
        said.append(str(error))
    return (np.concatenate(blocks) if blocks else np.zeros(0)), said


def make(rng):
    """Make a case with a random generator."""
    files = sound_files()
    (container, subtype), content = list(files.items())[rng.integers(len(files))]
    expected, said = read(content)
    assert len(expected) and not said, (container, subtype, said)
    surveyed = container in (*SIZES, "OGG", "FLAC", "MP3")
    kinds = ["cut", "hole", "twice"] + ["tags", "other"] * surveyed + ["size", "silence"] * (container in SIZES)
    kinds += ["units"] * 3 * (container in ("OGG", "FLAC", "MP3")) + ["count"] * (container in ("FLAC", "MP3"))
    kind = kinds[rng.integers(len(kinds))]
    name, reach, hole = f"{container} {subtype} {kind}", 0, -1.0
    if kind == "cut":
        content = content[: int(len(content) * (rng.integers(10) + 0.5) / 10)]
    elif kind == "hole":
        place = int(rng.integers(len(content) // 4, len(content) - HOLE))
        content = content[:place] + bytes(HOLE) + content[place + HOLE :]
        head = 4096 if container == "CAF" else 0
        reach, hole = REACH.get(subtype, 400), max(0.0, place - head) / (len(content) - head)
    elif kind == "twice":
        content, expected = content + content, np.concatenate([expected, expected])
    elif kind == "other":
        following = [pair for pair in files if pair[0] in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64", "AU")]
        other = files[following[rng.integers(len(following))]]
        between = TAGS[rng.integers(len(TAGS))] if rng.integers(2) else b""
        content, expected = content + between + other, np.concatenate([expected, read(other)[0]])
    elif kind == "tags":
        before = b"".join(TAGS[rng.integers(len(TAGS))] for _ in range(rng.integers(3)))
        content = before + content + TAGS[rng.integers(len(TAGS))]
    elif kind == "silence":
        content, expected = with_silence(content, container, expected, rng)
    elif kind == "units":
        content, name = with_other_units(content, container, rng, name)
    elif kind == "count":
        content = with_count(content, container, float(rng.choice([0.0, 0.3, 0.9, 1.3])))
    else:
        content = with_size(content, container, float(rng.choice([0.0, 0.25, 0.5, 0.98, 1.5, np.inf])))
    return Case(f"{name} {len(content)}", content, expected, reach, hole)


def with_silence(content, container, expected, rng):
    """Return a file whose header promises a part, behind which silence follows, and the samples that it holds."""
    place = int(len(expected) * 0.4)
    silent = np.concatenate([expected[:place], np.zeros(1000), expected[place + 1000 :]])
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", SR, 1, "PCM_16", format=container) as sound:
        sound.write(silent)
    return with_size(file.getvalue(), container, 0.4), read(file.getvalue())[0]


def units(content, container):
    """Return the parts of a file that its decoder takes one after the other: pages, or frames, behind a header."""
    if container == "OGG":
        starts = [match.start() for match in re.finditer(b"OggS\0", content)]
    elif container == "MP3":
        starts, place = [], 0
        while place + 4 < len(content):
            starts.append(place)
            place += frame_at(content, place).length
    else:
        places = [match.start() for match in flac._FRAME.finditer(content)]
        starts = [0, *(place for place in places if flac._frame(content[place:][:42]))]
    return [content[start:stop] for start, stop in zip(starts, [*starts[1:], len(content)])]


def with_other_units(content, container, rng, name):
    """Return a file of which a page or frame is missing, repeated, or swapped with the next, or that ends there."""
    parts = units(content, container)
    number, how = int(rng.integers(1, len(parts) - 1)), ["missing", "repeated", "last", "swapped"]
    how = how[rng.integers(len(how) - (container == "MP3"))]  # its frames have no numbers
    if how == "missing":
        del parts[number]
    elif how == "repeated":
        parts.insert(number, parts[number])
    elif how == "swapped":
        parts[number : number + 2] = parts[number : number + 2][::-1]
    else:
        parts = parts[:number]
    return b"".join(parts), f"{name} {how} at {number} of {len(parts)}"


def with_count(content, container, share):
    """Return a FLAC or MP3 whose header counts another number of samples or frames: a share of the true one."""
    if container == "FLAC":
        count = int.from_bytes(content[21:26], "big")
        wrong = count & ~((1 << 36) - 1) | int((count & (1 << 36) - 1) * share)
        return content[:21] + wrong.to_bytes(5, "big") + content[26:]
    place = max(content.find(b"Xing"), content.find(b"Info")) + 8
    if place < 8:
        return content
    wrong = int(int.from_bytes(content[place : place + 4], "big") * share)
    return content[:place] + wrong.to_bytes(4, "big") + content[place + 4 :]


def with_size(content, container, share):
    """Return a sound file whose header promises another size: a share of the true one; infinity is "unknown"."""
    letters, distance, form, besides = SIZES[container]
    place = content.index(letters) + distance
    size = struct.unpack_from(form, content, place)[0] - besides
    unknown = 0xFFFFFFFF if form[1] == "I" else -1
    wrong = unknown if share == np.inf else int(size * share) + besides
    return content[:place] + struct.pack(form, wrong) + content[place + struct.calcsize(form) :]


def judge(case):
    """Return what is wrong with how a case is read, or None: its times are right, and what is missing is said."""
    samples, said = read(case.content)
    more = len(samples) - len(case.expected)  # a hole in a table of packets may let the last one be whole
    if more and not said and not (case.hole >= 0 and 0 < more <= case.reach):
        return f"{len(samples)} samples of {len(case.expected)}, and nothing is said"
    middle, wrong = case.hole * len(case.expected), []
    for start in range(0, min(len(samples), len(case.expected)) - PIECE, PIECE):
        a, b = samples[start : start + PIECE], case.expected[start : start + PIECE]
        near = case.hole >= 0 and abs(start - middle) <= case.reach + 3 * PIECE
        if not near and np.std(a) and np.corrcoef(a, b)[0, 1] < 0.5:
            wrong.append(start / SR)
    if wrong and not (case.hole < 0 and said):
        return f"other sound at {wrong[:3]} s ({len(wrong)} pieces); said: {said}"
    return None


def main():
    """Make and read many recordings; print what goes wrong, and exit with 1 if something does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, wrong = np.random.default_rng([options.seed, 16]), 0
    for number in range(options.count):
        case = make(rng)
        found = judge(case)
        if found and not (case.name.split()[0] in LENGTHLESS and case.hole < 0):
            print(f"{number}: {case.name}: {found}")
            wrong += 1
    print(f"{options.count} odd recordings: {wrong} with wrong times, or less than there is and nothing said")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
