"""Samples to embedding, slow and obvious, in float64. Read this first; the other modules make it fast.

`reference_embedding` is the whole network on one page. `verify` and the tests compare every fast step with these.
"""

import math

import numpy as np

from ..audio.taps import BETA, ENTRIES, ROLLOFF, ZERO_CROSSINGS
from ..features.log_mel import AMIN, TOP_DB
from ..weights.format import BATCH_NORM_EPSILON, POOLED
from ..weights.sparse import to_dense


def resample(x, sr, target_sr):
    """Resample as resampy 0.2.2 does with `kaiser_best`: time is a running sum, and each output is computed alone.

    Parameters
    ----------
    x : np.ndarray [shape=(n,), float64]
    sr, target_sr : int > 0
        Hz.

    Returns
    -------
    y : np.ndarray [shape=(int(n * (target_sr / sr)),), float64]
    """
    ratio = float(target_sr) / sr
    scale, entries = min(1.0, ratio), ZERO_CROSSINGS * ENTRIES
    table = np.kaiser(2 * entries + 1, BETA)[entries:]
    table = table * ROLLOFF * np.sinc(ROLLOFF * np.linspace(0, ZERO_CROSSINGS, entries + 1)) * scale
    delta = np.append(np.diff(table), 0.0)
    step = int(scale * ENTRIES)
    y, time = np.zeros(int(len(x) * ratio)), 0.0
    for t in range(len(y)):
        n = int(time)
        fraction = scale * (time - n)
        for position, near in ((fraction, x[n::-1]), (scale - fraction, x[n + 1 :])):
            offset = int(position * ENTRIES)
            taps = min((len(table) - offset) // step, len(near))
            entry = slice(offset, offset + taps * step, step)
            y[t] += np.dot(table[entry] + (position * ENTRIES - offset) * delta[entry], near[:taps])
        time += 1.0 / ratio
    return y


def log_mel_spectrogram(window, frontend, mel):
    """Return the log-mel spectrogram of one window; the transform is a product with cosines and sines.

    Parameters
    ----------
    window : np.ndarray [shape=(sr,), float64]
    frontend : FrontEnd
    mel : np.ndarray [shape=(1 + n_fft // 2, n_mels)]
        The mel filterbank.

    Returns
    -------
    log_mel : np.ndarray [shape=(n_mels, n_frames), float64]
    """
    sr, n_fft, hop = frontend[:3]
    frames = math.ceil(sr / hop)
    pad = (frames - 1) * hop + n_fft - sr
    if frontend.padding == "same":
        x = np.concatenate([np.zeros(pad // 2), window, np.zeros(pad - pad // 2)])
    elif frontend.padding == "end":
        x = np.concatenate([window, np.zeros(pad)])
    else:
        x = window
        while (frames - 1) * hop + n_fft > sr:
            frames -= 1
    time, bins = np.arange(n_fft), np.arange(n_fft // 2 + 1)
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * t / n_fft) for t in range(n_fft)])
    phase = 2 * np.pi * (np.outer(time, bins) % n_fft) / n_fft
    cosines, sines = np.cos(phase), np.sin(phase)
    levels = np.zeros((mel.shape[1], frames))
    for index in range(frames):
        part = x[index * hop : index * hop + n_fft] * hann
        power = (part @ cosines) ** 2 + (part @ sines) ** 2
        bands = np.sqrt(power @ mel) if frontend.spectrum == "power" else np.sqrt(power) @ mel
        levels[:, index] = 10 * np.log10(np.maximum(bands, AMIN))
    return np.maximum(levels - levels.max(), -TOP_DB)


def reference_embedding(log_mel, weights, pool_grid=None):
    """Compute the embedding of one window, straight from the weights, as Keras runs the originals.

    Parameters
    ----------
    log_mel : np.ndarray [shape=(n_mels, n_frames)]
        A log-mel spectrogram.
    weights : Weights
    pool_grid : tuple of int (mel, time), optional
        Parts of the last map whose maxima are the embedding; by default those of the weights.

    Returns
    -------
    embedding : np.ndarray [shape=(dim,), float64]

    References
    ----------
    R. Arandjelovic, A. Zisserman, "Look, Listen and Learn", ICCV 2017. S. Kumari et al., "EdgeL3", PAISE 2019.
    """
    x = batch_norm(log_mel[:, :, np.newaxis].astype(np.float64), weights.norms[0])  # (mels, frames, 1)
    for number, (kernel, bias) in enumerate(zip(weights.kernels, weights.biases), 1):
        x = conv2d(x, to_dense(kernel), bias)  # (mels, frames, filters)
        if number < len(weights.norms):  # every convolution, but perhaps the last
            x = relu(batch_norm(x, weights.norms[number]))
        if number in POOLED:
            x = max_pool(x, 2, 2)  # (mels // 2, frames // 2, filters)
    mel, time = weights.pool_grid if pool_grid is None else pool_grid
    return max_pool(x, x.shape[0] // mel, x.shape[1] // time).ravel()  # (mel * time * filters,)


def batch_norm(x, norm):
    """Normalise each channel by the statistics of the training: (..., channels)."""
    gamma, beta, mean, variance = norm.astype(np.float64)
    return gamma * (x - mean) / np.sqrt(variance + BATCH_NORM_EPSILON) + beta


def conv2d(x, kernel, bias):
    """Convolve with zero padding ("same"): (mels, frames, in) with (3, 3, in, out) -> (mels, frames, out)."""
    mels, frames, _ = x.shape
    padded, kernel = np.pad(x, ((1, 1), (1, 1), (0, 0))), kernel.astype(np.float64)
    return bias + sum(padded[i : i + mels, j : j + frames] @ kernel[i, j] for i in range(3) for j in range(3))


def relu(x):
    """Replace negative values by zero."""
    return np.maximum(x, 0.0)


def max_pool(x, height, width):
    """Take the maximum of each part of height x width of a map; what is left over at its edges is dropped."""
    rows, columns = x.shape[0] // height, x.shape[1] // width
    parts = x[: rows * height, : columns * width].reshape(rows, height, columns, width, x.shape[2])
    return parts.max(axis=(1, 3))
