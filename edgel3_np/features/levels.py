"""Spectrograms in whole levels, the same on every machine.

The level of a band is a number from 0 to 255: the log-mel spectrogram, from -80 to 0, in steps of 80 / 255, rounded. It
is defined by the samples alone, as if the transform, the bands and the logarithm had no rounding errors. Fourier
transforms, products of matrices and logarithms do have some, other ones on each machine, but all below a known bound.
So each level is computed as an interval. Where both of its ends round to the same level, which is all but always, that
is the level; where they do not, `exact` finds it with whole numbers of any size.
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
_WRITES = int(np.__version__.split(".")[0]) >= 2  # whether a transform can be written into an array
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
        If given, the windows are a view of one signal, `hop` samples apart. Frames that windows share are then computed
        once.

    Returns
    -------
    levels : np.ndarray [shape=(b, n_mels, n_frames), float32]
        Whole numbers from 0 to 255, which is the level of the loudest band. In silence, all are 255.
    """
    low, high = _intervals(windows, frontend, bands, hop)  # (b, n_frames, n_mels)
    top_low, top_high = (bound.max(axis=(1, 2), keepdims=True) for bound in (low, high))
    levels, least = _round(high, top_low), _round(low, top_high)
    unsure = levels != least
    if unsure.any():
        for window in np.flatnonzero(unsure.any(axis=(1, 2))):
            where, loudest = np.argwhere(unsure[window]), np.argwhere(high[window] >= top_low[window])
            levels[window][unsure[window]] = exact_levels(windows[window], frontend, bands, where, loudest)
    return levels.swapaxes(1, 2).astype(np.float32)


def _round(x, top):
    """Return the level of each number, if `top` is that of the loudest band."""
    levels = x - (top - TOP)
    np.rint(levels, out=levels)
    return np.maximum(levels, 0.0, out=levels)


def _intervals(windows, frontend, bands, hop):
    """Return bounds of the levels, before rounding and relative to nothing: two of shape (b, n_frames, n_mels)."""
    sr, n_fft, step, n_mels = frontend[:4]
    n_frames, b, (first, last) = frontend.n_frames, len(windows), frontend.whole_frames
    padded = np.zeros((b, max((n_frames - 1) * step + n_fft, sr)))
    padded[:, frontend.pad_left : frontend.pad_left + sr] = windows
    strides = (padded.strides[0], 8 * step, 8)
    frames = np.ndarray((b, n_frames, n_fft), np.float64, padded, 0, strides)
    bounds = np.empty((2, b, n_frames, n_mels))
    if hop is None or hop % step or hop >= sr or b == 1 or last <= first:
        return _frame_intervals(frames, bands, bounds)
    _frame_intervals(frames[:, :first], bands, bounds[:, :, :first])
    _frame_intervals(frames[:, last:], bands, bounds[:, :, last:])
    apart, signal = hop // step, windows[0, first * step - frontend.pad_left :]  # apart: frames between windows
    count = (b - 1) * apart + last - first
    shared = np.empty((2, 1, count, n_mels))
    _frame_intervals(strided(signal, (1, count, n_fft), (0, step, 1)), bands, shared)
    size = count * n_mels
    bounds[:, :, first:last] = strided(shared, (2, b, last - first, n_mels), (size, apart * n_mels, n_mels, 1))
    return bounds


def _frame_intervals(frames, bands, bounds):
    """Write the bounds of the levels of frames (b, n, n_fft) into `bounds` (2, b, n, n_mels), and return it."""
    b, n, _ = frames.shape
    many = max(1, CHUNK // max(n, 1))
    for i in range(0, b, many):
        for j in range(0, n, CHUNK):
            part = (slice(i, i + many), slice(j, j + CHUNK))
            _chunk_intervals(frames[part], bands, bounds[0][part], bounds[1][part])
    return bounds


def _chunk_intervals(frames, bands, low, high):
    """Do the same for few frames."""
    b, n, n_fft = frames.shape
    bins = 1 + n_fft // 2
    with _scratch(b * n * (n_fft + 3 * bins)) as scratch:
        windowed = scratch[: b * n * n_fft].reshape(b, n, n_fft)
        spectrum = scratch[windowed.size : -b * n * bins].reshape(b, n, 2 * bins)
        power = scratch[-b * n * bins :].reshape(b, n, bins)
        np.multiply(frames, _hann(n_fft), out=windowed)
        spectrum = _transform(windowed, spectrum)  # real and imaginary parts alternate
        np.multiply(spectrum, spectrum, out=spectrum)
        np.add(spectrum[..., ::2], spectrum[..., 1::2], out=power)
        for band in bands:
            np.matmul(power[..., band.bins], band.weights, out=low[..., band.mels])
        energy = np.matmul(power, _ones(bins))[..., np.newaxis]
    mel = np.maximum(low, AMIN**2, out=low)
    # A bin is wrong by a part of the norm, so the root of a band is by that times the root of its sum of weights
    error = energy * (TRANSFORM**2 * 2 / n_fft * max(band.total for band in bands)) / mel
    np.sqrt(error, out=error)
    error *= 2 * SCALE / np.log(10.0)
    error += ARITHMETIC
    level = np.log10(mel, out=low)
    level *= SCALE
    np.add(level, error, out=high)
    np.subtract(level, error, out=low)


def _transform(windowed, spectrum):
    """Return the Fourier transform of real frames as floats, in `spectrum` where this NumPy can write there."""
    if _WRITES:
        np.fft.rfft(windowed, out=spectrum.view(np.complex128))
        return spectrum
    return np.fft.rfft(windowed).view(np.float64)


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
