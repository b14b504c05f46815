"""Convolution with a sparse kernel, for layers of which few weights are left.

The map is `gapped`: channels first, with one column of zeros between rows, so a shift by a column is an offset. A strip
of rows is copied three times, once for each dy. Each dx is a sparse product with these copies, from another offset on.
"""

import numpy as np

from .maps import finish, gapped_map, pieces, strided

ROWS = 4  # of a strip: even, and so few that the rows of a product stay in the cache


def pack(kernel, bias, layer):
    """Return a CSC matrix (filters, 3 * channels) for each dx, and the bias (filters, 1).

    By columns SciPy's product reads each row of the neighbours once, which is a quarter faster than by rows.
    """
    from scipy.sparse import csc_matrix  # imported here: dense models need not wait a fifth of a second for it

    channels, filters = kernel.shape[2:]
    matrices = [csc_matrix(kernel[:, dx].reshape(3 * channels, filters).T, dtype=np.float32) for dx in range(3)]
    for matrix in matrices:
        matrix.sort_indices()
    return tuple(matrices), bias.astype(np.float32)[:, np.newaxis]


def new_map(layer, windows, arena):
    """Return an input map."""
    channels, height, width = layer.shape
    return gapped_map(windows, height, width, channels, arena)


def strips(layer):
    """Return the strips; each starts at an even row."""
    height = layer.shape[1]
    return [slice(first, min(first + ROWS, height)) for first in range(0, height, ROWS)]


def _shapes(layer, rows):
    channels, _, width = layer.shape
    lanes = rows * (width + 1)
    return (3 * channels * lanes + 16,), (layer.filters * lanes + 16 * (width + 1),)


def scratch_size(layer, windows):
    """Return how many floats of scratch suffice."""
    return pieces(*_shapes(layer, ROWS))


def record(tape, layer, x, out, scratch, strip):
    """Record a strip, window by window."""
    channels, height, width = layer.shape
    first, rows, pitch, filters = strip.start, strip.stop - strip.start, width + 1, layer.filters
    lanes, phases = rows * pitch, out.phases * (2 if layer.pool else 1)
    if -(-width // phases) * phases > pitch:  # whole tiles would reach into the next row
        phases = 2 if layer.pool else 1
    matrices, bias = layer.weights
    copies, y = (scratch.take(*shape) for shape in _shapes(layer, rows))
    channel, inside = (height + 2) * pitch, 3 * channels * lanes
    result = y[: filters * lanes].reshape(filters, lanes)
    tape.copy(0.0, out=copies[inside:])
    for window in range(len(x.array)):
        shifted = strided(x.array[window, first * pitch :], (3, channels, lanes), (pitch, channel, 1))
        tape.copy(shifted, out=copies[:inside].reshape(3, channels, lanes))
        tape.copy(bias, out=result)
        for dx, matrix in enumerate(matrices):
            tape.call(accumulate, matrix, copies[dx : dx + inside].reshape(3 * channels, lanes), result)
        tiles = -(-width // phases)
        pixels = strided(y, (1, phases, rows, tiles, filters), (0, 1, pitch, phases, lanes))
        finish(tape, layer, pixels, first, out.part(slice(window, window + 1)))


def accumulate(matrix, x, out):
    """Add the product of a sparse matrix (m, k) and an array (k, n) to an array (m, n)."""
    out += matrix @ x
