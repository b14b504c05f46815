"""Planning a network: batch norms folded, and for each layer the kernel and the sizes that should be fastest."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import convolution
from .errors import EdgeL3Error
from .melspectrogram import FrontEnd, mel_bands, mel_filters
from .parallel import one_blas_thread
from .weights import to_dense

EPSILON = 1e-3  # of every batch norm
POOLED = (2, 4, 6)  # convolutions that a max-pool follows
# The cost model: what one thread does in a microsecond, as measured with AVX2 (see benchmarks/RESULTS.md). Nothing is
# timed when a model is loaded: it gets the same kernels, and so gives the same bytes, every time.
DENSE, DENSE_HALF = 80e3, 20  # floating-point operations of a product of a long inner dimension; length for half of it
CSR = 6.5e3  # floating-point operations of a sparse product
MATMUL, ADD, COPY = 1.8e3, 3.0e3, 1.8e3  # floats out of a product with a constant matrix, an addition, a rearrangement
BLOCK_FLOATS = 1 << 21  # of the largest map of a block of windows, at most
LANES, BLOCK = 32, 16  # tiles wanted in the narrowest map: windows are computed together until there are that many
STRIP_FLOATS, COLUMNS = 1 << 20, 64  # floats of a step of a kernel, about: they should stay in cache; columns at least


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution with all that follows it: bias, ReLU and max-pool.

    Parameters
    ----------
    name : str
    kernel : str
        Name of the function of `convolution` that multiplies.
    weights : tuple of np.ndarray, np.ndarray or csr_matrix
        As that kernel wants them, with bias and batch norm.
    relu : bool
    pool : bool
        A 2x2 max-pool of stride 2 follows; odd edges are dropped.
    shape : tuple
        (channels, frames, columns) of the map that comes in.
    filters : int
    pairs : int
        Pairs of rows computed at a time.
    density : float
        Part of the weights that is not zero.
    cost : float
        Time that the cost model expects, microseconds a window on one thread.
    """

    name: str
    kernel: str
    weights: Any
    relu: bool
    pool: bool
    shape: tuple
    filters: int
    pairs: int
    density: float
    cost: float

    @property
    def operations(self):
        """Floating-point operations of the dense convolution of a window: two a multiplication with a weight."""
        channels, frames, columns = self.shape
        return 18 * channels * self.filters * frames * columns


@dataclass(frozen=True, eq=False)
class Network:
    """A planned network, read-only and safe to share between threads.

    Parameters
    ----------
    frontend : FrontEnd
    bands : tuple of Band
        The mel matrix.
    scale, shift : np.float32
        Batch norm of the input. Not folded into the first convolution, whose zero padding comes after the shift.
    layers : tuple of Layer
    block : int
        Windows computed together.
    grid : tuple of int (mel, time)
        Parts of the last map whose maxima make the embedding.
    """

    frontend: FrontEnd
    bands: tuple
    scale: np.float32
    shift: np.float32
    layers: tuple
    block: int
    grid: tuple

    @property
    def dim(self):
        """Length of an embedding."""
        return self.layers[-1].filters * self.grid[0] * self.grid[1]


def plan(weights, dim=None):
    """Make a `Network` of `Weights`: fold batch norms in float64 and choose each layer's kernel.

    Parameters
    ----------
    weights : Weights
    dim : int, optional
        Length of an embedding, one of `dims(weights)`; the first by default.
    """
    sizes = dims(weights)
    if dim is not None and (isinstance(dim, bool) or dim not in sizes):
        expected = " or ".join(map(str, sizes))
        raise EdgeL3Error(f"dim: expected {expected}, of which {weights.name} has embeddings, found {dim!r}")
    with one_blas_thread():  # products of weights must not depend on the number of threads either
        return _plan(weights, (1, 1) if dim == weights.filters[-1] else weights.grid)


def dims(weights):
    """Lengths that embeddings can have: by the weights' grid, and by the maximum over the whole last map."""
    bands, times = weights.grid
    return tuple(dict.fromkeys((weights.filters[-1] * bands * times, weights.filters[-1])))


def _plan(weights, grid):
    frontend = weights.frontend
    bands = mel_bands(mel_filters(frontend) if weights.mel is None else weights.mel)
    scale, shift = _affine(weights.norms[0])
    shapes = _shapes(frontend, weights.filters)
    block = choose_block(shapes)
    layers = []
    for number, (csr, shape, (taps, bias)) in enumerate(zip(weights.kernels, shapes, fold(weights)), 1):
        channels, filters = shape[0], csr.shape[1]
        density = len(csr.data) / (csr.shape[0] * csr.shape[1])
        lanes = tiles(shape[2]) * block
        costs = {kernel: estimate(kernel, shape, filters, density) for kernel in convolution.KERNELS}
        kernel = min(costs, key=costs.get)
        layers.append(
            Layer(
                name=f"conv{number}",
                kernel=kernel,
                weights=convolution.prepare(kernel, taps, bias),
                relu=number < len(weights.norms),
                pool=number in POOLED,
                shape=shape,
                filters=filters,
                pairs=choose_pairs(channels, filters, shape[1], lanes),
                density=density,
                cost=costs[kernel],
            )
        )
    return Network(frontend, bands, np.float32(scale[0]), np.float32(shift[0]), tuple(layers), block, grid)


def tiles(columns):
    """Tiles of four that cover so many columns."""
    return -(-columns // 4)


def _shapes(frontend, filters):
    """(channels, frames, columns) of the map that goes into each convolution."""
    frames, columns, shapes = frontend.n_frames, frontend.n_mels, []
    for number, channels in enumerate((1, *filters[:-1]), 1):
        shapes.append((channels, frames, columns))
        if number in POOLED:
            frames, columns = frames // 2, columns // 2
    return shapes


def choose_block(shapes):
    """Windows to compute together: products want long rows, and small maps give short ones."""
    narrowest = min(tiles(columns) for _, _, columns in shapes)
    largest = max(channels * (frames + 3) * 4 * tiles(columns) for channels, frames, columns in shapes)
    return max(1, min(BLOCK, -(-LANES // narrowest), BLOCK_FLOATS // largest))


def choose_pairs(channels, filters, frames, lanes):
    """Pairs of rows to compute at a time: few enough for the cache, many enough for long products."""
    every = -(-frames // 2)
    pairs = max(-(-COLUMNS // lanes), STRIP_FLOATS // (24 * max(channels, filters) * lanes), 1)
    strips = -(-every // pairs)
    return -(-every // strips)  # of nearly equal heights


def estimate(kernel, shape, filters, density):
    """Time that a kernel should take for one layer of one window: the cost model.

    Parameters
    ----------
    kernel : str
    shape : tuple
        (channels, frames, columns).
    filters : int
    density : float
        Part of the weights that is not zero.

    Returns
    -------
    cost : float
        Microseconds on one thread.
    """
    channels, frames, columns = shape
    n = frames * tiles(columns)  # tiles in all rows
    inner = {"direct": 18 * channels, "winograd1": 3 * channels, "winograd2": channels}.get(kernel)
    rate = CSR if kernel == "sparse" else DENSE / (1 + DENSE_HALF / inner)
    cost = operations(kernel, shape, filters, density) / rate
    if kernel == "winograd1":
        return cost + n * ((6 * channels + 4 * filters) / MATMUL + 2 * channels / ADD)
    if kernel == "winograd2":
        return cost + n * ((6 * channels + 10 * filters) / MATMUL + 14 * channels / ADD)
    return cost + n * 18 * channels / COPY


def operations(kernel, shape, filters, density):
    """Floating-point operations of a kernel's products for one layer of one window; the same arguments."""
    channels, frames, columns = shape
    each = {"direct": 72, "sparse": 36 * density, "winograd1": 18, "winograd2": 12}[kernel]  # multiplications a tile
    return 2 * each * channels * filters * frames * tiles(columns)


def fold(weights):
    """Fold batch norms into the convolutions that they follow.

    Parameters
    ----------
    weights : Weights

    Yields
    ------
    taps : np.ndarray [shape=(3, 3, in, out), float64]
        Along frames, along mel bands (as maps lie here; files have it the other way round), channels, filters.
    bias : np.ndarray [shape=(out,), float64]
    """
    for csr, bias, norm in zip(weights.kernels, weights.biases, [*weights.norms[1:], None]):
        taps, bias = to_dense(csr).astype(np.float64), bias.astype(np.float64)
        taps = taps.reshape(3, 3, -1, csr.shape[1]).transpose(1, 0, 2, 3)
        if norm is not None:
            factor, offset = _affine(norm)
            taps, bias = taps * factor, bias * factor + offset
        yield taps, bias


def _affine(norm):
    """Factor and offset of a batch norm in inference."""
    gamma, beta, mean, variance = norm.astype(np.float64)
    factor = gamma / np.sqrt(variance + EPSILON)
    return factor, beta - mean * factor
