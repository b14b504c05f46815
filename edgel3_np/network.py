"""The forward pass: from log-mel spectrograms to embeddings, layer by layer, strip by strip."""

from typing import NamedTuple

import numpy as np

from .convolution import KERNELS, copy, run, scratch_size
from .plan import tiles


class Workspace(NamedTuple):
    """Buffers of a forward pass, and its steps on them; to be used by one forward pass at a time."""

    maps: tuple  # of each layer: (rows, 4, channels, tiles * block), as `convolution` describes them, in two buffers
    steps: tuple  # of each layer: for each thread, the steps of its strips, as `convolution.run` takes them
    tops: np.ndarray  # (pairs, filters, tiles, block): maxima of the last map, of two rows by four columns


def workspace(network, threads=1):
    """Make the buffers and write down the steps of a forward pass, so that so many threads can share each layer."""
    shapes, sizes = [], []
    for layer in network.layers:
        channels, frames, columns = layer.shape
        lanes = tiles(columns) * network.block
        shapes.append((frames + frames % 2 + 2, 4, channels, lanes))  # an even number of rows, and one above and below
        sizes.append(scratch_size(channels, layer.filters, lanes, layer.pairs))
    scratch = [np.empty(max(sizes), np.float32) for _ in range(threads)]
    # a layer reads one buffer and writes the other
    buffers = [np.empty(max(map(np.prod, shapes[parity::2])), np.float32) for parity in range(2)]
    maps = [buffers[number % 2][: np.prod(shape)].reshape(shape) for number, shape in enumerate(shapes)]
    last = network.layers[-1]
    best = np.empty((-(-last.shape[1] // 2), last.filters, tiles(last.shape[2]), network.block), np.float32)
    steps = []
    for number, (layer, x) in enumerate(zip(network.layers, maps)):
        shares = [[] for _ in range(threads)]
        if layer is not last:
            out, (_, frames, _) = maps[number + 1], network.layers[number + 1].shape
            shares[0] += [(copy, 0.0, None, out[:1]), (copy, 0.0, None, out[1 + frames :])]
        for index, top in enumerate(tops(layer)):
            share, space = shares[index % threads], scratch[index % threads]
            if layer is last:
                share.extend(top_strip(layer, x, network.block, best, space, top))
            else:
                share.extend(strip(layer, x, network.block, out, space, top))
        steps.append([share for share in shares if share])
    return Workspace(tuple(maps), tuple(steps), best)


def forward(network, logmel, work, apply=map, first=0):
    """Embeddings of a batch of spectrograms.

    Windows are computed in blocks of one size, the ends filled up, each at the place in its block that its number in
    the signal gives it: products round the columns at their edges otherwise than those within. So an embedding has the
    same bytes in any batch.

    Parameters
    ----------
    network : Network
    logmel : np.ndarray [shape=(b, n_mels, n_frames), float32]
    work : Workspace
    apply : callable
        Like `map`: takes the steps of each thread's strips.
    first : int >= 0
        Number of the first of these windows in its signal.

    Returns
    -------
    embedding : np.ndarray [shape=(b, dim), float32]
    """
    embedding = np.empty((len(logmel), network.dim), np.float32)
    for start in range(-(first % network.block), len(logmel), network.block):
        place, part = max(-start, 0), slice(max(start, 0), start + network.block)
        windows = logmel[part]
        enter(work.maps[0], windows * network.scale + network.shift, network.block, place)
        for shares in work.steps:
            for _ in apply(run, shares):
                pass
        embedding[part] = top(network, work.tops)[place : place + len(windows)]
    return embedding


def top(network, tops):
    """Embeddings of a block: the maxima of each cell of the grid over the last map, (block, dim)."""
    bands, times = network.grid
    pairs, filters, columns, block = tops.shape
    cells = tops.reshape(times, pairs // times, filters, bands, columns // bands, block).max(axis=(1, 4))
    return cells.transpose(3, 2, 0, 1).reshape(block, -1)  # (mel, time, filters) in turn


def enter(x, logmel, block, place=0):
    """Lay spectrograms (b, n_mels, n_frames) out as the first map, from a place in the block on; the rest is zeros."""
    b, columns, frames = logmel.shape
    rows = np.zeros((frames, 4 * tiles(columns), block), np.float32)
    rows[:, :columns, place : place + b] = logmel.transpose(2, 1, 0)
    x[0], x[1 + frames :] = 0.0, 0.0
    inner = x[1 : 1 + frames, :, 0].reshape(frames, 4, -1, block)  # (frames, 4, tiles, block)
    inner[...] = rows.reshape(frames, -1, 4, block).swapaxes(1, 2)


def tops(layer):
    """First rows of the strips of a layer."""
    return range(0, _rows(layer), 2 * layer.pairs)


def _rows(layer):
    """Rows of a layer's map that are needed: an odd last one is not where a pool follows."""
    _, frames, _ = layer.shape
    return frames // 2 * 2 if layer.pool else frames


def strip(layer, x, block, out, scratch, top):
    """Steps that apply one layer to a strip of its map `x` and write it into the next map, `out`."""
    _, frames, columns = layer.shape
    y = yield from _convolve(layer, x, block, scratch, top)  # (pairs, 2, 4, filters, lanes)
    pairs = len(y)
    if layer.pool:
        columns = columns // 2
        rows = out[1 + top // 2 : 1 + top // 2 + pairs]  # (pairs, 4, filters, lanes)
        yield np.maximum, y[:, 0], y[:, 1], y[:, 0]
        y = y[:, 0]  # (pairs, 4, filters, lanes)
        yield np.maximum, y[:, ::2], y[:, 1::2], y[:, ::2]
        y = y[:, ::2]  # (pairs, 2, filters, lanes): half a tile of the next map
        y, to = (part.reshape(*part.shape[:3], -1, block) for part in (y, rows))
        for half in range(2):
            source = y[:, :, :, half::2][:, :, :, : to.shape[3]]  # every other tile
            yield np.maximum, source, np.float32(0), to[:, 2 * half : 2 * half + 2, :, : source.shape[3]]  # ReLU
    else:
        rows = out[1 + top : 1 + top + 2 * pairs]  # (2 * pairs, 4, filters, lanes)
        yield np.maximum, y, np.float32(0), rows.reshape(y.shape)
        if frames - top < len(rows):
            yield copy, 0.0, None, rows[frames - top :]  # of an odd map
    for column in range(columns, 4 * tiles(columns)):  # of a map that is no whole number of tiles wide
        yield copy, 0.0, None, rows[:, column % 4, :, column // 4 * block :]


def top_strip(layer, x, block, best, scratch, top):
    """Steps that apply the last layer to a strip, and put its maxima into `best` (pairs, filters, tiles, block)."""
    _, frames, columns = layer.shape
    y = yield from _convolve(layer, x, block, scratch, top)
    if (frames - top) // 2 < len(y):
        yield copy, -np.inf, None, y[-1, 1]  # of an odd map
    for column in range(columns, 4 * tiles(columns)):
        yield copy, -np.inf, None, y[:, :, column % 4, :, column // 4 * block :]
    yield np.maximum, y[:, 0], y[:, 1], y[:, 0]
    y = y[:, 0]  # (pairs, 4, filters, lanes)
    yield np.maximum, y[:, :2], y[:, 2:], y[:, :2]
    part = best[top // 2 : top // 2 + len(y)]
    part = part.reshape(*part.shape[:2], -1)  # (pairs, filters, lanes)
    yield np.maximum, y[:, 0], y[:, 1], part
    if layer.relu:
        yield np.maximum, part, np.float32(0), part


def _convolve(layer, x, block, scratch, top):
    """Steps of a strip's convolution: (pairs, 2, 4, filters, lanes)."""
    pairs = min(layer.pairs, (_rows(layer) - top + 1) // 2)
    return (yield from KERNELS[layer.kernel](layer.weights, x[top : top + 2 * pairs + 2], block, scratch))
