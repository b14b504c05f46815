"""Put labelled sounds of Debian packages into the layout of ESC-50, for `benchmarks/esc.py` and `edgel3-np train`.

    python -m tools.distill.as_esc sounds --cache ~/distill
    python -m tools.distill.as_esc heldout --cache ~/distill --rules tools/distill/labels.tsv --by series

The rules say which paths in which packages are of which class. All packages are ones that pico-64 was not trained on.
The files are copied as they are: `audio/CLASS/PACKAGE-NAME`, and `meta/esc50.csv` with five folds. No package is in two
folds (`--by package`), or no numbered series of recordings, such as `bird_0.ogg` and `bird_1.ogg`, where most classes
are of one package only (`--by series`). Copies of a recording are left out, in whatever format they are; so are
recordings that cannot be read or are silent, and classes of one group, which no fold can test. Needs scikit-learn.
"""

import argparse
import csv
import re
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .audio import SR, decode, fetch, read_packages, sounds_in
from .labels import label_clips, read_labels

RULES, PACKAGES = (Path(__file__).with_name(name) for name in ("everyday.tsv", "everyday_packages.tsv"))
FOLDS = 5
COPY = 0.7  # correlation of copies: in other formats they have 0.88 to 1, different bird calls at most 0.5
COMPARED = 8 * SR  # samples
COLUMNS = ["filename", "fold", "category", "esc10", "package"]


class Clip(NamedTuple):
    """A labelled sound file.

    Parameters
    ----------
    package, name, label : str
    content : bytes
    samples : np.ndarray [shape=(n,), float32]
        Mono at 8 kHz; empty if there is nothing to hear.
    """

    package: str
    name: str
    label: str
    content: bytes
    samples: np.ndarray


def find_clips(packages, rules, folder):
    """Fetch packages and yield their sounds that have a class: dicts of `read_packages`, rules, folder -> Clip."""
    used = {package for package, _, _ in rules}
    for row in packages:
        if row["package"] in used:
            for name, content in sounds_in(fetch(row["package"], row["version"], folder), row.get("keep", "")):
                (label,) = label_clips([(row["package"], name)], rules)
                if label:
                    yield Clip(row["package"], name, label, content, decode(content))


def first_of_copies(signals, threshold=COPY):
    """Return the numbers of the signals that are no copies of earlier ones.

    Parameters
    ----------
    signals : list of np.ndarray [shape=(n,), float]
    threshold : float
        Two signals are copies if their correlation reaches it at any lag, either sign.

    Returns
    -------
    kept : list of int

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((2, 1000))
    >>> first_of_copies([noise[0], noise[1], -0.1 * noise[0, 50:]])
    [0, 1]
    """
    size = 1 << (2 * max(map(len, signals), default=1)).bit_length()
    kept, spectra = [], []
    for number, signal in enumerate(signals):
        centred = signal - signal.mean()
        spectrum = np.fft.rfft(centred / max(float(np.linalg.norm(centred)), 1e-12), size)
        if all(np.abs(np.fft.irfft(spectrum * other.conj(), size)).max() < threshold for other in spectra):
            kept.append(number)
            spectra.append(spectrum)
    return kept


def drop_copies(clips):
    """Return the clips that can be heard and are no copies of earlier ones of their class."""
    kept = []
    for label in sorted({clip.label for clip in clips}):
        same = [clip for clip in clips if clip.label == label and len(clip.samples)]
        kept += [same[number] for number in first_of_copies([clip.samples[:COMPARED] for clip in same])]
    return kept


def series_of(package, name):
    """Return the series that a recording belongs to: its path without number and ending.

    Examples
    --------
    >>> series_of("farm", "sounds/dog_01.ogg"), series_of("farm", "sounds/bird2_00.ogg")
    ('farm/sounds/dog', 'farm/sounds/bird')
    """
    stem = f"{package}/{name.rsplit('.', 1)[0]}"
    return re.sub(r"[\d_.-]+$", "", stem)


def fold_numbers(labels, groups):
    """Return the fold of each clip, 1 to 5, such that groups stay whole and classes are spread evenly."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = np.zeros(len(labels), int)
    splits = StratifiedGroupKFold(FOLDS).split(labels, labels, groups)
    for number, (_, held) in enumerate(splits, 1):
        folds[held] = number
    return folds


def write_collection(folder, clips, folds):
    """Write the files, and the table of them."""
    rows = []
    for number, (clip, fold) in enumerate(zip(clips, folds)):
        name = f"{clip.label}/{number:03d}-{clip.package}-{clip.name.rsplit('/', 1)[-1]}"
        path = folder / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.content)
        rows.append([name, fold, clip.label, False, clip.package])
    (folder / "meta").mkdir()
    with open(folder / "meta" / "esc50.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def main(arguments=None):
    """Make a collection, and print how many clips of how many groups each class has."""
    parser = argparse.ArgumentParser(prog="python -m tools.distill.as_esc", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="to write; must not exist")
    parser.add_argument("--cache", type=Path, required=True, help="folder of packages; they are fetched if missing")
    parser.add_argument("--rules", type=Path, default=RULES, help="package, pattern and class (default: %(default)s)")
    parser.add_argument("--by", choices=("package", "series"), default="package", help="what folds keep together")
    options = parser.parse_args(arguments)
    if options.folder.exists():
        parser.error(f"expected a folder that does not exist, found {options.folder}")
    options.folder.mkdir(parents=True)
    debs = options.cache / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    packages = [row for row in read_packages() if row["role"] != "train"] + read_packages(PACKAGES)
    found = list(find_clips(packages, read_labels(options.rules), debs))
    clips = drop_copies(found)
    print(f"{len(found) - len(clips)} of {len(found)} clips are silent, unreadable or copies", file=sys.stderr)
    groups = [clip.package if options.by == "package" else series_of(*clip[:2]) for clip in clips]
    spread = Counter(label for label, _ in {(clip.label, group) for clip, group in zip(clips, groups)})
    chosen = [number for number, clip in enumerate(clips) if spread[clip.label] > 1]
    clips, groups = [clips[number] for number in chosen], [groups[number] for number in chosen]
    write_collection(options.folder, clips, fold_numbers([clip.label for clip in clips], groups))
    for label, count in sorted(spread.items()):
        clips_of = sum(clip.label == label for clip in clips)
        print(f"{label}\t{clips_of or 'left out'}\t{count}")


if __name__ == "__main__":
    main()
