"""Oracles of the tests: the pipeline in float64 and in integers, slow and simple; some steps are those of `verify`."""

import math

import numpy as np

from edgel3_np.diagnostics.reference import log_mel_spectrogram, resample  # noqa: F401
from edgel3_np.diagnostics.single_sums import whole_resample  # noqa: F401
from edgel3_np.features.mel import mel_filterbank


def frame(x, window, hop, pad_left):
    """Cut a whole signal into windows, padded as upstream pads it."""
    x = np.concatenate([np.zeros(pad_left), x])
    if len(x) < window:
        x = np.concatenate([x, np.zeros(window - len(x))])
    else:
        missing = math.ceil((len(x) - window) / hop) * hop - (len(x) - window)
        x = np.concatenate([x, np.zeros(missing)])
    return np.array([x[start : start + window] for start in range(0, len(x) - window + 1, hop)])


def convolve(x, kernel):
    """Convolve (height, width, in) with (3, 3, in, out), zero-padded: nine shifted products, in float64."""
    height, width, _ = x.shape
    padded = np.zeros((height + 2, width + 2, x.shape[2]))
    padded[1:-1, 1:-1] = x
    y = np.zeros((height, width, kernel.shape[3]))
    for dy in range(3):
        for dx in range(3):
            y += padded[dy : dy + height, dx : dx + width] @ kernel[dy, dx].astype(np.float64)
    return y


def batch_norm(x, norm):
    gamma, beta, mean, variance = norm.astype(np.float64)
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def pool(x):
    """Max-pool (height, width, channels) by 2x2; odd edges are dropped."""
    height, width, channels = x.shape
    x = x[: height // 2 * 2, : width // 2 * 2]
    return x.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))


def forward(log_mel, kernels, biases, norms):
    """Run the network on one window as Keras does, unfolded and in float64: (n_mels, n_frames) -> (dim,)."""
    return last_map(log_mel, kernels, biases, norms).max(axis=(0, 1))


def last_map(log_mel, kernels, biases, norms):
    """Compute the last map, before the global max-pool: (mel, time, filters)."""
    x = batch_norm(log_mel.astype(np.float64)[:, :, np.newaxis], norms[0])
    for number, (kernel, bias) in enumerate(zip(kernels, biases), 1):
        x = convolve(x, kernel) + bias.astype(np.float64)
        if number < len(norms):
            x = np.maximum(batch_norm(x, norms[number]), 0.0)
        if number in (2, 4, 6):
            x = pool(x)
    return x


def whole_forward(levels, weights):
    """Run a network of whole numbers on one window with int64 alone: levels (n_mels, n_frames) -> (dim,), float64."""
    x = levels.astype(np.int64)[:, :, np.newaxis] - weights.zero
    for number, (csr, bias, shift) in enumerate(zip(weights.kernels, weights.biases, weights.shifts), 1):
        rows, columns, channels = x.shape
        kernel = np.zeros(csr.shape, np.int64)
        for row in range(csr.shape[0]):
            some = slice(int(csr.indptr[row]), int(csr.indptr[row + 1]))
            kernel[row, csr.indices[some]] = csr.data[some]
        y = np.zeros((rows, columns, csr.shape[1]), np.int64) + bias
        padded = np.zeros((rows + 2, columns + 2, channels), np.int64)
        padded[1:-1, 1:-1] = x
        for number_of_row, weight in enumerate(kernel):
            (dy, dx), channel = divmod(number_of_row // channels, 3), number_of_row % channels
            y += padded[dy : dy + rows, dx : dx + columns, channel, np.newaxis] * weight
        if number < 8:
            parts = [nearest(y[..., i], int(exponent)) for i, exponent in enumerate(shift)]
            x = np.clip(np.stack(parts, axis=-1), 0, 255)
            x = pool(x) if number in (2, 4, 6) else x
    last = y.max(axis=(0, 1)) * 2.0 ** -shift.astype(float)
    return np.maximum(last, 0.0) if weights.final_activation == "relu" else last


def nearest(sums, shift):
    """Divide integers by `2**shift` and round to the nearest, to the even one in the middle: with integers alone."""
    if shift <= 0:
        return sums << -shift
    whole, rest, half = sums >> shift, sums & ((1 << shift) - 1), 1 << (shift - 1)
    return whole + ((rest > half) | ((rest == half) & (whole & 1 == 1)))


def stream_embeddings(mono, weights, hop=1, center=True):
    """Run a network for streams on the windows of a signal, each by itself with what it sees of the stream: (t, dim).

    `hop` is in columns. Frames are in float64, all else is int64 but for the one product and the one sum in float32.
    """
    frontend = weights.frontend
    column, margin = frontend.sr // 10, (frontend.n_fft - frontend.hop_length) // 2
    before, after = 12 * column + margin, 3 * column + margin
    windows = frame(mono, frontend.sr, hop * column, frontend.sr // 2 if center else 0)
    found = []
    for number, window in enumerate(windows):
        if not window.any():
            found.append(weights.silence)
            continue
        start = number * hop * column - (frontend.sr // 2 if center else 0) - before
        signal = np.zeros(before + frontend.sr + after)
        known = np.arange(max(0, start), min(len(mono), start + len(signal)))
        signal[known - start] = mono[known]
        found.append(stream_window(signal, weights))
    return np.array(found)


def stream_levels(signal, frontend):
    """Return levels of frames, (columns - 9, 5, n_mels), and the loudest power of each ten columns."""
    n_fft, step = frontend.n_fft, frontend.hop_length
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    starts = range(0, len(signal) - n_fft + 1, step)
    power = np.array([np.abs(np.fft.rfft(signal[start : start + n_fft] * hann)) ** 2 for start in starts])
    power = (power @ mel_filterbank(frontend).astype(np.float64)).reshape(-1, 5, frontend.n_mels)
    top = np.array([power[number : number + 10].max() for number in range(len(power) - 9)])
    power = power[9:]
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.rint(255 + 15.9375 * np.log10(power / top[:, np.newaxis, np.newaxis]))
    return np.where(power > 0, np.clip(levels, 0, 255), 0).astype(np.int64), top


def level_distance(upper, lower):
    """Return how far powers lie above others in steps of 80 / 255 units: 0 to 255; 0 for silence."""
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.rint(15.9375 * np.log10(upper / lower))
    return np.where(upper > 0, np.clip(result, 0, 255), 0).astype(np.int64)


def stream_window(signal, weights):
    """Return the embedding of a window from the samples under its 25 columns: (dim,), float32."""
    levels, top = stream_levels(signal, weights.frontend)  # of 16 columns
    own, top = top[12], top[3:13]
    rows = np.stack([level_distance(top, own), level_distance(own, top)], axis=-1)
    x = levels.reshape(80, -1).T[:, :, np.newaxis]  # (mels, frames, 1)
    for number, (kernel, factor, bias) in enumerate(zip(weights.kernels, weights.factors, weights.biases), 1):
        if number == 9:
            x = np.concatenate([x.max(axis=0), rows], axis=1)[np.newaxis]
        height, width, _, filters = kernel.shape
        zeros = (0, 0) if number <= 8 else (1, 1)  # in time: what lies beyond the 16 columns is not there
        padded = np.pad(x, ((height // 2, height // 2), zeros, (0, 0)))
        tall, wide = padded.shape[0] - height + 1, padded.shape[1] - width + 1
        y = np.zeros((tall, wide, filters), np.int64)
        for i in range(height):
            for j in range(width):
                y += np.tensordot(padded[i : i + tall, j : j + wide], kernel[i, j].astype(np.int64), 1)
        y = y.astype(np.float32) * factor
        y = y + bias
        last = np.maximum(y, 0).max(axis=(0, 1))
        x = np.clip(np.rint(y), 0, 255).astype(np.int64)
        if number == 4:
            x = x[:, 1:-1]  # 72 frames are left; the first and the last belong to no whole column
            x = x.reshape(len(x), -1, 5, filters).max(axis=2)
        if number in (2, 4, 6):
            x = x.reshape(len(x) // 2, 2, -1, filters).max(axis=1)
    return last
