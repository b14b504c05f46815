"""Convolution row by row, for few channels: no copy of neighbours but two shifts, and long rows.

A map is `shifted`: x[window, row, plane, column], channels first, with a row of zeros above and below. The planes of a
row are its channels three times, shifted by -1, 0 and 1 columns (dx, channel), and one plane of ones for the bias. So
three consecutive rows in memory are the matrix of neighbours of one row of output:

    y[window, row] (filters, width) = weights (filters, 3 * planes) @ x[window, row : row + 3] (3 * planes, width)

Each channel of a row ends with a gap of zeros. So a shift of the whole row, one channel after
the other, is right at both edges, and one copy makes all three shifts.
"""

import numpy as np

from .maps import Map, activate, finish, pieces, strided

GAP = 2  # columns of zeros behind each row of a channel


def pack(kernel, bias, layer):
    """Return the matrix (filters, 3 * planes), float32; the bias stands at the plane of ones of the row above."""
    channels, filters = kernel.shape[2:]
    matrix = np.zeros((filters, 3, 3 * channels + 1))
    matrix[:, :, :-1] = kernel.transpose(3, 0, 1, 2).reshape(filters, 3, 3 * channels)
    matrix[:, 0, -1] = bias
    return matrix.reshape(filters, -1).astype(np.float32)


def new_map(layer, windows, arena):
    """Return an input map."""
    channels, height, width = layer.shape
    array = arena.zeros(windows, height + 2, 3 * channels + 1, width + GAP)
    array[:, :, -1] = 1.0
    middle = array[:, 1:-1, channels : 2 * channels, :width]  # (b, height, channels, width): the planes of dx = 0
    return Map("shifted", array, middle.swapaxes(2, 3)[:, :, np.newaxis])


def strips(layer):
    """Return the strips: the whole map is one."""
    return [slice(0, layer.shape[1])]


def scratch_size(layer, windows):
    """Return how many floats of scratch suffice."""
    _, height, width = layer.shape
    pitch = width + 12  # the gap, or columns that fill the last tile
    y, tall = (windows, height, layer.filters, pitch), (windows, height // layer.pool_rows, layer.filters, pitch)
    return pieces(y, tall, tall) if layer.pool else pieces(y)


def record(tape, layer, x, out, scratch, strip):
    """Record the whole map."""
    channels, height, width = layer.shape
    b, filters, by_row = len(x.array), layer.filters, out.layout in ("shifted", "channels")
    rows = height // layer.pool_rows * layer.pool_rows if layer.pool else height
    phases = 1 if by_row else out.phases * (2 if layer.pool else 1)
    if by_row:
        pitch = width + (0 if layer.pool else GAP)
    else:
        pitch = phases * -(-width // phases)
    y = scratch.take(b, rows, filters, pitch)
    neighbours = strided(x.array, (b, rows, 9 * channels + 3, width), [s // 4 for s in x.array.strides])
    tape.matmul(layer.weights, neighbours, out=y[..., :width])
    if not by_row:
        finish(tape, layer, y.reshape(b, rows, filters, -1, phases).transpose(0, 4, 1, 3, 2), 0, out)
        return
    if layer.pool:
        rows, tall, width = rows // layer.pool_rows, y, width // 2
        if layer.pool_rows == 2:
            tall = scratch.take(b, rows, filters, pitch)
            tape.max(y.reshape(b, rows, 2, -1), 2, out=tall.reshape(b, rows, -1))
        y = scratch.take(b, rows, filters, width + GAP)
        even, odd = (tall[..., start : width * 2 : 2] for start in range(2))
        tape.maximum(even, odd, out=y[..., :width])
    flat = y.reshape(b, rows, -1)
    activate(tape, layer, flat, flat, width + GAP)
    if out.layout == "channels":
        tape.copy(y[..., :width], out=out.array)
        return
    tape.copy(0.0, out=y[..., width:])
    shift(tape, y, out.array)


def shift(tape, y, x):
    """Record the way of rows (windows, rows, channels, pitch), whose gaps are zero, into a `shifted` map."""
    b, rows, channels, pitch = y.shape
    run, step = channels * pitch, x.strides[1] // 4
    planes = strided(x.reshape(-1)[step + 1 :], (b, rows, 3, run - 1), (x.strides[0] // 4, step, run - 1, 1))
    tape.copy(y.reshape(b, rows, 1, run)[..., :-1], out=planes)
