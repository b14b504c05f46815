"""The network: a plan made once from a weight file, and the forward pass over log-mel spectrograms."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import convolution
from .melspectrogram import FrontEnd, mel_filters
from .weights import to_dense

EPSILON = 1e-3  # of every batch norm
# Size of a matrix product, about: im2col's work space should stay in the cache, but BLAS wants so many columns
WORK_SPACE, COLUMNS = 1 << 18, 512  # floats, columns


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution with all that follows it: bias, ReLU and max-pool.

    Parameters
    ----------
    name : str
    kernel : str
        Name of the function of `convolution` that multiplies.
    weights : np.ndarray or csr_matrix [shape=(out, 9 * in), float32]
        Batch norm folded in.
    bias : np.ndarray [shape=(out, 1, 1), float32]
        Likewise.
    relu : bool
    pool : bool
        A 2x2 max-pool of stride 2 follows; odd edges are dropped.
    shape : tuple
        (channels, height, width) of the map that comes in.
    density : float
        Part of the weights that is not zero.
    """

    name: str
    kernel: str
    weights: Any
    bias: np.ndarray
    relu: bool
    pool: bool
    shape: tuple
    density: float

    @property
    def filters(self):
        return self.weights.shape[0]

    @property
    def strip(self):
        """Rows computed at a time: an even number, so that no pool straddles two strips."""
        channels, height, width = self.shape
        rows = max(COLUMNS, WORK_SPACE // (9 * channels)) // width
        return max(2, min(rows, height + 1) // 2 * 2)


@dataclass(frozen=True, eq=False)
class Network:
    """A planned network, read-only and safe to share between threads.

    Parameters
    ----------
    frontend : FrontEnd
    mel : np.ndarray [shape=(1 + n_fft // 2, n_mels), float64]
    scale, shift : np.float32
        Batch norm of the input. Not folded into the first convolution, whose zero padding comes after the shift.
    layers : tuple of Layer
    """

    frontend: FrontEnd
    mel: np.ndarray
    scale: np.float32
    shift: np.float32
    layers: tuple

    @property
    def dim(self):
        """Length of an embedding."""
        return self.layers[-1].filters


def plan(weights):
    """Make a `Network` of `Weights`: fold batch norms in float64 and choose each layer's kernel."""
    frontend = weights.frontend
    mel = (mel_filters(frontend) if weights.mel is None else weights.mel).astype(np.float64)
    mel.setflags(write=False)
    scale, shift = _affine(weights.norms[0])
    height, width, layers = frontend.n_mels, frontend.n_frames, []
    for number, (csr, bias) in enumerate(zip(weights.kernels, weights.biases), 1):
        matrix, bias = to_dense(csr).reshape(csr.shape).T.astype(np.float64), bias.astype(np.float64)  # (out, 9 * in)
        normed = number < len(weights.norms)
        if normed:
            factor, offset = _affine(weights.norms[number])
            matrix, bias = matrix * factor[:, np.newaxis], bias * factor + offset
        bias = bias.astype(np.float32)[:, np.newaxis, np.newaxis]
        bias.setflags(write=False)
        density = len(csr.data) / (csr.shape[0] * csr.shape[1])
        kernel = convolution.choose_kernel(density)
        pool = number in (2, 4, 6)
        layers.append(
            Layer(
                name=f"conv{number}",
                kernel=kernel,
                weights=convolution.prepare(kernel, matrix),
                bias=bias,
                relu=normed,
                pool=pool,
                shape=(csr.shape[0] // 9, height, width),
                density=density,
            )
        )
        if pool:
            height, width = height // 2, width // 2
    return Network(frontend, mel, np.float32(scale[0]), np.float32(shift[0]), tuple(layers))


def _affine(norm):
    """Factor and offset of a batch norm in inference."""
    gamma, beta, mean, variance = norm.astype(np.float64)
    factor = gamma / np.sqrt(variance + EPSILON)
    return factor, beta - mean * factor


class Workspace(NamedTuple):
    """Buffers of a forward pass, to be reused from batch to batch (page faults of fresh ones cost more than sums)."""

    maps: tuple  # of each layer: (channels, height + 2, width + 2), its border zero
    columns: np.ndarray  # for im2col: (k,)
    products: np.ndarray  # for the kernels: (k,)


def workspace(network):
    """Make the buffers for `forward`: one set for each thread that uses the network."""
    layers = network.layers
    return Workspace(
        tuple(np.zeros((c, h + 2, w + 2), np.float32) for c, h, w in (layer.shape for layer in layers)),
        np.empty(max(9 * layer.shape[0] * layer.strip * layer.shape[2] for layer in layers), np.float32),
        np.empty(max(layer.filters * layer.strip * layer.shape[2] for layer in layers), np.float32),
    )


def forward(network, logmel, work):
    """Embeddings of a batch of spectrograms.

    Each window goes through the network by itself, in arrays of one shape, so that its embedding has the same bytes
    in any batch.

    Parameters
    ----------
    network : Network
    logmel : np.ndarray [shape=(b, n_mels, n_frames), float32]
    work : Workspace

    Returns
    -------
    embedding : np.ndarray [shape=(b, dim), float32]
    """
    maps = work.maps
    embedding = np.empty((len(logmel), network.dim), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # of absurd weights; the caller looks at what comes out
        for window, spectrogram in zip(embedding, logmel):
            maps[0][0, 1:-1, 1:-1] = spectrogram * network.scale + network.shift  # (1, n_mels, n_frames)
            for layer, x, y in zip(network.layers, maps, maps[1:]):
                for rows, strip in strips(layer, x, work):
                    y[:, 1:-1, 1:-1][:, rows] = strip  # (filters, height, width), both halved where the layer pools
            tops = [strip.max(axis=(1, 2)) for _, strip in strips(network.layers[-1], maps[-1], work)]
            window[:] = np.max(tops, axis=0)  # global max-pool: (dim,)
    return embedding


def strips(layer, x, work):
    """Apply one layer to a padded map, a strip of rows at a time.

    Parameters
    ----------
    layer : Layer
    x : np.ndarray [shape=(channels, height + 2, width + 2), float32]
    work : Workspace

    Yields
    ------
    rows : slice
        Which rows of the layer's output these are.
    strip : np.ndarray [shape=(filters, rows, width), float32]
        Valid until the next one is asked for.
    """
    _, height, width = layer.shape
    multiply, shrink = convolution.KERNELS[layer.kernel], 2 if layer.pool else 1
    for top in range(0, height // shrink * shrink, layer.strip):
        bottom = min(top + layer.strip, height // shrink * shrink)
        columns = convolution.im2col(x, top, bottom, work.columns)  # (9 * channels, rows * width)
        product = work.products[: layer.filters * columns.shape[1]].reshape(layer.filters, -1)
        y = multiply(layer.weights, columns, product).reshape(layer.filters, bottom - top, width)
        if layer.pool:
            y = np.maximum(y[:, ::2], y[:, 1::2])  # (filters, rows / 2, width)
            y = np.maximum(y[:, :, 0 : width - 1 : 2], y[:, :, 1::2])  # (filters, rows / 2, width / 2)
        y += layer.bias  # after the pool: it commutes with the maximum, on a quarter of the data
        if layer.relu:
            np.maximum(y, 0.0, out=y)
        yield slice(top // shrink, bottom // shrink), y
