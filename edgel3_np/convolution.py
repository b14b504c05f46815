"""3x3 convolutions of tiled maps: the kernels, side by side behind one signature.

A map is an array x[row, column, channel, lane], float32. Rows are frames, with a row of zeros above and below. Columns
are mel bands, in tiles of four. A lane is one tile of one of the windows that are computed together: lane = tile *
block + window. In this layout the steps of all kernels are products of matrices that lie there already.

A kernel does not compute: it writes down the steps, once for each buffer that they will be taken on, so that between
two products no time goes into finding the next (only one thread at a time can). It is a generator
(weights, x, block, scratch), with

* weights: what `prepare` made for it, bias included;
* x (2 * pairs + 2, 4, channels, lanes): rows of a map, from the one above to the one below those wanted;
* block: windows computed together;
* scratch (k,): work space, k >= `scratch_size(...)`;

it yields steps (function, a, b, out), each to be called as `function(a, b, out=out)`, and returns where they leave the
result: y (pairs, 2, 4, filters, lanes), the rows in pairs, in the scratch, with any strides.

`direct` is the definition written as one product, and the reference of the others; the reference of all is the float64
convolution of the tests.

Winograd's algorithms (A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016) compute m
outputs of a filter of r taps with m + r - 1 products: F(4,3) along a tile takes 6 instead of 12, with F(2,3) along a
pair of rows 24 instead of 72.
"""

import numpy as np

# F(4,3), along a tile, at the points 0, 1, -1, 2, -2 and infinity: of four of the six inputs, of the three taps, of the
# six products. The inputs from the neighbouring tiles, 0 and 5, occur once each, with a factor of one.
TILE_IN = np.array([[0, -5, 0, 1], [-16, -16, 4, 4], [16, -16, -4, 4], [-8, -4, 8, 4], [8, -4, -8, 4], [16, 0, -20, 0]])
TILE_IN = (TILE_IN / 4.0).astype(np.float32)
TILE_TAPS = np.array([[24, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24.0
TILE_OUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32)
# F(2,3), along a pair of rows, at 0, 1, -1 and infinity
PAIR_TAPS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
PAIR_OUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)

SCRATCH = 48  # floats per channel (or filter, if there are more), lane and pair of rows


def scratch_size(channels, filters, lanes, pairs):
    """Floats of scratch that any kernel needs."""
    return SCRATCH * max(channels, filters) * lanes * (pairs + 1)


def prepare(kernel, taps, bias):
    """Turn weights into what the kernel of that name multiplies with.

    Parameters
    ----------
    kernel : str
        A key of `KERNELS`.
    taps : np.ndarray [shape=(3, 3, in, out), float64]
        Along rows, along columns, channels, filters.
    bias : np.ndarray [shape=(out,), float64]

    Returns
    -------
    weights : tuple of np.ndarray, np.ndarray or csr_matrix [float32]
        Read-only.
    """
    _, _, channels, filters = taps.shape
    if kernel == "sparse":
        from scipy.sparse import csr_matrix  # here, not above: a fifth of a second that dense models need not spend

        matrix = csr_matrix(_entries(taps, bias), (4 * filters, 18 * channels + 1), np.float32)
        matrix.sort_indices()
        _read_only(matrix.data, matrix.indices, matrix.indptr)
        return matrix
    if kernel == "direct":
        matrix = np.zeros((4 * filters, 18 * channels + 1), np.float32)
        values, where = _entries(taps, bias)
        matrix[where] = values
        return _read_only(matrix)[0]
    products = np.matmul(TILE_TAPS, taps.reshape(3, 3, -1)).reshape(3, 6, channels, filters)
    if kernel == "winograd1":
        products = products.transpose(1, 3, 0, 2).reshape(6, filters, 3 * channels)
    else:
        products = np.matmul(PAIR_TAPS, products.reshape(3, -1)).reshape(4, 6, channels, filters)
        products = products.transpose(1, 0, 3, 2)  # (6, 4, filters, channels)
    return _read_only(np.array(products, np.float32, order="C"), bias.astype(np.float32)[:, np.newaxis])


def direct(weights, x, block, scratch):
    """One product; half of its factors are zeros."""
    columns = yield from _columns(x, block, scratch)
    y = _view(scratch[columns.size :], weights.shape[0], columns.shape[1])
    yield (np.matmul if isinstance(weights, np.ndarray) else multiply_sparse), weights, columns, y
    pairs, lanes = len(x) // 2 - 1, x.shape[3]
    return y.reshape(4, -1, pairs, 2, lanes).transpose(2, 3, 0, 1, 4)


sparse = direct  # with a CSR matrix


def winograd1(weights, x, block, scratch):
    """F(4,3) along tiles; the three rows are one product's inner dimension."""
    weights, bias = weights
    rows, filters = len(x) - 2, len(bias)
    _, _, channels, lanes = x.shape
    first, second = np.split(scratch[: len(scratch) // 2 * 2], 2)
    a = yield from _transform(x, block, first)  # (6, rows + 2, channels, lanes)
    row, step = channels * lanes * a.itemsize, lanes * a.itemsize  # each row with its neighbours, without a copy:
    v = np.ndarray((6, rows, 3 * channels, lanes), a.dtype, a, 0, (a.strides[0], row, step, a.itemsize))
    m = _view(second, 6, rows, filters, lanes)
    yield np.matmul, weights[:, np.newaxis], v, m
    yield np.add, m[1], bias, m[1]  # what a product at the point 1 adds, it adds to all four columns
    y = _view(first, rows, 4, filters * lanes)
    yield np.matmul, TILE_OUT, m.reshape(6, rows, -1).swapaxes(0, 1), y
    return y.reshape(rows // 2, 2, 4, filters, lanes)


def winograd2(weights, x, block, scratch):
    """F(2,3) along pairs of rows and F(4,3) along tiles: 24 products, of all pairs and lanes at a time."""
    weights, bias = weights
    pairs, filters = len(x) // 2 - 1, len(bias)
    _, _, channels, lanes = x.shape
    first, second = np.split(scratch[: len(scratch) // 2 * 2], 2)
    a = (yield from _transform(x, block, first)).swapaxes(1, 2)  # (6, channels, rows + 2, lanes)
    rows = [a[:, :, start : start + 2 * pairs : 2] for start in range(4)]  # of each pair, from the one above on
    v = _view(second, 6, 4, channels, pairs, lanes)
    yield np.subtract, rows[0], rows[2], v[:, 0]
    yield np.add, rows[1], rows[2], v[:, 1]
    yield np.subtract, rows[2], rows[1], v[:, 2]
    yield np.subtract, rows[1], rows[3], v[:, 3]
    m = _view(first, 6, 4, filters, pairs * lanes)
    yield np.matmul, weights, v.reshape(6, 4, channels, pairs * lanes), m
    yield np.add, m[1, 1], bias, m[1, 1]  # as above
    z = _view(second, 6, 2, filters * pairs * lanes)
    yield np.matmul, PAIR_OUT, m.reshape(6, 4, -1), z
    y = _view(first, 2, 4, filters * pairs * lanes)
    yield np.matmul, TILE_OUT, z.swapaxes(0, 1), y
    return y.reshape(2, 4, filters, pairs, lanes).transpose(3, 0, 1, 2, 4)


KERNELS = {"direct": direct, "sparse": sparse, "winograd1": winograd1, "winograd2": winograd2}


def copy(a, _, out):
    """A step: `out` becomes `a`."""
    out[...] = a


def multiply_sparse(matrix, columns, out):
    """A step: product of a CSR matrix (scipy has no `out`)."""
    out[...] = matrix @ columns


def run(steps):
    """Take steps."""
    with np.errstate(over="ignore", invalid="ignore"):  # of absurd weights; who asks for embeddings looks at them
        for function, a, b, out in steps:
            function(a, b, out=out)


def _entries(taps, bias):
    """The matrix of `direct`, (4 * filters, 18 * channels + 1): its non-zero values, and their rows and columns.

    Each column of a tile takes three of six columns, in three rows: (row, column, channel); and the bias, last.
    """
    _, _, channels, filters = taps.shape
    dy, dx, channel, number = np.nonzero(taps)
    column = np.arange(4)[:, np.newaxis]
    where = [(column * filters + number).ravel(), ((dy * 6 + column + dx) * channels + channel).ravel()]
    values = np.concatenate([np.tile(taps[dy, dx, channel, number], 4), np.tile(bias, 4)])
    where[0] = np.concatenate([where[0], np.arange(4 * filters)])
    where[1] = np.concatenate([where[1], np.full(4 * filters, 18 * channels)])
    return values, tuple(where)


def _columns(x, block, scratch):
    """Steps towards what `_entries` multiplies: (18 * channels + 1, rows * lanes)."""
    rows = len(x) - 2
    _, _, channels, lanes = x.shape
    columns = _view(scratch, 18 * channels + 1, rows * lanes)
    yield copy, 1.0, None, columns[-1]
    for dy, six in enumerate(columns[:-1].reshape(3, 6, channels, rows, lanes)):
        four = x[dy : dy + rows].transpose(1, 2, 0, 3)  # (4, channels, rows, lanes)
        yield copy, four, None, six[1:5]
        yield copy, 0.0, None, six[0, ..., :block]
        yield copy, four[3, ..., : lanes - block], None, six[0, ..., block:]
        yield copy, 0.0, None, six[5, ..., lanes - block :]
        yield copy, four[0, ..., block:], None, six[5, ..., : lanes - block]
    return columns


def _transform(x, block, scratch):
    """Steps of F(4,3) of a map's tiles: (6, rows + 2, channels, lanes)."""
    rows, _, channels, lanes = x.shape
    a = _view(scratch, 6, rows, channels, lanes)
    yield np.matmul, TILE_IN, x.reshape(rows, 4, -1), a.reshape(6, rows, -1).swapaxes(0, 1)
    left, right = a[0, ..., block:], a[5, ..., : lanes - block]
    yield np.add, left, x[:, 3, :, : lanes - block], left
    yield np.add, right, x[:, 0, :, block:], right
    return a


def _read_only(*arrays):
    for array in arrays:
        array.setflags(write=False)
    return arrays


def _view(scratch, *shape):
    """The beginning of the scratch, as an array of that shape."""
    size = 1
    for length in shape:
        size *= length
    return scratch[:size].reshape(shape)
