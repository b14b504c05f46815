#!/usr/bin/env python3
"""Compare the resampler with the direct loop that defines it (tests/oracles.py), and with soxr's quality HQ.

Paired, repeated, in one run, on one thread. soxr has another filter, so only its speed is compared, if it is installed.
"""

import statistics
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import oracles

from edgel3_np.audio.resample import resample
from edgel3_np.diagnostics.environment import environment
from edgel3_np.network.threads import one_blas_thread

PAIRS = ((44100, 8000), (48000, 8000), (22050, 8000), (44100, 48000), (44101, 8000))
SECONDS, REPEATS = 1.0, 5
LONG, LATER = 60, 45.0  # seconds of the comparison with soxr, and from when on they count: the drift is at its limit


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

    if find_spec("soxr"):
        print(f"{'rates':>16} {'ms per s':>9} {'once settled':>13} {'soxr HQ':>8} {'soxr / ours':>12}")
        for sr, new in PAIRS[:-1]:
            compare_with_soxr(sr, new)


def compare_with_soxr(sr, new):
    """Print a line: ms a second of audio over a minute, over its last seconds, and of soxr, each the median."""
    import soxr

    x = np.random.default_rng(0).standard_normal(LONG * sr)
    blocks = np.array_split(x, LONG)
    ours, settled, theirs = [], [], []
    for _ in range(REPEATS):
        with one_blas_thread():
            start, done, later = time.perf_counter(), 0, None
            for block in resample(blocks, sr, new):
                done += len(block)
                if later is None and done >= LATER * new:
                    later, rest = time.perf_counter(), done
            end = time.perf_counter()
        ours.append(1e3 * (end - start) / LONG)
        settled.append(1e3 * (end - later) / ((done - rest) / new))
        start = time.perf_counter()
        soxr.resample(x, sr, new, quality="HQ")
        theirs.append(1e3 * (time.perf_counter() - start) / LONG)
    a, b, c = map(statistics.median, (ours, settled, theirs))
    print(f"{sr:>7} -> {new:>5} {a:>10.2f} {b:>13.2f} {c:>8.2f} {c / a:>12.2f}")


if __name__ == "__main__":
    main()
