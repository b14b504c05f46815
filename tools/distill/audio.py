"""Step 1: fetch the packages of `packages.tsv`, and decode their sounds to mono at the teacher's rate.

Each package becomes one npz: `samples` (float32, all clips end to end), `bounds` (n + 1 positions in it) and `names`.
Finished packages are skipped, so the step can be stopped and started again.
"""

import argparse
import csv
import io
import os
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from edgel3_np.audio.reading import open_audio
from edgel3_np.audio.resample import resample
from edgel3_np.errors import EdgeL3Error
from edgel3_np.weights.registry import SEA

FRONTEND = SEA  # the front end of the teacher and of the student
SR = FRONTEND.sr
SOUNDS = (".wav", ".ogg", ".oga", ".flac", ".mp3", ".opus", ".aiff", ".au")
ZIPS = (".pk3", ".zip")  # games keep their sounds in these, or in .cat (OpenTTD) or .rcc (Qt)
MAX_CLIP, MAX_PACKAGE = 60.0, 1200.0  # seconds, so that no recording and no package outweighs the others
PACKAGES = Path(__file__).with_name("packages.tsv")


def read_packages(path=PACKAGES):
    """Read the list of packages.

    Returns
    -------
    packages : list of dict
        Keys: package, version, role (train, val or test), license, keep (a regular expression that the paths of the
        used sounds match), minutes.
    """
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def fetch(package, version, folder):
    """Download a Debian package with apt-get, from its configured sources; return the path of the file."""
    found = sorted(Path(folder).glob(f"{package}_*.deb"))
    if not found:
        subprocess.run(["apt-get", "download", "-q", f"{package}={version}"], cwd=folder, check=True, stdout=sys.stderr)
        found = sorted(Path(folder).glob(f"{package}_*.deb"))
    return found[0]


def sounds_in(deb, keep):
    """Yield the name and the content of each sound file in a Debian package, in the package's order.

    Parameters
    ----------
    deb : path
    keep : str
        Regular expression that is searched for in the path.

    Yields
    ------
    name : str
    content : bytes
    """
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            name = member.name.lower()
            if not member.isfile() or not name.endswith(SOUNDS + ZIPS + (".cat", ".rcc")):
                continue
            content = archive.extractfile(member).read()
            if name.endswith(SOUNDS):
                inside = [("", content)]
            elif name.endswith(ZIPS):
                inside = _zipped(content)
            else:
                inside = _waves(content) if name.endswith(".cat") else _qt_resources(content)
            yield from ((member.name + path, data) for path, data in inside if re.search(keep, member.name + path))


def _zipped(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if name.lower().endswith(SOUNDS):
                yield f"/{name}", archive.read(name)


def _waves(content):
    """Yield the WAV files inside a larger file, such as a sound set of OpenTTD."""
    for match in re.finditer(rb"RIFF(....)WAVE", content, re.DOTALL):
        size = 8 + int.from_bytes(match[1], "little")
        yield f"/{match.start()}", content[match.start() : match.start() + size]


def _qt_resources(content, node=0, prefix=""):
    """Yield the uncompressed sounds in a Qt resource file, from a node of its tree down."""
    version, tree, data, names = struct.unpack(">4I", content[4:20])
    at = tree + node * (22 if version >= 2 else 14)
    name_at, flags, first, second = struct.unpack(">IHII", content[at : at + 14])
    if node:
        (length,) = struct.unpack(">H", content[names + name_at : names + name_at + 2])
        prefix += "/" + content[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be")
    if flags & 2:  # a directory: number of children, first child
        for child in range(second, second + first):
            yield from _qt_resources(content, child, prefix)
    elif not flags & 5 and prefix.lower().endswith(SOUNDS):  # 1 and 4 are compressed
        start = data + second
        (length,) = struct.unpack(">I", content[start : start + 4])
        yield prefix, content[start + 4 : start + 4 + length]


def decode(content):
    """Decode a sound file.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    samples : np.ndarray [shape=(n,), float32]
        Mono at 8 kHz, the first `MAX_CLIP` seconds; empty if libsndfile cannot read the file or it is silent.
    """
    blocks, length = [], 0
    try:
        with open_audio(content) as (sr, stream):
            for block in resample(stream, sr, SR):
                blocks.append(block)
                length += len(block)
                if length >= MAX_CLIP * SR:
                    break
    except EdgeL3Error:
        return np.zeros(0, np.float32)
    samples = np.concatenate(blocks or [np.zeros(0)])[: int(MAX_CLIP * SR)]
    return samples.astype(np.float32) if np.any(samples) else np.zeros(0, np.float32)


def write_clips(path, names, clips):
    """Write the clips of one package; a reader never sees half a file."""
    bounds = np.cumsum([0] + [len(clip) for clip in clips])
    temporary = Path(f"{path}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, samples=np.concatenate(clips or [np.zeros(0, np.float32)]), bounds=bounds, names=np.array(names))
    os.replace(temporary, path)


def read_clips(path):
    """Read the clips of one package: a list of (name, samples)."""
    with np.load(path) as data:
        samples, bounds, names = data["samples"], data["bounds"], data["names"]
    return [(str(name), samples[a:b]) for name, a, b in zip(names, bounds, bounds[1:])]


def prepare(task):
    """Fetch and decode one package: (row of packages.tsv, cache folder, seed) -> (package, clips, minutes)."""
    row, cache, seed = task
    path = Path(cache) / "clips" / f"{row['package']}.npz"
    if not path.exists():
        deb = fetch(row["package"], row["version"], Path(cache) / "debs")
        found = list(sounds_in(deb, row["keep"]))
        names, clips, total = [], [], 0
        for index in np.random.default_rng(seed).permutation(len(found)):
            clip = decode(found[index][1])
            if len(clip):
                names.append(found[index][0])
                clips.append(clip)
                total += len(clip)
            if total >= MAX_PACKAGE * SR:
                break
        write_clips(path, names, clips)
    clips = read_clips(path)
    return row["package"], len(clips), sum(len(clip) for _, clip in clips) / SR / 60


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.distill.audio", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for packages and decoded audio")
    parser.add_argument("--packages", type=Path, default=PACKAGES)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="decides which clips of a large package are used")
    args = parser.parse_args()
    for folder in ("debs", "clips"):
        (args.cache / folder).mkdir(parents=True, exist_ok=True)
    tasks = [(row, args.cache, args.seed) for row in read_packages(args.packages)]
    with Pool(args.jobs) as pool:
        for package, clips, minutes in pool.imap_unordered(prepare, tasks, chunksize=1):
            print(f"{package}\t{clips}\t{minutes:.2f}", flush=True)


if __name__ == "__main__":
    main()
