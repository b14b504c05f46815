"""The network of whole numbers on one screen: the layers as functions, of maps and pools of any shape.

Maps are arrays (b, rows, columns, channels) of float32 that hold whole numbers, and so are weights; every sum is below
2**24 (see `weights.integers`), so each product of matrices is exact, whatever computes it. `forward` computes the same,
faster: the tests and `edgel3-np verify` compare the two, bit for bit.
"""

import numpy as np

from ..features.columns import FRAMES
from ..weights.columns import LAYERS, TRUNK
from ..weights.format import POOLED
from ..weights.integers import EXACT, TOP
from ..weights.sparse import to_dense
from . import quads


def convolve(x, kernel, bias, padding=(1, 1)):
    """Return the sums of a convolution.

    Parameters
    ----------
    x : np.ndarray [shape=(b, rows, columns, channels), float32]
    kernel : np.ndarray [shape=(height, width, channels, filters), float32]
    bias : np.ndarray [shape=(filters,)]
    padding : tuple of int (rows, columns)
        Zeros on either side.

    Returns
    -------
    sums : np.ndarray [shape=(b, rows', columns', filters), float32]
    """
    height, width, _, filters = kernel.shape
    padded = np.pad(x, ((0, 0), *((zeros, zeros) for zeros in padding), (0, 0)))
    rows, columns = padded.shape[1] - height + 1, padded.shape[2] - width + 1
    near = [padded[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)]
    return np.concatenate(near, axis=-1) @ kernel.reshape(-1, filters) + bias.astype(np.float32)


def max_pool(x, shape=(2, 2)):
    """Return the maxima of parts of a map, of `shape` (rows, columns); what is left at its edges is dropped."""
    b, rows, columns, channels = x.shape
    tall, wide = rows // shape[0], columns // shape[1]
    parts = x[:, : tall * shape[0], : wide * shape[1]].reshape(b, tall, shape[0], wide, shape[1], channels)
    return parts.max(axis=(2, 4))


def to_levels(sums, shift):
    """Divide sums by `2**shift` of their filter, and round them to levels, 0 to `TOP`; the middle to the even one."""
    return np.clip(np.rint(np.ldexp(sums, -shift.astype(np.intc))), 0, TOP)


def embed_levels(levels, weights):
    """Return the embeddings of spectrograms in levels.

    Parameters
    ----------
    levels : np.ndarray [shape=(b, n_mels, n_frames), float32]
    weights : Weights
        Of a network of whole numbers.

    Returns
    -------
    embedding : np.ndarray [shape=(b, filters), float32]
        The largest sum of each filter of the last convolution, divided by its `2**shift`, but not rounded.

    Examples
    --------
    >>> import edgel3_np
    >>> from edgel3_np.features.levels import level_spectrogram
    >>> from edgel3_np.weights.format import load_weights
    >>> model, weights = edgel3_np.load_model(), load_weights(edgel3_np.list_models()["pico-64"])
    >>> noise = np.random.default_rng(0).standard_normal(8000)
    >>> levels = level_spectrogram(noise[np.newaxis], weights.frontend, model.network.bands)
    >>> fast = model.embed(noise, sr=8000, center=False).embedding
    >>> np.array_equal(fast, embed_levels(levels, weights))
    True
    """
    x = levels[..., np.newaxis] - np.float32(weights.zero)
    for number, (kernel, bias, shift) in enumerate(zip(weights.kernels, weights.biases, weights.shifts), 1):
        x = convolve(x, to_dense(kernel), bias)
        x = max_pool(x) if number in POOLED else x  # before the rounding, which changes no order
        x = to_levels(x, shift) if number < len(weights.kernels) else np.ldexp(x, -shift.astype(np.intc))
    x = np.maximum(x, 0) if weights.final_activation == "relu" else x
    return x.max(axis=(1, 2))


def embed_stream(levels, rows, weights):
    """Return the embeddings of windows of a network for streams, each computed by itself.

    Parameters
    ----------
    levels : np.ndarray [shape=(b, 80, n_mels), float32]
        Of the frames of a window's columns, and of three columns on either side.
    rows : np.ndarray [shape=(b, 10, 2), float32]
        The levels of a window's columns relative to that of the window, from `features.columns.distances`.
    weights : ColumnWeights

    Returns
    -------
    embedding : np.ndarray [shape=(b, filters), float32]
        Of windows that are not silent.
    """
    x = levels[..., np.newaxis]
    for number, (kernel, factor, bias) in enumerate(zip(weights.kernels, weights.factors, weights.biases), 1):
        if number == TRUNK + 1:
            x = np.concatenate([x.max(axis=2), rows], axis=-1)[:, np.newaxis]  # (b, 1, 10, features + 2)
        rows_first = kernel if number > TRUNK else kernel.transpose(1, 0, 2, 3)
        padding = (0, rows_first.shape[1] // 2)  # nothing beyond the frames that are there
        x = convolve(x, rows_first.astype(np.float32), np.zeros(1), padding) * factor + bias
        x = np.clip(np.rint(x), 0, TOP) if number < LAYERS else np.maximum(x, 0)
        if number == 4:
            x = x[:, 1:-1]  # of the 80 frames 72 are left; those of 14 columns are whole
        x = max_pool(x, (FRAMES if number == 4 else 1, 2)) if number in POOLED else x
    return x.max(axis=(1, 2))


def fits_quads(csr, bias):
    """Return whether `quads` computes a layer of whole numbers without rounding."""
    return quads.largest_sum(to_dense(csr).transpose(1, 0, 2, 3), bias).max() < EXACT


def folded_kernels(weights):
    """Yield kernel and bias of each convolution as `plan.fold_batch_norms` does, for a network of whole numbers.

    They are whole multiples of a power of two, so float32 holds them, their products with levels, and all sums.
    """
    for csr, bias, shift in zip(weights.kernels, weights.biases, weights.shifts):
        exponents = -shift.astype(np.intc)
        kernel = to_dense(csr).astype(np.float64).transpose(1, 0, 2, 3)
        yield np.ldexp(kernel, exponents), np.ldexp(bias.astype(np.float64), exponents)
