"""Matrices of Winograd's F(m,3): m outputs of a kernel of length 3 from m + 2 inputs and m + 2 products."""

from functools import cache

import numpy as np

POINTS = (0, 1, -1, 2, -2, 0.5, -0.5)  # and infinity; F(m,3) takes the first m + 1


@cache
def cook_toom(m):
    """Return the matrices of F(m,3), which computes `AT @ ((G @ kernel) * (BT @ inputs))`.

    Parameters
    ----------
    m : int
        2 to 6. The products saved grow with m, and so do the rounding errors.

    Returns
    -------
    bt : np.ndarray [shape=(m + 2, m + 2), float64]
        Input 0 occurs in the first product only, and input m + 1 in the last one only, each with a factor of one.
    g : np.ndarray [shape=(m + 2, 3), float64]
    at : np.ndarray [shape=(m, m + 2), float64]
        Column 1, of the point 1, is all ones.

    References
    ----------
    A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; the construction from points is
    that of A. Toom and S. Cook.
    """
    points, n = np.array(POINTS[: m + 1], float), m + 2
    bt, g, at = np.zeros((n, n)), np.zeros((n, 3)), np.zeros((m, n))
    for j, point in enumerate(points):
        others = np.delete(points, j)
        bt[j, : n - 1] = np.poly(others)[::-1]
        g[j] = point ** np.arange(3) / np.prod(point - others)
        at[:, j] = point ** np.arange(m)
    bt[-1], g[-1, 2], at[-1, -1] = np.poly(points)[::-1], 1.0, 1.0
    first = bt[0, 0]
    bt[0], g[0] = bt[0] / first, g[0] * first
    for j in range(1, n - 1):  # balance the factors by powers of two, which rounds nothing
        scale = 2.0 ** np.round(np.log2(np.abs(bt[j]).sum() / 4))
        bt[j], g[j] = bt[j] / scale, g[j] * scale
    for matrix in (bt, g, at):
        matrix.setflags(write=False)
    return bt, g, at
