"""The front end: log-mel spectrograms of windows, as kapre 0.1.4 computes them."""

from typing import NamedTuple

import numpy as np

AMIN, TOP_DB = 1e-10, 80.0


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
        Mel bands from 0 Hz to `sr / 2`.
    """

    sr: int
    n_fft: int
    hop_length: int
    n_mels: int

    @property
    def n_frames(self):
        """Frames per window: `ceil(sr / hop_length)`."""
        return -(-self.sr // self.hop_length)


def mel_filters(frontend):
    """Mel matrix on the HTK scale with Slaney's area normalisation.

    Triangles between points equally spaced on `2595 * log10(1 + f / 700)`, each of height `2 / (its width in Hz)`.

    Parameters
    ----------
    frontend : FrontEnd

    Returns
    -------
    mel : np.ndarray [shape=(1 + n_fft // 2, n_mels), float32]
        Rounded to float32, because that is what the released models store.

    Examples
    --------
    >>> mel_filters(FrontEnd(8000, 1024, 160, 64)).shape
    (513, 64)
    """
    sr, n_fft, _, n_mels = frontend
    top = 2595.0 * np.log10(1.0 + sr / 2 / 700.0)
    points = 700.0 * (10.0 ** (np.linspace(0.0, top, n_mels + 2) / 2595.0) - 1.0)  # Hz
    bins = np.linspace(0.0, sr / 2, 1 + n_fft // 2)[:, np.newaxis]
    low, centre, high = points[:-2], points[1:-1], points[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return (np.maximum(triangles, 0.0) * (2.0 / (high - low))).astype(np.float32)


def melspectrogram(windows, frontend, mel):
    """Log-mel spectrograms of a batch of windows.

    The transform and the power are in float64: 80 units below the maximum is a factor of 1e-8 in amplitude, which
    float32 cannot hold, and the networks see the difference.

    Parameters
    ----------
    windows : np.ndarray [shape=(b, sr), float64]
        Windows of one second.
    frontend : FrontEnd
    mel : np.ndarray [shape=(1 + n_fft // 2, n_mels), float64]
        As from `mel_filters`.

    Returns
    -------
    logmel : np.ndarray [shape=(b, n_mels, n_frames), float32]
        `10 * log10` of the square root of mel power (in that order: kapre takes it of an amplitude), relative to the
        window's maximum; from -80 to 0. Silence gives zeros.

    Notes
    -----
    Frames start before the window, in zeros, so that they lie symmetrically over it ("same" padding of a strided
    convolution; Choi et al., "Kapre", 2017). Every window is computed by itself, in arrays of one shape: the result
    does not depend on its neighbours.
    """
    sr, n_fft, hop, _ = frontend
    n_frames = frontend.n_frames
    front = ((n_frames - 1) * hop + n_fft - sr) // 2
    padded = np.zeros((len(windows), (n_frames - 1) * hop + n_fft))  # (b, samples)
    padded[:, front : front + sr] = windows
    step = padded.strides[1]
    frames = np.lib.stride_tricks.as_strided(
        padded, (len(windows), n_frames, n_fft), (padded.strides[0], hop * step, step), writeable=False
    )
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)  # periodic
    spectrum = np.fft.rfft(frames * hann)  # (b, frames, bins)
    power = spectrum.real**2 + spectrum.imag**2
    amplitude = np.sqrt(power @ mel)  # (b, frames, mels)
    level = 10.0 * np.log10(np.maximum(amplitude, AMIN))
    level -= level.max(axis=(1, 2), keepdims=True)
    return np.maximum(level, -TOP_DB).astype(np.float32).swapaxes(1, 2)
