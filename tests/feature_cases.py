"""Sounds, front ends and overlapping windows for the tests of features."""

import numpy as np

from edgel3_np.features.frontend import FrontEnd
from edgel3_np.features.mel import mel_bands, mel_filterbank
from edgel3_np.weights.registry import SEA


def formula(frontend):
    """Return the bands of the mel filterbank that the formula gives."""
    return mel_bands(mel_filterbank(frontend))


def sounds(sr):
    rng = np.random.default_rng(0)
    t = np.arange(sr) / sr
    click = np.zeros(sr)
    click[sr // 3] = 1.0
    return np.stack([rng.standard_normal(sr), np.sin(2 * np.pi * 440 * t), click, 1e-9 * rng.standard_normal(sr)])


FRONT_ENDS = [
    SEA,
    FrontEnd(16000, 512, 250, 40),
    FrontEnd(2000, 64, 9, 17),  # the hop does not divide a window
    FrontEnd(2000, 1876, 125, 8),  # just one frame lies inside a window
    FrontEnd(2000, 2000, 125, 8),  # no frame lies inside a window
    FrontEnd(2000, 2500, 40, 8),  # a transform is longer than a window
    FrontEnd(2000, 8192, 100, 16),  # a transform is as long as four windows
    FrontEnd(2000, 16, 16, 8),  # frames do not overlap
    FrontEnd(2000, 64, 9, 17, "slaney", "power", "end"),
    FrontEnd(2000, 64, 9, 33, "linear", "power", "valid"),
]


def overlapping(frontend, count, hop, seed=0):
    """Return windows as a view of one signal that is followed by NaN: shape (count, sr)."""
    signal = np.full((count - 1) * hop + frontend.sr + 20_000, np.nan)
    signal[:-20_000] = np.random.default_rng(seed).standard_normal(len(signal) - 20_000)
    step = signal.itemsize
    return np.lib.stride_tricks.as_strided(signal, (count, frontend.sr), (hop * step, step), writeable=False)
