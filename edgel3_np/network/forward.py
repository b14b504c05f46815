"""The forward pass: from log-mel spectrograms to embeddings, layer by layer, strip by strip."""

from typing import NamedTuple

import numpy as np

from .kernels import ALGORITHMS, scratch_size
from .plan import tiles
from .tape import Tape, execute


class Workspace(NamedTuple):
    """The buffers of a forward pass and the calls on them. One forward pass at a time may use it."""

    maps: tuple  # of each layer: (rows, 4, channels, tiles * microbatch), as `kernels` describes them, in two buffers
    tapes: tuple  # of each layer: a tape for each thread, with the steps of its strips
    maxima: np.ndarray  # (pairs, filters, tiles, microbatch): maxima of the last map, of two rows by four columns


def workspace(network, threads=1):
    """Allocate the buffers and record the steps of a forward pass, so that so many threads can share each layer."""
    shapes, sizes = [], []
    for layer in network.layers:
        channels, frames, columns = layer.shape
        lanes = tiles(columns) * network.microbatch
        shapes.append((frames + frames % 2 + 2, 4, channels, lanes))  # an even number of rows, and one above and below
        sizes.append(scratch_size(channels, layer.filters, lanes, layer.pairs))
    scratch = [np.empty(max(sizes), np.float32) for _ in range(threads)]
    # a layer reads one buffer and writes the other
    buffers = [np.empty(max(map(np.prod, shapes[parity::2])), np.float32) for parity in range(2)]
    maps = [buffers[number % 2][: np.prod(shape)].reshape(shape) for number, shape in enumerate(shapes)]
    last = network.layers[-1]
    maxima = np.empty((-(-last.shape[1] // 2), last.filters, tiles(last.shape[2]), network.microbatch), np.float32)
    tapes = []
    for number, (layer, x) in enumerate(zip(network.layers, maps)):
        shares = [Tape(layer.name) for _ in range(threads)]
        if layer is not last:
            out, (_, frames, _) = maps[number + 1], network.layers[number + 1].shape
            shares[0].copy(0.0, out=out[:1])
            shares[0].copy(0.0, out=out[1 + frames :])
        for index, start in enumerate(strip_starts(layer)):
            tape, space = shares[index % threads], scratch[index % threads]
            if layer is last:
                last_strip(tape, layer, x, network.microbatch, maxima, space, start)
            else:
                strip(tape, layer, x, network.microbatch, out, space, start)
        tapes.append([tape for tape in shares if tape.calls])
    return Workspace(tuple(maps), tuple(tapes), maxima)


def forward(network, log_mel, work, apply=map, first=0):
    """Compute the embeddings of a batch of spectrograms.

    Windows are computed in microbatches of one size, the ends filled up, each at the place that its number in the
    signal gives it, because products round the columns at their edges differently from those within. So an embedding
    has the same bytes in any batch.

    Parameters
    ----------
    network : Network
    log_mel : np.ndarray [shape=(b, n_mels, n_frames), float32]
    work : Workspace
    apply : callable
        A function like `map`; it applies `execute` to the tapes of a layer.
    first : int >= 0
        Number of the first of these windows in its signal.

    Returns
    -------
    embedding : np.ndarray [shape=(b, dim), float32]
    """
    embedding = np.empty((len(log_mel), network.dim), np.float32)
    for start in range(-(first % network.microbatch), len(log_mel), network.microbatch):
        place, part = max(-start, 0), slice(max(start, 0), start + network.microbatch)
        windows = log_mel[part]
        pack_input(work.maps[0], windows * network.scale + network.shift, network.microbatch, place)
        for tapes in work.tapes:
            for _ in apply(execute, tapes):
                pass
        embedding[part] = grid_max_pool(network, work.maxima)[place : place + len(windows)]
    return embedding


def pack_input(x, log_mel, microbatch, place=0):
    """Write spectrograms (b, n_mels, n_frames) into the first map, from a place on; the rest of it becomes zero."""
    b, columns, frames = log_mel.shape
    rows = np.zeros((frames, 4 * tiles(columns), microbatch), np.float32)
    rows[:, :columns, place : place + b] = log_mel.transpose(2, 1, 0)
    x[0], x[1 + frames :] = 0.0, 0.0
    inner = x[1 : 1 + frames, :, 0].reshape(frames, 4, -1, microbatch)  # (frames, 4, tiles, microbatch)
    inner[...] = rows.reshape(frames, -1, 4, microbatch).swapaxes(1, 2)


def grid_max_pool(network, maxima):
    """Take the maximum of each part of the last map: -> (microbatch, dim)."""
    bands, times = network.pool_grid
    pairs, filters, columns, microbatch = maxima.shape
    parts = maxima.reshape(times, pairs // times, filters, bands, columns // bands, microbatch).max(axis=(1, 4))
    return parts.transpose(3, 2, 0, 1).reshape(microbatch, -1)  # (microbatch, mel * time * filters)


def strip_starts(layer):
    """Return the first row of each strip of a layer."""
    return range(0, _needed_rows(layer), 2 * layer.pairs)


def _needed_rows(layer):
    """Return how many rows of a layer's map are needed: all, but an odd last one if a pool follows."""
    _, frames, _ = layer.shape
    return frames // 2 * 2 if layer.pool else frames


def strip(tape, layer, x, microbatch, out, scratch, start):
    """Record one layer on a strip of its map `x`; it writes into the next map, `out`."""
    _, frames, columns = layer.shape
    y = _convolve(tape, layer, x, microbatch, scratch, start)  # (pairs, 2, 4, filters, lanes)
    pairs = len(y)
    if layer.pool:
        columns = columns // 2
        rows = out[1 + start // 2 : 1 + start // 2 + pairs]  # (pairs, 4, filters, lanes)
        tape.maximum(y[:, 0], y[:, 1], out=y[:, 0])
        y = y[:, 0]  # (pairs, 4, filters, lanes)
        tape.maximum(y[:, ::2], y[:, 1::2], out=y[:, ::2])
        y = y[:, ::2]  # (pairs, 2, filters, lanes): half a tile of the next map
        y, to = (part.reshape(*part.shape[:3], -1, microbatch) for part in (y, rows))
        for half in range(2):
            source = y[:, :, :, half::2][:, :, :, : to.shape[3]]  # every other tile
            tape.relu(source, out=to[:, 2 * half : 2 * half + 2, :, : source.shape[3]])
    else:
        rows = out[1 + start : 1 + start + 2 * pairs]  # (2 * pairs, 4, filters, lanes)
        tape.relu(y, out=rows.reshape(y.shape))
        if frames - start < len(rows):
            tape.copy(0.0, out=rows[frames - start :])  # the map has an odd number of rows
    for column in range(columns, 4 * tiles(columns)):  # the last tile is not full
        tape.copy(0.0, out=rows[:, column % 4, :, column // 4 * microbatch :])


def last_strip(tape, layer, x, microbatch, maxima, scratch, start):
    """Record the last layer on a strip; it writes maxima into `maxima` (pairs, filters, tiles, microbatch)."""
    _, frames, columns = layer.shape
    y = _convolve(tape, layer, x, microbatch, scratch, start)  # (pairs, 2, 4, filters, lanes)
    if (frames - start) // 2 < len(y):
        tape.copy(-np.inf, out=y[-1, 1])  # the map has an odd number of rows
    for column in range(columns, 4 * tiles(columns)):  # the last tile is not full
        tape.copy(-np.inf, out=y[:, :, column % 4, :, column // 4 * microbatch :])
    tape.maximum(y[:, 0], y[:, 1], out=y[:, 0])
    y = y[:, 0]  # (pairs, 4, filters, lanes)
    tape.maximum(y[:, :2], y[:, 2:], out=y[:, :2])
    part = maxima[start // 2 : start // 2 + len(y)]
    part = part.reshape(*part.shape[:2], -1)  # (pairs, filters, lanes)
    tape.maximum(y[:, 0], y[:, 1], out=part)
    if layer.relu:
        tape.relu(part, out=part)


def _convolve(tape, layer, x, microbatch, scratch, start):
    """Record the convolution of a strip; return its result, (pairs, 2, 4, filters, lanes)."""
    pairs = min(layer.pairs, (_needed_rows(layer) - start + 1) // 2)
    rows = x[start : start + 2 * pairs + 2]
    return ALGORITHMS[layer.algorithm](tape, layer.weights, rows, microbatch, scratch)
