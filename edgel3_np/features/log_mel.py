"""Log-mel spectrograms of windows, as kapre computes them (0.1.4 for EdgeL3 and SEA, 0.3 for OpenL3)."""

import numpy as np

from .stft import stft_power
from .tf_stft import stft_magnitude

AMIN, TOP_DB = 1e-10, 80.0


def log_mel_spectrogram(windows, frontend, bands, hop=None):
    """Return the log-mel spectrograms of a batch of windows.

    Parameters
    ----------
    windows : np.ndarray [shape=(b, sr), float64]
        Windows of one second.
    frontend : FrontEnd
    bands : tuple of MelBand
        The mel filterbank, from `mel_bands`.
    hop : int > 0, optional
        If given, the windows are a view of one signal, `hop` samples apart. Frames that windows share are then computed
        once; the result has the same bytes.

    Returns
    -------
    log_mel : np.ndarray [shape=(b, n_mels, n_frames), float32]
        Level relative to the maximum of the window, from -80 to 0. Silence gives zeros.

    Notes
    -----
    With `power` spectra everything up to the logarithm is in float64: 80 units below the maximum is a factor of 1e-8 in
    amplitude, which float32 cannot hold, and the networks see the difference. OpenL3's networks have learnt the
    rounding of TensorFlow's transform in empty bands, so `magnitude` spectra have that rounding (see `tf_stft`): of the
    ways tried, it comes nearest to every golden file.

    With `same` padding the first frames begin before the window, in zeros (K. Choi et al., "Kapre", 2017). Transforms
    are computed frame by frame and products window by window, so a window does not depend on its neighbours.
    """
    level = mel_level(windows, frontend, bands, hop)
    level -= level.max(axis=(1, 2), keepdims=True)
    return np.maximum(level, -TOP_DB, out=level).astype(np.float32).swapaxes(1, 2)


def mel_level(windows, frontend, bands, hop=None):
    """Return absolute levels, `10 * log10(amplitude)`: (b, sr) -> (b, n_frames, n_mels), float64, at least -100.

    kapre takes the logarithm of an amplitude but multiplies it by 10, as for power. The arguments are those of
    `log_mel_spectrogram`.
    """
    sr, n_fft, hop_length, n_mels = frontend[:4]
    n_frames, b = frontend.n_frames, len(windows)
    extent = (n_frames - 1) * hop_length + n_fft  # samples under the frames
    padded = np.zeros((b, max(extent, sr)))
    padded[:, frontend.pad_left : frontend.pad_left + sr] = windows
    if frontend.spectrum == "magnitude":
        spectra, order = stft_magnitude(padded, n_fft, hop_length, n_frames), 1
    else:
        spectra, order = stft_power(windows, padded, frontend, hop), 2  # (b, n_frames, bins)
    mel = np.empty((b, n_frames, n_mels))
    for band in bands:
        np.matmul(spectra[:, :, band.bins], band.weights, out=mel[:, :, band.mels])
    level = np.log10(np.maximum(mel, AMIN**order, out=mel), out=mel)
    level *= 10.0 / order  # log10 of the root of power is half of log10 of power
    return level
