#!/usr/bin/env python3
"""Synthesise the recording of the demo: sixteen seconds of a street, made of sines and noise.

    python tools/make_demo_recording.py [OUT.flac]

Sirens, footsteps and dog-like barks are heard over a car that idles far away: two of each kind that differ in pitch,
pace and sound, so that a search finds sounds of one kind and not copies. Everything comes from the formulas below and a
fixed seed, so nobody else has rights in the recording.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

SR = 16000
SCENES = (  # (start in seconds, what)
    (0, "engine"),
    (2, "siren"),
    (5, "footsteps"),
    (7, "bark"),
    (9, "footsteps"),
    (11, "bark"),
    (13, "siren"),
)
END = 16


def engine(n, rng, level):
    """Make the sound of an engine at 25 firings a second: harmonics of an unsteady pitch, and the intake's noise."""
    pitch = 25 * (1 + 0.03 * np.sin(2 * np.pi * 0.7 * np.arange(n) / SR))
    phase = 2 * np.pi * np.cumsum(pitch) / SR
    tone = sum(np.sin(k * phase + k) / k for k in range(1, 20))
    noise = smooth(rng.standard_normal(n), 12) * (1 + np.sin(phase))
    return level * (tone + 2 * noise)


def siren(n, rng, second):
    """Make two tones that alternate, or a tone that wails (the second siren), with overtones and a little echo."""
    t = np.arange(n) / SR
    pitch = 900.0 - 350.0 * np.cos(2 * np.pi * 0.9 * t) if second else np.where(t % 1.0 < 0.5, 440.0, 585.0)
    phase = 2 * np.pi * np.cumsum(smooth(pitch, 400)) / SR
    tone = sum(np.sin(k * phase) / k ** (1.0 if second else 1.5) for k in (1, 2, 3, 4, 5))
    echo = np.concatenate([np.zeros(1600), tone[:-1600]])
    return 0.12 * (tone + 0.4 * echo) * fade(n, 0.3)


def footsteps(n, rng, second):
    """Make steps: low noise for the heel, bright noise for the toe; the second walks faster, on gravel."""
    y, pace, (heel, toe) = np.zeros(n), 0.36 if second else 0.5, (9, 2) if second else (30, 5)
    for start in np.arange(0.1, n / SR - 0.3, pace):
        for delay, width, level in ((0.0, heel, 3.0), (0.09, toe, 1.2 if second else 0.5)):
            length = int((0.06 if second else 0.08) * SR)
            at = int((start + delay + 0.01 * rng.random()) * SR)
            y[at : at + length] += level * smooth(rng.standard_normal(length), width) * decay(length, 0.02)
    return y


def bark(n, rng, second):
    """Make barks: a rough voice of falling pitch that passes through two resonances; the second dog is small."""
    y, pitch = np.zeros(n), 760 if second else 420
    for start in (0.1, 0.5, 0.9, 1.5) if second else (0.2, 0.65, 1.25):
        length = int((0.12 if second else 0.22) * SR)
        t = np.arange(length) / SR
        phase = 2 * np.pi * np.cumsum(pitch + 260 * np.exp(-t / 0.05) + 25 * rng.standard_normal(length)) / SR
        voice = sum(np.sin(k * phase) * resonance((pitch + 60.0) * k) for k in range(1, 14))
        breath = 0.5 * np.diff(rng.standard_normal(length + 1))
        at = int(start * SR)
        y[at : at + length] += 0.25 * (voice + breath) * decay(length, 0.06) * fade(length, 0.01)
    return y


def resonance(frequency):
    return np.exp(-(((frequency - 900) / 400) ** 2)) + 0.6 * np.exp(-(((frequency - 2100) / 600) ** 2)) + 0.02


def smooth(x, width):
    return np.convolve(x, np.ones(width) / width, mode="same")


def decay(n, seconds):
    return np.exp(-np.arange(n) / SR / seconds)


def fade(n, seconds):
    """Return a gain that rises and falls within `seconds` of the ends."""
    t = np.arange(n) / SR
    return np.clip(np.minimum(t, n / SR - t) / seconds, 0, 1)


def street():
    """Make the whole recording: shape (END * SR,), float64, within 0.9."""
    rng = np.random.default_rng(2019)
    y = engine(END * SR, rng, 0.02) + 0.002 * rng.standard_normal(END * SR)
    makers = {"siren": siren, "footsteps": footsteps, "bark": bark, "engine": lambda n, rng, _: engine(n, rng, 0.08)}
    heard = set()
    for (start, what), (stop, _) in zip(SCENES, [*SCENES[1:], (END, "")]):
        n = (stop - start) * SR
        y[start * SR : stop * SR] += makers[what](n, rng, what in heard) * fade(n, 0.05)
        heard.add(what)
    return 0.9 * y / np.abs(y).max()


if __name__ == "__main__":
    default = Path(__file__).resolve().parent.parent / "docs" / "demo" / "street.flac"
    soundfile.write(sys.argv[1] if len(sys.argv) > 1 else default, street(), SR, subtype="PCM_16")
