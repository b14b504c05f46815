"""Synthetic signals: sounds that recordings lack, and that test signals consist of."""

import numpy as np


def coloured_noise(n, rng):
    """Draw noise whose power falls as 1 / f ** a, with a random exponent a from 0 to 2: shape (n,)."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    f = np.maximum(np.arange(len(spectrum)), 1.0)
    return np.fft.irfft(spectrum * f ** (-rng.uniform(0.0, 2.0) / 2), n)


def harmonics(n, rng):
    """Draw a tone with overtones, steady or gliding: shape (n,)."""
    low, high = 30.0 / n, 0.45
    start = low * (high / low) ** rng.random()
    stop = start * 2.0 ** rng.uniform(-2, 2) if rng.random() < 0.5 else start
    frequency = np.minimum(start * (stop / start) ** np.linspace(0, 1, n), high)
    if rng.random() < 0.3:  # vibrato, siren
        depth, rate = rng.uniform(0.01, 0.5), rng.uniform(0.5, 12)
        frequency = frequency * 2.0 ** (depth * np.sin(2 * np.pi * rate * np.arange(n) / n))
    phase = 2 * np.pi * np.cumsum(frequency)
    signal = np.zeros(n)
    decay = rng.uniform(0.3, 3.0)
    for k in range(1, rng.integers(1, 12) + 1):
        signal += np.where(k * frequency < 0.5, np.sin(k * phase + rng.uniform(0, 6)), 0.0) / k**decay
    return signal


def clicks(n, rng):
    """Draw impulses or short bursts, regular or scattered: shape (n,)."""
    signal = np.zeros(n)
    count = int(rng.integers(1, 30))
    where = np.arange(count) * (n // count) if rng.random() < 0.5 else rng.integers(0, n, count)
    signal[where] = rng.normal(1.0, 0.3, count)
    if rng.random() < 0.7:
        ring = np.exp(-np.arange(n) / (n * 10.0 ** rng.uniform(-3.5, -1)))
        ring = ring * (rng.standard_normal(n) if rng.random() < 0.5 else np.sin(np.arange(n) * rng.uniform(0.02, 3)))
        signal = np.fft.irfft(np.fft.rfft(signal, 2 * n) * np.fft.rfft(ring, 2 * n), 2 * n)[:n]
    return signal


def synthetic(n, rng):
    """Draw a synthetic signal of n samples with a random envelope: shape (n,), float64."""
    signal = (harmonics, harmonics, clicks, coloured_noise)[rng.integers(4)](n, rng)
    t = np.arange(n) / n
    kind = rng.integers(5)
    if kind == 0:  # beats
        signal = signal * (1 + np.sin(2 * np.pi * rng.uniform(1, 40) * t))
    elif kind == 1:
        signal = signal * np.exp(-t * rng.uniform(1, 40))
    elif kind == 2:  # a burst
        start, stop = np.sort(rng.random(2))
        signal = signal * ((t >= start) & (t <= stop))
    return signal if rng.random() < 0.98 else np.zeros(n)
