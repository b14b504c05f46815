"""What a network for streams sees: the levels of frames, and of columns, the same on every machine.

A column is a tenth of a second and five frames. Its level is the loudest band of the ten columns that end with it. A
frame's levels are whole numbers, from 0 to 255, which is that of its column, in the steps of `levels`: the spectrogram
relative to the loudest band of the last second. The level of silence is 0. Nothing here depends on how loud a sound is
as a whole.

As in `levels`, all is defined by the samples alone, computed as intervals, and decided by `exact` where an interval has
no single level. A sample is zero or at least `resample.LEAST` in magnitude. So the square of a frame's norm is zero or
above 1e-195, and the power that its bands may be wrong by is `TINY` or above 1e-230: silence is certain.
"""

import numpy as np

from .exact import exact_levels
from .levels import SCALE, TINY, TOP, fill_levels, level_bounds, level_error, loudest_bands

COLUMNS, FRAMES = 10, 5  # columns of a window; frames of a column
_OF_WINDOW = np.arange(1 - COLUMNS, 1)  # columns, from its last one
FLOOR = 1e-270  # the least power of a band: if there may be less, the error says so, for in sound it is above that
NO_POWER, SILENT = SCALE * np.log10(FLOOR), SCALE * np.log10(TINY) + 1.0  # relative to nothing: of bands; of errors
NOTHING = np.empty((4, 0))  # of no columns


def hear(signal, heard, frontend, bands):
    """Compute the levels of the frames of columns, which come after others.

    Parameters
    ----------
    signal : np.ndarray [shape=(n,), float64]
        The samples under all frames, those before included; contiguous.
    heard : np.ndarray [shape=(4, known), float64]
        Of the columns that the signal begins with, and whose frames are not computed again, in levels relative to
        nothing: the loudest band of the column, and what the power of its bands may be wrong by; the loudest band of
        the ten columns that end with it, and what that level may be wrong by. (Of fewer, if it has fewer before it.)
    frontend : FrontEnd
    bands : tuple of MelBand

    Returns
    -------
    levels : np.ndarray [shape=(frames, n_mels), float32]
        Of the columns that are new and have nine others before them, here.
    heard : np.ndarray [shape=(4, columns), float64]
        Of all columns.
    """
    known, step = heard.shape[1], frontend.hop_length
    new = (len(signal) - frontend.n_fft + step) // (FRAMES * step) - known
    found = _measure(signal, known * FRAMES, new * FRAMES, frontend, bands).reshape(new, FRAMES, -1)
    heard = np.concatenate([heard, _loudness(heard[:2], found)], axis=1)
    first = max(known, COLUMNS - 1)  # the first column with levels
    level, wrong = found[first - known :, :, :-1], found[first - known :, :, -1:]
    top, error = heard[2:, first:, np.newaxis, np.newaxis]
    x = level - (top - TOP)
    levels = np.rint(x)
    low = np.maximum(level.min(axis=2, keepdims=True), top - (TOP + 1))  # no lower level matters
    distance = np.abs(x - levels)
    if distance.max(initial=0.0) > 0.5 - error.max(initial=0.0) - level_error(0.0, (wrong - low).max(initial=SILENT)):
        unsure = distance > 0.5 - error - level_error(low, wrong)
        unsure &= (level_bounds(level, wrong)[1] - (top - TOP) + error > -1) & (wrong > SILENT)
        for column in np.flatnonzero(unsure.any(axis=(1, 2))):
            span = window_samples(signal, first + column, frontend)
            levels[column] = _certain_levels(span, levels[column], unsure[column], frontend, bands)
    np.maximum(levels, 0.0, out=levels)
    if wrong.min(initial=0.0) <= SILENT:
        levels *= wrong > SILENT
    return levels.reshape(-1, frontend.n_mels).astype(np.float32), heard


def _measure(signal, first, count, frontend, bands):
    """Return levels of frames relative to nothing, and of errors: (count, n_mels + 1); see `levels.fill_levels`."""
    step = 8 * frontend.hop_length
    frames = np.ndarray((1, count, frontend.n_fft), np.float64, signal, first * step, (0, step, 8))
    return fill_levels(np.empty((1, count, frontend.n_mels + 1)), frames, bands, FLOOR)[0]


def _loudness(before, found):
    """Return what `hear` remembers of columns: (new, frames, n_mels + 1), and (2, known) of before -> (4, new)."""
    most, new = found.max(axis=1), len(found)  # of the frames of a column
    peaks = np.empty((2, COLUMNS - 1 + new))
    peaks[0], peaks[1] = NO_POWER, SILENT  # before the first column
    few = before[:, -COLUMNS + 1 :]
    peaks[:, COLUMNS - 1 - few.shape[1] : COLUMNS - 1] = few
    most[:, :-1].max(axis=1, out=peaks[0, COLUMNS - 1 :])
    peaks[1, COLUMNS - 1 :] = most[:, -1]
    strides = 8 * peaks.shape[1], 8, 8
    top, wrong = np.ndarray((2, new, COLUMNS), np.float64, peaks, 0, strides).max(axis=2)
    heard = np.empty((4, new))
    heard[:2], heard[2], heard[3] = peaks[:, COLUMNS - 1 :], top, level_error(top, wrong)
    return heard


def distances(signal, heard, ends, frontend, bands):
    """Compute how far the levels of the columns of windows lie above that of the window, and below it.

    Parameters
    ----------
    signal : np.ndarray [shape=(n,), float64]
        The samples under all frames; contiguous.
    heard : np.ndarray [shape=(4, columns), float64]
        Of all columns, from `hear`.
    ends : np.ndarray [shape=(b,), int]
        The last column of each window. Its level is that of the window: the loudest band of its ten columns.
    frontend : FrontEnd
    bands : tuple of MelBand

    Returns
    -------
    rows : np.ndarray [shape=(b, 10, 2), float32]
        Whole numbers from 0 to 255; 0 if it does not lie above, or below. Silence lies 255 below anything else.
    """
    level, error = heard[2:, ends[:, np.newaxis] + _OF_WINDOW]  # (b, 10)
    x = level - level[:, -1:]
    whole = np.rint(x)
    unsure = np.abs(x - whole) > 0.5 - error - error[:, -1:]
    if unsure.any():
        unsure &= np.abs(x) - error - error[:, -1:] <= TOP
        for window, column in np.argwhere(unsure):
            pair = ends[window] - COLUMNS + 1 + column, ends[window]
            whole[window, column] = _certain_distance(signal, *pair, frontend, bands)
    rows = np.empty((*x.shape, 2), np.float32)
    rows[..., 0] = whole + 0.0  # no zero is negative: of two zeros, not every machine takes the same for the maximum
    rows[..., 1] = 0.0 - whole
    np.maximum(rows, 0.0, out=rows)
    return np.minimum(rows, TOP, out=rows)


def window_samples(signal, column, frontend):
    """Return the samples under the frames of the ten columns that end with one."""
    step = FRAMES * frontend.hop_length
    return signal[(column - COLUMNS + 1) * step : (column + 1) * step + frontend.n_fft - frontend.hop_length]


def _bounds(span, frontend, bands):
    """Return the bounds of levels of the frames of ten columns, relative to nothing: two of (50, n_mels)."""
    found = _measure(span, 0, COLUMNS * FRAMES, frontend, bands)
    return level_bounds(found[:, :-1], found[:, -1:])


def _certain_levels(span, levels, unsure, frontend, bands):
    """Return the levels of the last of ten columns, of which some are unsure: each from an interval of its own."""
    low, high = _bounds(span, frontend, bands)
    least, most = (np.rint(np.clip(a - b.max() + TOP, 0, TOP))[-FRAMES:] for a, b in ((low, high), (high, low)))
    levels = np.where(unsure, most, levels)
    unsure = unsure & (most != least)
    if unsure.any():
        wanted = np.argwhere(unsure) + ((COLUMNS - 1) * FRAMES, 0)
        unpadded = frontend._replace(padding="end")  # its first frame begins with the first sample
        levels[unsure] = exact_levels(span, unpadded, bands, wanted, loudest_bands(low, high), False)
    return levels


def _certain_distance(signal, column, window, frontend, bands):
    """Return how far the level of a column lies above that of a window's last one, or, negative, below it."""
    step, start = FRAMES * frontend.hop_length, column - COLUMNS + 1  # the column is not behind the last one
    span = signal[start * step : (window + 1) * step + frontend.n_fft - frontend.hop_length]
    here, last = (
        loudest_bands(*_bounds(window_samples(signal, end, frontend), frontend, bands)) + ((end - column) * FRAMES, 0)
        for end in (column, window)
    )
    unpadded = frontend._replace(padding="end")  # its first frame begins with the first sample
    below, above = (max(exact_levels(span, unpadded, bands, *pair, False)) for pair in ((here, last), (last, here)))
    return below - above  # one of them is 255, for it lies above the other
