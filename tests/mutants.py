"""Damaged sound files, weight files and classifiers for `fuzz.py`: good files, changed at random by a seeded generator.

Bytes are flipped, numbers are overwritten (most often those that a header declares), chunks and other parts are cut
out, invented or repeated, ends are cut off or added, values of metadata are exchanged, and files of two formats are
joined.
"""

import io
import json
import random
import re
import struct
import zipfile
import zlib
from contextlib import suppress
from functools import lru_cache
from types import SimpleNamespace

import factory
import numpy as np
import soundfile
from trained import make_classifier

from edgel3_np.classify.classifier import save_classifier
from edgel3_np.weights.format import save_weights
from edgel3_np.weights.registry import SEA, SPARSE

CONTAINERS = ("WAV", "W64", "RF64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF")
FORMATS = (*(name for name in CONTAINERS if name in soundfile.available_formats()), "NPZ", "CLASSES")
ARCHIVES = ("NPZ", "CLASSES")  # weight files, and classifiers

# Numbers: counts, channels, rates, codes, limits of integer types. Fields: struct codes and offsets after a mark.
NUMBERS = (*range(28), 0x7F, 0x80, 99, 100, 255, 256, 1024, 1025, 0x3FFF, 0x400E, 0x7FFF, 0x8000, 0xFFFE, 65535, 44101)
NUMBERS += (10**6, 10**6 + 1, 10**9, 2**31 - 1, 2**31, 2**32 - 16, 2**32 - 1, 10**12, 2**63 - 1, 2**63, 2**64 - 1)
FLOATS = (0.0, 1.0, 100.5, 44100.0, 1e6, 1e9, 1e300, -8000.0, float("nan"), float("inf"))
JSONS = (None, True, False, "", "a", "-a", " ", "\0", "\ud800", "e" * 200, "deep", [], {}, "9" * 5000)
FIELDS = {
    "WAV": "fmt :<H8<H10<I12<H20<H22<H26, data:<I4, fact:<I8",
    "RF64": "fmt :<H8<H10<I12<H20<H22<H26, ds64:<Q8<Q16<Q24",
    "W64": "fmt :<H24<H26<I28<H36<H38<H42, data:<Q16, fact:<Q24",
    "FLAC": "fLaC:>H8>H10>H18>B20>B21>I22",
    "OGG": "OggS:<Q6<B26, \1vorbis:<B11<I12<B28, OpusHead:<B9<H10<I12<B18",
    "MP3": "Xing:>I8, Info:>I8>I12, LAME:>I21, \xff:>H1<B2",
    "AIFF": "COMM:>H8>I10>H14>H16>Q18, SSND:>I4>I8",
    "AU": ".snd:>I4>I8>I12>I16>I20",
    "CAF": "desc:>d12>I28>I32>I36>I40, data:>Q4, pakt:>Q12>Q20",
    "NPZ": "PK\1\2:<H8<H10<I16<I20<I24<H28<I42, PK\3\4:<H8<H26, PK\5\6:<H10<I12<I16",
}
FIELDS["CLASSES"] = FIELDS["NPZ"]
NAMES = b"fmt |fact|data|PEAK|LIST|COMM|SSND|pakt|desc|OggS|FVER|RIFF|RF64|WAVE|ds64|FORM|kuki|chan|fLaC|vorbis|Opus"
CHUNK = re.compile(NAMES + rb"|\xff[\xf2-\xfb]|PK\x01\x02|PK\x03\x04|PK\x05\x06")
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@lru_cache(maxsize=len(FORMATS))
def recordings(format):
    """Return good files of a format, as bytes: every subtype that can be written, mono and stereo, some with NaN."""
    found, rng, length = [], np.random.default_rng(0), 3000 if format in ("FLAC", "OGG", "MP3") else 500
    if format == "NPZ":
        for frontend, activation, density in ((SEA, "relu", 1.0), (SEA, "linear", 0.3), (SPARSE, "linear", 0.1)):
            weights = factory.random_weights((4,) * 8, activation, density, frontend=frontend)
            save_weights(file := io.BytesIO(), weights)
            found.append(file.getvalue())
        save_weights(file := io.BytesIO(), factory.whole_weights((4,) * 8))
        return [*found, file.getvalue()]
    if format == "CLASSES":
        for count, dim in ((1, 1), (2, 16), (5, 64)):
            model = SimpleNamespace(name="m", sha256=f"{dim:064x}", dim=dim)
            labels = [f"{number} \xe9" for number in range(count)]
            report = {"classes": [{"label": label, "precision": 0.5} for label in labels], "folds": 5}
            save_classifier(file := io.BytesIO(), make_classifier(model, labels, report=report))
            found.append(file.getvalue())
        return found
    for subtype in sorted(soundfile.available_subtypes(format)):
        for channels, value in ((1, 0), (2, 0), (1, np.nan), (2, np.inf)):
            sound = 0.3 * np.sin(np.arange(length)[:, np.newaxis] / 7) + 0.01 * rng.standard_normal((length, channels))
            sound[length // 2] = value
            if value == 0 or subtype in ("FLOAT", "DOUBLE"):
                with suppress(RuntimeError):  # some subtypes are mono only, and some cannot be written
                    soundfile.write(file := io.BytesIO(), sound, 8000 * channels, format=format, subtype=subtype)
                    content = re.sub(rb"(?s)(PEAK.{8}).{4}", rb"\1\0\0\0\0", file.getvalue())  # remove the time stamp
                    found.append(bytes(mend_pages(bytearray(content), b"fuzz")))  # Ogg streams have random numbers
    return found


def mend_pages(data, serial=None):
    """Put the right checksum into each Ogg page: decoders drop a page with a wrong one."""
    for page in [found.start() for found in re.finditer(b"OggS(?=(?s:.{23}))", data)]:
        end = page + 27 + data[page + 26]
        end += sum(data[page + 27 : end])
        data[page + 14 : page + 18] = serial or data[page + 14 : page + 18]
        data[page + 22 : page + 26] = bytes(4)
        crc = zlib.crc32(data[page:end].translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        data[page + 22 : page + 26] = struct.pack(">I", crc).translate(REVERSED)
    return data


def place(rng, data):
    return rng.randrange(min(len(data), rng.choice((32, 128, 512, len(data)))) or 1)


def segment(rng, data):
    """Return the bounds of a chunk, or of an arbitrary part."""
    places = [0, *(found.start() for found in CHUNK.finditer(data)), len(data)]
    if len(places) < 3 or rng.random() < 0.2:
        places = sorted((0, place(rng, data), place(rng, data), len(data)))
    index = rng.randrange(len(places) - 1)
    return places[index], places[index + 1]


def mutate(rng, data, format, how):
    """Change a bytearray in one of the ways that `mutant` names."""
    at, size, value = place(rng, data), rng.choice((1, 2, 4, 8)), rng.choice(NUMBERS)
    start, stop = segment(rng, data)
    if how == "flip" and data:
        for _ in range(rng.choice((1, 1, 2, 8, 64))):
            data[place(rng, data)] ^= rng.choice((1 << rng.randrange(8), rng.randrange(1, 256)))
    elif how == "number":
        data[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, rng.choice(("little", "big")))
    elif how == "field":
        mark, codes = rng.choice(FIELDS[format].split(", ")).split(":")
        code, offset = rng.choice(re.findall(r"([<>]\w)(\d+)", codes))
        marks = [found.start() for found in re.finditer(re.escape(mark.encode("latin-1")), data)]
        size, at = struct.calcsize(code), rng.choice(marks or [len(data)]) + int(offset)
        if at + size <= len(data):
            value = rng.choice(FLOATS) if code[1] == "d" else value & (1 << 8 * size) - 1
            struct.pack_into(code, data, at, value)
    elif how == "cut":
        del data[slice(*rng.choice(((start, stop), (start, stop), (start, None), (at, None))))]
    elif how == "insert":  # an invented chunk, or a repeated one
        chunk = rng.choice(NAMES.split(b"|")) + (value & 0xFFFFFFFF).to_bytes(4, rng.choice(("little", "big")))
        chunk += rng.randbytes(rng.choice((0, 1, 16, 40, 300)))
        data[start:start] = rng.choice((chunk, data[slice(*segment(rng, data))]))
    elif how == "splice":
        other = rng.choice(recordings(rng.choice(FORMATS)))
        data[start:] = other[rng.choice(segment(rng, other)) :]
    elif how == "tail":
        data += rng.choice((rng.randbytes(rng.randrange(1, 5000)), bytes(2000), data[:at]))
    elif how == "json":
        mutate_json(rng, data)
    elif how == "member":  # change a member of an npz and write it with right checksums
        with suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as archive:  # the archive may be broken already
            contents = {info.filename: bytearray(archive.read(info)) for info in archive.infolist()}
            how = rng.choice(("flip", "number", "number", "cut", "tail", "json"))
            name = "metadata.npy" if how == "json" else rng.choice(["metadata.npy", *contents])
            mutate(rng, contents[name], format, how)
            with zipfile.ZipFile(file := io.BytesIO(), "w") as packed:
                for name, content in contents.items():
                    packed.writestr(zipfile.ZipInfo(name), bytes(content))
            data[:] = file.getvalue()


def mutate_json(rng, member):
    """Change one value of a member that holds JSON, at any depth, and write its npy header anew."""
    text = np.load(io.BytesIO(member)).tobytes().decode()
    whole = [json.loads(text)]
    inside, key = whole, 0
    while rng.random() < 0.8 and isinstance(inside[key], (dict, list)) and inside[key]:
        inside = inside[key]
        key = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
    value = rng.choice((*JSONS, *NUMBERS, *FLOATS, inside[key]))
    inside[key] = rng.choice((value, [value], {"a": value}, [value] * rng.choice(NUMBERS[:28])))
    if isinstance(inside, dict) and rng.random() < 0.2:
        inside[rng.choice(("", "a", "\x1b[2J"))] = inside.pop(key)
    text = json.dumps(whole[0]).replace('"deep"', "[" * 900 + "]" * 900)
    np.save(file := io.BytesIO(), np.frombuffer(text.encode(), np.uint8))
    member[:] = file.getvalue()


def mutant(seed, format, number):
    """Return the content of a mutant, as bytes."""
    rng = random.Random(f"{seed} {format} {number}")
    data, hows = bytearray(rng.choice(recordings(format))), ["flip", "cut", "insert", "splice", "tail", *["number"] * 2]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        mutate(rng, data, format, rng.choice([*hows, *["member" if format in ARCHIVES else "field"] * 4, "field"]))
    return bytes(mend_pages(data) if rng.random() < 0.7 else data)
