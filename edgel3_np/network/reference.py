"""The network on one page: slow, obvious, in float64. Read this first; the other modules make it fast."""

import numpy as np

from ..weights.format import BATCH_NORM_EPSILON, POOLED
from ..weights.sparse import to_dense


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

    Examples
    --------
    The fast path computes the same in float32, to about one part in a million:

    >>> import edgel3_np
    >>> from edgel3_np.features.log_mel import log_mel_spectrogram
    >>> from edgel3_np.weights.format import load_weights
    >>> model, weights = edgel3_np.load_model(), load_weights(edgel3_np.list_models()["pico-64"])
    >>> noise = np.random.default_rng(0).standard_normal(8000)
    >>> log_mel = log_mel_spectrogram(noise[np.newaxis], weights.frontend, model.network.bands)[0]
    >>> fast = model.embed(noise, sr=8000, center=False).embedding[0]
    >>> np.allclose(fast, reference_embedding(log_mel, weights), atol=5e-5)
    True

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
