"""The short-time Fourier transform in double precision: power spectra."""

import numpy as np

CHUNK = 1 << 16  # floats that are transformed at a time


def hann_window(n):
    """Return the periodic Hann window: shape (n,), float64."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)


def stft_power(windows, padded, frontend, hop=None):
    """Return the power spectra of windows; frames that windows share are transformed once.

    Parameters
    ----------
    windows : np.ndarray [shape=(b, sr), float64]
    padded : np.ndarray [shape=(b, m), float64]
        The same with the zeros that the front end's padding puts around them.
    frontend : FrontEnd
    hop : int > 0, optional
        If given, the windows are a view of one signal, `hop` samples apart.

    Returns
    -------
    power : np.ndarray [shape=(b, n_frames, 1 + n_fft // 2), float64]
        The same bytes with and without `hop`.
    """
    sr, n_fft, hop_length = frontend[:3]
    n_frames, b = frontend.n_frames, len(windows)
    frames = strided(padded, (b, n_frames, n_fft), (padded.shape[1], hop_length, 1))
    first, last = frontend.whole_frames
    if hop is None or hop % hop_length or hop >= sr or b == 1 or last <= first:
        return _frame_power(frames)
    power = np.empty((b, n_frames, 1 + n_fft // 2))
    power[:, :first], power[:, last:] = _frame_power(frames[:, :first]), _frame_power(frames[:, last:])
    step, bins = hop // hop_length, power.shape[2]  # step: frames between windows
    signal, count = windows[0, first * hop_length - frontend.pad_left :], (b - 1) * step + last - first
    shared = _frame_power(strided(signal, (1, count, n_fft), (0, hop_length, 1)))[0]  # (frames of all windows, bins)
    power[:, first:last] = strided(shared, (b, last - first, bins), (step * bins, bins, 1))
    return power


def strided(x, shape, steps):
    """Return a view of an array that is contiguous in its last axis; steps are counted in items."""
    return np.lib.stride_tricks.as_strided(x, shape, [step * x.itemsize for step in steps], writeable=False)


def _frame_power(frames):
    """Return the power spectra of frames: (b, n, n_fft) -> (b, n, bins). A chunk of frames stays in the cache."""
    b, n, n_fft = frames.shape
    power = np.empty((b, n, 1 + n_fft // 2))
    few = max(1, CHUNK // n_fft)  # frames of a chunk
    many = max(1, few // max(n, 1))  # windows of a chunk, if whole windows fit
    hann = hann_window(n_fft)
    for i in range(0, b, many):
        for j in range(0, n, few):
            part = (slice(i, i + many), slice(j, j + few))
            spectrum = np.fft.rfft(frames[part] * hann)
            spectrum = spectrum.view(np.float64)  # real and imaginary parts alternate
            np.multiply(spectrum, spectrum, out=spectrum)
            np.add(spectrum[..., ::2], spectrum[..., 1::2], out=power[part])
    return power
