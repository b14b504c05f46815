"""Whole numbers for a network: how weights become whole, and how large a sum of their products can get.

A product of matrices in float32 is exact, whatever the order of its additions, the BLAS, its threads or the processor,
if all factors are whole and no sum reaches 2**24. So a layer takes whole levels, its weights are whole multiples of a
power of two, one for each filter, and what it passes on is rounded to whole levels again:

    level out = clip(round((sum of weight * level in + bias) / 2**shift), 0, TOP)

The division is exact too, so the rounding is the only one. After the last convolution nothing is rounded.
"""

import numpy as np

EXACT = 1 << 24  # float32 holds every whole number up to here
TOP = 255  # largest level; the least is 0
WEIGHT_BITS = 10  # of a weight, with its sign
SHIFTS = (-20, 40)  # least and largest


def input_range(zero):
    """Return the least and the largest level that the first convolution sees; `zero` is that of its padding."""
    return -zero, TOP - zero


def largest_sum(matrix, bias, low, high):
    """Return how large any sum of some products of a filter can get, in any order, the bias included.

    Parameters
    ----------
    matrix : np.ndarray [shape=(n, filters), int]
        Weights: a row for each neighbour and channel.
    bias : np.ndarray [shape=(filters,), int]
    low, high : int
        Bounds of the levels that come in; 0 lies between them.

    Returns
    -------
    largest : np.ndarray [shape=(filters,), int64]
        The largest magnitude: of all products that can be positive, or of all that can be negative.

    Examples
    --------
    >>> largest_sum(np.array([[3], [-2]]), np.array([1]), 0, 255)
    array([766])
    """
    weights, bias = matrix.astype(np.int64), bias.astype(np.int64)
    up, down = np.maximum(weights, 0).sum(axis=0), np.maximum(-weights, 0).sum(axis=0)
    rising, falling = up * high - down * low, down * high - up * low
    return np.maximum(rising + np.maximum(bias, 0), falling + np.maximum(-bias, 0))


def quantise(matrix, bias, low, high, bits=WEIGHT_BITS, largest=None):
    """Round the weights of a layer, each filter to multiples of the smallest power of two that its bounds allow.

    Parameters
    ----------
    matrix : np.ndarray [shape=(n, filters), float64]
        Weights that take levels to levels.
    bias : np.ndarray [shape=(filters,), float64]
    low, high : int
        Bounds of the levels that come in.
    bits : int
        A weight lies within `2**(bits - 1)`.
    largest : callable, optional
        Like `largest_sum`, of the whole weights and bias alone: what must stay below 2**24 besides.

    Returns
    -------
    matrix : np.ndarray [shape=(n, filters), int16]
    bias : np.ndarray [shape=(filters,), int32]
    shifts : np.ndarray [shape=(filters,), int8]
        The exponents: a weight stands for itself over `2**shift`.

    Examples
    --------
    >>> quantise(np.array([[0.5], [-0.3]]), np.array([2.0]), 0, 255, bits=4)
    (array([[ 8],
           [-5]], dtype=int16), array([32], dtype=int32), array([4], dtype=int8))
    """
    exponents = np.frexp(np.abs(matrix).max(axis=0))[1]  # the largest weight of each filter is below 2**exponent
    shifts = np.clip(bits - exponents, *SHIFTS).astype(np.intc)
    while True:
        whole, offset = np.rint(np.ldexp(matrix, shifts)), np.rint(np.ldexp(bias, shifts))
        large = (np.abs(whole).max(axis=0) > 1 << (bits - 1)) | (largest_sum(whole, offset, low, high) >= EXACT)
        if largest:
            large |= largest(whole, offset) >= EXACT
        if not large.any():
            return whole.astype(np.int16), offset.astype(np.int32), shifts.astype(np.int8)
        shifts -= large
