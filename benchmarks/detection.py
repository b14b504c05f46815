#!/usr/bin/env python3
"""Train a classifier and detect its classes in long recordings made of held-out clips: precision and recall of events.

    python benchmarks/detection.py sounds                               # sounds/dog/1.wav is an example of dog
    python benchmarks/detection.py COLLECTION --only thunder speech     # the other classes are background
    python benchmarks/detection.py sounds --background street.wav       # instead of pink noise

PATH is a folder with a subfolder for each class, or a collection in the layout of ESC-50, which brings its folds. For
each fold, `train` gets the clips of the other folds as they are, and background; then every clip of the fold is laid
once into a long recording, 3 to 6 s apart, over background at each ratio of signal to noise (of their powers while the
clip sounds), and `detect` looks for them, both with their default options. Of a background recording the first half is
for training and the second half for the recordings. Clips are cut to 4 s.

An event that was found is right if at least half of it lies within half a second of clips of its class. A clip is found
if a right event overlaps it. Needs scikit-learn.
"""

import argparse
import csv
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from esc import read_clips

from edgel3_np.audio.reading import open_audio
from edgel3_np.audio.resample import resample
from edgel3_np.classifier import Event, detect_files, read_events, train

SR = 16000  # of the recordings that are made
LONGEST, GAPS = 4.0, (3.0, 6.0)  # seconds of a clip, seconds between clips
REACH = 0.5  # seconds beside a clip that a window in which it sounds may reach
FOLDS = 5
NOISE = 120.0  # seconds of pink noise
OTHER = "background"


def read_examples(path):
    """Return paths, folds and classes of clips, three arrays, from a collection or from a folder of classes."""
    if (path / "meta" / "esc50.csv").is_file():
        return read_clips(path, False)
    clips = sorted(file for file in path.glob("*/**/*") if file.is_file() and not file.name.startswith("."))
    classes = np.array([clip.relative_to(path).parts[0] for clip in clips])
    folds = np.zeros(len(clips), int)
    for name in np.unique(classes):
        of_class = np.flatnonzero(classes == name)
        folds[np.random.default_rng(0).permutation(of_class)] = np.arange(len(of_class)) % FOLDS
    return np.array([str(clip) for clip in clips]), folds, classes


def read_samples(path):
    """Return a recording as mono samples at `SR`."""
    with open_audio(path) as (sr, blocks):
        return np.concatenate([np.zeros(0), *resample(blocks, sr, SR)])


def pink_noise(size, rng):
    """Draw noise with the same power in each octave: shape (size,)."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1.0)), size)


def lay(clips, labels, background, ratio, rng):
    """Lay clips over background, in a random order.

    Parameters
    ----------
    clips : list of np.ndarray [shape=(n,), float64]
    labels : sequence of str
    background : np.ndarray [shape=(m,), float64]
        Repeated as often as needed.
    ratio : float
        dB.
    rng : np.random.Generator

    Returns
    -------
    samples : np.ndarray [shape=(k,), float64]
        The largest is 0.9.
    truth : list of Event
        When each clip sounds, with the score 1.
    """
    at, parts, truth = SR * rng.uniform(*GAPS), [], []
    for number in rng.permutation(len(clips)):
        clip = clips[number][: int(LONGEST * SR)]
        start = int(at)
        parts.append((start, clip))
        truth.append(Event(start / SR, (start + len(clip)) / SR, str(labels[number]), 1.0))
        at = start + len(clip) + SR * rng.uniform(*GAPS)
    samples = np.resize(background / np.sqrt(np.mean(background**2)), int(at))
    for start, clip in parts:
        samples[start : start + len(clip)] += clip * 10 ** (ratio / 20) / max(np.sqrt(np.mean(clip**2)), 1e-9)
    return 0.9 * samples / np.abs(samples).max(), truth


def overlap(event, others, reach=0.0):
    """Return how many seconds of an event lie in others, which are `reach` longer at both ends and do not overlap."""
    return sum(max(0.0, min(event.end, o.end + reach) - max(event.start, o.start - reach)) for o in others)


def count(found, truth, label):
    """Count the events of a class: found, right, found where no clip is; and its clips: all, heard."""
    events = [event for event in found if event.label == label]
    clips = [event for event in truth if event.label == label]
    right = [event for event in events if overlap(event, clips, REACH) >= (event.end - event.start) / 2]
    heard = [clip for clip in clips if any(overlap(clip, [event]) > 0 for event in right)]
    alone = [event for event in events if not overlap(event, truth, REACH)]
    return Counter(events=len(events), right=len(right), alone=len(alone), clips=len(clips), heard=len(heard))


def run_fold(folder, held, clips, classes, halves, ratios, model):
    """Train without the clips of a fold and detect them; return counts by ratio and class, and seconds of sound."""
    soundfile.write(folder / "background.wav", halves[0] / np.abs(halves[0]).max(), SR)
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        rows = zip(map(Path.absolute, map(Path, clips[~held])), classes[~held])
        csv.writer(file).writerows([("path", "label"), *rows, (folder / "background.wav", OTHER)])
    classifier = train(
        folder / "labels.csv",
        folder / "classifier.npz",
        model=model,
        embeddings=folder.parent / "embeddings",
        on_problem=lambda problem: None,
    )
    tested, counts, seconds = [read_samples(clip) for clip in clips[held]], {}, 0.0
    for ratio in ratios:
        samples, truth = lay(tested, classes[held], halves[1], ratio, np.random.default_rng(0))
        soundfile.write(folder / f"{ratio:g}.wav", samples, SR)
        summary = detect_files(folder / f"{ratio:g}.wav", folder / "found", folder / "classifier.npz", model=model)
        assert not summary.failures, summary.failures
        _, found = read_events(folder / "found" / f"{ratio:g}.csv")
        counts.update({(ratio, label): count(found, truth, label) for label in classifier.classes})
        seconds += len(samples) / SR
    return counts, seconds


def percent(part, whole):
    """Return a share as text."""
    return f"{100 * part / whole:.0f}" if whole else "-"


def print_table(counts, ratios, hours):
    """Print precision and recall of each class at each ratio, their means, and the events an hour."""
    print("| class | clips |" + "".join(f" {ratio:g} dB: precision, recall |" for ratio in ratios))
    print("|---|---|" + "---|" * len(ratios))
    classes, means = sorted({label for _, label in counts}), {ratio: [] for ratio in ratios}
    for label in classes:
        line = f"| {label} | {counts[ratios[0], label]['clips']} |"
        for ratio in ratios:
            c = counts[ratio, label]
            line += f" {percent(c['right'], c['events'])}, {percent(c['heard'], c['clips'])} |"
            means[ratio].append((c["right"] / max(c["events"], 1), c["heard"] / max(c["clips"], 1)))
        print(line)
    pairs = [" {:.0f}, {:.0f} |".format(*(100 * np.mean(means[ratio], axis=0))) for ratio in ratios]
    print("| mean | |" + "".join(pairs))
    for title, key in (("events", "events"), ("right", "right"), ("in background alone", "alone")):
        totals = [sum(counts[ratio, label][key] for label in classes) / hours for ratio in ratios]
        print(f"| {title}, an hour | |" + "".join(f" {total:.0f} |" for total in totals))


def main(arguments=None):
    """Print a table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, metavar="PATH", help="a folder of classes, or a collection")
    parser.add_argument("-m", "--model", default="pico-64", help="name or path")
    parser.add_argument("--only", nargs="+", metavar="CLASS", help="classes to detect; the others are background")
    parser.add_argument("--ratios", type=float, nargs="+", default=[20.0, 10.0, 0.0], metavar="DB")
    parser.add_argument("--background", type=Path, metavar="FILE", help="a recording in which no class is heard")
    options = parser.parse_args(arguments)
    clips, folds, classes = read_examples(options.path)
    if options.only:
        unknown = set(options.only) - set(classes)
        if unknown:
            parser.error(f"--only: expected some of {', '.join(np.unique(classes))}, found {', '.join(unknown)}")
        classes = np.where(np.isin(classes, options.only), classes, OTHER)
    noise = (
        read_samples(options.background)
        if options.background
        else pink_noise(int(NOISE * SR), np.random.default_rng(0))
    )
    counts, seconds = {}, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for fold in np.unique(folds):
            (Path(folder) / str(fold)).mkdir()
            halves = np.split(noise, [len(noise) // 2])
            part, length = run_fold(
                Path(folder) / str(fold), folds == fold, clips, classes, halves, options.ratios, options.model
            )
            for key, values in part.items():
                counts.setdefault(key, Counter()).update(values)
            seconds += length
    print_table(counts, options.ratios, seconds / 3600 / len(options.ratios))
    return 0


if __name__ == "__main__":
    sys.exit(main())
