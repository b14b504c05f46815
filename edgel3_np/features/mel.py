"""Mel filterbanks, and the bands in which they are multiplied."""

from typing import NamedTuple

import numpy as np

BAND = 16  # mel bands in one product
_BREAK, _SLOPE, _RATE = 1000.0, 3 / 200, np.log(6.4) / 27  # of Slaney's scale: Hz, mel per Hz, and 1 / mel


def mel_filterbank(frontend):
    """Return the mel filterbank with Slaney's area normalisation: triangles of height `2 / (their width in Hz)`.

    The corners of the triangles are equally spaced on a mel scale. HTK's scale is `2595 * log10(1 + f / 700)`. Slaney's
    (Auditory Toolbox, 1998) is linear up to 1 kHz, which is 15 mel, and then rises by a factor of 6.4 every 27 mel.

    Parameters
    ----------
    frontend : FrontEnd

    Returns
    -------
    mel : np.ndarray [shape=(1 + n_fft // 2, n_mels), float32]
        Rounded to float32, as the released models store it. On the scale `linear`, the identity.

    Examples
    --------
    >>> from edgel3_np.features.frontend import FrontEnd
    >>> mel_filterbank(FrontEnd(8000, 1024, 160, 64)).shape
    (513, 64)
    """
    if frontend.mel_scale == "linear":
        return np.eye(frontend.n_mels, dtype=np.float32)
    corners = mel_frequencies(frontend)
    bins = np.linspace(0.0, frontend.sr / 2, 1 + frontend.n_fft // 2)[:, np.newaxis]
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return (np.maximum(triangles, 0.0) * (2.0 / (high - low))).astype(np.float32)


def mel_frequencies(frontend):
    """Return the corners of the bands in Hz: shape (n_mels + 2,), float64.

    Band i begins at corner i, is highest at corner i + 1 and ends at corner i + 2. On the scale `linear`, a bin counts
    as a triangle between its neighbours.
    """
    sr, n_fft, _, n_mels, mel_scale = frontend[:5]
    if mel_scale == "linear":
        return np.arange(-1.0, n_mels + 1) * sr / n_fft
    corners = _mel_to_hz(np.linspace(0.0, _hz_to_mel(sr / 2, mel_scale), n_mels + 2), mel_scale)
    if mel_scale == "htk":  # the models with Slaney's scale have the rounding of their library there
        corners[-1] = sr / 2  # where a bin lies, whose weight is 0
    return corners


def _hz_to_mel(hertz, mel_scale):
    """Convert a frequency above 1 kHz to mel."""
    if mel_scale == "htk":
        return 2595.0 * np.log10(1.0 + hertz / 700.0)
    return _BREAK * _SLOPE + np.log(hertz / _BREAK) / _RATE


def _mel_to_hz(mel, mel_scale):
    """Convert an array of mel to Hz."""
    if mel_scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return np.where(mel < _BREAK * _SLOPE, mel / _SLOPE, _BREAK * np.exp(_RATE * (mel - _BREAK * _SLOPE)))


class MelBand(NamedTuple):
    """Some neighbouring columns of a mel filterbank, without the rows that are zero there."""

    mels: slice
    bins: slice
    weights: np.ndarray  # (bins, mels), float64
    total: float  # largest sum of the weights of one mel band


def mel_bands(mel):
    """Cut a mel filterbank into blocks that leave out most of its zeros.

    Parameters
    ----------
    mel : np.ndarray [shape=(1 + n_fft // 2, n_mels)]

    Returns
    -------
    bands : tuple of MelBand
    """
    bands = []
    for start in range(0, mel.shape[1], BAND):
        weights = mel[:, start : start + BAND].astype(np.float64)
        used = np.flatnonzero(weights.any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        weights = np.ascontiguousarray(weights[bins])
        weights.setflags(write=False)
        total = float(weights.sum(axis=0).max())
        bands.append(MelBand(slice(start, start + weights.shape[1]), bins, weights, total))
    return tuple(bands)
