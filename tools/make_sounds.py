#!/usr/bin/env python3
"""Make a folder of sounds to try things with: recordings of four kinds, two seconds long, in a folder each.

    python tools/make_sounds.py sounds              # six of each kind
    python tools/make_sounds.py clips --each 10 --walks walks

No two recordings of a call are the same. They come from formulas and a fixed seed: each call makes the same ones, and
nobody has rights in them.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile

SR = 16000
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


def knocks(rng):
    """Make short noises that ring; there is no folder of them."""
    ring = np.sin(2 * np.pi * rng.uniform(150, 400) * TIME) + 0.3 * rng.standard_normal(len(TIME))
    return ring * np.exp(-(TIME * rng.uniform(2, 4) % 1) / 0.06)


def walk(rng):
    """Make a minute: quiet hiss, in which sounds of all kinds are heard, for four seconds each."""
    sound = 0.01 * rng.standard_normal(60 * SR)
    for start, kind in WALK:
        for second in (start, start + 2):
            heard = kind(rng)
            sound[second * SR : (second + 2) * SR] += 0.3 * heard / np.abs(heard).max()
    return sound


WALK = ((4, siren), (12, knocks), (20, beeps), (28, engine), (36, knocks), (44, rain), (52, siren))


def main(arguments=None):
    """Write the folder; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="it is made, if it is missing")
    parser.add_argument(
        "--each", type=int, default=6, metavar="N", help="recordings of each kind (default: %(default)s)"
    )
    parser.add_argument("--walks", type=Path, metavar="DIR", help="also write two walks of a minute into this folder")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    for kind in (beeps, engine, rain, siren):
        folder = options.folder / kind.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(options.each):
            sound = kind(rng) + 0.01 * rng.standard_normal(len(TIME))
            soundfile.write(folder / f"{number}.wav", 0.3 * sound / np.abs(sound).max(), SR)
    if options.walks:
        options.walks.mkdir(parents=True, exist_ok=True)
        for number in range(2):
            soundfile.write(options.walks / f"{number}.wav", walk(rng), SR)
    return 0


if __name__ == "__main__":
    sys.exit(main())
