#!/usr/bin/env python3
"""The demo of `make demo`: embed the recording in this repository, and find out which of its scenes sound alike."""

import time
from pathlib import Path

import numpy as np
from make_demo_recording import END, SCENES

import edgel3_np

RECORDING = Path(__file__).resolve().parent.parent / "docs" / "demo" / "street.flac"


def main():
    """Run the demo."""
    start = time.perf_counter()
    model = edgel3_np.load_model()
    loaded = time.perf_counter()
    embedding, timestamps = model.embed(RECORDING)
    done = time.perf_counter()
    print(f"Read docs/demo/{RECORDING.name}: {END} seconds of a synthetic street.")
    print(f"Loaded {model.name} in {loaded - start:.2f} s; embedded the recording in {done - loaded:.2f} s:")
    print(f"{len(embedding)} vectors of {model.dim} numbers, one every 0.1 s, each for the second around its time.\n")
    print("Each scene, and the other scene whose mean vector is nearest to its own (cosine of the two vectors):\n")
    bounds = [*SCENES, (END, "")]
    means = []
    for (begin, _), (end, _) in zip(bounds, bounds[1:]):
        inside = (timestamps >= begin + 0.5) & (timestamps <= end - 0.5)
        means.append(embedding[inside].mean(axis=0))
    unit = np.array(means) / np.linalg.norm(means, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -1.0)
    for number, (begin, what) in enumerate(SCENES):
        other = int(similarity[number].argmax())
        end = bounds[number + 1][0]
        print(
            f"  {begin:2}-{end:2} s  {what:10} is most like  {SCENES[other][0]:2}-{bounds[other + 1][0]:2} s  "
            f"{SCENES[other][1]:10} ({similarity[number, other]:.3f})"
        )
    kinds = np.array([what for _, what in SCENES])
    others = similarity[kinds[:, np.newaxis] != kinds]
    print(f"\nNo scene is a copy. Scenes of different kinds have cosines of {others.min():.2f} to {others.max():.2f}.")
    print("\nTry it with your own recordings: .venv/bin/edgel3-np FILE, or edgel3_np.embed(FILE) in Python.")


if __name__ == "__main__":
    main()
