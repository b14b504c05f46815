#!/usr/bin/env python3
"""What `make demo` shows: embed the recording that ships with the repository, and find in it what sounds alike."""

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
    print(f"Read docs/demo/{RECORDING.name}: {END} seconds of a made-up street.")
    print(f"Loaded {model.name} in {loaded - start:.2f} s; embedded the recording in {done - loaded:.2f} s:")
    print(f"{len(embedding)} vectors of {model.dim} numbers, one every 0.1 s, each for the second around it.\n")
    print("Each scene's mean vector, and which other scene comes nearest to it (cosine of the two vectors):\n")
    bounds = [*SCENES, (END, "")]
    means = []
    for (begin, _), (end, _) in zip(bounds, bounds[1:]):
        inside = (timestamps >= begin + 0.5) & (timestamps <= end - 0.5)
        means.append(embedding[inside].mean(axis=0))
    unit = np.array(means) / np.linalg.norm(means, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -1.0)
    for number, (begin, what) in enumerate(SCENES):
        other = int(likeness[number].argmax())
        end = bounds[number + 1][0]
        print(
            f"  {begin:2}-{end:2} s  {what:10} is most like  {SCENES[other][0]:2}-{bounds[other + 1][0]:2} s  "
            f"{SCENES[other][1]:10} ({likeness[number, other]:.3f})"
        )
    print("\nDo the same with your own: edgel3-np FILE, or edgel3_np.embed(FILE) in Python.")


if __name__ == "__main__":
    main()
