#!/usr/bin/env python3
"""Compare the resampler with the direct loop that defines it (tests/oracles.py): paired, repeated, in one run."""

import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import oracles

from edgel3_np.audio.resample import resample
from edgel3_np.diagnostics.environment import environment
from edgel3_np.network.threads import one_blas_thread

PAIRS = ((44100, 8000), (48000, 8000), (22050, 8000), (44100, 48000), (44101, 8000))
SECONDS, REPEATS = 1.0, 5


def main():
    """Print a table."""
    print(", ".join(f"{key} {value}" for key, value in environment().items()))
    print(f"{'rates':>16} {'ms per s of audio':>18} {'speed-up':>9} {'smallest':>9} {'difference':>11}")
    for sr, new in PAIRS:
        x = np.random.default_rng(0).standard_normal(int(SECONDS * sr))
        list(resample([x], sr, new))  # makes the filter bank
        times, ratios = [], []
        for _ in range(REPEATS):
            start = time.perf_counter()
            with one_blas_thread():
                found = np.concatenate(list(resample([x], sr, new)))
            middle = time.perf_counter()
            expected = oracles.resample(x, sr, new)
            end = time.perf_counter()
            times.append(1e3 * (middle - start) / SECONDS)
            ratios.append((end - middle) / (middle - start))
        error = np.abs(found - expected).max() / np.abs(expected).max()
        speed_up = f"{statistics.median(ratios):>9.0f} {min(ratios):>9.0f}"
        print(f"{sr:>7} -> {new:>5} {statistics.median(times):>18.2f} {speed_up} {error:>11.1e}")


if __name__ == "__main__":
    main()
