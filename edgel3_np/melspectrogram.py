"""The front end: log-mel spectrograms of windows, as kapre computes them (0.1.4 for EdgeL3 and SEA, 0.3 for OpenL3)."""

from typing import NamedTuple

import numpy as np

from .fourier import magnitudes

AMIN, TOP_DB = 1e-10, 80.0
BAND, CHUNK = 16, 1 << 16  # mel bands in a product, floats in a transform


class FrontEnd(NamedTuple):
    """Parameters of a log-mel front end.

    Parameters
    ----------
    sr : int > 0
        Sampling rate, Hz. A window is one second: `sr` samples.
    n_fft : int > 0
        Length of the Fourier transform, samples.
    hop_length : int > 0
        Distance between frames of the transform, samples.
    n_mels : int > 0
        Mel bands from 0 Hz to `sr / 2`; with the scale `linear`, the bins of the transform, `1 + n_fft // 2`.
    scale : {'htk', 'slaney', 'linear'}
        Of the bands.
    spectrum : {'power', 'magnitude'}
        Bands are sums of power, of which the root is taken then; or of magnitudes, those of TensorFlow's
        transform (see `fourier`).
    padding : {'both', 'behind', 'none'}
        Where zeros are put around a window, so that it has `ceil(sr / hop_length)` frames; or that it has only those
        that lie within it.
    """

    sr: int
    n_fft: int
    hop_length: int
    n_mels: int
    scale: str = "htk"
    spectrum: str = "power"
    padding: str = "both"

    @property
    def n_frames(self):
        """Frames per window."""
        if self.padding == "none":
            return 1 + (self.sr - self.n_fft) // self.hop_length
        return -(-self.sr // self.hop_length)

    @property
    def front(self):
        """Zeros put before a window, in samples."""
        return ((self.n_frames - 1) * self.hop_length + self.n_fft - self.sr) // 2 if self.padding == "both" else 0

    @property
    def inner(self):
        """The frames that lie within their window: number of the first, and of the one after the last."""
        return -(-self.front // self.hop_length), (self.front + self.sr - self.n_fft) // self.hop_length + 1


def mel_filters(frontend):
    """Mel matrix with Slaney's area normalisation: triangles of height `2 / (their width in Hz)`.

    Their corners are equally spaced on a mel scale: HTK's, `2595 * log10(1 + f / 700)`; or Slaney's (Auditory Toolbox,
    1998), which is linear up to 1 kHz, 15 mel, and then rises by a factor of 6.4 every 27 mel.

    Parameters
    ----------
    frontend : FrontEnd

    Returns
    -------
    mel : np.ndarray [shape=(1 + n_fft // 2, n_mels), float32]
        Rounded to float32, because that is what the released models store. The identity for the scale `linear`.

    Examples
    --------
    >>> mel_filters(FrontEnd(8000, 1024, 160, 64)).shape
    (513, 64)
    """
    sr, n_fft, _, n_mels, scale = frontend[:5]
    if scale == "linear":
        return np.eye(n_mels, dtype=np.float32)
    points = corners(frontend)
    bins = np.linspace(0.0, sr / 2, 1 + n_fft // 2)[:, np.newaxis]
    low, centre, high = points[:-2], points[1:-1], points[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return (np.maximum(triangles, 0.0) * (2.0 / (high - low))).astype(np.float32)


def corners(frontend):
    """Corners of the bands, Hz, shape (n_mels + 2,): band i begins at corner i, is highest at the next, ends at i + 2.

    A bin of the transform (scale `linear`) counts as a triangle between its neighbours.
    """
    sr, n_fft, _, n_mels, scale = frontend[:5]
    if scale == "linear":
        return np.arange(-1.0, n_mels + 1) * sr / n_fft
    return _hertz(np.linspace(0.0, _mel(sr / 2, scale), n_mels + 2), scale)


_BREAK, _SLOPE, _RATE = 1000.0, 3 / 200, np.log(6.4) / 27  # of Slaney's scale: Hz, mel per Hz, and 1 / mel


def _mel(hertz, scale):
    """A frequency above 1 kHz in mel."""
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hertz / 700.0)
    return _BREAK * _SLOPE + np.log(hertz / _BREAK) / _RATE


def _hertz(mel, scale):
    """Frequencies, Hz, of an array of mel."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return np.where(mel < _BREAK * _SLOPE, mel / _SLOPE, _BREAK * np.exp(_RATE * (mel - _BREAK * _SLOPE)))


class Band(NamedTuple):
    """Some mel bands, and the bins of the transform that they are made of."""

    mels: slice
    bins: slice
    weights: np.ndarray  # (bins, mels), float64


def mel_bands(mel):
    """Cut a mel matrix into blocks without most of its zeros.

    Parameters
    ----------
    mel : np.ndarray [shape=(1 + n_fft // 2, n_mels)]

    Returns
    -------
    bands : tuple of Band
    """
    bands = []
    for start in range(0, mel.shape[1], BAND):
        weights = mel[:, start : start + BAND].astype(np.float64)
        used = np.flatnonzero(weights.any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        weights = np.ascontiguousarray(weights[bins])
        weights.setflags(write=False)
        bands.append(Band(slice(start, start + weights.shape[1]), bins, weights))
    return tuple(bands)


def melspectrogram(windows, frontend, bands, hop=None):
    """Log-mel spectrograms of a batch of windows.

    Transform and power are in float64: 80 units below the maximum is a factor of 1e-8 in amplitude, which float32
    cannot hold, and the networks see the difference. OpenL3's have seen nothing there but the rounding of TensorFlow's
    transform, so magnitudes are that transform's (see `fourier`): of the ways tried, the nearest to every golden file.

    Parameters
    ----------
    windows : np.ndarray [shape=(b, sr), float64]
        Windows of one second.
    frontend : FrontEnd
    bands : tuple of Band
        The mel matrix, as from `mel_bands`.
    hop : int > 0, optional
        Says that the windows are a view of one signal, so many samples apart. Frames that several windows have in
        common are then computed once; the result is the same, to the bit.

    Returns
    -------
    logmel : np.ndarray [shape=(b, n_mels, n_frames), float32]
        `10 * log10` of mel magnitude, or of the square root of mel power (in that order: kapre takes it of an
        amplitude), relative to the window's maximum; from -80 to 0. Silence gives zeros.

    Notes
    -----
    With padding on both sides, frames start before the window, in zeros, so that they lie symmetrically over it ("same"
    padding of a strided convolution; Choi et al., "Kapre", 2017). Transforms are computed frame by frame, products
    window by window: the result does not depend on a window's neighbours.
    """
    level = levels(windows, frontend, bands, hop)
    level -= level.max(axis=(1, 2), keepdims=True)
    return np.maximum(level, -TOP_DB, out=level).astype(np.float32).swapaxes(1, 2)


def levels(windows, frontend, bands, hop=None):
    """The same, not yet relative to anything: shape (b, n_frames, n_mels), float64; -100 where there is nothing."""
    sr, n_fft, hop_length, n_mels = frontend[:4]
    n_frames, b = frontend.n_frames, len(windows)
    extent = (n_frames - 1) * hop_length + n_fft  # samples under the frames
    padded = np.zeros((b, max(extent, sr)))
    padded[:, frontend.front : frontend.front + sr] = windows
    if frontend.spectrum == "magnitude":
        spectra = magnitudes(padded, n_fft, hop_length, n_frames)
    else:
        spectra = _powers(windows, padded, frontend, hop)  # (b, frames, bins)
    mels = np.empty((b, n_frames, n_mels))
    for band in bands:
        np.matmul(spectra[:, :, band.bins], band.weights, out=mels[:, :, band.mels])
    order = 2 if frontend.spectrum == "power" else 1
    level = np.log10(np.maximum(mels, AMIN**order, out=mels), out=mels)
    level *= 10.0 / order  # of the root of power
    return level


def _powers(windows, padded, frontend, hop):
    """Power spectra of windows, (b, n_frames, bins); frames that windows have in common are transformed once."""
    sr, n_fft, hop_length = frontend[:3]
    n_frames, b = frontend.n_frames, len(windows)
    frames = _strided(padded, (b, n_frames, n_fft), (padded.shape[1], hop_length, 1))
    first, last = frontend.inner
    if hop is None or hop % hop_length or hop >= sr or b == 1 or last <= first:
        return _power(frames)
    power = np.empty((b, n_frames, 1 + n_fft // 2))
    power[:, :first], power[:, last:] = _power(frames[:, :first]), _power(frames[:, last:])
    step, bins = hop // hop_length, power.shape[2]  # frames between windows
    signal, count = windows[0, first * hop_length - frontend.front :], (b - 1) * step + last - first
    inner = _power(_strided(signal, (1, count, n_fft), (0, hop_length, 1)))[0]  # (frames of all windows, bins)
    power[:, first:last] = _strided(inner, (b, last - first, bins), (step * bins, bins, 1))
    return power


def _strided(x, shape, steps):
    """View of an array, contiguous in its last axis, at steps counted in items."""
    return np.lib.stride_tricks.as_strided(x, shape, [step * x.itemsize for step in steps], writeable=False)


def _power(frames):
    """Power spectra of frames: (b, n, n_fft) -> (b, n, bins), as many at a time as stay in cache."""
    b, n, n_fft = frames.shape
    power = np.empty((b, n, 1 + n_fft // 2))
    few = max(1, CHUNK // n_fft)
    many = max(1, few // max(n, 1))  # of whole windows
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)  # periodic
    for i in range(0, b, many):
        for j in range(0, n, few):
            part = (slice(i, i + many), slice(j, j + few))
            spectrum = np.fft.rfft(frames[part] * hann)
            spectrum = spectrum.view(np.float64)  # real and imaginary parts in turn
            np.multiply(spectrum, spectrum, out=spectrum)
            np.add(spectrum[..., ::2], spectrum[..., 1::2], out=power[part])
    return power
