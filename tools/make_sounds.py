#!/usr/bin/env python3
"""Make a folder of sounds to try things with: six recordings of each of four kinds, two seconds long, in a folder each.

    python tools/make_sounds.py sounds

No two recordings are the same. They come from formulas and a fixed seed, so nobody has rights in them.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

SR, EACH = 16000, 6
TIME = np.arange(2 * SR) / SR


def siren(rng):
    """Make a tone that rises and falls, with an overtone."""
    pitch = rng.uniform(450, 700) * 2 ** (0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(0.3, 1.2) * TIME))
    phase = 2 * np.pi * np.cumsum(pitch) / SR
    return np.sin(phase) + 0.3 * np.sin(2 * phase)


def engine(rng):
    """Make 18 to 40 firings a second: harmonics, and noise."""
    phase = 2 * np.pi * rng.uniform(18, 40) * TIME
    return sum(np.sin(k * phase + k) / k for k in range(1, 25)) + 0.1 * rng.standard_normal(len(TIME))


def beeps(rng):
    """Make short tones."""
    return np.sin(2 * np.pi * rng.uniform(1000, 3000) * TIME) * (TIME * rng.uniform(1.5, 4) % 1 < 0.4)


def rain(rng):
    """Make drops: smooth noise with impulses in it."""
    drops = rng.random(len(TIME)) < rng.uniform(0.001, 0.01)
    return np.convolve((0.3 + 4 * drops) * rng.standard_normal(len(TIME)), np.ones(3), "same")


def main(arguments=None):
    """Write the folder; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print(f"make_sounds: expected the name of a folder, found {len(arguments)} names", file=sys.stderr)
        return 2
    rng = np.random.default_rng(0)
    for kind in (beeps, engine, rain, siren):
        folder = Path(arguments[0], kind.__name__)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(EACH):
            sound = kind(rng) + 0.01 * rng.standard_normal(len(TIME))
            soundfile.write(folder / f"{number}.wav", 0.3 * sound / np.abs(sound).max(), SR)
    return 0


if __name__ == "__main__":
    sys.exit(main())
