"""Spectrograms in whole levels, the same on every machine.

The level of a band is a number from 0 to 255: the log-mel spectrogram, from -80 to 0, in steps of 80 / 255, rounded. It is
defined by the samples alone, as if the transform, the bands and the logarithm had no rounding errors. Fourier transforms,
products of matrices and logarithms do have some, other ones on each machine, but all below a bound that is known. So each
level is computed as an interval. Where both of its ends round to the same level, which is all but always, that is the
level; where they do not, `exact` finds it with whole numbers of any size.
"""

from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from .exact import exact_levels
from .log_mel import AMIN, TOP_DB
from .stft import strided

TOP = 255
SCALE = 5.0 * TOP / TOP_DB  # levels for a factor of ten in power
CHUNK, SPARE = 64, 4  # frames that are computed at a time; pieces of memory that are kept
_spare: list = []
ARITHMETIC = 2.0**-36  # levels: bound of what sums, products and logarithms of float64 may be wrong by
TRANSFORM = 2.0**-44  # bound of the error of a bin, relative to the norm of the samples; those of libraries make 2**-51


def level_spectrogram(windows, frontend, bands, hop=None):
    """Return the spectrograms of a batch of windows in whole levels.

    Parameters
    ----------
    windows : np.ndarray [shape=(b, sr), float64]
        Windows of one second.
    frontend : FrontEnd
        With a `power` spectrum, and an `n_fft` that is a power of two.
    bands : tuple of MelBand
    hop : int > 0, optional
        If given, the windows are a view of one signal, `hop` samples apart. Frames that windows share are computed once.

    Returns
    -------
    levels : np.ndarray [shape=(b, n_mels, n_frames), float32]
        Whole numbers from 0 to 255, which is the level of the loudest band. In silence, all are 255.
    """
    low, high = _intervals(windows, frontend, bands, hop)  # (b, n_frames, n_mels)
    top_low, top_high = low.max(axis=(1, 2), keepdims=True), high.max(axis=(1, 2), keepdims=True)
    levels, least = _round(high - top_low), _round(low - top_high)
    if (levels != least).any():
        for window in np.flatnonzero((levels != least).any(axis=(1, 2))):
            unsure, loudest = np.argwhere(levels[window] != least[window]), np.argwhere(high[window] >= top_low[window])
            found = exact_levels(windows[window], frontend, bands, unsure, loudest)
            levels[window][tuple(unsure.T)] = found
    return levels.swapaxes(1, 2).astype(np.float32)


def _round(x):
    """Return the levels of numbers that are 0 for the loudest band; overwrites them."""
    x += TOP
    np.rint(x, out=x)
    return np.clip(x, 0.0, TOP, out=x)


def _intervals(windows, frontend, bands, hop):
    """Return bounds of the levels, before rounding and relative to nothing: two of shape (b, n_frames, n_mels)."""
    sr, n_fft, step, n_mels = frontend[:4]
    n_frames, b, (first, last) = frontend.n_frames, len(windows), frontend.whole_frames
    padded = np.zeros((b, max((n_frames - 1) * step + n_fft, sr)))
    padded[:, frontend.pad_left : frontend.pad_left + sr] = windows
    frames = strided(padded, (b, n_frames, n_fft), (padded.shape[1], step, 1))
    if hop is None or hop % step or hop >= sr or b == 1 or last <= first:
        return _frame_intervals(frames, bands, n_mels)
    bounds = np.empty((2, b, n_frames, n_mels))
    bounds[:, :, :first] = _frame_intervals(frames[:, :first], bands, n_mels)
    bounds[:, :, last:] = _frame_intervals(frames[:, last:], bands, n_mels)
    apart, signal = hop // step, windows[0, first * step - frontend.pad_left :]  # apart: frames between windows
    count = (b - 1) * apart + last - first
    shared = _frame_intervals(strided(signal, (1, count, n_fft), (0, step, 1)), bands, n_mels)  # (2, 1, count, n_mels)
    size = count * n_mels
    bounds[:, :, first:last] = strided(shared, (2, b, last - first, n_mels), (size, apart * n_mels, n_mels, 1))
    return bounds


def _frame_intervals(frames, bands, n_mels):
    """Return bounds of the levels of frames: (b, n, n_fft) -> (2, b, n, n_mels)."""
    b, n, n_fft = frames.shape
    bounds = np.empty((2, b, n, n_mels))
    many = max(1, CHUNK // max(n, 1))
    for i in range(0, b, many):
        for j in range(0, n, CHUNK):
            part = (slice(i, i + many), slice(j, j + CHUNK))
            bounds[(slice(None), *part)] = _chunk_intervals(frames[part], bands, n_mels)
    return bounds


def _chunk_intervals(frames, bands, n_mels):
    """Do the same for few frames."""
    b, n, n_fft = frames.shape
    bins = 1 + n_fft // 2
    with _scratch(b * n * (n_fft + bins)) as scratch:
        windowed, power = (part.reshape(b, n, -1) for part in np.split(scratch, [b * n * n_fft]))
        np.multiply(frames, _hann(n_fft), out=windowed)
        spectrum = np.fft.rfft(windowed).view(np.float64)  # real and imaginary parts alternate
        np.multiply(spectrum, spectrum, out=spectrum)
        np.add(spectrum[..., ::2], spectrum[..., 1::2], out=power)
        mel = np.empty((b, n, n_mels))
        for band in bands:
            np.matmul(power[..., band.bins], band.weights, out=mel[..., band.mels])
        energy = np.matmul(power, _ones(bins))[..., np.newaxis]
    np.maximum(mel, AMIN**2, out=mel)
    # A bin is wrong by a part of the norm, so the root of a band is by that times the root of its sum of weights
    error = energy * (TRANSFORM**2 * 2 / n_fft * max(band.total for band in bands)) / mel
    np.sqrt(error, out=error)
    error *= 2 * SCALE / np.log(10.0)
    error += ARITHMETIC
    level = np.log10(mel, out=mel)
    level *= SCALE
    return level - error, level + error


@contextmanager
def _scratch(size):
    """Yield floats that nothing else uses. They are kept for the next call: fresh memory takes as long as the sums."""
    try:
        array = _spare.pop()  # one step: threads cannot get the same
    except IndexError:
        array = np.empty(0)
    array = array if len(array) >= size else np.empty(size)
    yield array[:size]
    if len(_spare) < SPARE:
        _spare.append(array)


@lru_cache(maxsize=4)
def _ones(n):
    return np.ones(n)


@lru_cache(maxsize=4)
def _hann(n):
    """Return the periodic Hann window as a square, whose relative error is small at its ends as well: shape (n,)."""
    time = np.arange(n)
    window = np.sin(np.pi * np.minimum(time, n - time) / n) ** 2
    window.setflags(write=False)
    return window
