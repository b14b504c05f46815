"""The network for streams in integers, in plain NumPy: slow, and meant to be read.

Everything after the levels is exact, so an engine that does the same in another order has the same bytes. Names and
time are those of `stream_views`: frame f is centred on sample 80 + 160 f, column c is frames 5 c to 5 c + 4 and samples
800 c to 800 c + 799, and window i is columns i - 5 to i + 4. Outside the signal there are zeros.
"""

from typing import NamedTuple

import numpy as np

from edgel3_np.features.mel import mel_filterbank

from .audio import FRONTEND, SR

HOP, FRAMES, COLUMNS = SR // 10, 5, 10  # samples and frames of a column, columns of a window
BEFORE = 10  # columns of silence before and after the signal: more than the convolutions see
POOLS = {1: (2, 1), 3: (2, FRAMES), 5: (2, 1)}  # maxima over (mels, times), after these layers of the trunk
TRUNK = 8  # layers; the others are the head
LARGEST = 255  # of activations
STEPS = 5 * LARGEST / 80  # per factor of ten in power


class Layer(NamedTuple):
    """A convolution; its sums are exact, and become the next layer's integers by `rint(sum * factor + bias)`."""

    weight: np.ndarray  # (c_out, c_in, mels, times), int8, -127 to 127
    factor: np.ndarray  # (c_out,), float32
    bias: np.ndarray  # (c_out, 1) or (c_out, 10), float32: one for each filter, or for each column of a window too


class Integers(NamedTuple):
    """A network for streams."""

    layers: tuple
    silence: np.ndarray  # (dim,), float32: the embedding of a window of zeros


def read(path):
    """Read a network from an npz: `weight0`, `factor0`, `bias0`, `weight1` and so on, and `silence`."""
    with np.load(path) as data:
        count = sum(name.startswith("weight") for name in data.files)
        layers = (Layer(*(data[f"{part}{i}"] for part in Layer._fields)) for i in range(count))
        return Integers(tuple(layers), data["silence"])


def embed(network, samples):
    """Embed a signal at 8 kHz: (m,) -> (n, dim), float32, one row for each tenth of a second."""
    samples = np.asarray(samples, np.float64)
    count = 1 + max(0, -(-(len(samples) - SR // 2) // HOP))  # as edgel3_np.embed counts windows
    columns = count + COLUMNS // 2 - 1  # up to the end of the last window, which is never before that of the signal
    samples = np.pad(samples, (0, columns * HOP - len(samples)))
    result = embed_power(network, mel_power(samples), count)
    sounding = np.pad(samples.reshape(columns, HOP).any(axis=1), (COLUMNS // 2, 0))
    for i in range(count):
        if not sounding[i : i + COLUMNS].any():
            result[i] = network.silence
    return result


def mel_power(samples):
    """Compute mel powers of frames, from column -BEFORE on: (800 n,) -> (5 (n + 2 BEFORE), mels), float64."""
    n_fft, step = FRONTEND.n_fft, FRONTEND.hop_length
    padded = np.pad(samples, BEFORE * HOP + (n_fft - step) // 2)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::step]
    return np.abs(np.fft.rfft(frames * hann)) ** 2 @ mel_filterbank(FRONTEND).astype(np.float64)


def embed_power(network, power, count):
    """Embed windows 0 to count - 1 of a stream of mel powers, from `mel_power`."""
    level = levels(power)
    spectrogram = steps(power, np.repeat(level, FRAMES)[:, np.newaxis])  # (frames, mels)
    feature = trunk(network, spectrogram.T[np.newaxis])  # (features, columns)
    return np.stack([head(network, feature, level, i + BEFORE - COLUMNS // 2) for i in range(count)])


def levels(power):
    """Return the largest power of the ten columns that end with each column: (frames, mels) -> (columns,)."""
    peak = power.reshape(-1, FRAMES * power.shape[1]).max(axis=1)
    return np.array([peak[max(0, c - COLUMNS + 1) : c + 1].max() for c in range(len(peak))])


def steps(power, level):
    """Return how far powers lie above 80 units below a level, in steps of 80 / 255 units: 0 to 255; 0 for silence."""
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.rint(LARGEST + STEPS * np.log10(power / level))
    return np.where(power > 0, np.clip(result, 0, LARGEST), 0).astype(np.int64)


def distance(upper, lower):
    """Return how far a level lies above another, in the same steps: 0 (not above) to 255."""
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.rint(STEPS * np.log10(upper / lower))
    return np.where(upper > 0, np.clip(result, 0, LARGEST), 0).astype(np.int64)


def trunk(network, x):
    """Run the convolutions of the stream: (1, mels, frames) -> (features, columns), integers."""
    for index, layer in enumerate(network.layers[:TRUNK]):
        x = activate(convolve(x, layer.weight), layer)
        if index in POOLS:
            mels, times = POOLS[index]
            x = x.reshape(len(x), x.shape[1] // mels, mels, x.shape[2] // times, times).max(axis=(2, 4))
    return x.max(axis=1)


def head(network, feature, level, first):
    """Embed the window that begins with column `first`: (dim,), float32."""
    own = level[first + COLUMNS - 1]  # the largest power of the window
    columns = level[first : first + COLUMNS]
    x = np.stack([*feature[:, first : first + COLUMNS], distance(columns, own), distance(own, columns)])
    for layer in network.layers[TRUNK:-1]:
        x = activate(convolve(x[:, np.newaxis], layer.weight), layer)[:, 0]
    last = network.layers[-1]
    return np.maximum(scale(convolve(x[:, np.newaxis], last.weight), last), 0).max(axis=(1, 2))


def convolve(x, weight):
    """Add up products of integers: (c_in, mels, times), (c_out, c_in, h, w) -> (c_out, mels, times); zeros around."""
    h, w = weight.shape[2:]
    padded = np.pad(x, ((0, 0), (h // 2, h // 2), (w // 2, w // 2)))
    total = np.zeros((len(weight),) + x.shape[1:], np.int64)
    for i in range(h):
        for j in range(w):
            part = padded[:, i : i + x.shape[1], j : j + x.shape[2]]
            total += np.tensordot(weight[:, :, i, j].astype(np.int64), part, axes=1)
    return total


def scale(total, layer):
    """Return `total * factor + bias`: one rounding each, in float32."""
    return total.astype(np.float32) * layer.factor[:, np.newaxis, np.newaxis] + layer.bias[:, np.newaxis]


def activate(total, layer):
    """Return the integers of the next layer: rounded, 0 to 255."""
    return np.clip(np.rint(scale(total, layer)), 0, LARGEST).astype(np.int64)


def largest_sums(network):
    """Return for each layer the largest sum that its filters can reach, bias included; float32 is exact below 2^24."""
    sums = []
    for layer in network.layers:
        weight = np.abs(layer.weight.astype(np.int64)).reshape(len(layer.weight), -1).sum(axis=1)
        bias = np.abs(layer.bias.astype(np.float64)).max(axis=1) / layer.factor
        sums.append(float((weight * LARGEST + bias).max()))
    return sums
