"""Winograd's F(2,3) along both axes, for whole numbers: tiles of 2 x 2 pixels, in few products of large matrices.

The map is `padded`. No sum is rounded, so its order is free, and all tiles of some windows go together; each is a lane.

1. the 4 x 4 pixels that a tile needs, side by side: one copy -> d[pixel, lane, channel]
2. the transform along both axes, (16, 16) times d -> v[point, lane, channel]
3. v times weights, (channels, filters) for each of 16 points -> m[point, lane, filter]; most time goes here
4. the transform back, along columns, then along rows -> y[pixel of the tile, lane, filter]
5. max-pool, which takes the largest of a tile, the bias, and the way into the next map
"""

import numpy as np

from ..weights import integers
from ..weights.integers import TOP
from .cook_toom import cook_toom
from .maps import activate, columns_of, padded_map, pieces, strided

COLUMNS = 3072  # of a product with few rows: of more OpenBLAS copies the factors first
_SCALES = np.array([1.0, 2.0, 2.0, 1.0])  # so that the factors of levels are 1 and -1, and those of weights halves
BT, G, AT = (matrix.copy() for matrix in cook_toom(2))
BT /= _SCALES[:, np.newaxis]
G *= _SCALES[:, np.newaxis]
_BOTH, _BACK = np.kron(BT, BT).astype(np.float32), AT.astype(np.float32)


def pack(kernel, bias, layer):
    """Return the weights of each point, (16, channels, filters), and the bias; float32."""
    points = np.einsum("ij,jkcf,lk->ilcf", G, kernel, G).reshape(16, *kernel.shape[2:])
    return points.astype(np.float32), bias.astype(np.float32)


def largest_sum(kernel, bias):
    """Return how large any sum can get, for whole weights and levels, in units of its least part.

    Parameters
    ----------
    kernel : np.ndarray [shape=(3, 3, channels, filters)]
        Whole numbers.
    bias : np.ndarray [shape=(filters,), int]

    Returns
    -------
    largest : np.ndarray [shape=(filters,), int64]
        Below 2**24, and float32 holds all transforms, products and results, in any order of the sums.

    Notes
    -----
    The factors of the weights' transform are halves, so along both axes the products are quarters. Their sums over
    channels are bounded by the weights and by the extremes of the transformed levels. The sums that turn them into
    pixels have up to three terms: two of them are bounded by themselves, all three by the result that they are, a
    convolution along one axis or along both.
    """
    zero, offset = np.zeros_like(bias, np.int64), bias.astype(np.int64)
    lines = np.tensordot(2 * G, kernel, 1)  # (4, 3, channels, filters), along rows
    products, sums = np.zeros((4, 4, len(bias)), np.int64), np.zeros((4, len(bias)), np.int64)
    for i, line in enumerate(lines):
        added = offset if i == 1 else zero  # the bias counts as if it were a part of the point (1, 1)
        sums[i] = 2 * _largest(line.reshape(-1, len(bias)), 2 * added, BT[i])
        for j, point in enumerate(np.tensordot(2 * G, line, 1)):
            products[i, j] = _largest(point, 4 * added * (j == 1), np.outer(BT[i], BT[j]))
    result = 4 * _largest(kernel.reshape(-1, len(bias)), offset, np.ones(1))
    along_columns = [_pairs(products[:, some].swapaxes(0, 1), sums) for some in (slice(3), slice(1, 4))]
    along_rows = [_pairs(sums[some], result) for some in (slice(3), slice(1, 4))]
    return np.max([products.max(axis=(0, 1)), *(part.max(axis=0) for part in along_columns), *along_rows], axis=0)


def _largest(matrix, bias, factors):
    """Return the largest sum of weights times what factors make of levels."""
    low, high = (int(side * TOP * np.maximum(side * factors, 0).sum()) for side in (-1, 1))
    return integers.largest_sum(matrix, bias, low, high)


def _pairs(terms, total):
    """Return how large a sum of one, two or three terms gets, if all three together are bounded by `total`."""
    ordered = np.sort(terms, axis=0)
    return np.maximum(ordered[-1] + ordered[-2], total)


def _tiles(layer):
    """Return rows of tiles and tiles of a row."""
    _, height, width = layer.shape
    return (height // 2, width // 2) if layer.pool else (-(-height // 2), -(-width // 2))


def new_map(layer, windows, arena):
    """Return an input map, with whole tiles."""
    channels, height, width = layer.shape
    even = padded_map(windows, height + height % 2, width, channels, width + width % 2 + 2, arena)
    return even._replace(tiles=even.tiles[:, :height])


def strips(layer):
    """Return the strips: the whole map is one."""
    return [slice(0, layer.shape[1])]


def _shapes(layer, windows):
    (rows, tiles), (channels, _, _) = _tiles(layer), layer.shape
    lanes = windows * rows * tiles
    d, m = (16, lanes, channels), (16, lanes, layer.filters)
    return d, d, m, (8, lanes, layer.filters), (4, lanes, layer.filters)


def scratch_size(layer, windows):
    """Return how many floats of scratch suffice."""
    return pieces(*_shapes(layer, windows))


def record(tape, layer, x, out, scratch, strip):
    """Record the whole map of all windows."""
    (rows, tiles), b, (weights, bias) = _tiles(layer), len(x.array), layer.weights
    d, v, m, z, y = (scratch.take(*shape) for shape in _shapes(layer, b))
    window, row, column, _ = (stride // 4 for stride in x.array.strides)
    shape = 4, 4, b, rows, tiles, layer.shape[0]
    tape.copy(strided(x.array, shape, (row, column, window, 2 * row, 2 * column, 1)), out=d.reshape(shape))
    columns = d.size // 16
    for start in range(0, columns, COLUMNS):
        some = slice(start, start + COLUMNS)
        tape.matmul(_BOTH, d.reshape(16, -1)[:, some], out=v.reshape(16, -1)[:, some])
    tape.matmul(v, weights, out=m)
    tape.matmul(_BACK, m.reshape(4, 4, -1), out=z.reshape(4, 2, -1))
    tape.matmul(_BACK, z.reshape(4, -1), out=y.reshape(2, -1))
    if layer.pool:
        tape.maximum(y[:2], y[2:], out=y[:2])
        tape.maximum(y[:1], y[1:2], out=y[:1])
        y = y[:1]
    long = y.reshape(len(y), -1)
    tape.add(long, np.tile(bias, y.shape[1]), out=long)
    _place(tape, y.reshape(*((1, 1) if layer.pool else (2, 2)), b, rows, tiles, layer.filters), out, layer)


def _place(tape, pixels, out, layer):
    """Record the activation, and the way into a map.

    The axes of `pixels` are: row and column in the tile; window; row and column of tiles; filter.
    """
    size, _, b, rows, tiles, filters = pixels.shape
    _, height, phases, _, _ = out.tiles.shape
    width = layer.shape[2] // (2 if layer.pool else 1)
    if (height, width, phases) == (size * rows, size * tiles, 1):  # whole tiles: one call
        window, row, _, column, item = (stride // 4 for stride in out.tiles.strides)  # item: of a channel
        strides = row, column, window, size * row, size * column, item
        activate(tape, layer, pixels, strided(out.tiles, pixels.shape, strides))
        return
    for first, part in enumerate(pixels.swapaxes(1, 2)):  # (b, pixels of a tile along columns, rows, tiles, filters)
        target = out.tiles[:, first:height:size]
        for source, place in columns_of(part[:, :, : target.shape[1]], target, width):
            activate(tape, layer, source, place)
