"""3x3 convolutions as matrix products: im2col, and the kernels that multiply, side by side.

A kernel takes weights (out, 9 * in) and columns (9 * in, v) and returns their product (out, v), float32. Which kernel a
layer gets is decided once, when the network is planned, by `choose_kernel`. A new one is a function of this signature,
a case in `prepare`, and a line in the cost rule; its reference is the float64 convolution of the tests.
"""

import numpy as np

# With AVX2, on one thread, scipy's CSR product does 7 to 10 GFLOP/s of non-zero work at most densities, BLAS 62 to 81
# of dense work: even at a density of about a tenth. Where BLAS is faster (AVX-512), that comes earlier.
SPARSE_BELOW = 0.06  # density


def choose_kernel(density):
    """Name of the kernel that is fastest for weights of which the part `density` is not zero.

    The rule looks at nothing but the weights (no timing, no thread count), so that a model gives the same bytes
    every time it is loaded.
    """
    return "sparse" if density < SPARSE_BELOW else "dense"


def prepare(kernel, weights):
    """Turn dense weights, shape (out, 9 * in), into what the kernel of that name multiplies with."""
    weights = np.ascontiguousarray(weights, np.float32)
    weights.setflags(write=False)
    if kernel == "dense":
        return weights
    from scipy.sparse import csr_matrix  # here, not above: a fifth of a second that dense models need not spend

    matrix = csr_matrix(weights)
    for part in (matrix.data, matrix.indices, matrix.indptr):
        part.setflags(write=False)
    return matrix


def dense(weights, columns, out):
    """Product with a dense array, by BLAS."""
    return np.matmul(weights, columns, out=out)


def sparse(weights, columns, out):
    """Product with a scipy CSR matrix; `out` is left alone (scipy has no place for it)."""
    return weights @ columns


KERNELS = {"dense": dense, "sparse": sparse}


def im2col(x, top, bottom, out):
    """Lay the 3x3 neighbourhoods of some rows of a map side by side.

    Parameters
    ----------
    x : np.ndarray [shape=(channels, height + 2, width + 2), float32]
        Map with a border of zeros ("same" padding).
    top, bottom : int
        Rows wanted, without the border: top ... bottom - 1.
    out : np.ndarray [shape=(k,), float32]
        Work space, k >= 9 * channels * (bottom - top) * width.

    Returns
    -------
    columns : np.ndarray [shape=(9 * channels, (bottom - top) * width), float32]
        View of `out`; rows in the order (dy, dx, channel), as the weights have them.
    """
    channels, rows, width = x.shape[0], bottom - top, x.shape[2] - 2
    size = 9 * channels * rows * width
    columns = out[:size].reshape(3, 3, channels, rows, width)
    for dy in range(3):
        for dx in range(3):
            columns[dy, dx] = x[:, top + dy : bottom + dy, dx : dx + width]
    return columns.reshape(9 * channels, rows * width)
