"""Convolution as its definition: one product with all nine neighbours of each pixel, im2col."""

import numpy as np

from .maps import activate, clear_columns, finish, padded_map, pieces, strided

STRIP_FLOATS = 1 << 17  # floats of the matrix of neighbours of a strip


def pack(kernel, bias, layer):
    """Return the matrix (9 * channels + 1, filters), the bias in its last row; float32."""
    return np.concatenate([kernel.reshape(-1, kernel.shape[3]), bias[np.newaxis]]).astype(np.float32)


def new_map(layer, windows, arena):
    """Return an input map; its columns suffice for the phases of any map that follows."""
    channels, height, width = layer.shape
    return padded_map(windows, height, width, channels, width + 2 + 12, arena)


def strips(layer):
    """Return the strips; each starts at an even row."""
    height, rows = layer.shape[1], _rows(layer)
    return [slice(first, min(first + rows, height)) for first in range(0, height, rows)]


def _rows(layer):
    """Return the rows of a strip."""
    channels, height, width = layer.shape
    rows = max(2, STRIP_FLOATS // ((9 * channels + 1) * (width + 12)) // 2 * 2)
    return min(rows, height + height % 2)


def _shapes(layer, rows, phases):
    channels, _, width = layer.shape
    lanes = rows * phases * -(-width // phases)
    return (9 * channels + 1, lanes), (lanes, layer.filters)


def scratch_size(layer, windows):
    """Return how many floats of scratch suffice."""
    channels, _, width = layer.shape
    aligned = channels, _rows(layer) + 2, 3 * (width + 12)
    return pieces(aligned, *_shapes(layer, _rows(layer), 12))


def record(tape, layer, x, out, scratch, strip):
    """Record a strip, window by window."""
    channels, _, width = layer.shape
    first, rows, phases = strip.start, strip.stop - strip.start, out.phases * (2 if layer.pool else 1)
    tiles, straight = -(-width // phases), out.layout == "tiled" and not layer.pool
    patches, y = (scratch.take(*shape) for shape in _shapes(layer, rows, phases))
    aligned = scratch.take(channels, rows + 2, phases + 2, tiles)  # column = tile * phases + phase - 1
    row, map_row = (phases + 2) * tiles, x.array.shape[2] * channels
    shape = 3, 3, channels, rows, phases, tiles  # dy and dx first
    neighbours = strided(aligned, shape, (row, tiles, (rows + 2) * row, row, tiles, 1))
    for window in range(len(x.array)):
        strides = 1, map_row, channels, phases * channels
        tape.copy(strided(x.array[window, first:], aligned.shape, strides), out=aligned)
        tape.copy(neighbours, out=patches[:-1].reshape(shape))
        tape.copy(1.0, out=patches[-1])
        if straight:  # the lanes of the product are in the order of the next map
            pixels = out.tiles[window, first - out.top : first - out.top + rows]  # (rows, phases, tiles, filters)
            tape.matmul(patches.T, layer.weights, out=pixels.reshape(-1, layer.filters))
            activate(tape, layer, pixels, pixels)
            clear_columns(tape, pixels, width)
        else:
            tape.matmul(patches.T, layer.weights, out=y)
            result = y.reshape(1, rows, phases, tiles, layer.filters).swapaxes(1, 2)
            finish(tape, layer, result, first, out.part(slice(window, window + 1)))
