#!/usr/bin/env python3
"""Classify ESC-50 or ESC-10 by embeddings and logistic regression, on the five published folds.

    python benchmarks/esc.py ESC-50-master                       # pico-64, all 50 classes
    python benchmarks/esc.py ESC-50-master --ten -m sea-64       # ESC-10, other models
    python benchmarks/esc.py ESC-50-master -m pico-64 -m log-mel # what the embeddings add to a spectrogram

PATH has the layout of the published collection: `audio/*.wav` and `meta/esc50.csv` (columns filename, fold, category,
esc10). `python -m tools.distill.as_esc` makes such a collection of other sounds. Each clip is one row of features: mean
and standard deviation of its embeddings, or, for `log-mel`, of the bands of the spectrogram that pico-64 gets. Needs
scikit-learn. All classes count the same in the fit; `mean of classes` is the mean of their recalls, the same as the
accuracy where they have equally many clips. `with 3 a class` is that mean after a fit to three examples of each class,
and its standard deviation over ten choices of the examples.

Published, on ESC-50, with each paper's own classifier: EdgeL3 72.6 to 74.0 %, SEA 44.0 (64 numbers) to 61.3 % (512),
humans 81.3 %.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgel3_np.audio.framing import windows
from edgel3_np.audio.reading import open_audio
from edgel3_np.audio.resample import resample
from edgel3_np.embedder import Embedder
from edgel3_np.features.log_mel import log_mel_spectrogram
from edgel3_np.features.mel import mel_bands, mel_filterbank
from edgel3_np.weights.registry import SEA

REPEATS = 10  # choices of the examples of few shots
HOP = 0.5  # seconds between windows
PLAIN = "log-mel"  # features that no network made


def read_clips(path, ten):
    """Return the paths, folds and classes of the clips: three arrays."""
    with open(path / "meta" / "esc50.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not ten or row["esc10"] == "True"]
    clips = [str(path / "audio" / row["filename"]) for row in rows]
    return np.array(clips), np.array([int(row["fold"]) for row in rows]), np.array([row["category"] for row in rows])


def features_of(clips, model):
    """Return a row of features for each clip: paths, name or path of a model (or `log-mel`) -> (n, features)."""
    if model != PLAIN:
        return Embedder(model, hop_size=HOP, pooling="mean+std").fit_transform(list(clips))
    return np.stack([plain_features(clip) for clip in clips])


def plain_features(clip):
    """Return mean and standard deviation of each mel band over the windows that pico-64 gets: path -> (128,)."""
    bands, hop = mel_bands(mel_filterbank(SEA)), round(HOP * SEA.sr)
    with open_audio(clip) as (sr, blocks):
        batches = windows(resample(blocks, sr, SEA.sr), SEA.sr, hop, SEA.sr // 2, 64)
        log_mel = np.concatenate([log_mel_spectrogram(batch, SEA, bands, hop) for batch in batches])
    return np.concatenate([log_mel.mean(axis=(0, 2)), log_mel.std(axis=(0, 2))])


def classifier():
    """Return the classifier of a fold."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"))


def predict_held_out(features, folds, classes):
    """Return the predicted class of each clip, by a classifier that is fitted to the other folds."""
    predicted = np.empty_like(classes)
    for fold in np.unique(folds):
        held = folds == fold
        predicted[held] = classifier().fit(features[~held], classes[~held]).predict(features[held])
    return predicted


def predict_few_shot(features, folds, classes, shots, rng):
    """Return the predicted class of each clip, with so many examples a class from the other folds, chosen by chance."""
    predicted = np.empty_like(classes)
    for fold in np.unique(folds):
        held = folds == fold
        chosen = [rng.permutation(np.flatnonzero(~held & (classes == name)))[:shots] for name in np.unique(classes)]
        some = np.concatenate(chosen)
        predicted[held] = classifier().fit(features[some], classes[some]).predict(features[held])
    return predicted


def recalls(predicted, classes):
    """Return the share of each class's clips that are recognised, in the order of their names."""
    return np.array([np.mean(predicted[classes == name] == name) for name in np.unique(classes)])


def describe(features, folds, classes, all_shots):
    """Return the figures of some features as text, and the recall of each class."""
    predicted = predict_held_out(features, folds, classes)
    found = 100 * np.array([np.mean((predicted == classes)[folds == fold]) for fold in np.unique(folds)])
    each = 100 * recalls(predicted, classes)
    parts = [f"{found.mean():.1f} (folds {found.min():.1f} to {found.max():.1f})", f"mean of classes {each.mean():.1f}"]
    for shots in all_shots:
        rng, tries = np.random.default_rng(0), []
        for _ in range(REPEATS):
            tries.append(100 * recalls(predict_few_shot(features, folds, classes, shots, rng), classes).mean())
        parts.append(f"with {shots} a class {np.mean(tries):.1f} ± {np.std(tries):.1f}")
    return "; ".join(parts), each


def main(arguments=None):
    """Print a line for each model; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, metavar="PATH", help="the collection, with audio/ and meta/esc50.csv")
    parser.add_argument("-m", "--model", action="append", help="name or path, or log-mel; may be given several times")
    parser.add_argument("--ten", action="store_true", help="ESC-10 only")
    parser.add_argument("--shots", type=int, nargs="*", default=[1, 3, 10], help="few-shot: examples a class")
    parser.add_argument("--classes", action="store_true", help="also print the recall of each class, model by model")
    options = parser.parse_args(arguments)
    if not (options.path / "meta" / "esc50.csv").is_file():
        parser.error(f"expected {options.path / 'meta' / 'esc50.csv'}, found no such file")
    clips, folds, classes = read_clips(options.path, options.ten)
    names, counts = np.unique(classes, return_counts=True)
    print(
        f"{len(clips)} clips, {len(names)} classes, {len(np.unique(folds))} folds; accuracy in per cent; by chance "
        f"{100 / len(names):.1f} of each class; the most frequent class has {100 * counts.max() / len(clips):.1f}"
    )
    found = []
    for model in options.model or ["pico-64"]:
        text, each = describe(features_of(clips, model), folds, classes, options.shots)
        found.append(each)
        print(f"{model}: {text}", flush=True)
    if options.classes:
        for name, count, row in zip(names, counts, np.transpose(found)):
            print(f"{name} ({count}): {', '.join(f'{value:.0f}' for value in row)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
