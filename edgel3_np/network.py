"""The forward pass: from log-mel spectrograms to embeddings, layer by layer, strip by strip."""

from functools import partial
from typing import NamedTuple

import numpy as np

from .convolution import KERNELS, scratch_size
from .plan import tiles


class Workspace(NamedTuple):
    """Buffers of a forward pass, to be reused from block to block (page faults of fresh ones cost more than sums)."""

    maps: tuple  # of each layer: (rows, 4, channels, tiles * block), as `convolution` describes them
    scratch: list  # of arrays for kernels, those that are free


def workspace(network, threads=1):
    """Make the buffers for `forward`, with scratch for so many strips at a time."""
    maps, sizes = [], []
    for layer in network.layers:
        channels, frames, columns = layer.shape
        lanes = tiles(columns) * network.block
        rows = frames + frames % 2 + 2  # an even number, and one of zeros above and below
        maps.append(np.zeros((rows, 4, channels, lanes), np.float32))
        sizes.append(scratch_size(channels, layer.filters, lanes, layer.pairs))
    return Workspace(tuple(maps), [np.empty(max(sizes), np.float32) for _ in range(threads)])


def forward(network, logmel, work, apply=map):
    """Embeddings of a batch of spectrograms.

    Windows are computed in blocks of one size, the last filled up, so that an embedding has the same bytes in any
    batch.

    Parameters
    ----------
    network : Network
    logmel : np.ndarray [shape=(b, n_mels, n_frames), float32]
    work : Workspace
    apply : callable
        Like `map`: applies a function to the strips of a layer, on as many threads as the workspace has scratch for.

    Returns
    -------
    embedding : np.ndarray [shape=(b, dim), float32]
    """
    embedding = np.empty((len(logmel), network.dim), np.float32)
    *layers, last = network.layers
    for start in range(0, len(logmel), network.block):
        windows = logmel[start : start + network.block]
        enter(work.maps[0], windows * network.scale + network.shift, network.block)
        for layer, x, y in zip(layers, work.maps, work.maps[1:]):
            list(apply(partial(strip, layer, x, work, network.block, y), tops(layer)))
        best = list(apply(partial(top_strip, last, work.maps[-1], work, network.block), tops(last)))
        embedding[start : start + network.block] = np.max(best, axis=0).T[: len(windows)]  # global max-pool
    return embedding


def enter(x, logmel, block):
    """Lay spectrograms (b, n_mels, n_frames), b <= block, out as the first map; zeros stand in for missing ones."""
    b, columns, frames = logmel.shape
    rows = np.zeros((frames, 4 * tiles(columns), block), np.float32)
    rows[:, :columns, :b] = logmel.transpose(2, 1, 0)
    inner = x[1 : 1 + frames, :, 0].reshape(frames, 4, -1, block)  # (frames, 4, tiles, block)
    inner[...] = rows.reshape(frames, -1, 4, block).swapaxes(1, 2)


def tops(layer):
    """First rows of the strips of a layer."""
    return range(0, _rows(layer), 2 * layer.pairs)


def _rows(layer):
    """Rows of a layer's map that are needed: an odd last one is not where a pool follows."""
    _, frames, _ = layer.shape
    return frames // 2 * 2 if layer.pool else frames


def strip(layer, x, work, block, out, top):
    """Apply one layer to a strip of its map, and write it into the next map."""
    _, frames, columns = layer.shape
    scratch = work.scratch.pop()
    y = _convolve(layer, x, block, top, scratch)  # (pairs, 2, 4, filters, lanes)
    pairs = len(y)
    if layer.pool:
        columns = columns // 2
        rows = out[1 + top // 2 : 1 + top // 2 + pairs]  # (pairs, 4, filters, lanes)
        y = np.maximum(y[:, 0], y[:, 1], out=y[:, 0])  # (pairs, 4, filters, lanes)
        y = np.maximum(y[:, ::2], y[:, 1::2], out=y[:, ::2])  # (pairs, 2, filters, lanes): half a tile of the next map
        y, to = (part.reshape(*part.shape[:3], -1, block) for part in (y, rows))
        for half in range(2):
            source = y[:, :, :, half::2][:, :, :, : to.shape[3]]  # every other tile
            np.maximum(source, 0.0, out=to[:, 2 * half : 2 * half + 2, :, : source.shape[3]])  # ReLU
    else:
        rows = out[1 + top : 1 + top + 2 * pairs]  # (2 * pairs, 4, filters, lanes)
        np.maximum(y, 0.0, out=rows.reshape(y.shape))
        rows[frames - top :] = 0.0  # of an odd map
    for column in range(columns, 4 * tiles(columns)):  # of a map that is no whole number of tiles wide
        rows[:, column % 4, :, column // 4 * block :] = 0.0
    work.scratch.append(scratch)


def top_strip(layer, x, work, block, top):
    """Maximum of a strip of the last layer: (filters, block)."""
    _, frames, columns = layer.shape
    scratch = work.scratch.pop()
    y = _convolve(layer, x, block, top, scratch)
    for pair in range((frames - top) // 2, len(y)):  # of an odd map
        y[pair, 1] = -np.inf
    for column in range(columns, 4 * tiles(columns)):
        y[:, :, column % 4, :, column // 4 * block :] = -np.inf
    y = np.maximum(y[:, 0], y[:, 1], out=y[:, 0])  # (pairs, 4, filters, lanes)
    y = np.maximum(y[:, :2], y[:, 2:], out=y[:, :2])
    y = np.maximum(y[:, 0], y[:, 1], out=y[:, 0])  # (pairs, filters, lanes)
    best = y.max(axis=0).reshape(layer.filters, -1, block).max(axis=1)
    work.scratch.append(scratch)
    return np.maximum(best, 0.0) if layer.relu else best


def _convolve(layer, x, block, top, scratch):
    """A strip of a layer's convolution: (pairs, 2, 4, filters, lanes), valid until the scratch is used again."""
    pairs = min(layer.pairs, (_rows(layer) - top + 1) // 2)
    with np.errstate(over="ignore", invalid="ignore"):  # of absurd weights; the caller looks at what comes out
        return KERNELS[layer.kernel](layer.weights, x[top : top + 2 * pairs + 2], block, scratch)
