"""Spectrograms in whole levels, the same on every machine.

The level of a band is a number from 0 to 255: the log-mel spectrogram, from -80 to 0, in steps of 80 / 255, rounded. It
is defined by the samples alone, as if the transform, the bands and the logarithm had no rounding errors. Fourier
transforms, products of matrices and logarithms do have some, other ones on each machine, but all below a known bound.
So each level is computed as an interval. Where both of its ends round to the same level, which is all but always, that
is the level; where they do not, `exact` finds it with whole numbers of any size.
"""

from functools import lru_cache
from math import log, log2, sqrt

import numpy as np

from .exact import BITS, cosines, exact_levels, windowed_transform
from .log_mel import AMIN, TOP_DB
from .stft import strided

TOP = 255
SCALE = 5.0 * TOP / TOP_DB  # levels for a factor of ten in power
CHUNK, SPARE = 64, 4  # frames that are computed at a time; pieces of memory that are kept
LINE = 8  # floats of a cache line
_spare: list = []
_WRITES = int(np.__version__.split(".")[0]) >= 2  # whether a transform can be written into an array
ROOT = 2 * SCALE / log(10.0)  # levels for a factor of e in the root of power
TINY = 1e-300  # a power below that of any error
ARITHMETIC = 2.0**-36  # levels: bound of what sums, products and logarithms of float64 may be wrong by
TRANSFORM = 2.0**-44  # bound of the error of a bin of 1024 samples, relative to their norm; measured: at most 2**-47


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
    found = _frame_levels(windows, frontend, bands, hop)  # (b, n_frames, n_mels + 1)
    level, wrong = found[..., :-1], found[..., -1]
    worst = float((wrong - level.min(axis=2)).max())
    sure = 0.5 - 2 * level_error(0.0, worst)  # so near to a level, neither a band nor the loudest can be wrong enough
    x = level - (level.max(axis=(1, 2), keepdims=True) - TOP)
    levels = np.rint(x)
    x -= levels
    if np.abs(x, out=x).max() > sure:
        for window in np.flatnonzero(x.max(axis=(1, 2)) > sure):
            levels[window] = _certain_levels(windows[window], level[window], wrong[window], frontend, bands)
    return np.maximum(levels, 0.0, out=levels).swapaxes(1, 2).astype(np.float32)


def _certain_levels(window, level, wrong, frontend, bands):
    """Return the levels of one window, (n_frames, n_mels), each from an interval of its own."""
    low, high = level_bounds(level, wrong[:, np.newaxis])
    levels, least = (np.rint(np.clip(a - b.max() + TOP, 0, TOP)) for a, b in ((high, low), (low, high)))
    unsure = levels != least
    if unsure.any():
        levels[unsure] = exact_levels(window, frontend, bands, np.argwhere(unsure), loudest_bands(low, high))
    return levels


def level_error(level, wrong):
    """Return by how much levels may be wrong, if the power that a band may be wrong by has the level `wrong`.

    The root of a band's power may be wrong by a part r, so its logarithm by at most `-log(1 - r)`, which is less than
    1.4 r up to r = 1/2. From there on the result is more than 9 levels: nothing is known.
    """
    return 1.4 * ROOT * 10 ** ((wrong - level) / (2 * SCALE)) + ARITHMETIC


def level_bounds(level, wrong):
    """Return the bounds of levels, the lower and the upper; arguments as those of `level_error`."""
    part = 10 ** ((wrong - level) / (2 * SCALE))  # of the root of the power
    with np.errstate(divide="ignore"):  # below is nothing, if there may be no power
        below = ROOT * np.log1p(-np.minimum(part, 1.0))
    return level + below - ARITHMETIC, level + ROOT * np.log1p(part) + ARITHMETIC


def loudest_bands(low, high):
    """Return the frames and bands of which one is the loudest, from the bounds of their levels: shape (n, 2)."""
    return np.argwhere(high >= low.max())


def _frame_levels(windows, frontend, bands, hop):
    """Return levels before rounding, relative to nothing: (b, n_frames, n_mels + 1), the last that of the error."""
    sr, n_fft, step, n_mels = frontend[:4]
    n_frames, b, (first, last) = frontend.n_frames, len(windows), frontend.whole_frames
    padded = np.zeros((b, max((n_frames - 1) * step + n_fft, sr)))
    padded[:, frontend.pad_left : frontend.pad_left + sr] = windows
    strides = (padded.strides[0], 8 * step, 8)
    frames = np.ndarray((b, n_frames, n_fft), np.float64, padded, 0, strides)
    found = np.empty((b, n_frames, n_mels + 1))
    if hop is None or hop % step or hop >= sr or b == 1 or last <= first:
        return fill_levels(found, frames, bands)
    fill_levels(found[:, :first], frames[:, :first], bands)
    fill_levels(found[:, last:], frames[:, last:], bands)
    apart, signal = hop // step, windows[0, first * step - frontend.pad_left :]  # apart: frames between windows
    count, row = (b - 1) * apart + last - first, n_mels + 1
    shared = fill_levels(np.empty((1, count, row)), strided(signal, (1, count, n_fft), (0, step, 1)), bands)
    found[:, first:last] = strided(shared, (b, last - first, row), (apart * row, row, 1))
    return found


def fill_levels(found, frames, bands, floor=AMIN**2):
    """Write the levels of frames (b, n, n_fft) into `found` (b, n, n_mels + 1), and return it.

    The last of a frame is the level of the power that each of its bands may be wrong by, see `level_error`; those of
    bands are at least that of the power `floor`.
    """
    b, n, _ = frames.shape
    many = max(1, CHUNK // max(n, 1))
    for i in range(0, b, many):
        for j in range(0, n, CHUNK):
            part = (slice(i, i + many), slice(j, j + CHUNK))
            _fill_chunk(found[part], frames[part], bands, floor)
    return found


def _fill_chunk(found, frames, bands, floor):
    """Do the same for few frames.

    A bin is wrong by at most a part of the norm of the samples, which is the root of the sum of power. So the root of a
    band is wrong by at most that times the root of the band's sum of weights.
    """
    b, n, n_fft = frames.shape
    bins = 1 + n_fft // 2
    scratch = _take(b * n * (n_fft + 2 * bins))
    windowed = scratch[: b * n * n_fft].reshape(b, n, n_fft)
    spectrum = scratch[windowed.size :][: 2 * b * n * bins].reshape(b, n, 2 * bins)
    power = scratch[: b * n * bins].reshape(b, n, bins)  # where the windowed frames are no longer needed
    np.multiply(frames, _hann(n_fft), out=windowed)
    spectrum = _transform(windowed, spectrum)  # real and imaginary parts alternate
    np.multiply(spectrum, spectrum, out=spectrum)
    np.add(spectrum[..., ::2], spectrum[..., 1::2], out=power)
    for band in bands:
        np.matmul(power[..., band.bins], band.weights, out=found[..., band.mels])
    np.matmul(power, _error_weights(n_fft, max(band.total for band in bands)), out=found[..., -1])
    if len(_spare) < SPARE:
        _spare.append(scratch)
    np.maximum(found, _floors(found.shape[2], floor), out=found)
    np.log10(found, out=found)
    found *= SCALE


def transform_errors(frames):
    """Return how large the errors of this machine's transform are, as parts of the bound that `levels` rests on.

    Parameters
    ----------
    frames : np.ndarray [shape=(b, n_fft), float64]

    Returns
    -------
    errors : np.ndarray [shape=(b,), float64]
        Of the bin that is wrong most, computed with integers. Below 1, the levels are those of every machine.
    """
    n_fft, errors = frames.shape[1], []
    windowed = frames * _hann(n_fft)
    norms = np.linalg.norm(windowed, axis=1)
    for frame, row, norm in zip(frames, _transform(windowed, np.empty((len(frames), 2 + n_fft))), norms):
        spectrum, bits = windowed_transform(frame)
        unit = 1 << (bits + BITS + 1)
        exact = [number / unit for pair in spectrum[: n_fft // 2 + 1] for number in pair]
        wrong = np.hypot(*np.abs(row - exact).reshape(-1, 2).T).max()
        errors.append(wrong / (_transform_error(n_fft) * norm))
    return np.array(errors)


def _transform_error(n_fft):
    """Return the bound of the error of a bin; it grows as that of fast transforms does, and covers the norm's own."""
    return 1.0001 * TRANSFORM * sqrt(n_fft / 1024) * log2(n_fft) / 10


def _transform(windowed, spectrum):
    """Return the Fourier transform of real frames as floats, in `spectrum` where this NumPy can write there."""
    if _WRITES:
        np.fft.rfft(windowed, out=spectrum.view(np.complex128))
        return spectrum
    return np.fft.rfft(windowed).view(np.float64)


def _take(size):
    """Return floats that nothing else uses. Callers give them back: fresh memory takes as long as the sums."""
    try:
        array = _spare.pop()  # one step: threads cannot get the same
    except IndexError:
        array = np.empty(0)
    if len(array) < size:
        array = np.empty(size + LINE)
        array = array[-(array.ctypes.data // 8) % LINE :]  # products are 6 % faster if they begin with a cache line
    return array


@lru_cache(maxsize=4)
def _error_weights(n_fft, total):
    """Return what makes of the powers of all bins the power that a band may be wrong by: shape (bins,)."""
    return np.full(1 + n_fft // 2, _transform_error(n_fft) ** 2 * 2 / n_fft * total)


@lru_cache(maxsize=4)
def _floors(n, floor):
    """Return the least power of bands, and of errors."""
    return np.append(np.full(n - 1, floor), TINY)


@lru_cache(maxsize=4)
def _hann(n):
    """Return the periodic Hann window, each number rounded correctly: shape (n,)."""
    window = np.array([((1 << BITS) - cosine) / (2 << BITS) for cosine in cosines(n)])
    window.setflags(write=False)
    return window
