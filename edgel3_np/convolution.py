"""3x3 convolutions of tiled maps: the kernels, side by side behind one signature.

A map is an array x[row, position, channel, lane], float32. Rows are frames, with a row of zeros above and below. Columns
(mel bands) go in tiles of four: positions 1 to 4 are a tile's own columns, 0 and 5 its neighbours', zero outside. A lane
is a tile of one of the windows computed together: lane = tile * block + window. In this layout every step of every kernel
is a product of matrices that lie there already, and strips of rows are contiguous.

A kernel is a function (weights, x, scratch) -> y:

* weights: what `prepare` made for it;
* x (2 * pairs + 2, 6, channels, lanes): rows of a map, from the one above to the one below those wanted;
* scratch (k,): work space of at least `scratch_size(...)` floats;
* y (pairs, 2, 4, filters, lanes): the rows in pairs, with the four columns of each tile; a view of `scratch`, with any
  strides, or a fresh array.

`direct` is the definition written as one product, and the reference of the others; the reference of all is the float64
convolution of the tests.

Winograd's algorithms (A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016) compute m
outputs of a filter of r taps with m + r - 1 products: F(4,3) along a tile takes 6 instead of 12, with F(2,3) along a
pair of rows 24 instead of 72.
"""

import numpy as np

# F(4,3), along a tile: of the six inputs, of the three taps, of the six products
TILE_IN = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
TILE_TAPS = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24.0
TILE_OUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float32)
# F(2,3), along a pair of rows
PAIR_TAPS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
PAIR_OUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)

SCRATCH = 48  # floats of scratch per channel (or filter, if there are more), lane and pair of rows


def scratch_size(channels, filters, lanes, pairs):
    """Floats of scratch that any kernel needs."""
    return SCRATCH * max(channels, filters) * lanes * (pairs + 1)


def prepare(kernel, weights):
    """Turn weights into what the kernel of that name multiplies with.

    Parameters
    ----------
    kernel : str
        A key of `KERNELS`.
    weights : np.ndarray [shape=(3, 3, in, out), float64]
        Taps along rows, taps along columns, channels, filters.

    Returns
    -------
    weights : np.ndarray or csr_matrix [float32]
        Read-only.
    """
    _, _, channels, filters = weights.shape
    if kernel == "sparse":
        from scipy.sparse import csr_matrix  # here, not above: a fifth of a second that dense models need not spend

        dy, dx, channel, filter_ = np.nonzero(weights)
        column = np.arange(4)[:, np.newaxis]
        rows = (column * filters + filter_).ravel()
        columns = (dy * 6 * channels + (column + dx) * channels + channel).ravel()
        values = np.tile(weights[dy, dx, channel, filter_].astype(np.float32), 4)
        prepared = csr_matrix((values, (rows, columns)), (4 * filters, 18 * channels))
        prepared.sort_indices()
        for part in (prepared.data, prepared.indices, prepared.indptr):
            part.setflags(write=False)
        return prepared
    if kernel == "direct":  # (4 * filters, 18 * channels): of three rows of six positions, for each column of a tile
        prepared = np.zeros((4, filters, 3, 6, channels))
        for column in range(4):
            prepared[column, :, :, column : column + 3] = weights.transpose(3, 0, 1, 2)
        prepared = prepared.reshape(4 * filters, 18 * channels)
    else:
        prepared = np.matmul(TILE_TAPS, weights.reshape(3, 3, -1)).reshape(3, 6, channels, filters)
        if kernel == "winograd1":  # (6, filters, 3 * channels)
            prepared = prepared.transpose(1, 3, 0, 2).reshape(6, filters, 3 * channels)
        else:  # (6, 4, filters, channels)
            prepared = np.matmul(PAIR_TAPS, prepared.reshape(3, -1)).reshape(4, 6, channels, filters)
            prepared = prepared.transpose(1, 0, 3, 2)
    prepared = np.ascontiguousarray(prepared, np.float32)
    prepared.setflags(write=False)
    return prepared


def direct(weights, x, scratch):
    """One product a row: half of its factors are zeros, but nothing is moved."""
    rows, filters = len(x) - 2, len(weights) // 4
    lanes = x.shape[-1]
    y = _view(scratch, rows, 4 * filters, lanes)
    np.matmul(weights, _three_rows(x.reshape(rows + 2, -1, lanes)), out=y)
    return y.reshape(rows // 2, 2, 4, filters, lanes)


def sparse(weights, x, scratch):
    """The same product with a scipy CSR matrix, of all rows at a time: it wants long vectors."""
    rows, filters = len(x) - 2, weights.shape[0] // 4
    _, _, channels, lanes = x.shape
    columns = _view(scratch, 3, 6, channels, rows, lanes)
    for dy in range(3):
        columns[dy] = x[dy : dy + rows].transpose(1, 2, 0, 3)
    y = weights @ columns.reshape(18 * channels, rows * lanes)  # fresh: scipy has no `out`
    return y.reshape(4, filters, rows // 2, 2, lanes).transpose(2, 3, 0, 1, 4)


def winograd1(weights, x, scratch):
    """F(4,3) along the tiles; the three rows are one product's inner dimension."""
    rows, filters = len(x) - 2, weights.shape[1]
    _, _, channels, lanes = x.shape
    first, second = np.split(scratch[: len(scratch) // 2 * 2], 2)
    a = _view(first, 6, rows + 2, channels * lanes)
    np.matmul(TILE_IN, x.reshape(rows + 2, 6, -1), out=a.swapaxes(0, 1))
    m = _view(second, 6, rows, filters * lanes)
    v = _three_rows(a.reshape(6, rows + 2, channels, lanes))
    np.matmul(weights[:, np.newaxis], v, out=m.reshape(6, rows, filters, lanes))
    y = _view(first, rows, 4, filters * lanes)
    np.matmul(TILE_OUT, m.swapaxes(0, 1), out=y)
    return y.reshape(rows // 2, 2, 4, filters, lanes)


def winograd2(weights, x, scratch):
    """F(2,3) along pairs of rows and F(4,3) along the tiles: 24 products, of all pairs and lanes at a time."""
    pairs, filters = len(x) // 2 - 1, weights.shape[2]
    _, _, channels, lanes = x.shape
    first, second = np.split(scratch[: len(scratch) // 2 * 2], 2)
    a = _view(first, 6, 2 * pairs + 2, channels, lanes)
    np.matmul(TILE_IN, x.reshape(len(x), 6, -1), out=a.reshape(6, len(x), -1).swapaxes(0, 1))
    a = a.swapaxes(1, 2)  # (6, channels, rows, lanes)
    rows = [a[:, :, start : start + 2 * pairs : 2] for start in range(4)]  # of each pair, from the one above on
    v = _view(second, 6, 4, channels, pairs, lanes)
    np.subtract(rows[0], rows[2], out=v[:, 0])
    np.add(rows[1], rows[2], out=v[:, 1])
    np.subtract(rows[2], rows[1], out=v[:, 2])
    np.subtract(rows[1], rows[3], out=v[:, 3])
    m = _view(first, 6, 4, filters, pairs * lanes)
    np.matmul(weights, v.reshape(6, 4, channels, pairs * lanes), out=m)
    z = _view(second, 6, 2, filters * pairs * lanes)
    np.matmul(PAIR_OUT, m.reshape(6, 4, -1), out=z)
    y = _view(first, 2, 4, filters * pairs * lanes)
    np.matmul(TILE_OUT, z.swapaxes(0, 1), out=y)
    return y.reshape(2, 4, filters, pairs, lanes).transpose(3, 0, 1, 2, 4)


KERNELS = {"direct": direct, "sparse": sparse, "winograd1": winograd1, "winograd2": winograd2}


def _three_rows(x):
    """Each row with its neighbours, without a copy: (..., rows + 2, k, lanes) -> (..., rows, 3 * k, lanes)."""
    *outer, rows, k, lanes = x.shape
    return np.ndarray((*outer, rows - 2, 3 * k, lanes), x.dtype, x, 0, x.strides)


def _view(scratch, *shape):
    """The beginning of the scratch, as an array of that shape."""
    size = 1
    for length in shape:
        size *= length
    return scratch[:size].reshape(shape)
