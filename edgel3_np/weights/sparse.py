"""Sparse matrices by rows, as weight files store convolution kernels."""

from typing import NamedTuple

import numpy as np


class CSR(NamedTuple):
    """A sparse matrix by rows, as in scipy.sparse: `data[indptr[i]:indptr[i + 1]]` are the values of row i."""

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    shape: tuple


def to_csr(kernel, dtype=np.float32):
    """Turn a convolution kernel into the form in which it is stored.

    Parameters
    ----------
    kernel : np.ndarray [shape=(3, 3, in, out), float32]
        Also whole numbers up to 2**24.
    dtype : float32, float16 or int16
        Dtype of the values stored. A value that float16 rounds to zero is dropped.

    Returns
    -------
    matrix : CSR [shape=(9 * in, out)]
        The index arrays have the smallest unsigned types that hold them.
    """
    matrix = np.ascontiguousarray(kernel, np.float32).reshape(-1, kernel.shape[3]).astype(dtype)
    rows, columns = np.nonzero(matrix)
    indptr = np.searchsorted(rows, np.arange(len(matrix) + 1))
    smallest = np.min_scalar_type
    return CSR(
        matrix[rows, columns],
        columns.astype(smallest(matrix.shape[1] - 1)),
        indptr.astype(smallest(int(indptr[-1]))),
        matrix.shape,
    )


def to_dense(matrix):
    """Return the kernel that `to_csr` was given: shape (3, 3, in, out), float32. Every zero is +0.0."""
    return to_matrix(matrix).reshape(3, 3, -1, matrix.shape[1])


def to_matrix(matrix):
    """Return a CSR matrix as an array of its shape, float32."""
    dense = np.zeros(matrix.shape, np.float32)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr.astype(np.intp)))
    dense[rows, matrix.indices] = matrix.data
    return dense
