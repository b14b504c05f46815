"""Convolution of maps whose channels lie side by side, for many channels: neighbours are copied in long runs.

The map is `padded`, as far as the kernel reaches, which may have other sizes than 3 x 3. Of the neighbours of a pixel,
those in one row lie side by side already. So a pixel is `layer.reach[0]` runs, and a product takes them to all filters.
"""

import numpy as np

from .maps import Map, activate, columns_of, pieces, strided


def pack(kernel, bias, layer):
    """Return the matrix (rows * columns * channels, filters), and the bias; float32."""
    return kernel.reshape(-1, kernel.shape[3]).astype(np.float32), bias.astype(np.float32)


def new_map(layer, windows, arena):
    """Return an input map."""
    (channels, height, width), (tall, wide) = layer.shape, (size // 2 for size in layer.reach)
    array = arena.zeros(windows, height + 2 * tall, width + 2 * wide, channels)
    return Map("padded", array, array[:, tall : tall + height, np.newaxis, wide : wide + width])


def strips(layer):
    """Return the strips: the whole map is one."""
    return [slice(0, layer.shape[1])]


def _shapes(layer, windows):
    (channels, height, width), (tall, wide) = layer.shape, layer.reach
    d, y = (windows, height, width, tall, wide * channels), (windows, height, width, layer.filters)
    return (d, y, (windows, height // layer.pool_rows, width // 2, layer.filters)) if layer.pool else (d, y)


def scratch_size(layer, windows):
    """Return how many floats of scratch suffice."""
    return pieces(*_shapes(layer, windows))


def record(tape, layer, x, out, scratch, strip):
    """Record the whole map of all windows."""
    (weights, bias), b = layer.weights, len(x.array)
    d, y, *pooled = (scratch.take(*shape) for shape in _shapes(layer, b))
    window, row, column, _ = (stride // 4 for stride in x.array.strides)
    tape.copy(strided(x.array, d.shape, (window, row, column, row, 1)), out=d)
    tape.matmul(d.reshape(b, -1, len(weights)), weights, out=y.reshape(b, -1, layer.filters))
    if pooled:
        (z,), every = pooled, layer.pool_rows
        rows, columns = every * z.shape[1], 2 * z.shape[2]
        parts = [y[:, i:rows:every, j:columns:2] for i in range(every) for j in range(2)]
        tape.maximum(parts[0], parts[1], out=z)
        for part in parts[2:]:
            tape.maximum(z, part, out=z)
        y = z
    if bias.any():
        tape.add(y, bias, out=y)
    for source, target in columns_of(y[:, np.newaxis], out.tiles, y.shape[2]):
        activate(tape, layer, source, target)
