#!/usr/bin/env python3
"""Classify ESC-50 or ESC-10 by embeddings and logistic regression, on the five published folds.

    python benchmarks/esc.py ESC-50-master                       # pico-64, all 50 classes
    python benchmarks/esc.py ESC-50-master --ten -m sea-64       # ESC-10, other models

PATH has the layout of the published collection: `audio/*.wav` and `meta/esc50.csv` (columns filename, fold, category,
esc10). Each clip is one row of features: mean and standard deviation of its embeddings. Needs scikit-learn.

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

from edgel3_np.embedder import Embedder

REPEATS = 10  # choices of the examples of few shots


def read_clips(path, ten):
    """Return the paths, folds and classes of the clips: three arrays."""
    with open(path / "meta" / "esc50.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not ten or row["esc10"] == "True"]
    clips = [str(path / "audio" / row["filename"]) for row in rows]
    return np.array(clips), np.array([int(row["fold"]) for row in rows]), np.array([row["category"] for row in rows])


def classifier():
    """Return the classifier of a fold."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))


def fold_accuracies(features, folds, classes):
    """Return the accuracy on each fold, of a classifier that is fitted to the others."""
    found = []
    for fold in np.unique(folds):
        held = folds == fold
        found.append(classifier().fit(features[~held], classes[~held]).score(features[held], classes[held]))
    return np.array(found)


def few_shot_accuracies(features, folds, classes, shots):
    """Return accuracies on each fold, with so many examples a class from the other folds, chosen ten times."""
    rng, found = np.random.default_rng(0), []
    for fold in np.unique(folds):
        held = folds == fold
        for _ in range(REPEATS):
            chosen = [rng.permutation(np.flatnonzero(~held & (classes == name)))[:shots] for name in np.unique(classes)]
            some = np.concatenate(chosen)
            found.append(classifier().fit(features[some], classes[some]).score(features[held], classes[held]))
    return np.array(found)


def main(arguments=None):
    """Print a line for each model; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, metavar="PATH", help="the collection, with audio/ and meta/esc50.csv")
    parser.add_argument("-m", "--model", action="append", help="name or path; may be given several times")
    parser.add_argument("--ten", action="store_true", help="ESC-10 only")
    parser.add_argument("--shots", type=int, nargs="*", default=[1, 3, 10], help="few-shot: examples a class")
    options = parser.parse_args(arguments)
    if not (options.path / "meta" / "esc50.csv").is_file():
        parser.error(f"expected {options.path / 'meta' / 'esc50.csv'}, found no such file")
    clips, folds, classes = read_clips(options.path, options.ten)
    print(f"{len(clips)} clips, {len(np.unique(classes))} classes, {len(np.unique(folds))} folds; accuracy in per cent")
    for model in options.model or ["pico-64"]:
        features = Embedder(model, hop_size=0.5, pooling="mean+std").fit_transform(list(clips))
        found = fold_accuracies(features, folds, classes)
        line = f"{model}: {100 * found.mean():.1f} (folds {100 * found.min():.1f} to {100 * found.max():.1f})"
        for shots in options.shots:
            line += (
                f"; {shots} examples a class {100 * few_shot_accuracies(features, folds, classes, shots).mean():.1f}"
            )
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
