"""Plan a network: fold its batch norms, and choose the fastest algorithm and sizes for each layer."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import EdgeL3Error
from ..features.frontend import FrontEnd
from ..features.mel import mel_bands, mel_filterbank
from ..weights.format import BATCH_NORM_EPSILON, POOLED
from ..weights.sparse import to_dense
from .kernels import ALGORITHMS, pack_weights
from .threads import one_blas_thread

# The cost model: what one thread does in a microsecond, as measured with AVX2 (see benchmarks/RESULTS.md). Nothing is
# timed when a model is loaded: it gets the same algorithms, and so gives the same bytes, every time.
DENSE_RATE, DENSE_HALF = 80e3, 20  # FLOP of a product with a long inner dimension; the inner length that reaches half
SPARSE_RATE = 6.5e3  # FLOP of a sparse product
MATMUL_RATE, ADD_RATE, COPY_RATE = 1.8e3, 3.0e3, 1.8e3  # floats out of a small constant product, an addition, a copy
LANES, MICROBATCH = 32, 16  # windows are computed together until the narrowest map has so many lanes; at most so many
MICROBATCH_FLOATS = 1 << 21  # floats of the largest map of a microbatch, at most
STRIP_FLOATS, STRIP_LANES = 1 << 20, 64  # floats of one step, which should stay in the cache; columns of a product


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution with all that follows it: bias, ReLU and max-pool.

    Parameters
    ----------
    name : str
        `conv1` ... `conv8`.
    algorithm : str
        A key of `kernels.ALGORITHMS`.
    weights : tuple of np.ndarray, np.ndarray or csr_matrix
        From `kernels.pack_weights`, with bias and batch norm.
    relu : bool
    pool : bool
        A 2x2 max-pool of stride 2 follows; odd edges are dropped.
    shape : tuple
        (channels, frames, columns) of the map that comes in.
    filters : int
    pairs : int
        Pairs of rows that are computed at a time.
    density : float
        Share of the weights that are not zero, 0 to 1.
    cost : float
        Time that the cost model expects, in microseconds a window on one thread.
    """

    name: str
    algorithm: str
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
        """Floating-point operations of the dense convolution of a window: two for each product with a weight."""
        channels, frames, columns = self.shape
        return 18 * channels * self.filters * frames * columns


@dataclass(frozen=True, eq=False)
class Network:
    """A planned network, read-only and safe to share between threads.

    Parameters
    ----------
    frontend : FrontEnd
    bands : tuple of MelBand
        The mel filterbank.
    scale, shift : np.float32
        Batch norm of the input. It is not folded into the first convolution, whose zero padding comes after it.
    layers : tuple of Layer
    microbatch : int
        Windows that are computed together.
    pool_grid : tuple of int (mel, time)
        Parts of the last map whose maxima are the embedding.
    """

    frontend: FrontEnd
    bands: tuple
    scale: np.float32
    shift: np.float32
    layers: tuple
    microbatch: int
    pool_grid: tuple

    @property
    def dim(self):
        """Length of an embedding."""
        return self.layers[-1].filters * self.pool_grid[0] * self.pool_grid[1]


def plan_network(weights, dim=None):
    """Turn `Weights` into a `Network`: fold batch norms in float64 and choose the algorithm of each layer.

    Parameters
    ----------
    weights : Weights
    dim : int, optional
        Length of an embedding, one of `weights.dims`; the first by default.

    Raises
    ------
    EdgeL3Error
        The model has no embeddings of this length.
    """
    if dim is not None and (isinstance(dim, bool) or dim not in weights.dims):
        expected = " or ".join(map(str, weights.dims))
        raise EdgeL3Error(f"dim: expected {expected}, the lengths of an embedding of {weights.name}, found {dim!r}")
    frontend = weights.frontend
    bands = mel_bands(mel_filterbank(frontend) if weights.mel is None else weights.mel)
    scale, shift = _affine(weights.norms[0])
    shapes = _shapes(frontend, weights.filters)
    microbatch = choose_microbatch(shapes)
    with one_blas_thread():  # products of weights must not depend on the number of threads either
        layers = tuple(
            _plan_layer(weights, number, shape, kernel, bias, microbatch)
            for number, (shape, (kernel, bias)) in enumerate(zip(shapes, fold_batch_norms(weights)), 1)
        )
    pool_grid = (1, 1) if dim == weights.filters[-1] else weights.pool_grid
    return Network(frontend, bands, np.float32(scale[0]), np.float32(shift[0]), layers, microbatch, pool_grid)


def _plan_layer(weights, number, shape, kernel, bias, microbatch):
    channels, filters = kernel.shape[2:]
    density = len(weights.kernels[number - 1].data) / kernel.size
    costs = {algorithm: estimate_cost(algorithm, shape, filters, density) for algorithm in ALGORITHMS}
    algorithm = min(costs, key=costs.get)
    return Layer(
        name=f"conv{number}",
        algorithm=algorithm,
        weights=pack_weights(algorithm, kernel, bias),
        relu=number < len(weights.norms),
        pool=number in POOLED,
        shape=shape,
        filters=filters,
        pairs=choose_pairs(channels, filters, shape[1], tiles(shape[2]) * microbatch),
        density=density,
        cost=costs[algorithm],
    )


def fold_batch_norms(weights):
    """Fold batch norms into the convolutions that they follow.

    Parameters
    ----------
    weights : Weights

    Yields
    ------
    kernel : np.ndarray [shape=(3, 3, in, out), float64]
        Along frames, mel bands, channels, filters. (In files mel bands come first; in maps here frames do.)
    bias : np.ndarray [shape=(out,), float64]
    """
    for csr, bias, norm in zip(weights.kernels, weights.biases, [*weights.norms[1:], None]):
        kernel, bias = to_dense(csr).astype(np.float64).transpose(1, 0, 2, 3), bias.astype(np.float64)
        if norm is not None:
            scale, shift = _affine(norm)
            kernel, bias = kernel * scale, bias * scale + shift
        yield kernel, bias


def _affine(norm):
    """Return scale and shift of a batch norm in inference."""
    gamma, beta, mean, variance = norm.astype(np.float64)
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    return scale, beta - mean * scale


def tiles(columns):
    """Return how many tiles of four cover so many columns."""
    return -(-columns // 4)


def _shapes(frontend, filters):
    """Return (channels, frames, columns) of the map that goes into each convolution."""
    frames, columns, shapes = frontend.n_frames, frontend.n_mels, []
    for number, channels in enumerate((1, *filters[:-1]), 1):
        shapes.append((channels, frames, columns))
        if number in POOLED:
            frames, columns = frames // 2, columns // 2
    return shapes


def choose_microbatch(shapes):
    """Return how many windows to compute together: products want long rows, and small maps have short ones."""
    narrowest = min(tiles(columns) for _, _, columns in shapes)
    largest = max(channels * (frames + 3) * 4 * tiles(columns) for channels, frames, columns in shapes)
    return max(1, min(MICROBATCH, -(-LANES // narrowest), MICROBATCH_FLOATS // largest))


def choose_pairs(channels, filters, frames, lanes):
    """Return how many pairs of rows to compute at a time: few enough for the cache, enough for long products."""
    every = -(-frames // 2)
    pairs = max(-(-STRIP_LANES // lanes), STRIP_FLOATS // (24 * max(channels, filters) * lanes), 1)
    strips = -(-every // pairs)
    return -(-every // strips)  # strips of nearly equal heights


def estimate_cost(algorithm, shape, filters, density):
    """Estimate how long an algorithm takes for one layer of one window: the cost model.

    Parameters
    ----------
    algorithm : str
        A key of `kernels.ALGORITHMS`.
    shape : tuple
        (channels, frames, columns).
    filters : int
    density : float
        Share of the weights that are not zero, 0 to 1.

    Returns
    -------
    cost : float
        Microseconds on one thread.
    """
    channels, frames, columns = shape
    n = frames * tiles(columns)  # tiles in all rows
    inner = {"direct": 18 * channels, "winograd_1d": 3 * channels, "winograd_2d": channels}.get(algorithm)
    rate = SPARSE_RATE if algorithm == "sparse" else DENSE_RATE / (1 + DENSE_HALF / inner)
    cost = operations(algorithm, shape, filters, density) / rate
    if algorithm == "winograd_1d":
        return cost + n * ((6 * channels + 4 * filters) / MATMUL_RATE + 2 * channels / ADD_RATE)
    if algorithm == "winograd_2d":
        return cost + n * ((6 * channels + 10 * filters) / MATMUL_RATE + 14 * channels / ADD_RATE)
    return cost + n * 18 * channels / COPY_RATE


def operations(algorithm, shape, filters, density):
    """Return the floating-point operations of the products of an algorithm; the arguments are as in `estimate_cost`."""
    channels, frames, columns = shape
    products = {"direct": 72, "sparse": 36 * density, "winograd_1d": 18, "winograd_2d": 12}[algorithm]  # of a tile
    return 2 * products * channels * filters * frames * tiles(columns)
