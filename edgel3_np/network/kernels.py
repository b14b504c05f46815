"""3x3 convolutions of tiled maps: the algorithms, side by side behind one signature.

A map is an array x[row, column, channel, lane], float32. Rows are frames, with a row of zeros above and below. Columns
are mel bands, in tiles of four. A lane is one tile of one of the windows that are computed together: lane = tile *
microbatch + window. In this layout every step of every algorithm is a product of matrices that lie there already.

An algorithm is a function (tape, weights, x, microbatch, scratch) that records its steps on a `Tape`:

* weights: what `pack_weights` returns for it, bias included;
* x (2 * pairs + 2, 4, channels, lanes): rows of a map, from the one above to the one below those wanted;
* microbatch: windows computed together;
* scratch (k,): work space, k >= `scratch_size(...)`;

it returns where the result will be: y (pairs, 2, 4, filters, lanes), rows in pairs, in the scratch, with any strides.

`direct` is the definition written as one product, and the reference of the others. The tests compare all of them with
a convolution in float64.

Winograd's algorithms (A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016) compute m
outputs of a kernel of length r with m + r - 1 products, as AT ((G g) * (BT d)): F(4,3) along a tile takes 6 products
instead of 12; with F(2,3) along a pair of rows it takes 24 instead of 72.
"""

import numpy as np

# F(4,3), along a tile, at the points 0, 1, -1, 2, -2 and infinity: 6 products. BT_4 has the columns of the tile's own
# four inputs; the inputs 0 and 5 are those of the neighbouring tiles, which occur once each with a factor of one.
BT_4 = np.array([[0, -5, 0, 1], [-16, -16, 4, 4], [16, -16, -4, 4], [-8, -4, 8, 4], [8, -4, -8, 4], [16, 0, -20, 0]])
BT_4 = (BT_4 / 4.0).astype(np.float32)
G_4 = np.array([[24, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24.0
AT_4 = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32)
# F(2,3), along a pair of rows, at 0, 1, -1 and infinity: 4 products. Its BT is written out as sums in `winograd_2d`.
G_2 = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
AT_2 = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)

SCRATCH = 48  # floats for each channel (or filter, whichever are more), lane and pair of rows


def scratch_size(channels, filters, lanes, pairs):
    """Return how many floats of scratch suffice for any algorithm."""
    return SCRATCH * max(channels, filters) * lanes * (pairs + 1)


def pack_weights(algorithm, kernel, bias):
    """Arrange weights as an algorithm multiplies them.

    Parameters
    ----------
    algorithm : str
        A key of `ALGORITHMS`.
    kernel : np.ndarray [shape=(3, 3, in, out), float64]
        Along rows, columns, channels, filters.
    bias : np.ndarray [shape=(out,), float64]

    Returns
    -------
    weights : tuple of np.ndarray, np.ndarray or csr_matrix [float32]
        Read-only.
    """
    _, _, channels, filters = kernel.shape
    if algorithm == "sparse":
        from scipy.sparse import csr_matrix  # imported here: dense models need not wait a fifth of a second for it

        matrix = csr_matrix(_direct_entries(kernel, bias), (4 * filters, 18 * channels + 1), np.float32)
        matrix.sort_indices()
        _read_only(matrix.data, matrix.indices, matrix.indptr)
        return matrix
    if algorithm == "direct":
        matrix = np.zeros((4 * filters, 18 * channels + 1), np.float32)
        values, where = _direct_entries(kernel, bias)
        matrix[where] = values
        return _read_only(matrix)[0]
    points = np.matmul(G_4, kernel.reshape(3, 3, -1)).reshape(3, 6, channels, filters)
    if algorithm == "winograd_1d":
        points = points.transpose(1, 3, 0, 2).reshape(6, filters, 3 * channels)
    else:
        points = np.matmul(G_2, points.reshape(3, -1)).reshape(4, 6, channels, filters)
        points = points.transpose(1, 0, 3, 2)  # (6, 4, filters, channels)
    return _read_only(np.array(points, np.float32, order="C"), bias.astype(np.float32)[:, np.newaxis])


def direct(tape, weights, x, microbatch, scratch):
    """Record one product; half of its factors are zeros."""
    patches = _im2col(tape, x, microbatch, scratch)
    y = _view(scratch[patches.size :], weights.shape[0], patches.shape[1])
    multiply = tape.matmul if isinstance(weights, np.ndarray) else tape.sparse_matmul
    multiply(weights, patches, out=y)
    pairs, lanes = len(x) // 2 - 1, x.shape[3]
    return y.reshape(4, -1, pairs, 2, lanes).transpose(2, 3, 0, 1, 4)


sparse = direct  # the same with a CSR matrix


def winograd_1d(tape, weights, x, microbatch, scratch):
    """Record F(4,3) along tiles; the three rows are the inner dimension of one product."""
    weights, bias = weights
    rows, filters = len(x) - 2, len(bias)
    _, _, channels, lanes = x.shape
    first, second = np.split(scratch[: len(scratch) // 2 * 2], 2)
    a = _transform_tiles(tape, x, microbatch, first)  # (6, rows + 2, channels, lanes)
    row, step = channels * lanes * a.itemsize, lanes * a.itemsize  # each row with its two neighbours, without a copy:
    v = np.ndarray((6, rows, 3 * channels, lanes), a.dtype, a, 0, (a.strides[0], row, step, a.itemsize))
    m = _view(second, 6, rows, filters, lanes)
    tape.matmul(weights[:, np.newaxis], v, out=m)
    tape.add(m[1], bias, out=m[1])  # a summand of the product at the point 1 reaches all four columns
    y = _view(first, rows, 4, filters * lanes)
    tape.matmul(AT_4, m.reshape(6, rows, -1).swapaxes(0, 1), out=y)
    return y.reshape(rows // 2, 2, 4, filters, lanes)


def winograd_2d(tape, weights, x, microbatch, scratch):
    """Record F(2,3) along pairs of rows and F(4,3) along tiles: 24 products, each of all pairs and lanes."""
    weights, bias = weights
    pairs, filters = len(x) // 2 - 1, len(bias)
    _, _, channels, lanes = x.shape
    first, second = np.split(scratch[: len(scratch) // 2 * 2], 2)
    a = _transform_tiles(tape, x, microbatch, first).swapaxes(1, 2)  # (6, channels, rows + 2, lanes)
    d = [a[:, :, start : start + 2 * pairs : 2] for start in range(4)]  # the four rows of each pair, from the one above
    v = _view(second, 6, 4, channels, pairs, lanes)
    tape.subtract(d[0], d[2], out=v[:, 0])
    tape.add(d[1], d[2], out=v[:, 1])
    tape.subtract(d[2], d[1], out=v[:, 2])
    tape.subtract(d[1], d[3], out=v[:, 3])
    m = _view(first, 6, 4, filters, pairs * lanes)
    tape.matmul(weights, v.reshape(6, 4, channels, pairs * lanes), out=m)
    tape.add(m[1, 1], bias, out=m[1, 1])  # as in winograd_1d: it reaches all columns and both rows
    z = _view(second, 6, 2, filters * pairs * lanes)
    tape.matmul(AT_2, m.reshape(6, 4, -1), out=z)
    y = _view(first, 2, 4, filters * pairs * lanes)
    tape.matmul(AT_4, z.swapaxes(0, 1), out=y)
    return y.reshape(2, 4, filters, pairs, lanes).transpose(3, 0, 1, 2, 4)


ALGORITHMS = {"direct": direct, "sparse": sparse, "winograd_1d": winograd_1d, "winograd_2d": winograd_2d}


def _direct_entries(kernel, bias):
    """Return the matrix of `direct`, (4 * filters, 18 * channels + 1): its non-zero values, and their rows and columns.

    Each column of a tile takes three of six columns, in three rows: (row, column, channel). The last one is the bias.
    """
    _, _, channels, filters = kernel.shape
    dy, dx, channel, number = np.nonzero(kernel)
    column = np.arange(4)[:, np.newaxis]
    where = [(column * filters + number).ravel(), ((dy * 6 + column + dx) * channels + channel).ravel()]
    values = np.concatenate([np.tile(kernel[dy, dx, channel, number], 4), np.tile(bias, 4)])
    where[0] = np.concatenate([where[0], np.arange(4 * filters)])
    where[1] = np.concatenate([where[1], np.full(4 * filters, 18 * channels)])
    return values, tuple(where)


def _im2col(tape, x, microbatch, scratch):
    """Record the matrix that `_direct_entries` multiplies, (18 * channels + 1, rows * lanes), and return it."""
    rows = len(x) - 2
    _, _, channels, lanes = x.shape
    patches = _view(scratch, 18 * channels + 1, rows * lanes)
    tape.copy(1.0, out=patches[-1])
    for dy, six in enumerate(patches[:-1].reshape(3, 6, channels, rows, lanes)):
        four = x[dy : dy + rows].transpose(1, 2, 0, 3)  # (4, channels, rows, lanes)
        tape.copy(four, out=six[1:5])
        tape.copy(0.0, out=six[0, ..., :microbatch])
        tape.copy(four[3, ..., : lanes - microbatch], out=six[0, ..., microbatch:])
        tape.copy(0.0, out=six[5, ..., lanes - microbatch :])
        tape.copy(four[0, ..., microbatch:], out=six[5, ..., : lanes - microbatch])
    return patches


def _transform_tiles(tape, x, microbatch, scratch):
    """Record F(4,3)'s transform of the tiles of a map, (6, rows + 2, channels, lanes), and return it."""
    rows, _, channels, lanes = x.shape
    a = _view(scratch, 6, rows, channels, lanes)
    tape.matmul(BT_4, x.reshape(rows, 4, -1), out=a.reshape(6, rows, -1).swapaxes(0, 1))
    left, right = a[0, ..., microbatch:], a[5, ..., : lanes - microbatch]
    tape.add(left, x[:, 3, :, : lanes - microbatch], out=left)
    tape.add(right, x[:, 0, :, microbatch:], out=right)
    return a


def _read_only(*arrays):
    for array in arrays:
        array.setflags(write=False)
    return arrays


def _view(scratch, *shape):
    """Return the beginning of the scratch as an array of this shape."""
    size = 1
    for length in shape:
        size *= length
    return scratch[:size].reshape(shape)
