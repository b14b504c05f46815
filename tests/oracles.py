"""Oracles of the tests: the pipeline in float64 and in integers, slow and simple; some steps are those of `verify`."""

import math

import numpy as np

from edgel3_np.diagnostics.reference import log_mel_spectrogram, resample  # noqa: F401
from edgel3_np.diagnostics.single_sums import whole_resample  # noqa: F401


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
