"""Oracles of the tests: the whole pipeline in float64, slow and simple."""

import math

import numpy as np


def resample(x, sr, new):
    """Resample as resampy 0.2.2 does with kaiser_best: time is a running sum, and each output is computed alone."""
    ratio = float(new) / sr
    n = 64 * 512
    window = np.kaiser(2 * n + 1, 14.769656459379492)[n:]
    rolloff = 0.9475937167399596
    window = window * rolloff * np.sinc(rolloff * np.linspace(0, 64, n + 1))
    if ratio < 1:
        window = window * ratio
    delta = np.append(np.diff(window), 0.0)
    scale = min(1.0, ratio)
    step = int(scale * 512)
    y = np.zeros(int(len(x) * ratio))
    time = 0.0
    for t in range(len(y)):
        n = int(time)
        fraction = scale * (time - n)
        for wing, position in (("left", fraction * 512), ("right", (scale - fraction) * 512)):
            offset = int(position)
            eta = position - offset
            taps = (len(window) - offset) // step
            taps = min(taps, n + 1 if wing == "left" else len(x) - n - 1)
            entry = offset + step * np.arange(taps)
            near = n - np.arange(taps) if wing == "left" else n + 1 + np.arange(taps)
            y[t] += np.dot(window[entry] + eta * delta[entry], x[near])
        time += 1.0 / ratio
    return y


def frame(x, window, hop, pad_left):
    """Cut a whole signal into windows, padded as upstream pads it."""
    x = np.concatenate([np.zeros(pad_left), x])
    if len(x) < window:
        x = np.concatenate([x, np.zeros(window - len(x))])
    else:
        missing = math.ceil((len(x) - window) / hop) * hop - (len(x) - window)
        x = np.concatenate([x, np.zeros(missing)])
    return np.array([x[start : start + window] for start in range(0, len(x) - window + 1, hop)])


def log_mel_spectrogram(window, frontend, mel):
    """Compute the log-mel spectrogram of one window; the transform is a product with cosines and sines."""
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
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * t / n_fft) for t in time])
    phase = 2 * np.pi * (np.outer(time, bins) % n_fft) / n_fft
    cosines, sines = np.cos(phase), np.sin(phase)
    levels = np.zeros((mel.shape[1], frames))
    for index in range(frames):
        part = x[index * hop : index * hop + n_fft] * hann
        power = (part @ cosines) ** 2 + (part @ sines) ** 2
        bands = np.sqrt(power @ mel) if frontend.spectrum == "power" else np.sqrt(power) @ mel
        levels[:, index] = 10 * np.log10(np.maximum(bands, 1e-10))
    levels -= levels.max()
    return np.maximum(levels, -80.0)


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
